"""Repairs a pruned model with a few unlabelled images."""

from tfrcp.update.batch_norm import recalibrate_batch_norm

__all__ = ["recalibrate_batch_norm"]
