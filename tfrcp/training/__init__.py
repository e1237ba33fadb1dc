"""Training and fine-tuning: one recipe, one loop, on one device or several."""

from __future__ import annotations

from tfrcp.training.distribute import is_chief, strategy
from tfrcp.training.fit import evaluate, fit
from tfrcp.training.log import EpochLog
from tfrcp.training.recipe import Recipe

__all__ = ["EpochLog", "Recipe", "evaluate", "fit", "is_chief", "strategy"]
