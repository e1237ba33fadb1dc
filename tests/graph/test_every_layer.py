"""Every layer of `keras.layers`, and many operations, behind a convolution: followed or frozen.

No layer raises, none costs nothing without saying so, and the sliced model answers as the original
with the removed channels masked.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfrcp
from tests.references import assert_close, counts_of, flat, images_for, masked_outputs, randomize
from tfrcp.graph.program import Program
from tfrcp.graph.weights import read_weights, slice_weights

SHAPES = {1: (6, 2), 2: (6, 6, 2), 3: (4, 4, 4, 2)}
CONVOLUTIONS = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}


def plain(name, *args, **options):
    return lambda x: getattr(layers, name)(*args, **options)(x)


def joined(name, **options):
    return lambda x: getattr(layers, name)(**options)([x, layers.Dense(4, name="other")(x)])


def attended(name, *args, **options):
    return lambda x: getattr(layers, name)(*args, **options)(x, x)


def tokens(x):
    return ops.cast(ops.abs(layers.Flatten()(x)), "int32")


def cell(name):
    return lambda x: getattr(layers, name)(3)(
        x[:, 0], [layers.Dense(3)(x[:, n]) for n in ((1, 2) if name == "LSTMCell" else (1,))]
    )[0]


# Channels pass, or are made anew: the convolution before can be pruned. Rank of the input, layer.
FOLLOWED = {
    **{name: (1, plain(name)) for name in ("ELU", "Identity", "LeakyReLU", "ReLU")},
    **{f"{kind}{n}D": (n, plain(f"{kind}{n}D", *args)) for n in (1, 2, 3) for kind, args in (
        ("AdaptiveAveragePooling", (2,)), ("AdaptiveMaxPooling", (2,)), ("AveragePooling", (2,)),
        ("Conv", (5, 3)), ("Cropping", ()), ("GlobalAveragePooling", ()), ("GlobalMaxPooling", ()),
        ("MaxPooling", (2,)), ("SpatialDropout", (0.5,)), ("UpSampling", ()), ("ZeroPadding", ()),
    )},
    **{f"Conv{n}DTranspose": (n, plain(f"Conv{n}DTranspose", 5, 3)) for n in (1, 2, 3)},
    **{f"{kind}Conv{n}D": (n, plain(f"{kind}Conv{n}D", *args)) for n in (1, 2) for kind, args in (
        ("Depthwise", (3,)), ("Separable", (5, 3)))},
    **{name: (1, joined(name)) for name in (
        "Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract")},
    **{name: (2, plain(name, 0.5)) for name in (
        "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise")},
    "Activation": (2, plain("Activation", "silu")),
    "AdditiveAttention": (1, joined("AdditiveAttention")),
    "Attention": (1, joined("Attention")),
    "Attention with keys": (
        1, lambda x: layers.Attention(use_scale=True, score_mode="concat")(
            [x, layers.Dense(5, name="value")(x), layers.Dense(4, name="key")(x)])),
    "ActivityRegularization": (2, plain("ActivityRegularization", 0.1)),
    "BatchNormalization": (2, plain("BatchNormalization")),
    "CenterCrop": (2, plain("CenterCrop", 4, 4)),
    "Dense": (1, plain("Dense", 5)),
    "Dot": (1, joined("Dot", axes=2)),
    "EinsumDense": (1, plain("EinsumDense", "abc,cd->abd", (6, 5))),
    "Flatten": (2, plain("Flatten")),
    "GroupNormalization": (2, plain("GroupNormalization", 2)),
    "GroupQueryAttention": (1, attended("GroupQueryAttention", 3, 4, 2)),
    "LayerNormalization": (2, plain("LayerNormalization")),
    "MultiHeadAttention": (1, attended("MultiHeadAttention", 2, 3)),
    "PReLU": (2, plain("PReLU")),
    "Permute": (2, plain("Permute", (3, 1, 2))),
    "RMSNormalization": (2, plain("RMSNormalization")),
    "RepeatVector": (1, lambda x: layers.RepeatVector(3)(layers.GlobalMaxPooling1D()(x))),
    "Rescaling": (2, plain("Rescaling", 2.0, 1.0)),
    "Reshape": (2, plain("Reshape", (9, 16))),
    "Resizing": (2, plain("Resizing", 5, 5)),
    "Softmax over positions": (2, plain("Softmax", axis=(1, 2))),
    "SpectralNormalization": (2, lambda x: layers.SpectralNormalization(layers.Conv2D(5, 3))(x)),
    "TimeDistributed": (2, lambda x: layers.TimeDistributed(layers.Conv1D(5, 3))(x)),
    "UnitNormalization": (2, plain("UnitNormalization")),
    # One head of keys and values for all queries.
    "GroupQueryAttention multi-query": (
        1, lambda x: layers.GroupQueryAttention(3, 4, 1, use_bias=False)(x, x, use_causal_mask=True)
    ),
    "GroupQueryAttention of two": (
        1, lambda x: layers.GroupQueryAttention(3, 4, 2)(x, layers.Dense(4, name="other")(x))),
    "ops.einsum": (1, lambda x: ops.einsum("bsc,btc->bst", x, ops.square(x))),
    "ops.where": (1, lambda x: ops.where(x > 0.1, x, -x)),
    "ops.logical_and": (1, lambda x: ops.cast(ops.logical_and(x > 0, x < 1), "float32")),
    "ops.roll": (1, lambda x: ops.roll(x, 2, axis=1)),
    "ops.tile": (1, lambda x: ops.tile(x, (1, 1, 2))),
    "ops.rot90": (2, lambda x: ops.rot90(x, axes=(1, 2))),
    "ops.logsumexp": (2, lambda x: ops.logsumexp(x, axis=(1, 2))),
    "ops.image.resize": (2, lambda x: ops.image.resize(x, (4, 4))),
    "ops.image.crop_images": (2, lambda x: ops.image.crop_images(x, 1, 1, 1, 1)),
    "ops.arcsinh": (1, lambda x: ops.arcsinh(x)),
    "x // y": (1, lambda x: x // (ops.exp(layers.Dense(4, name="other")(x)))),
}  # fmt: skip
if hasattr(ops, "depth_to_space"):
    FOLLOWED["ops.depth_to_space"] = 2, lambda x: ops.depth_to_space(layers.Conv2D(12, 1)(x), 2)
    FOLLOWED["ops.space_to_depth"] = 2, lambda x: ops.space_to_depth(x, 2)
# Counted, but the convolution before is frozen: rank, layer, reason, MACs of it alone.
FROZEN = {
    "Bidirectional": (1, lambda x: layers.Bidirectional(layers.GRU(3))(x), "recurrent", 6 * 126),
    "ConvLSTM1D": (2, plain("ConvLSTM1D", 3, 2), "recurrent", 6 * 5 * 2 * 12 * 7),
    "ConvLSTM2D": (3, plain("ConvLSTM2D", 3, 2), "recurrent", 4 * 9 * 4 * 12 * 7),
    "ConvLSTM3D": (
        3, lambda x: layers.ConvLSTM3D(3, 1)(x[:, None]), "recurrent", 64 * 12 * 7),
    "GRU": (1, plain("GRU", 3), "recurrent", 6 * 63),
    "LSTM": (1, plain("LSTM", 3, return_sequences=True), "recurrent", 6 * 84),
    "SimpleRNN": (1, plain("SimpleRNN", 3), "recurrent", 6 * 21),
    "GRUCell": (1, cell("GRUCell"), "recurrent", 63 + 12),
    "LSTMCell": (1, cell("LSTMCell"), "recurrent", 84 + 24),
    "SimpleRNNCell": (1, cell("SimpleRNNCell"), "recurrent", 21 + 12),
    "ReversibleEmbedding": (
        1, lambda x: layers.ReversibleEmbedding(9, 4)(x, reverse=True), "both ways", 6 * 4 * 9),
    "Softmax": (2, plain("Softmax"), "over the channels", 0),
    "MultiHeadAttention over an image": (
        2, attended("MultiHeadAttention", 2, 3, attention_axes=(1, 2)), "several attention axes",
        4 * 36 * 24 + 36 * 36 * 12),
    "GroupQueryAttention with a gate": (
        1, attended("GroupQueryAttention", 3, 4, 2, use_gate=True), "a gate",
        6 * 4 * 3 * (4 + 2 + 2 + 4 + 4) + 36 * 4 * 6),
    "TimeDistributed over channels": (
        2, lambda x: layers.TimeDistributed(layers.Dense(5))(layers.Permute((3, 1, 2))(x)),
        "axis of the steps", 4 * 6 * 6 * 5),
    "ops.matmul": (1, lambda x: ops.matmul(x, np.ones((4, 3), "float32")), "multiplies", 72),
    "ops.roll": (1, lambda x: ops.roll(x, 2, axis=-1), "rolls the channels", 0),
}  # fmt: skip


class Reversed(layers.Layer):
    """A layer that nobody knows."""

    def call(self, x):
        return tf.reverse(x, [-1])


# Said to be uncounted.
UNKNOWN = {
    "Lambda": (1, lambda x: layers.Lambda(lambda y: tf.reverse(y, [-1]))(x)),
    "Pipeline": (1, lambda x: layers.Pipeline([layers.ReLU()])(x)),
    "RNN": (1, lambda x: layers.RNN(layers.StackedRNNCells([layers.GRUCell(3)]))(x)),
    "STFTSpectrogram": (
        1, plain("STFTSpectrogram", frame_length=4, frame_step=2, fft_length=4)),
    "TimeDistributed model": (2, lambda x: layers.TimeDistributed(
        keras.Sequential([keras.Input((6, 4)), layers.Conv1D(4, 3)]))(x)),
    "a layer of one's own": (1, Reversed()),
    "ops.conv": (1, lambda x: ops.conv(x, np.ones((3, 4, 5), "float32"))),
    "ops.einsum of three": (1, lambda x: ops.einsum("bsc,btc,btd->bsd", x, x, x)),
    "ops.cumsum": (1, lambda x: ops.cumsum(x, axis=-1)),
}  # fmt: skip
# For model inputs.
PREPROCESSING = {
    **{name: plain(name) for name in (
        "AugMix", "AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization", "CutMix",
        "Equalization", "MixUp", "RandAugment", "RandomColorJitter", "RandomElasticTransform",
        "RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomInvert",
        "RandomPerspective", "Solarization")},
    **{name: plain(name, 0.2) for name in (
        "RandomBrightness", "RandomColorDegeneration", "RandomContrast", "RandomHue",
        "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomZoom")},
    "RandomCrop": plain("RandomCrop", 8, 8),
    "RandomPosterization": plain("RandomPosterization", 4),
    "RandomTranslation": plain("RandomTranslation", 0.2, 0.2),
    "Normalization": plain("Normalization", mean=[1.0, 2.0, 3.0], variance=[1.0, 2.0, 3.0]),
    "CategoryEncoding": lambda x: layers.CategoryEncoding(4)(tokens(x)),
    "Discretization": plain("Discretization", [0.0, 1.0]),
    "Hashing": lambda x: layers.Hashing(5)(ops.cast(x, "int32")),
    "HashedCrossing": lambda x: layers.HashedCrossing(5)([tokens(x)[:, :1], tokens(x)[:, 1:2]]),
    "IntegerLookup": lambda x: layers.IntegerLookup(vocabulary=[1, 2])(tokens(x)),
    "MaxNumBoundingBoxes": None,
    "RandomShear": None,
    "StringLookup": None,
    "TextVectorization": None,
}  # fmt: skip
# Tested elsewhere, base classes, and models of other frameworks.
ELSEWHERE = set(
    "Embedding FlaxLayer InputLayer JaxLayer Layer Masking MelSpectrogram StackedRNNCells "
    "TFSMLayer TorchModuleWrapper Wrapper".split()
)


def build(rank, layer):
    """Convolution "a", the layer, and a classifier of what it gives."""
    inputs = keras.Input(SHAPES[rank], name="input")
    y = layer(CONVOLUTIONS[rank](4, 1, name="a")(inputs))
    y = layers.Flatten()(y) if len(y.shape) > 2 else y
    model = keras.Model(inputs, layers.Dense(3, name="head")(y))
    randomize(model)
    return model


def check(model, graph, masks):
    """Holds the sliced model against the masked original, the program and the cost model."""
    images = images_for(model)
    pruned = tfrcp.slice_model(model, graph, masks)
    outputs = flat(pruned(images, training=False))
    arrays = slice_weights(graph, read_weights(graph, model), masks)
    assert_close(flat(Program(graph).run(arrays, images)), outputs)
    if not any(group.normalized for group in graph.groups):
        assert_close(outputs, masked_outputs(model, graph, masks, images))
    cost = tfrcp.CostModel(graph)(counts_of(graph, masks))
    counted = tfrcp.CostModel(tfrcp.trace(pruned)).full
    assert tuple(int(n[0]) for n in cost) == tuple(counted)
    assert counted.params == pruned.count_params()


def test_no_layer_is_left_out():
    names = {
        layer.__name__
        for layer in vars(layers).values()
        if isinstance(layer, type) and issubclass(layer, layers.Layer)
    }
    known = {*FOLLOWED, *FROZEN, *UNKNOWN, *PREPROCESSING, *ELSEWHERE, "GroupedQueryAttention"}
    assert not names - known


@pytest.mark.parametrize("name", FOLLOWED)
def test_followed(name):
    model = build(*FOLLOWED[name])
    graph = tfrcp.trace(model)
    (a,) = (group for group in graph.groups if group.slices[0].layer == "a")
    assert a.prunable
    assert not graph.unknown
    check(model, graph, {g.name: np.arange(g.size) > (g.size > 1) - 1 for g in graph.prunable})


@pytest.mark.parametrize("name", FROZEN)
def test_frozen(name):
    rank, layer, reason, flops = FROZEN[name]
    model = build(rank, layer)
    graph = tfrcp.trace(model)
    (a,) = {group.reason for group in graph.groups if group.slices[0].layer == "a"}
    assert reason in a
    assert not graph.unknown
    around = 4 * 2 * np.prod(SHAPES[rank][:-1]) + 3 * model.get_layer("head").kernel.shape[0]
    assert tfrcp.CostModel(graph).full.flops == around + flops
    check(model, graph, {g.name: np.arange(g.size) == 0 for g in graph.prunable})


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown(name):
    model = build(*UNKNOWN[name])
    graph = tfrcp.trace(model)
    (path,) = graph.unknown
    (a,) = {group.reason for group in graph.groups if group.slices[0].layer == "a"}
    assert a.startswith(f"{path} (")
    cost = tfrcp.CostModel(graph)
    assert (path in cost.constant) != (path in cost.uncounted)
    weights = [w for w in model.weights if not w.path.startswith(("a/", "head/"))]
    text = " ".join(graph.explain().split())
    assert f"{path} ({graph.unknown[path]}): 4 channels frozen" in text
    assert "kept whole" in text if weights else "kept whole" not in text
    check(model, graph, {})


@pytest.mark.parametrize("name", [name for name, layer in PREPROCESSING.items() if layer])
def test_preprocessing(name):
    inputs = keras.Input((8, 8, 3), name="image")
    y = ops.cast(PREPROCESSING[name](inputs), "float32")
    y = layers.Flatten()(y) if len(y.shape) == 3 else y
    y = layers.Conv2D(4, 1, name="a")(y) if len(y.shape) == 4 else layers.Dense(4, name="a")(y)
    model = keras.Model(inputs, layers.Dense(3, name="head")(layers.Flatten()(y)))
    randomize(model)
    graph = tfrcp.trace(model)
    assert [group.name for group in graph.prunable] == ["a"]
    assert not graph.unknown
    check(model, graph, {"a": np.arange(4) > 0})


def test_layer_that_cannot_be_made_again_is_named():
    model = build(1, NoConfig(3, name="odd"))
    with pytest.raises(ValueError, match="`odd`.*NoConfig.*get_config"):
        tfrcp.slice_model(model, tfrcp.trace(model), {})


class NoConfig(layers.Layer):
    """A layer that leaves its argument out of its configuration."""

    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor = factor

    def get_config(self):
        return {"name": self.name}

    def call(self, x):
        return x * self.factor
