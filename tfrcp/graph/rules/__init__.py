"""One rule per kind of layer: how channels pass, what it costs, how it is sliced, how it runs."""

from __future__ import annotations

import keras
from keras import layers

from tfrcp.graph.rules.base import Product, Rule, UnknownRule
from tfrcp.graph.rules.elementwise import (
    ELEMENTWISE_LAYERS,
    ELEMENTWISE_OPERATIONS,
    ActivationRule,
    ElementwiseRule,
    RescalingRule,
)
from tfrcp.graph.rules.merging import ConcatenateRule, MergeRule
from tfrcp.graph.rules.mixing import ConvolutionRule, DenseRule, DepthwiseRule, KernelRule
from tfrcp.graph.rules.moving import MovingRule, PadRule, ReshapeRule
from tfrcp.graph.rules.normalization import BatchNormalizationRule
from tfrcp.graph.rules.spatial import SpatialRule

__all__ = ["BatchNormalizationRule", "KernelRule", "Product", "Rule", "find_rule"]

_LAYERS: dict[type, Rule] = {
    layers.Activation: ActivationRule(),
    layers.Rescaling: RescalingRule(),
    layers.BatchNormalization: BatchNormalizationRule(),
    layers.Concatenate: ConcatenateRule(),
    layers.Dense: DenseRule(),
    layers.Flatten: MovingRule(),
    layers.Permute: MovingRule(),
    layers.Reshape: ReshapeRule(),
    **dict.fromkeys(ELEMENTWISE_LAYERS, ElementwiseRule()),
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D), ConvolutionRule()),
    **dict.fromkeys((layers.DepthwiseConv1D, layers.DepthwiseConv2D), DepthwiseRule()),
    **dict.fromkeys(
        (
            layers.Add,
            layers.Average,
            layers.Maximum,
            layers.Minimum,
            layers.Multiply,
            layers.Subtract,
        ),
        MergeRule(),
    ),
    **dict.fromkeys(
        (
            *(
                getattr(layers, f"{kind}Pooling{n}D")
                for kind in ("Average", "Max")
                for n in (1, 2, 3)
            ),
            *(
                getattr(layers, f"Global{kind}Pooling{n}D")
                for kind in ("Average", "Max")
                for n in (1, 2, 3)
            ),
            layers.Cropping2D,
            layers.UpSampling2D,
            layers.ZeroPadding2D,
        ),
        SpatialRule(),
    ),
}
# Operations of `keras.ops` have no public classes: they are told by their names.
_OPERATIONS: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE_OPERATIONS, ElementwiseRule()),
    **dict.fromkeys(
        ("Add", "Divide", "Maximum", "Minimum", "Multiply", "Subtract", "TrueDivide"), MergeRule()
    ),
    **dict.fromkeys(("ExpandDims", "GetItem", "Squeeze", "Transpose"), MovingRule()),
    "Concatenate": ConcatenateRule(),
    "Pad": PadRule(),
    "Reshape": ReshapeRule(),
}
_UNKNOWN = UnknownRule()


def find_rule(operation: keras.Operation) -> Rule:
    """The rule for an operation, of exactly its class: a subclass may do anything."""
    if isinstance(operation, layers.Layer):
        return _LAYERS.get(type(operation), _UNKNOWN)
    if type(operation).__module__.startswith("keras.src.ops."):
        return _OPERATIONS.get(type(operation).__name__, _UNKNOWN)
    return _UNKNOWN
