"""Training and fine-tuning: one recipe, one loop, on one device or several; supernets."""

from __future__ import annotations

from tfrcp.training.distribute import is_chief, strategy
from tfrcp.training.fit import evaluate, fit
from tfrcp.training.log import EpochLog
from tfrcp.training.recalibration import RecalibrateBatchNorm
from tfrcp.training.recipe import Recipe
from tfrcp.training.scratch import fit_supernet
from tfrcp.training.sparsity import Sparsity
from tfrcp.training.supernet import Supernet

__all__ = [
    "EpochLog",
    "RecalibrateBatchNorm",
    "Recipe",
    "Sparsity",
    "Supernet",
    "evaluate",
    "fit",
    "fit_supernet",
    "is_chief",
    "strategy",
]
