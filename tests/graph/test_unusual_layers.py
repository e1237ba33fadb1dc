"""Unusual layers and models: whatever cannot be followed is frozen, nothing is pruned wrongly."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfrcp
from tests.networks import conv, head, image, norm
from tests.references import (
    assert_close,
    assert_consistent,
    flat,
    full_masks,
    images_for,
    one_channel_masks,
    random_masks,
    randomize,
)
from tfrcp.graph.program import Program
from tfrcp.graph.weights import read_weights, slice_weights


def outputs_of(x):
    return layers.Dense(3, name="head")(layers.Flatten(name="flatten")(x))


# Shared and nested layers.


@pytest.mark.parametrize("permuted_first", [False, True])
def test_layer_called_along_channels_and_along_steps(permuted_first):
    # One call cannot be followed, so the kernel stays whole for the other, too.
    inputs = keras.Input((8, 2), name="series")
    a, b = (layers.Conv1D(8, 1, name=name)(inputs) for name in "ab")
    dense = layers.Dense(5, name="dense")
    if permuted_first:
        y = dense(layers.Permute((2, 1))(b))
        x = dense(a)
    else:
        x = dense(a)
        y = dense(layers.Permute((2, 1))(b))
    assert_consistent(keras.Model(inputs, outputs_of(layers.Concatenate()([x, y]))))


def test_layer_in_two_models():
    # One layer under two paths: its weights are sliced in one way and counted once.
    shared = conv(4, "shared")
    start = keras.Input((6, 6, 4), name="start")
    inner = keras.Model(start, shared(start), name="inner")
    inputs = image()
    x = inner(layers.ReLU(name="relu")(shared(conv(4, "a")(inputs))))
    assert_consistent(keras.Model(inputs, head(x)))


def test_feature_extractor_beside_its_model():
    start = keras.Input((6, 6, 2), name="start")
    features = conv(4, "a")(start)
    whole = keras.Model(start, conv(5, "b")(features), name="whole")
    part = keras.Model(start, features, name="part")
    inputs = image()
    x = layers.Concatenate()([head_of(whole(inputs)), head_of(part(inputs))])
    assert_consistent(keras.Model(inputs, layers.Dense(3, name="head")(x)))


def head_of(x):
    return layers.GlobalAveragePooling2D()(x)


def test_nested_model_of_open_size():
    start = keras.Input((None, None, 2), name="start")
    inner = keras.Model(start, norm("bn")(conv(4, "a", strides=2)(start)), name="inner")
    inputs = image()
    assert_consistent(keras.Model(inputs, outputs_of(inner(inputs))))


def test_joined_name_is_taken():
    # "a/conv" and "b/conv" become "a_conv" and "b_conv", where there is an "a_conv" already.
    def inner(name):
        start = keras.Input((6, 6, 4), name="start")
        return keras.Model(start, conv(4, "conv")(start), name=name)

    inputs = image()
    x = inner("b")(inner("a")(conv(4, "a_conv")(inputs)))
    assert_consistent(keras.Model(inputs, head(x)))


def test_operations_of_one_name_in_two_nested_models():
    # To load two saved models and to nest both leads here.
    def inner(name):
        keras.utils.clear_session()
        start = keras.Input((6, 6, 4), name="start")
        return keras.Model(start, start * 2.0, name=name)

    inputs = image()
    x = inner("second")(inner("first")(conv(4, "a")(inputs)))
    assert_consistent(keras.Model(inputs, head(x)))


@keras.saving.register_keras_serializable("tfrcp_tests")
class Doubled(keras.Sequential):
    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


def test_sequential_model_with_a_call_of_its_own():
    model = Doubled([image(), conv(4, "a"), layers.Flatten(), layers.Dense(3)])
    with pytest.raises(ValueError, match="subclassed model"):
        tfrcp.trace(model)


# Layers of all kinds.


def test_lambda_is_tried_and_rebuilt():
    # Keras refuses to rebuild a Python lambda from its config, unless it is told that it is safe.
    inputs = image()
    double = layers.Lambda(lambda x: 2 * x, output_shape=lambda shape: shape, name="double")
    model = keras.Model(inputs, head(conv(5, "b")(double(conv(4, "a")(inputs)))))
    graph = tfrcp.trace(model)
    assert [group.name for group in graph.prunable] == ["a", "b"]
    assert "double: run on" in graph.explain()
    assert_consistent(model)
    mixed = layers.Lambda(lambda x: x - tf.reduce_mean(x, -1, keepdims=True), name="mixed")
    model = keras.Model(inputs, head(conv(5, "b")(mixed(conv(4, "a")(inputs)))))
    assert tfrcp.trace(model).groups[0].reason.startswith("mixed (Lambda): no rule")


def test_activation_functions_called_on_tensors():
    # `keras.activations.relu(x)` is an operation of a class ReLU that is not the layer's.
    inputs = image()
    x = keras.activations.silu(keras.activations.relu(conv(4, "a")(inputs)))
    model = keras.Model(inputs, head(abs(ops.clip(x, 0.0, 6.0))))
    assert_consistent(model)
    assert [group.name for group in tfrcp.trace(model).prunable] == ["a"]


@pytest.mark.parametrize("dtype", ["float64", "float16", "mixed_float16"])
def test_precision(dtype):
    options = {"dtype": dtype}
    inputs = keras.Input((6, 6, 2), dtype=keras.DTypePolicy(dtype).compute_dtype)
    x = norm("bn", **options)(conv(4, "a", **options)(inputs))
    x = layers.DepthwiseConv2D(3, name="depthwise", **options)(x)
    x = layers.GlobalAveragePooling2D(**options)(conv(5, "b", **options)(x))
    model = keras.Model(inputs, layers.Dense(3, **options)(x))
    images = images_for(model).astype(inputs.dtype)
    assert_consistent(model, images=images, tolerance=1e-4 if dtype == "float64" else 3e-2)


def test_bias_with_channels_first_is_not_cut_to_the_width():
    # Keras would add a bias of six channels along the six columns.
    inputs = keras.Input((2, 6, 6), name="image")
    x = inputs
    for name, filters, bias in (("a", 7, True), ("b", 5, True), ("c", 7, False)):
        options = {"padding": "same", "data_format": "channels_first", "use_bias": bias}
        x = layers.Conv2D(filters, 3, name=name, **options)(x)
    x = layers.GlobalMaxPooling2D(data_format="channels_first")(x)
    graph = tfrcp.trace(keras.Model(inputs, layers.Dense(3, name="head")(x)))
    assert [group.name for group in graph.prunable] == ["b", "c"]
    assert "along the width" in graph.groups[0].reason


def test_adapted_normalization():
    # Fails: the adapted mean and variance are assigned, but `finalize_state` is not called, so that
    # the sliced model normalizes by 0 and 1.
    normalization = layers.Normalization(name="normalization")
    normalization.adapt(np.random.default_rng(0).normal(3, 2, (10, 6, 6, 2)).astype("float32"))
    inputs = image()
    model = keras.Model(inputs, head(conv(4, "a")(normalization(inputs))))
    assert_consistent(model)


def test_augmentation_is_left_out_in_inference():
    # Fails: these layers augment unless they are told `training=False`, and the program does not.
    inputs = image()
    x = layers.RandomTranslation(0.4, 0.4, name="move")(layers.RandomFlip(name="flip")(inputs))
    model = keras.Model(inputs, outputs_of(conv(4, "a")(x)))
    randomize(model)
    graph, images = tfrcp.trace(model), images_for(model, count=8)
    expected = flat(model(images, training=False))
    arrays = slice_weights(graph, read_weights(graph, model), {})
    assert_close(flat(Program(graph).run(arrays, images)), expected)


def test_dropout_with_a_noise_shape():
    # Fails in training: the noise has as many channels as before.
    inputs = image()
    x = layers.Dropout(0.5, noise_shape=(None, 1, 1, 4), name="dropout")(conv(4, "a")(inputs))
    model = keras.Model(inputs, head(x))
    graph = tfrcp.trace(model)
    pruned = tfrcp.slice_model(model, graph, one_channel_masks(graph))
    assert pruned(images_for(model), training=True).shape == (3, 3)


def test_mask_reaches_its_layer():
    inputs = keras.Input((5, 4), name="series")
    x = layers.Dense(6, activation="relu", name="a")(layers.Masking()(inputs))
    x = layers.GlobalAveragePooling1D()(norm("bn")(layers.Dense(4, name="b")(x)))
    model = keras.Model(inputs, layers.Dense(3, name="head")(x))
    images = images_for(model)
    images[:, 3:] = 0
    assert_consistent(model, images=images)


def test_list_of_one_input_and_one_output():
    inputs = image()
    model = keras.Model([inputs], [head(norm("bn")(conv(4, "a")(inputs)))])
    assert_consistent(model)
    # Images alone will do, as they do for Keras.
    graph = tfrcp.trace(model)
    pruned = tfrcp.slice_model(model, graph, full_masks(graph))
    tfrcp.recalibrate_batch_norm(pruned, np.ones((4, 6, 6, 2), "float32"))


def test_fixed_batch_size():
    inputs = keras.Input(batch_shape=(3, 4, 4, 2), name="image")
    x = ops.reshape(layers.Reshape((16, 3))(conv(3, "a")(inputs)), (3, 48))
    assert_consistent(keras.Model(inputs, layers.Dense(3)(x)))


def test_frozen_model():
    inputs = image()
    model = keras.Model(inputs, head(norm("bn")(conv(4, "a")(inputs))))
    model.trainable = False
    assert_consistent(model)
    graph = tfrcp.trace(model)
    pruned = tfrcp.slice_model(model, graph, full_masks(graph))
    assert not pruned.get_layer("a").trainable


def test_normalization_over_channels_is_over_those_that_are_left():
    def build(filters):
        inputs = image()
        x = layers.LayerNormalization(name="norm")(conv(filters, "a")(inputs))
        return keras.Model(inputs, head(x))

    model, graph = build(6), tfrcp.trace(build(6))
    randomize(model)
    kept = np.array([0, 2, 3, 5])
    by_hand = build(4)
    a, bias, gamma, beta, kernel, last = model.get_weights()
    by_hand.set_weights([a[..., kept], bias[kept], gamma[kept], beta[kept], kernel[kept], last])
    pruned = tfrcp.slice_model(model, graph, {"a": np.isin(np.arange(6), kept)})
    images = images_for(model)
    assert_close(flat(pruned(images)), flat(by_hand(images)))
    assert graph.groups[0].normalized == ("norm",)


def test_sliced_twice_is_sliced_once():
    inputs = image()
    x = layers.Flatten()(norm("bn")(conv(6, "a")(inputs)))
    model = keras.Model(inputs, layers.Dense(3)(layers.Dense(5, name="b")(x)))
    randomize(model)
    graph = tfrcp.trace(model)
    masks = {"a": np.arange(6) != 2, "b": np.arange(5) > 0}
    first = tfrcp.slice_model(model, graph, masks)
    again = random_masks(tfrcp.trace(first), 3)
    second = tfrcp.slice_model(first, tfrcp.trace(first), again)
    for name, mask in masks.items():
        mask[np.flatnonzero(mask)[~again[name]]] = False
    images = images_for(model)
    at_once = tfrcp.slice_model(model, graph, masks)
    assert_close(flat(second(images)), flat(at_once(images)), 1e-6)
