"""The benchmark: criteria and allocations under one regime, with random pruning as the baseline.

A study compares settings over seeds: criteria under random pruning (`criteria`), ways to allocate
channels (`search`), lengths of fine-tuning (`epochs`), numbers of candidates (`samples`). All
start from one base, and inherit, are reconstructed, fine-tuned and tested alike.
"""

from __future__ import annotations

from tfrcp.studies.allocations import Step, deterministic, into_window, meet_budget, nearest
from tfrcp.studies.grid import STUDIES, Cell, Setting
from tfrcp.studies.runner import Benchmark

__all__ = [
    "STUDIES",
    "Benchmark",
    "Cell",
    "Setting",
    "Step",
    "deterministic",
    "into_window",
    "meet_budget",
    "nearest",
]
