"""One rule per kind of layer: how channels pass, what it costs, how it is sliced, how it runs."""

from __future__ import annotations

import keras
from keras import layers

from tfrcp.graph.calls import Call
from tfrcp.graph.expand import can_be_opened
from tfrcp.graph.held import AcrossBatch, HeldWeight
from tfrcp.graph.rules.attention import GroupQueryAttentionRule, MultiHeadAttentionRule
from tfrcp.graph.rules.base import Axes, Product, Rule
from tfrcp.graph.rules.convolution import ConvolutionRule
from tfrcp.graph.rules.dense import DenseRule, EinsumDenseRule, is_dense
from tfrcp.graph.rules.depthwise import DepthwiseRule, SeparableRule
from tfrcp.graph.rules.elementwise import (
    ELEMENTWISE_LAYERS,
    ELEMENTWISE_OPERATIONS,
    ActivationRule,
    ChannelScaleRule,
    ConstantsRule,
    ElementwiseRule,
    FilledRule,
    PReLURule,
    PreprocessingRule,
    RollRule,
    SoftmaxRule,
)
from tfrcp.graph.rules.embedding import EmbeddingRule
from tfrcp.graph.rules.frozen import (
    RECURRENT,
    FrozenRule,
    is_recurrent,
    recurrent,
    reverse_embedding,
)
from tfrcp.graph.rules.heads import EinsumHeadsRule
from tfrcp.graph.rules.held import AcrossBatchRule, HeldWeightRule
from tfrcp.graph.rules.held_convolution import HeldConvolutionRule
from tfrcp.graph.rules.kernel import KernelRule
from tfrcp.graph.rules.merging import ConcatenateRule, GluRule, MergeRule, StackRule, UnstackRule
from tfrcp.graph.rules.normalization import (
    BatchNormalizationRule,
    ChannelNormalizationRule,
    GroupNormalizationRule,
    NormalizeRule,
)
from tfrcp.graph.rules.plain_attention import AttentionRule, DotProductAttentionRule
from tfrcp.graph.rules.products import DotRule, EinsumRule, MatmulRule
from tfrcp.graph.rules.proving import UnknownRule, shown_alone
from tfrcp.graph.rules.reshaping import MovingRule, RepeatRule, ReshapeRule
from tfrcp.graph.rules.slicing import GetItemRule, PadRule, SplitRule, TakeRule
from tfrcp.graph.rules.spatial import (
    DepthToSpaceRule,
    ReductionRule,
    SpaceToDepthRule,
    SpatialRule,
)
from tfrcp.graph.rules.transposed import TransposedRule
from tfrcp.graph.rules.wrapping import SpectralNormalizationRule, TimeDistributedRule

__all__ = [
    "Axes",
    "BatchNormalizationRule",
    "EinsumHeadsRule",
    "ElementwiseRule",
    "KernelRule",
    "Product",
    "Rule",
    "find_rule",
    "knows",
    "opens",
    "register_rule",
]


def find_rule(operation: keras.Operation) -> Rule:
    """The rule for an operation, of exactly its class: a subclass may do anything."""
    kind = type(operation)
    if kind in _LAYERS:
        rule = _LAYERS[kind]
        return rule if rule is not _EINSUM_DENSE or is_dense(operation) else _EINSUM_HEADS
    if kind.__module__.startswith(
        ("keras.src.ops.", "keras.src.activations.", "keras.src.applications.")
    ):
        return _BY_NAME.get(kind.__name__, _UNKNOWN)
    return _UNKNOWN


def opens(operation: keras.Operation) -> bool:
    """Whether an operation is a layer that has no rule and may be made of others."""
    if type(operation) is layers.Activation:
        # No file can hold a function without a name; what it calls can be written down.
        return getattr(operation.activation, "__name__", "") == "<lambda>"
    return find_rule(operation) is _UNKNOWN and can_be_opened(operation)


def knows(operation: keras.Operation) -> bool:
    """Whether an operation has a rule, or may be made of others that have."""
    return find_rule(operation) is not _UNKNOWN or opens(operation)


def acts_on_each_alone(call: Call) -> bool:
    """Whether a layer of the user's is shown to act on each position of the last axis alone."""
    return bool(call.inputs) and shown_alone(call, len(call.inputs[0].shape) - 1) is not None


def register_rule(layer_class: type[keras.Operation], rule: Rule) -> None:
    """Teaches tfrcp a layer of one's own, or another rule for a known one.

    Args:
        layer_class: The layer's class. Subclasses of it are not meant: each needs its own rule.
        rule: An instance of a subclass of `tfrcp.graph.rules.Rule`.

    Raises:
        ValueError: If either is something else.
    """
    if not (isinstance(layer_class, type) and issubclass(layer_class, keras.Operation)):
        raise ValueError(
            f"`layer_class` must be a class of Keras layers. Received: {layer_class!r}"
        )
    if not isinstance(rule, Rule):
        raise ValueError(
            "`rule` must be an instance of a subclass of `tfrcp.graph.rules.Rule`. "
            f"Received: {rule!r}"
        )
    _LAYERS[layer_class] = rule


def _classes(*names: str) -> list[type]:
    """Layers by name, as far as this version of Keras has them."""
    return [getattr(layers, name) for name in names if hasattr(layers, name)]


_SPATIAL = [
    *(f"{kind}Pooling{n}D" for kind in ("Average", "Max") for n in (1, 2, 3)),
    *(f"Global{kind}Pooling{n}D" for kind in ("Average", "Max") for n in (1, 2, 3)),
    *(f"Adaptive{kind}Pooling{n}D" for kind in ("Average", "Max") for n in (1, 2, 3)),
    *(f"{kind}{n}D" for kind in ("Cropping", "UpSampling", "ZeroPadding") for n in (1, 2, 3)),
    "CenterCrop",
    "Resizing",
]
_PREPROCESSING = [
    *"AugMix AutoContrast CategoryEncoding CutMix Discretization Equalization".split(),
    *"HashedCrossing Hashing IntegerLookup MaxNumBoundingBoxes MixUp RandAugment".split(),
    *"Solarization StringLookup TextVectorization".split(),
    "ContrastLimitedAdaptiveHistogramEqualization",
    *(name for name in dir(layers) if name.startswith("Random")),
]
_UNKNOWN = UnknownRule()
_EINSUM_DENSE, _EINSUM_HEADS = EinsumDenseRule(), EinsumHeadsRule()
_RECURRENT = FrozenRule("recurrent layers are not pruned", recurrent, counts=is_recurrent)
_LAYERS: dict[type, Rule] = {
    AcrossBatch: AcrossBatchRule(),
    HeldWeight: HeldWeightRule(),
    layers.Activation: ActivationRule(),
    layers.AdditiveAttention: AttentionRule(),
    layers.Attention: AttentionRule(),
    layers.BatchNormalization: BatchNormalizationRule(),
    layers.Concatenate: ConcatenateRule(),
    layers.Dense: DenseRule(),
    layers.Dot: DotRule(),
    layers.EinsumDense: _EINSUM_DENSE,
    layers.Embedding: EmbeddingRule(),
    layers.GroupNormalization: GroupNormalizationRule(),
    layers.GroupQueryAttention: GroupQueryAttentionRule(),
    layers.LayerNormalization: ChannelNormalizationRule(),
    layers.MultiHeadAttention: MultiHeadAttentionRule(),
    layers.Normalization: ConstantsRule(),
    layers.PReLU: PReLURule(),
    layers.RMSNormalization: ChannelNormalizationRule(),
    layers.Rescaling: ConstantsRule(),
    layers.Reshape: ReshapeRule(),
    layers.Softmax: SoftmaxRule(),
    layers.SpectralNormalization: SpectralNormalizationRule(find_rule),
    layers.TimeDistributed: TimeDistributedRule(find_rule),
    layers.UnitNormalization: ChannelNormalizationRule(),
    **dict.fromkeys((layers.Bidirectional, *RECURRENT), _RECURRENT),
    **dict.fromkeys(
        _classes("ReversibleEmbedding"),
        FrozenRule("its table is read both ways", reverse_embedding),
    ),
    **dict.fromkeys(_classes(*_PREPROCESSING), PreprocessingRule()),
    **dict.fromkeys(ELEMENTWISE_LAYERS, ElementwiseRule()),
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D), ConvolutionRule()),
    **dict.fromkeys(
        (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), TransposedRule()
    ),
    **dict.fromkeys((layers.DepthwiseConv1D, layers.DepthwiseConv2D), DepthwiseRule()),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), SeparableRule()),
    **dict.fromkeys((layers.Flatten, layers.Permute, layers.RepeatVector), MovingRule()),
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
    **dict.fromkeys(_classes(*_SPATIAL), SpatialRule()),
}
# Operations of `keras.ops` and the layers of `keras.applications` have no public classes: they are
# told by their names.
_BY_NAME: dict[str, Rule] = {
    "Concatenate": ConcatenateRule(),
    "Conv": HeldConvolutionRule(),
    "DepthToSpace": DepthToSpaceRule(),
    "DotProductAttention": DotProductAttentionRule(),
    "Einsum": EinsumRule(),
    "GetItem": GetItemRule(),
    "Glu": GluRule(),
    "LayerScale": ChannelScaleRule(),
    "LogSoftmax": SoftmaxRule(),
    "Matmul": MatmulRule(),
    "Normalize": NormalizeRule(),
    "OnesLike": FilledRule(),
    "Pad": PadRule(),
    "Repeat": RepeatRule(),
    "Reshape": ReshapeRule(),
    "Roll": RollRule(),
    "Softmax": SoftmaxRule(),
    "SpaceToDepth": SpaceToDepthRule(),
    "Split": SplitRule(),
    "Stack": StackRule(),
    "Take": TakeRule(),
    "Unstack": UnstackRule(),
    "ZerosLike": FilledRule(),
    **dict.fromkeys(ELEMENTWISE_OPERATIONS, ElementwiseRule()),
    **dict.fromkeys(
        "Add Arctan2 CustomScaleLayer Divide DivideNoNan Equal FloorDivide Fmax Fmin Fmod Greater "
        "GreaterEqual Heaviside Hypot Less LessEqual Logaddexp LogicalAnd LogicalOr LogicalXor "
        "Maximum Minimum Mod Multiply NotEqual Power Subtract TrueDivide Where".split(),
        MergeRule(),
    ),
    **dict.fromkeys(
        "ExpandDims Flip Fliplr Moveaxis Rot90 Squeeze Swapaxes Tile Transpose".split(),
        MovingRule(),
    ),
    **dict.fromkeys(
        "All Amax Amin Any Logsumexp Max Mean Min Moments Norm Prod Std Sum Var".split(),
        ReductionRule(),
    ),
    **dict.fromkeys("AveragePool CropImages MaxPool PadImages Resize".split(), SpatialRule()),
}
