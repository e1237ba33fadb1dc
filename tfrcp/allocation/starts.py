"""Allocations that cost next to nothing: where a guided search begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tfrcp.allocation.base import Allocation, Scores
from tfrcp.allocation.global_ranking import GlobalRanking
from tfrcp.allocation.uniform import Uniform
from tfrcp.graph.channels import ChannelGraph
from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.space import SearchSpace

if TYPE_CHECKING:
    from tfrcp.deployment.latency_model import LatencyModel

# Scores that are comparable between layers as they are: rankings of these are per cost as well.
COMPARABLE = ("taylor", "kl_divergence")
# Scores that are ranked as they are, as sparsity in training has made them.
AS_THEY_ARE = ("batch_norm_scale", "group_lasso")


def starting_points(
    graph: ChannelGraph,
    scores: Mapping[str, Scores],
    space: SearchSpace,
    cost: CostModel,
    budget: Budget,
    *,
    latency: LatencyModel | None = None,
) -> dict[str, np.ndarray]:
    """Uniform widths, and rankings of all groups and of the inner ones by several criteria.

    Scores that tell of the loss itself are compared as they are, by the cost of a channel, and
    scales as they are; others are divided by their root mean square in each group. Both ways were
    measured: docs/method.md.

    Returns:
        Dict from what it is to int64 array [prunable groups], the likely best first; those that
        cannot meet the budget are missing, and equal ones stand once.
    """
    made: dict[str, tuple[Allocation, Scores]] = {}
    for name in sorted(scores, key=lambda name: name not in (*COMPARABLE, *AS_THEY_ARE)):
        ways = {"": GlobalRanking(), ", inner": GlobalRanking(groups="inner")}
        if name in COMPARABLE:
            ways = {
                " per cost": GlobalRanking(False, "all", 1.0),
                " per cost, inner": GlobalRanking(False, "inner", 1.0),
                **ways,
            }
        if name in AS_THEY_ARE:
            ways = {
                " as they are": GlobalRanking(False),
                " as they are, inner": GlobalRanking(False, "inner"),
                **ways,
            }
        made |= {f"{name}{text}": (way, scores[name]) for text, way in ways.items()}
    made["uniform"] = Uniform(), {}
    found: dict[str, np.ndarray] = {}
    for name, (allocation, own) in made.items():
        try:
            vector = allocation(graph, own, space, cost, budget, latency=latency)
        except ValueError:  # such as inner groups that do not suffice
            continue
        if not any((vector == other).all() for other in found.values()):
            found[name] = vector
    return found
