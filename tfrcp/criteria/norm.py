"""L1 and L2 norm of a channel's weights."""

from __future__ import annotations

import numpy as np

from tfrcp.criteria.base import WeightCriterion
from tfrcp.graph.channels import WeightSlice


class _Norm(WeightCriterion):
    def applies(self, piece: WeightSlice) -> bool:
        """The kernels that make the channels, depthwise ones included."""
        return piece.role == "output"


class L1(_Norm):
    r"""The L1 norm of the weights that make a channel: \(\sum_k |W_{jk}|\).

    Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017.
    """

    def score(self, weight: np.ndarray) -> np.ndarray:
        """Sum of absolute values, float64 array [channels]."""
        return np.abs(weight).sum(axis=1)


class L2(_Norm):
    r"""The L2 norm of the weights that make a channel: \(\sqrt{\sum_k W_{jk}^2}\)."""

    def score(self, weight: np.ndarray) -> np.ndarray:
        """Square root of the sum of squares, float64 array [channels]."""
        return np.sqrt((weight**2).sum(axis=1))
