"""What a budget asks of the costs of a space's channel vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.costs import COSTS
from tfrcp.space.space import SearchSpace

if TYPE_CHECKING:
    from tfrcp.deployment.latency_model import LatencyModel


class Bounds:
    """The ranges in which costs must lie.

    Args:
        space: The allowed channel counts.
        cost: The cost model of the same graph.
        budget: The budget.
        latency: Predicts times; needed where the budget bounds the latency.

    Attributes:
        ranges: Maps names of costs to the least and largest accepted values.

    Raises:
        ValueError: If the budget cannot be met by any vector of the space.
    """

    def __init__(
        self,
        space: SearchSpace,
        cost: CostModel,
        budget: Budget,
        latency: LatencyModel | None = None,
    ) -> None:
        if budget.latency is not None and latency is None:
            raise ValueError(
                "A budget of latency needs `latency`, a tfrcp.LatencyModel of the same graph. "
                f"Received: {budget}, latency=None"
            )
        self._cost, self._latency = cost, latency if budget.latency is not None else None
        self._full = dict(cost.full._asdict())
        if self._latency is not None:
            self._full["latency"] = latency.full
        self.ranges = budget.ranges(self._full)
        self._ends = self.values(np.stack([space.smallest, space.centroid, space.largest]))
        for name, (low, high) in self.ranges.items():
            least, _, most = self._ends[name]
            if least > high or most < low:
                raise ValueError(f"{budget} cannot be met. {self}")

    def values(self, channels: np.ndarray) -> dict[str, np.ndarray]:
        """All costs of channel vectors, int array [N, prunable groups]; arrays [N] by name."""
        values = self._cost(channels)._asdict()
        if self._latency is not None:
            values["latency"] = self._latency(channels)
        return values

    def __str__(self) -> str:
        words = {cost.name: cost.unit for cost in COSTS.values()} | {"latency": "ms per image"}
        parts = []
        for name in dict.fromkeys(("flops", "params", *self.ranges)):
            least, middle, most = self._ends[name]
            full = self._full[name]
            form = ".4g" if name == "latency" else ","
            parts.append(
                f"{least:{form}} to {most:{form}} {words[name]} ({least / full:.3f} to "
                f"{most / full:.3f} of the unpruned {full:{form}}, {middle / full:.3f} in its "
                "middle)"
            )
        return f"The space reaches {', '.join(parts)}."

    def reachable(self, name: str) -> tuple[float, float]:
        """The range of a cost, without what lies outside of what the space reaches."""
        (low, high), ends = self.ranges[name], self._ends[name]
        return max(low, ends[0]), min(high, ends[-1])

    def violation(self, channels: np.ndarray) -> np.ndarray:
        """How far costs are outside of their ranges, as shares of the unpruned ones.

        Args:
            channels: int array [N, prunable groups].

        Returns:
            float array [N], 0 where the budget is met.
        """
        costs = self.values(channels)
        total = np.zeros(len(channels))
        for name, (low, high) in self.ranges.items():
            outside = np.maximum(low - costs[name], costs[name] - high)
            total += np.maximum(outside, 0) / self._full[name]
        return total
