"""Allocations: how many channels every group keeps. One method per file, each with its source."""

from __future__ import annotations

from tfrcp.studies.allocations.base import (
    Allocation,
    Step,
    check,
    deterministic,
    into_window,
    meet_budget,
    nearest,
)
from tfrcp.studies.allocations.erk import erk
from tfrcp.studies.allocations.global_ranking import global_ranking
from tfrcp.studies.allocations.greedy import greedy
from tfrcp.studies.allocations.random_tickets import random_tickets
from tfrcp.studies.allocations.searches import evolutionary, random
from tfrcp.studies.allocations.uniform import uniform

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

ALLOCATIONS: dict[str, Allocation] = {
    "erk": erk,
    "evolutionary": evolutionary,
    "global_ranking": global_ranking,
    "greedy": greedy,
    "random": random,
    "random_tickets": random_tickets,
    "uniform": uniform,
}
"""The allocations by name."""
