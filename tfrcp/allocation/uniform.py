"""The same share of its channels for every group: scaling the width of the whole network.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications"
(2017, arXiv 1704.04861), call it the width multiplier.
"""

from __future__ import annotations

import numpy as np

from tfrcp.allocation.base import Allocation, Problem


class Uniform(Allocation):
    """One ratio for all groups, bisected to meet the budget."""

    def allocate(self, problem: Problem) -> np.ndarray:
        """The channel vector, int64 array [prunable groups]."""
        ones = np.ones(len(problem.graph.full))
        return problem.scaled(lambda ratio: problem.nearest(ratio * ones), 1.0)
