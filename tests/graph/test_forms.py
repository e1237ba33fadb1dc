"""Forms of models that are met less often: exact, or frozen with a reason."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfrcp
from tests.references import (
    assert_close,
    counts_of,
    flat,
    random_masks,
    randomize,
    removed_outputs,
    run_model,
)
from tfrcp.space.counting import multiply_adds_of

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(2, 8, 8, 2)).astype("float32")


def check(model, data, tolerance=1e-4):
    """Sliced equals masked, costs are those of TensorFlow's graph; returns the graph."""
    randomize(model)
    graph = tfrcp.trace(model)
    cost = tfrcp.CostModel(graph)
    specs = [tf.TensorSpec((1, *x.shape[1:]), x.dtype) for x in model.inputs]

    def macs(network):
        return multiply_adds_of(lambda *x: network(x if len(x) > 1 else x[0]), specs)

    assert cost.full.flops == macs(model)
    for seed in range(2):
        masks = random_masks(graph, seed)
        expected = removed_outputs(model, graph, masks, data)
        pruned = tfrcp.slice_model(model, graph, masks)
        assert [v.dtype for v in pruned.variables] == [v.dtype for v in model.variables]
        assert_close(flat(run_model(pruned)(data)), expected, tolerance)
        assert cost(counts_of(graph, masks)).flops[0] == macs(pruned)
    return graph


def head(inputs, x):
    x = layers.Conv2D(5, 3, padding="same", name="last")(x)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize(
    ("policy", "tolerance"),
    [("float64", 1e-10), ("float16", 2e-2), ("bfloat16", 1e-1), ("mixed_bfloat16", 1e-1)],
)
def test_precisions(policy, tolerance):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        x = inputs = keras.Input((8, 8, 2))
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(x)))
        x = layers.Add()([layers.Conv2D(8, 1)(x), x])
        gate = layers.Conv2D(2, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x))
        x = x * layers.Conv2D(8, 1, activation="sigmoid")(gate)
        model = head(inputs, layers.DepthwiseConv2D(3, padding="same")(x))
    finally:
        keras.config.set_dtype_policy(before)
    assert all(
        g.prunable or g.reason == "model output" for g in check(model, IMAGES, tolerance).groups
    )


def test_a_shared_layer_under_masks():
    first, second = (keras.Input((6,), dtype="int32") for _ in range(2))
    embedded, dense = layers.Embedding(10, 8, mask_zero=True), layers.Dense(6, activation="relu")
    attend, pool = layers.MultiHeadAttention(2, 3), layers.GlobalAveragePooling1D()
    a, b = (dense(embedded(x)) for x in (first, second))
    x = layers.Concatenate()([pool(attend(a, a)), pool(attend(b, a))])
    model = keras.Model([first, second], layers.Dense(3)(x))
    words = [RANDOM.integers(0, 4, (3, 6)) for _ in range(2)]
    assert len(check(model, words).prunable) >= 3


@keras.saving.register_keras_serializable("tests")
class Standardized(layers.Layer):
    """A convolution with a kernel computed from a weight that it holds."""

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(3, 3, shape[-1], 6))

    def call(self, x):
        axes = (0, 1, 2)
        kernel = self.kernel - ops.mean(self.kernel, axis=axes, keepdims=True)
        return ops.conv(x, kernel / (ops.std(self.kernel, axis=axes) + 0.1), padding="same")


def double(pair):
    return pair[0] * ops.cumsum(pair[1], axis=-1)


FROZEN = {
    "standardized": (lambda x, y: Standardized()(x), "first"),
    "lambda": (lambda x, y: layers.Lambda(double)([x, y]), "first"),
    "patches": (lambda x, y: ops.image.extract_patches(x, (2, 2)), "first"),
}


def test_a_lambda_of_two_inputs_ties_their_channels():
    inputs = keras.Input((8, 8, 2))
    x, y = (layers.Conv2D(6, 3, padding="same", name=name)(inputs) for name in ("first", "other"))
    turned = layers.Lambda(lambda pair: pair[0] * ops.flip(pair[1], axis=-1))([x, y])
    first = check(head(inputs, turned), IMAGES).prunable[0]
    ends = {s.layer: s.channel_of.tolist() for s in first.slices if s.role == "output"}
    assert ends == {"first": [0, 1, 2, 3, 4, 5], "other": [5, 4, 3, 2, 1, 0]}


@pytest.mark.parametrize("kind", sorted(FROZEN))
def test_what_is_frozen_is_counted_and_kept(kind):
    build, frozen = FROZEN[kind]
    inputs = keras.Input((8, 8, 2))
    x, y = (layers.Conv2D(6, 3, padding="same", name=name)(inputs) for name in ("first", "other"))
    graph = check(head(inputs, build(x, y)), IMAGES)
    assert [g.name for g in graph.prunable] == ["last"]
    assert frozen in {g.name for g in graph.groups if g.reason}
