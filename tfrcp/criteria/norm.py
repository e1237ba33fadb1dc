"""L1 and L2 norm of a channel's weights: of those that make it, or of all with a kernel."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfrcp.arguments import check_choice
from tfrcp.criteria.base import WeightCriterion
from tfrcp.graph.channels import ChannelGraph, WeightSlice
from tfrcp.graph.program import Program
from tfrcp.graph.weights import Weights, slice_weights

SCOPES = ("makers", "folded", "group")


class _Norm(WeightCriterion):
    def __init__(
        self, *, scope: str = "makers", reduction: str = "mean", normalize: bool = True
    ) -> None:
        check_choice("scope", scope, SCOPES)
        super().__init__(reduction=reduction, normalize=normalize)
        self.scope = scope

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {"scope": self.scope, **super().get_config()}

    def applies(self, piece: WeightSlice) -> bool:
        """The kernels that make the channels, depthwise ones included, or also those that read."""
        return piece.role == "output" or (self.scope == "group" and piece.role == "input")

    def weights(self, model: keras.Model, graph: ChannelGraph) -> Weights:
        """All weights with channels, batch norms folded into the kernels where that is wanted."""
        weights = super().weights(model, graph)
        if self.scope == "makers":
            return weights
        return Program(graph).fold(slice_weights(graph, weights, {}))


class L1(_Norm):
    r"""The L1 norm of the weights that make a channel: \(\sum_k |W_{jk}|\).

    Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017.

    Args:
        scope: What is looked at. "makers": the kernels that make the channel, as they are.
            "folded": these with the batch norm behind them folded in, whose norm is
            \(|\gamma_j| / \sqrt{\sigma_j^2 + \epsilon}\) times the kernel's: the kernel alone has
            no scale there. (A batch norm is folded in if it alone reads what the kernel makes.)
            "group": also the kernels that read the channel, likewise folded.
        reduction: "mean", "sum" or "max" over these kernels.
        normalize: Whether the norms in a kernel are first divided by their mean over its channels.
    """

    def score(self, weight: np.ndarray) -> np.ndarray:
        """Sum of absolute values, float64 array [channels]."""
        return np.abs(weight).sum(axis=1)


class L2(_Norm):
    r"""The L2 norm of the weights that make a channel: \(\sqrt{\sum_k W_{jk}^2}\).

    Arguments as for `L1`.
    """

    def score(self, weight: np.ndarray) -> np.ndarray:
        """Square root of the sum of squares, float64 array [channels]."""
        return np.sqrt((weight**2).sum(axis=1))
