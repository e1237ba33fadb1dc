"""Erdős-Rényi-Kernel densities: layers with more weights keep a smaller share of them.

Evci et al., "Rigging the Lottery: Making All Tickets Winners" (ICML 2020, arXiv 1911.11134): the
density of a convolution is proportional to (in + out + height + width) / (in x out x height x
width), that of a dense layer to (in + out) / (in x out), and is at most 1.
"""

from __future__ import annotations

import numpy as np

from tfrcp.allocation.base import Allocation, Problem
from tfrcp.allocation.kernels import Kernels


class ERK(Allocation):
    """Ratios by the Erdős-Rényi-Kernel rule.

    The paper's densities are shares of single weights; here they become shares of channels, see
    `Kernels.ratios`, and the factor is bisected to meet the budget, not the number of weights.
    """

    def allocate(self, problem: Problem) -> np.ndarray:
        """The channel vector, int64 array [prunable groups]."""
        kernels = Kernels(problem.graph)
        densities = np.array([sum(shape) / np.prod(shape) for shape in kernels.shapes])
        ratios = kernels.ratios(densities)
        ratios = ratios / ratios.min()
        return problem.scaled(lambda factor: problem.nearest(np.minimum(factor * ratios, 1.0)), 1.0)
