"""Distance of a channel's weights from those of all other channels of the layer."""

from __future__ import annotations

import numpy as np

from tfrcp.criteria.base import WeightCriterion
from tfrcp.graph.channels import WeightSlice


class GeometricMedian(WeightCriterion):
    r"""The sum of the distances to all filters of the same layer: \(\sum_i \|W_j - W_i\|_2\).

    The filters near the layer's geometric median, whose sum is least, can be replaced by the
    others and go first. He et al., "Filter Pruning via Geometric Median for Deep Convolutional
    Neural Networks Acceleration", CVPR 2019. The sum runs over all channels of a layer, also those
    of other groups. Needs no data.
    """

    def applies(self, piece: WeightSlice) -> bool:
        """The kernels that make the channels, depthwise ones included."""
        return piece.role == "output"

    def score(self, weight: np.ndarray) -> np.ndarray:
        """Sum of Euclidean distances to all rows, float64 array [channels]."""
        weight = weight - weight.mean(axis=0)
        square = (weight**2).sum(axis=1)
        distance = square[:, None] + square - 2 * weight @ weight.T
        np.fill_diagonal(distance, 0)
        return np.sqrt(np.maximum(distance, 0)).sum(axis=1)
