"""Allocations: how many channels every group keeps. One method per file, each with its source."""

from __future__ import annotations

from tfrcp.benchmark.allocations.base import (
    Allocation,
    Step,
    check,
    deterministic,
    into_window,
    meet_budget,
    nearest,
)
from tfrcp.benchmark.allocations.erk import erk
from tfrcp.benchmark.allocations.global_ranking import global_ranking
from tfrcp.benchmark.allocations.greedy import greedy
from tfrcp.benchmark.allocations.random_tickets import random_tickets
from tfrcp.benchmark.allocations.searches import evolutionary, random
from tfrcp.benchmark.allocations.uniform import uniform

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
