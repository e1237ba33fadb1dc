"""Makes a predictor of latency right where a search uses it: near the budget."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.sampling import RandomSampler
from tfrcp.space.space import SearchSpace

if TYPE_CHECKING:
    from tfrcp.deployment.latency_model import LatencyModel

_ROUNDS, _NETWORKS = 2, 5


def near_budget(
    latency: LatencyModel, space: SearchSpace, cost: CostModel, budget: Budget, seed: int
) -> LatencyModel:
    """Calibrates a predictor by networks such as the search will draw, in two rounds.

    One without `calibrated` is returned as it is.

    Raises:
        ValueError: If the budget cannot be met.
    """
    for round_ in range(_ROUNDS if hasattr(latency, "calibrated") else 0):
        # The second round's networks are those that the first one takes for right.
        sampler = RandomSampler(space, cost, budget, seed + round_, latency=latency)
        latency = latency.calibrated(_some(sampler))
    return latency


def _some(sampler: RandomSampler) -> np.ndarray:
    """A few vectors, int array [N, prunable groups]; at least one."""
    found = [sampler.suggest(1)]
    with contextlib.suppress(ValueError):  # There may be no more.
        while len(found) < _NETWORKS:
            found.append(sampler.suggest(1))
    return np.concatenate(found)
