"""Channels on unusual ways: whatever cannot be followed is frozen, nothing is pruned wrongly."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfrcp
from tests.graph.pattern_check import macs
from tests.networks import conv, head, image, norm
from tests.references import (
    assert_consistent,
    one_channel_masks,
)


def outputs_of(x):
    return layers.Dense(3, name="head")(layers.Flatten(name="flatten")(x))


def test_the_image_split_off_again():
    # None of the channels of the first part is ours.
    inputs = image(4, 4, 3)
    joined = layers.Concatenate()([inputs, conv(4, "a")(inputs)])
    first, second = ops.split(joined, [3], axis=-1)
    x = layers.Concatenate()([conv(4, "b")(first), conv(4, "c")(second)])
    assert_consistent(keras.Model(inputs, outputs_of(x)))


# Positions that move.


def test_stride_over_repeated_channels():
    # Every second of [c0 c1 c2] * 4 is not every second of what is left, [c0 c2] * 4.
    inputs = image(2, 2, 2)
    x = layers.Flatten()(conv(3, "a", 1)(inputs))[:, ::2]
    model = keras.Model(inputs, layers.Dense(3)(x))
    assert_consistent(model, [without_the_second])


def without_the_second(graph):
    return {group.name: np.arange(group.size) != 1 for group in graph.prunable}


def test_stride_over_depthwise_channels():
    # As above, with [c0 c0 c0 c1 c1 c1 ...].
    inputs = image()
    x = layers.DepthwiseConv2D(3, depth_multiplier=3)(conv(4, "a")(inputs))
    assert_consistent(keras.Model(inputs, head(x[..., ::2])))


def test_run_of_flattened_channels():
    inputs = image(2, 2, 2)
    x = layers.Flatten()(conv(3, "a", 1)(inputs))[:, 2:7]
    assert_consistent(keras.Model(inputs, layers.Dense(3)(x)))


def test_run_of_channels_before_a_cut_of_the_image():
    # The last axis that the key cuts is not that of the channels.
    inputs = image()
    x = layers.Permute((3, 1, 2))(conv(5, "a")(inputs))
    x = layers.Permute((2, 3, 1))(x[:, :3, 1:, :])
    assert_consistent(keras.Model(inputs, head(x)))


def test_part_of_a_group_may_become_empty():
    # Unless both halves keep something, one of the pooling layers gets no channel at all.
    inputs = image()
    x = conv(4, "a")(inputs)
    parts = [layers.MaxPooling2D(2)(x[..., :2]), layers.AveragePooling2D(2)(x[..., 2:])]
    model = keras.Model(inputs, head(layers.Concatenate()(parts)))
    assert_consistent(model)
    graph = tfrcp.trace(model)
    tfrcp.trace(tfrcp.slice_model(model, graph, one_channel_masks(graph)))


@pytest.mark.parametrize("start", [1, 10])
def test_slice_of_an_image_of_open_size(start):
    # An open axis counts as a few positions while it is traced; the slice may leave none of them.
    inputs = image(None, None, 2)
    x = conv(5, "b")(conv(4, "a")(inputs)[:, start:, 1:, :])
    model = keras.Model(inputs, head(x))
    images = np.random.default_rng(0).normal(size=(2, 12, 9, 2)).astype("float32")
    assert_consistent(model, images=images, sized=False)


def test_reshape_that_merges_the_batch():
    # The rows of the inner tensor are pixels, whose number the batch size decides.
    inputs = image(4, 4, 2)
    x = ops.reshape(conv(3, "a")(inputs), (-1, 3))
    x = ops.reshape(layers.Dense(5, name="b")(x), (-1, 4, 4, 5))
    model = keras.Model(inputs, head(x))
    assert_consistent(model, sized=False)
    assert tfrcp.CostModel(tfrcp.trace(model)).full.flops == macs(model)


def test_transposed_batch():
    inputs = image()
    x = ops.transpose(ops.transpose(conv(3, "a")(inputs), (3, 1, 2, 0)), (3, 1, 2, 0))
    assert_consistent(keras.Model(inputs, head(conv(4, "b")(x))))


# Tensors that are joined.


def test_outer_product():
    # Every operand is spread over the other's channels.
    inputs = image()
    a, b = (
        layers.GlobalAveragePooling2D()(conv(n, name)(inputs)) for n, name in ((3, "a"), (4, "b"))
    )
    x = layers.Reshape((3, 1))(a) * layers.Reshape((1, 4))(b)
    assert_consistent(keras.Model(inputs, outputs_of(x)))


def test_channels_along_different_axes():
    left, right = keras.Input((4, 2), name="left"), keras.Input((5, 2), name="right")
    a = layers.Permute((2, 1))(layers.Conv1D(5, 1, name="a")(left))
    x = layers.Add()([a, layers.Conv1D(4, 1, name="b")(right)])
    assert_consistent(keras.Model([left, right], outputs_of(x)))


def test_crossed_concatenations():
    inputs = image()
    a, b = conv(3, "a")(inputs), conv(4, "b")(inputs)
    x = layers.Add()([layers.Concatenate()([a, b]), layers.Concatenate()([b, a])])
    assert_consistent(keras.Model(inputs, head(x)))


@pytest.mark.parametrize("height", [6, None])
def test_inputs_concatenated_in_height(height):
    inputs = [keras.Input((height, 6, 2), name=name) for name in ("left", "right")]
    x = conv(4, "a")(layers.Concatenate(axis=1)(inputs))
    model = keras.Model(inputs, head(x))
    assert [group.name for group in tfrcp.trace(model).prunable] == ["a"]
    assert_consistent(model, sized=height is not None)


def test_padded_constant_channels():
    inputs = image()
    x = ops.pad(conv(4, "a")(inputs), [[0, 0], [0, 0], [0, 0], [2, 1]], constant_values=0.7)
    model = keras.Model(inputs, head(conv(5, "b")(x)))
    assert_consistent(model)
    # The constant channels, which b reads, do not take its name.
    assert [group.name for group in tfrcp.trace(model).prunable] == ["a", "b"]


def test_clip_with_a_limit_for_each_channel():
    # It acts on each channel alone, but its limits cannot be sliced.
    inputs = image()
    x = ops.clip(conv(4, "a")(inputs), -1.0, np.arange(4, dtype="float32"))
    model = keras.Model(inputs, head(x))
    graph = tfrcp.trace(model)
    assert graph.prunable == ()
    assert "Clip" in graph.groups[0].reason
    # Fails: Keras cannot rebuild the operation from its config, which holds an array.
    assert_consistent(model)


# Single channels.


@pytest.mark.parametrize("axis", [1, 2])
def test_single_channel_normalized_along_another_axis(axis):
    # The label of a single channel fits every axis; the norm cannot be folded all the same.
    inputs = image()
    x = norm("bn", axis=axis)(conv(1, "a")(inputs))
    assert_consistent(keras.Model(inputs, head(conv(4, "b")(x))))


def test_single_channel_is_padded():
    # A network that is pruned to one channel in a padded stream has the same groups as before.
    inputs = image()
    x = ops.pad(conv(1, "a")(inputs), [[0, 0], [0, 0], [0, 0], [1, 2]])
    model = keras.Model(inputs, head(x + conv(4, "b")(inputs)))
    assert_consistent(model)
    assert sum(group.size for group in tfrcp.trace(model).prunable) == 4


def test_single_channel_is_averaged_over_the_image():
    inputs = image()
    x = ops.mean(conv(1, "a")(inputs), axis=(1, 2))
    model = keras.Model(inputs, layers.Dense(3, name="head")(x))
    assert_consistent(model)
    assert [group.name for group in tfrcp.trace(model).prunable] == ["a"]
