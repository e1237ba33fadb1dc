"""What a budget asks of the costs of a space's channel vectors."""

from __future__ import annotations

import numpy as np

from tfrcp.cost import CostModel
from tfrcp.space import Budget, SearchSpace


class Bounds:
    """The ranges in which costs must lie.

    Args:
        space: The allowed channel counts.
        cost: The cost model of the same graph.
        budget: The budget.

    Attributes:
        ranges: Maps names of costs to the least and largest accepted values.

    Raises:
        ValueError: If the budget cannot be met by any vector of the space.
    """

    def __init__(self, space: SearchSpace, cost: CostModel, budget: Budget) -> None:
        self._cost, full = cost, cost.full
        self._ends = cost(np.stack([space.smallest, space.centroid, space.largest]))
        self.ranges = {"flops": budget.window(full.flops)}
        for name, limit in (
            ("params", budget.params_limit(full.params)),
            ("activations", budget.activations_limit(full.activations)),
        ):
            if limit is not None:
                self.ranges[name] = (0, limit)
        for name, (low, high) in self.ranges.items():
            least, _, most = getattr(self._ends, name)
            if least > high or most < low:
                raise ValueError(f"{budget} cannot be met. {self}")

    def __str__(self) -> str:
        words = {"flops": "multiply-adds", "params": "weights", "activations": "activations"}
        parts = []
        for name in dict.fromkeys(("flops", "params", *self.ranges)):
            least, middle, most = getattr(self._ends, name)
            full = getattr(self._cost.full, name)
            parts.append(
                f"{least:,} to {most:,} {words[name]} ({least / full:.3f} to {most / full:.3f} of "
                f"the unpruned {full:,}, {middle / full:.3f} in its middle)"
            )
        return f"The space reaches {', '.join(parts)}."

    def reachable(self, name: str) -> tuple[float, float]:
        """The range of a cost, without what lies outside of what the space reaches."""
        (low, high), ends = self.ranges[name], getattr(self._ends, name)
        return max(low, ends[0]), min(high, ends[-1])

    def violation(self, channels: np.ndarray) -> np.ndarray:
        """How far costs are outside of their ranges, as shares of the unpruned ones.

        Args:
            channels: int array [N, prunable groups].

        Returns:
            float array [N], 0 where the budget is met.
        """
        costs = self._cost(channels)
        total = np.zeros(len(channels))
        for name, (low, high) in self.ranges.items():
            values = getattr(costs, name)
            outside = np.maximum(low - values, values - high)
            total += np.maximum(outside, 0) / getattr(self._cost.full, name)
        return total
