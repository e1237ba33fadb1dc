"""Reconstructs the weights of a pruned model with a few unlabelled images."""

from tfrcp.reconstruction.batch_norm import recalibrate_batch_norm
from tfrcp.reconstruction.cached import CachedLeastSquares
from tfrcp.reconstruction.least_squares import fit_sequentially, reconstruct

__all__ = ["CachedLeastSquares", "fit_sequentially", "recalibrate_batch_norm", "reconstruct"]
