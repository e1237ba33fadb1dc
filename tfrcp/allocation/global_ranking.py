"""One threshold for the scores of all channels of the network.

Molchanov et al. (ICLR 2017, arXiv 1611.06440) rank the channels of all layers together, found that
scores must be normalised layer by layer to be comparable, and weigh them against the MACs
that a channel costs. Liu et al., "Learning Efficient Convolutional Networks through Network
Slimming" (ICCV 2017), compare the batch-norm scales as they are.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from tfrcp.allocation.base import Allocation, Problem
from tfrcp.allocation.kernels import Kernels
from tfrcp.graph.calls import named_variables
from tfrcp.graph.channels import ChannelGraph


class GlobalRanking(Allocation):
    """Keeps the channels above one threshold, which is bisected to meet the budget.

    The floor of the space's ratios keeps a group from vanishing.

    Args:
        normalize: Whether the scores of a group are first divided by their root mean square;
            without, one threshold holds for the scores as they are.
        groups: "all", or "inner" to leave those alone that several layers make, such as the
            channels that run through the residual additions of a stage.
        cost_power: Float. Scores are divided by this power of the cost that one channel of the
            group has in the unpruned network: 0 for scores alone, 1 for scores per MAC.

    Raises:
        ValueError: If an argument is wrong; if called, where inner groups alone cannot meet the
            budget.
    """

    ranks = True

    def __init__(
        self, normalize: bool = True, groups: str = "all", cost_power: float = 0.0
    ) -> None:
        if groups not in ("all", "inner"):
            raise ValueError(f"`groups` must be 'all' or 'inner'. Received: groups={groups!r}")
        self.normalize, self.groups, self.cost_power = normalize, groups, cost_power

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            "normalize": self.normalize,
            "groups": self.groups,
            "cost_power": self.cost_power,
        }

    def scores(self, problem: Problem) -> list[np.ndarray]:
        """What is ranked: scores of the channels, float arrays [size], for each group."""
        return [
            np.asarray(problem.scores[group.name], dtype=float) for group in problem.graph.prunable
        ]

    def allocate(self, problem: Problem) -> np.ndarray:
        """The channel vector, int64 array [prunable groups]."""
        scores = self.scores(problem)
        if self.normalize:
            scores = [score / (np.sqrt(np.mean(score**2)) or 1.0) for score in scores]
        if self.cost_power:
            costs = channel_costs(problem) ** self.cost_power
            scores = [score / cost for score, cost in zip(scores, costs, strict=True)]
        ranked = np.ones(len(scores), dtype=bool)
        if self.groups == "inner":
            ranked = inner(problem)
        every = np.sort(np.concatenate([s for s, r in zip(scores, ranked, strict=True) if r]))[::-1]

        def keep(count: float) -> np.ndarray:
            """The vector that the best so many channels of the network make."""
            kept = int(round(count))
            threshold = every[kept - 1] if kept else np.inf
            ratios = [np.mean(score >= threshold) for score in scores]
            return problem.nearest(np.where(ranked, ratios, 1.0))

        return problem.scaled(keep, float(len(every)))


class NetworkSlimming(GlobalRanking):
    """One threshold for the batch-norm scales as they are.

    The scales are read from the traced model: a criterion's scores may be relative to the layer.
    (For other scores as they are: `GlobalRanking(normalize=False)`.) Network slimming also trains
    the base with a penalty on the scales.

    Raises:
        ValueError: If called, where the channels of a group pass no batch norm with a scale.
    """

    ranks = False

    def __init__(self) -> None:
        super().__init__(normalize=False)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {}

    def scores(self, problem: Problem) -> list[np.ndarray]:
        """Absolute scales, the mean over the batch norms that a channel passes."""
        gammas = {
            (call.path, name): np.abs(np.asarray(variable, dtype=float))
            for call in problem.graph.calls.calls
            for name, variable in named_variables(call.operation)
            if name == "gamma"
        }
        found = []
        for group in problem.graph.prunable:
            places = [
                np.bincount(piece.channel_of[here], gammas[key][here], group.size)
                / np.bincount(piece.channel_of[here], minlength=group.size)
                for piece in group.slices
                if piece.role == "channelwise" and (key := (piece.layer, piece.weight)) in gammas
                for here in [piece.channel_of >= 0]
            ]
            if not places:
                raise ValueError(
                    f"Network slimming ranks the scales of batch norms, and '{group.name}' passes "
                    "none. Take 'global_ranking' with another criterion."
                )
            found.append(np.mean(places, axis=0))
        return found


def made_alone(graph: ChannelGraph) -> np.ndarray:
    """Which groups one layer alone makes, that makes no other, bool array [prunable groups].

    The others are such as run through the residual additions of a stage.
    """
    makers = Kernels(graph).of_group
    groups = Counter(kernel for own in makers for kernel in own)
    return np.array([len(own) == 1 and groups[own[0]] == 1 for own in makers], dtype=bool)


def inner(problem: Problem) -> np.ndarray:
    """Which groups one layer alone makes, that makes no other, bool array [prunable groups].

    Raises:
        ValueError: If these cannot meet the budget without the others.
    """
    found = made_alone(problem.graph)
    narrowest = np.where(found, problem.space.smallest, problem.space.largest)
    most = problem.bounds.ranges[problem.budget.target][1]
    if not found.any() or problem.spent(narrowest[None])[0] > most:
        raise ValueError(
            f"{problem.budget} cannot be met by the {int(found.sum())} of {len(found)} groups "
            "alone that one layer makes. Rank all of them: groups='all'."
        )
    return found


def channel_costs(problem: Problem) -> np.ndarray:
    """What one channel of each group costs in the unpruned network, float array [groups]."""
    full = problem.graph.full
    fewer = np.repeat(full[None], len(full), axis=0) - np.diag(full > 1).astype(int)
    spent = problem.spent(np.concatenate([full[None], fewer])).astype(float)
    costs = spent[0] - spent[1:]
    return np.maximum(costs / (costs.max() or 1.0), 1e-6)
