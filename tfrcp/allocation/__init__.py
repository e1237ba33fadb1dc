"""Allocations: how many channels every group keeps, from scores and a budget. One per file.

channels = tfrcp.allocation.get("global_ranking")(graph, scores, space, cost, budget)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tfrcp.allocation.base import Allocation, Problem
from tfrcp.allocation.erk import ERK
from tfrcp.allocation.global_ranking import GlobalRanking, NetworkSlimming
from tfrcp.allocation.greedy import Greedy
from tfrcp.allocation.random_tickets import RandomTickets
from tfrcp.allocation.uniform import Uniform

__all__ = [
    "ALLOCATIONS",
    "ERK",
    "Allocation",
    "GlobalRanking",
    "Greedy",
    "NetworkSlimming",
    "Problem",
    "RandomTickets",
    "Uniform",
    "get",
]

ALLOCATIONS: dict[str, type[Allocation]] = {
    "erk": ERK,
    "global_ranking": GlobalRanking,
    "greedy": Greedy,
    "network_slimming": NetworkSlimming,
    "random_tickets": RandomTickets,
    "uniform": Uniform,
}
"""The allocations by name."""


def get(identifier: str | dict[str, Any] | Allocation) -> Callable[..., np.ndarray]:
    """An allocation by name, by configuration, or as it is.

    Args:
        identifier: A name ("erk", "global_ranking", "greedy", "network_slimming",
            "random_tickets", "uniform"), a dict {"class_name", "config"} with the arguments of its
            class, or a callable with the signature of `Allocation`.

    Returns:
        The allocation: a function (graph, scores, space, cost, budget) to an int64 array [prunable
        groups].

    Raises:
        ValueError: If the name is unknown.
    """
    if isinstance(identifier, dict):
        kind = ALLOCATIONS.get(identifier.get("class_name"))
        if kind is None:
            raise ValueError(
                f"`class_name` must be one of {sorted(ALLOCATIONS)}. Received: {identifier}"
            )
        return kind(**identifier.get("config", {}))
    if isinstance(identifier, str) and identifier in ALLOCATIONS:
        return ALLOCATIONS[identifier]()
    if callable(identifier) and not isinstance(identifier, type):
        return identifier
    raise ValueError(
        f"The allocation must be one of {sorted(ALLOCATIONS)}, a config dict or an allocation. "
        f"Received: {identifier!r}"
    )
