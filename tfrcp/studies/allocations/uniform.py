"""The same share of its channels for every group: scaling the width of the whole network.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications"
(2017, arXiv 1704.04861), call it the width multiplier.
"""

from __future__ import annotations

import numpy as np

from tfrcp.studies.allocations.base import Step, deterministic, meet_budget, nearest


@deterministic
def uniform(step: Step) -> np.ndarray:
    """One ratio for all groups, bisected to meet the budget, int64 array [prunable groups]."""
    ones = np.ones(len(step.space.graph.full))
    return meet_budget(step, lambda ratio: nearest(step.space, ratio * ones), 1.0)
