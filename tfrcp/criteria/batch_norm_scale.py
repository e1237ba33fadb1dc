"""The scale of a channel's batch norm."""

from __future__ import annotations

import numpy as np

from tfrcp.criteria.base import WeightCriterion
from tfrcp.graph.channels import WeightSlice


class BatchNormScale(WeightCriterion):
    r"""The absolute scale \(|\gamma_j|\) of the batch norms that a channel passes.

    Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017.
    Groups without batch norm are refused.
    """

    place = "batch norm with a scale"

    def applies(self, piece: WeightSlice) -> bool:
        """The scales of normalization layers."""
        return piece.weight == "gamma" and piece.role == "channelwise"

    def score(self, weight: np.ndarray) -> np.ndarray:
        """Absolute values, float64 array [channels]."""
        return np.abs(weight[:, 0])
