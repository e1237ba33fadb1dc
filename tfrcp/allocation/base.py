"""What an allocation is: from the scores of channels and a budget to a channel vector.

An allocation says how many channels every group keeps; the criterion says which.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfrcp.graph.channels import ChannelGraph
from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.sampling.bounds import Bounds
from tfrcp.space.sampling.enumeration import feasible_vectors
from tfrcp.space.sampling.moves import project
from tfrcp.space.space import SearchSpace

if TYPE_CHECKING:
    from tfrcp.deployment.latency_model import LatencyModel

Scores = Mapping[str, np.ndarray]
_BISECTIONS = 60
_ATTEMPTS = 20


class Allocation:
    """Chooses how many channels every group keeps. Options go into `__init__`.

    Subclasses implement `allocate`.
    """

    def __call__(
        self,
        graph: ChannelGraph,
        scores: Scores,
        space: SearchSpace,
        cost: CostModel,
        budget: Budget,
        *,
        score: Callable[[np.ndarray], float] | None = None,
        latency: LatencyModel | None = None,
    ) -> np.ndarray:
        """Chooses channel counts.

        Args:
            graph: The trace of the network.
            scores: Scores of the channels by a criterion, float arrays [size] by group name; higher
                is kept. (Those that do not rank channels ignore it.)
            space: The allowed channel counts.
            cost: The cost model of the same graph.
            budget: What the pruned network may cost.
            score: Function of a channel vector, int array [prunable groups], to how good that
                network is, higher is better; for allocations that measure (`greedy`).
            latency: `tfrcp.LatencyModel`, needed where the budget bounds the latency.

        Returns:
            int64 array [prunable groups], allowed by the space; its cost meets the budget.

        Raises:
            ValueError: If the budget cannot be met, or scores are missing.
        """
        sizes = {group.name: group.size for group in graph.prunable}
        if self.ranks:
            wrong = [n for n, size in sizes.items() if np.shape(scores.get(n)) != (size,)]
            if wrong:
                raise ValueError(
                    f"`scores` must map every prunable group to its scores; '{wrong[0]}' has "
                    f"{sizes[wrong[0]]} channels. Received: {scores.get(wrong[0])!r}"
                )
        return self.allocate(Problem(graph, scores, space, cost, budget, score, latency))

    ranks = False
    """Whether it looks at the scores of the channels."""

    def allocate(self, problem: Problem) -> np.ndarray:
        """The channel vector, int64 array [prunable groups]."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {}


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """The arguments of `Allocation.__call__`, and what all allocations do with them."""

    graph: ChannelGraph
    scores: Scores
    space: SearchSpace
    cost: CostModel
    budget: Budget
    score: Callable[[np.ndarray], float] | None = None
    latency: LatencyModel | None = None

    @functools.cached_property
    def bounds(self) -> Bounds:
        """What the budget asks of the costs."""
        return Bounds(self.space, self.cost, self.budget, self.latency)

    def spent(self, channels: np.ndarray) -> np.ndarray:
        """The cost that the budget is a target of, such as the MACs.

        Args:
            channels: int array [N, prunable groups].

        Returns:
            Array [N].
        """
        return self.bounds.values(channels)[self.budget.target]

    def nearest(self, ratios: np.ndarray) -> np.ndarray:
        """See `nearest`."""
        return nearest(self.space, ratios)

    def scaled(self, vector_at: Callable[[float], np.ndarray], most: float) -> np.ndarray:
        """The member of a family of channel vectors that meets the budget.

        The scale is bisected until the cost is nearest to its target; then the fewest possible
        widths are changed so that it lies in the window.

        Args:
            vector_at: Function of a scale in [0, most] to an allowed channel vector, whose cost
                does not fall as the scale rises.
            most: The largest scale.

        Returns:
            int64 array [prunable groups].

        Raises:
            ValueError: If no change of the widths brings the cost into the window.
        """
        low, high = 0.0, most
        target = sum(self.bounds.ranges[self.budget.target]) / 2

        def spent(vector: np.ndarray) -> float:
            return self.spent(vector[None])[0]

        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            if spent(vector_at(middle)) < target:
                low = middle
            else:
                high = middle
        ends = [vector_at(low), vector_at(high)]
        return self.projected(min(ends, key=lambda v: abs(spent(v) - target)))

    def projected(self, vector: np.ndarray) -> np.ndarray:
        """Changes as few channels as it finds possible until the budget is met.

        Args:
            vector: int64 array [prunable groups], allowed by the space.

        Returns:
            int64 array [prunable groups].

        Raises:
            ValueError: If no way was found.
        """
        found = [
            project(vector, self.space, self.bounds, np.random.default_rng(attempt))
            for attempt in range(_ATTEMPTS)
        ]
        found = [candidate for candidate in found if candidate is not None]
        if not found:
            all_there_are = feasible_vectors(self.space, self.bounds)
            found = [] if all_there_are is None else list(all_there_are)
        if not found:
            raise ValueError(
                f"The channel counts {vector.tolist()} cannot be changed so that {self.budget} is "
                f"met. {self.bounds}"
            )
        return min(found, key=lambda candidate: int(np.abs(candidate - vector).sum()))


def nearest(space: SearchSpace, ratios: np.ndarray) -> np.ndarray:
    """The allowed channel vector whose ratios are nearest to given ones, group by group.

    Args:
        space: The allowed channel counts. Of groups that are tied the widest one decides.
        ratios: Float array [prunable groups], wanted shares of the channels.

    Returns:
        int64 array [prunable groups].
    """
    full = space.graph.full
    vector = np.empty(len(full), dtype="int64")
    for block in space.blocks:
        column = block.columns[block.widest]
        vector[block.columns] = block.nearest(ratios[column : column + 1] * full[column])[0]
    return vector
