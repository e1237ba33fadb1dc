"""The hand-made ratios of random tickets: the deeper a layer, the less of it is kept.

Su et al., "Sanity-Checking Pruning Methods: Random Tickets can Win the Jackpot" (NeurIPS 2020,
arXiv 2009.11094): of L layers the l-th keeps a share of its weights that is proportional to
(L - l + 1)^2 + (L - l + 1), with the convolutions of ResNets as they are here. The last layer, of
which the paper keeps 0.3, has no channels to lose.
"""

from __future__ import annotations

import numpy as np

from tfrcp.allocation.base import Allocation, Problem
from tfrcp.allocation.kernels import Kernels


class RandomTickets(Allocation):
    """Ratios that fall with depth.

    The paper's densities are shares of single weights; here they become shares of channels, see
    `Kernels.ratios`, and the factor is bisected to meet the budget, not the number of weights. What
    would be above 1 is 1, and the others rise accordingly. Which channels go is for the criterion
    to say; with `random` scores they are drawn, as in the paper.
    """

    def allocate(self, problem: Problem) -> np.ndarray:
        """The channel vector, int64 array [prunable groups]."""
        kernels = Kernels(problem.graph)
        left = len(kernels.shapes) - np.arange(len(kernels.shapes))
        ratios = kernels.ratios(left.astype(float) ** 2 + left)
        ratios = ratios / ratios.min()
        return problem.scaled(lambda factor: problem.nearest(np.minimum(factor * ratios, 1.0)), 1.0)
