"""Allocations as the studies compare them: those of `tfrcp.allocation`, and searches."""

from __future__ import annotations

import numpy as np

from tfrcp import allocation
from tfrcp.allocation.base import nearest
from tfrcp.studies.allocations.base import (
    Allocation,
    Step,
    check,
    deterministic,
    into_window,
    meet_budget,
)
from tfrcp.studies.allocations.reinforcement import reinforcement
from tfrcp.studies.allocations.searches import evolutionary, guided, random, surrogate

__all__ = [
    "ALLOCATIONS",
    "Allocation",
    "Step",
    "check",
    "deterministic",
    "into_window",
    "meet_budget",
    "nearest",
]


def _of_step(name: str) -> Allocation:
    """An allocation of `tfrcp.allocation` as a function of a step; none depends on the seed."""

    @deterministic
    def allocate(step: Step) -> np.ndarray:
        return allocation.get(name)(
            step.space.graph, step.scores, step.space, step.cost, step.budget, score=step.score
        )

    allocate.__name__ = name
    return allocate


ALLOCATIONS: dict[str, Allocation] = {
    **{name: _of_step(name) for name in allocation.ALLOCATIONS},
    "evolutionary": evolutionary,
    "guided": guided,
    "random": random,
    "reinforcement": reinforcement,
    "surrogate": surrogate,
}
"""The allocations by name."""
