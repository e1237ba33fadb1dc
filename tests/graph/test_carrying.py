"""Sliced models keep the state of their layers: vocabularies, adapters, flags, arrays."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfrcp

FEATURES = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
WORDS = tf.constant([["a b c d"], ["b c d e"], ["x y z a b"]])
IMAGES = np.random.default_rng(1).normal(size=(3, 6, 6, 2)).astype("float32")
SEQUENCES = np.random.default_rng(2).normal(size=(3, 5, 8)).astype("float32")


def sliced(model, share=0.5):
    graph = tfrcp.trace(model)
    masks = {g.name: np.arange(g.size) < max(1, int(g.size * share)) for g in graph.prunable}
    return tfrcp.slice_model(model, graph, masks)


def reloaded(model, path):
    model.save(path / "model.keras")
    return keras.models.load_model(path / "model.keras")


def check_same(model, x, path):
    """Keeping all channels changes nothing; a pruned model is saved and loaded as it is."""
    np.testing.assert_allclose(sliced(model, 1.0)(x), model(x), rtol=1e-5, atol=1e-6)
    pruned = sliced(model)
    assert pruned.count_params() < model.count_params()
    np.testing.assert_allclose(reloaded(pruned, path)(x), pruned(x), rtol=1e-5, atol=1e-6)
    return pruned


def adapted(layer, data):
    layer.adapt(data)
    return layer


def head(inputs, x):
    x = layers.Dense(8, activation="relu")(ops.cast(x, "float32"))
    return keras.Model(inputs, layers.Dense(2)(x))


@pytest.mark.parametrize("mode", ["multi_hot", "count", "tf_idf"])
@pytest.mark.parametrize("given", [False, True])
def test_text_vectorization(mode, given, tmp_path):
    options = {"vocabulary": ["a", "b", "z"]} if given else {}
    if given and mode == "tf_idf":
        options["idf_weights"] = [0.1, 0.2, 0.7]
    layer = layers.TextVectorization(output_mode=mode, **options)
    if not given:
        layer.adapt(WORDS[:2])
    inputs = keras.Input((1,), dtype="string")
    check_same(head(inputs, layer(inputs)), WORDS, tmp_path)


def test_text_vectorization_with_functions():
    separator = " "
    layer = layers.TextVectorization(
        output_mode="count",
        standardize=lambda x: tf.strings.lower(x),
        split=lambda x: tf.strings.split(x, separator),
    )
    layer.adapt(WORDS)
    inputs = keras.Input((1,), dtype="string")
    model = head(inputs, layer(inputs))
    np.testing.assert_allclose(sliced(model, 1.0)(WORDS), model(WORDS), rtol=1e-6)


@pytest.mark.parametrize("mode", ["one_hot", "tf_idf"])
@pytest.mark.parametrize(
    ("kind", "values"),
    [(layers.StringLookup, ["a", "b", "b", "c"]), (layers.IntegerLookup, [5, 7, 7, 9])],
)
def test_lookups(kind, values, mode, tmp_path):
    layer = adapted(kind(output_mode=mode), np.array(values))
    x = tf.constant(values)[:, None]
    inputs = keras.Input((1,), dtype=x.dtype.name)
    check_same(head(inputs, layer(inputs)), x, tmp_path)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: adapted(layers.Normalization(), FEATURES),
        lambda: adapted(layers.Normalization(invert=True), FEATURES),
        lambda: layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 2.0, 3.0]),
        lambda: adapted(layers.Discretization(num_bins=4), FEATURES),
        lambda: layers.Discretization(bin_boundaries=[-0.5, 0.5]),
    ],
)
def test_adapted_numbers(layer, tmp_path):
    inputs = keras.Input((3,))
    check_same(head(inputs, layer()(inputs)), FEATURES, tmp_path)


def convolutions(*behind):
    x = inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(8, 3, padding="same", name="first")(x)
    x = layers.Conv2D(8, 3, padding="same", name="second")(x)
    for layer in behind:
        x = layer(x)
    x = layers.Conv2D(4, 1)(x)
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


def attention(layer):
    inputs = keras.Input((5, 8))
    x = layers.Dense(8)(inputs)
    x = layer(x, x) if "Attention" in type(layer).__name__ else layer(x)
    return keras.Model(inputs, layers.Dense(2)(layers.Dense(8)(x)))


def with_adapters(kind):
    if kind == "Dense":
        layer = inner = layers.Dense(6)
    elif kind == "Conv2D":
        layer = inner = layers.Conv2D(6, 1)
    elif kind == "EinsumDense":
        layer = inner = layers.EinsumDense("abc,cd->abd", output_shape=(None, 6), bias_axes="d")
    elif kind == "TimeDistributed":
        inner = layers.Dense(6)
        layer = layers.TimeDistributed(inner)
    elif kind == "MultiHeadAttention":
        layer = layers.MultiHeadAttention(2, 4)
    else:
        layer = layers.GroupQueryAttention(4, 4, 2)
    image = kind in ("Dense", "Conv2D")
    model = convolutions(layer) if image else attention(layer)
    inner = layer._query_dense if "Attention" in kind else inner
    inner.enable_lora(2, lora_alpha=5)
    inner.lora_kernel_b.assign(np.random.default_rng(3).normal(size=inner.lora_kernel_b.shape))
    return model, IMAGES if image else SEQUENCES, isinstance(inner, layers.Dense)


@pytest.mark.parametrize(
    "kind",
    "Dense Conv2D EinsumDense TimeDistributed MultiHeadAttention GroupQueryAttention".split(),
)
def test_low_rank_adapters(kind, tmp_path):
    model, x, dense = with_adapters(kind)
    if dense:  # which Keras 3.15 loads without the scale of its adapters
        np.testing.assert_allclose(sliced(model, 1.0)(x), model(x), rtol=1e-5, atol=1e-6)
        pruned = sliced(model)
    else:
        pruned = check_same(model, x, tmp_path)
    expected = [v.name for v in model.trainable_variables]
    assert [v.name for v in pruned.trainable_variables] == expected


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("Dense", "int8"), ("Dense", "float8"), ("MultiHeadAttention", "int4")],
)
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_quantized_layers_stay_whole(kind, mode):
    model = (
        convolutions(layers.Dense(6, name="dense"))
        if kind == "Dense"
        else attention(layers.MultiHeadAttention(2, 4, name="dense"))
    )
    x = IMAGES if kind == "Dense" else SEQUENCES
    layer = model.get_layer("dense")
    for inner in layer._flatten_layers():
        if isinstance(inner, layers.Dense | layers.EinsumDense):
            inner.quantize(mode)
    pruned = sliced(model)
    assert pruned.count_params() < model.count_params()
    assert any("quantized" in (g.reason or "") for g in tfrcp.trace(model).groups)
    np.testing.assert_allclose(sliced(model, 1.0)(x), model(x), rtol=1e-5, atol=1e-6)
    assert [v.dtype for v in pruned.get_layer("dense").variables] == [
        v.dtype for v in layer.variables
    ]


def test_layers_without_weights_may_have_other_names():
    first, second = (convolutions(layers.ReLU(name=name)) for name in ("one", "other"))
    for ours, theirs in zip(first.layers, second.layers, strict=True):
        if theirs.weights:
            theirs.name = ours.name
    graph = tfrcp.trace(first)
    np.testing.assert_allclose(tfrcp.slice_model(second, graph, {})(IMAGES), second(IMAGES))
