"""Plain rejection: the reference for uniform sampling, and the way of EagleEye."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.sampling.drawing import DrawingSampler
from tfrcp.space.space import SearchSpace

_BATCH = 4096


class RejectionSampler(DrawingSampler):
    """Draws vectors until one meets the budget.

    Without `prune_rates`, every group's count is drawn uniformly: accepted vectors are uniform over
    the feasible ones, and hardly any is accepted in a large network. With them, every group's
    prune rate is drawn uniformly from that range, which is chosen for the target (EagleEye takes
    0 to 0.7 for ResNet-50 at half the MACs): more is accepted, and some of what is
    feasible never comes.

    Li et al., "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning", ECCV 2020.

    Args:
        space: The allowed channel counts.
        cost: The cost model of the same graph.
        budget: The budget.
        seed: Int. Defaults to 0.
        prune_rates: Range of the share of channels that is pruned in each group, or `None`.
        max_draws: Number of draws in a row without a new vector that end the sampling.

    Attributes:
        attempts: Number of vectors drawn so far.
        accepted: How many of them met the budget.

    Raises:
        ValueError: If the budget cannot be met by any vector of the space, or an argument is wrong.
    """

    def __init__(
        self,
        space: SearchSpace,
        cost: CostModel,
        budget: Budget,
        seed: int = 0,
        *,
        prune_rates: tuple[float, float] | None = None,
        max_draws: int = 1_000_000,
    ) -> None:
        super().__init__(space, cost, budget, seed, max_draws=max_draws)
        if prune_rates is not None and not (
            len(prune_rates) == 2 and 0 <= prune_rates[0] < prune_rates[1] < 1
        ):
            raise ValueError(
                "`prune_rates` must be two numbers with 0 <= low < high < 1. "
                f"Received: prune_rates={prune_rates!r}"
            )
        self._rates = prune_rates

    def get_config(self) -> dict[str, Any]:
        """What the suggestions depend on: a nested dict."""
        return {**super().get_config(), "prune_rates": self._rates}

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of independent widths, all of them wanted."""
        vectors = np.empty((_BATCH, len(self.space.choices)), dtype="int64")
        for block in self.space.blocks:
            options = block.options
            if self._rates is None:
                vectors[:, block.columns] = options[
                    self._random.integers(len(options), size=_BATCH)
                ]
            else:
                size = self.space.graph.full[block.columns[block.widest]]
                wanted = size * (1 - self._random.uniform(*self._rates, _BATCH))
                vectors[:, block.columns] = block.nearest(wanted)
        return vectors, np.ones(_BATCH, dtype=bool)
