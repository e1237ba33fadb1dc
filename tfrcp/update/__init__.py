"""Repairs a pruned model with a few unlabelled images."""

from tfrcp.update.batch_norm import recalibrate_batch_norm
from tfrcp.update.cached import CachedLeastSquares
from tfrcp.update.least_squares import reconstruct

__all__ = ["CachedLeastSquares", "recalibrate_batch_norm", "reconstruct"]
