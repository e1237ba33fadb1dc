"""The scale of a channel's batch norm."""

from __future__ import annotations

import numpy as np

from tfrcp.criteria.base import WeightCriterion
from tfrcp.graph.channels import WeightSlice


class BatchNormScale(WeightCriterion):
    r"""The absolute scale \(|\gamma_j|\) of the batch norms that a channel passes.

    Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017.
    Network slimming compares the scales of all layers as they are, with one threshold, so they are
    not normalized by default. Groups without batch norm are refused.

    Args:
        reduction: "mean", "sum" or "max" over the batch norms that a channel passes.
        normalize: Whether the scales of a layer are first divided by their mean.
    """

    place = "batch norm with a scale"

    def __init__(self, *, reduction: str = "mean", normalize: bool = False) -> None:
        super().__init__(reduction=reduction, normalize=normalize)

    def applies(self, piece: WeightSlice) -> bool:
        """The scales of normalization layers."""
        return piece.weight == "gamma" and piece.role == "channelwise"

    def score(self, weight: np.ndarray) -> np.ndarray:
        """Absolute values, float64 array [channels]."""
        return np.abs(weight[:, 0])
