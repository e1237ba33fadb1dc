"""Models whose batch has a fixed size, which operations are told as a number."""

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


def plain(x):
    return ops.reshape(layers.Dense(6, name="inside")(ops.reshape(x, (4, 16, 8))), (4, 4, 4, 6))


def split(x):
    x = ops.transpose(ops.reshape(x, (4, 4, 4, 2, 4)), (0, 1, 2, 4, 3))
    return ops.reshape(x, (4, 4, 4, 8))


def flattened(x):
    return ops.reshape(x, (4, 1, 1, 128))


def joined(x):
    return ops.reshape(layers.Dense(6, name="inside")(ops.reshape(x, (64, 8))), (4, 4, 4, 6))


def halves(x):
    first, second = ops.split(x, 2, axis=0)
    return ops.concatenate([layers.Dense(6, name="inside")(first), second[..., :6]], axis=0)


def larger(x):
    return ops.reshape(layers.Dense(6, name="inside")(ops.reshape(x, (2, 8, 4, 8))), (4, 4, 4, 6))


@pytest.mark.parametrize("change", [halves, larger])
def test_parts_of_a_batch_have_no_cost_of_one_image(change):
    images = keras.Input(batch_shape=(4, 4, 4, 2))
    x = change(layers.Conv2D(8, 3, padding="same", name="first")(images))
    model = keras.Model(images, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(ValueError, match="cost of `inside` for one image.* of 4 its first axis"):
        tfrcp.CostModel(tfrcp.trace(model))


@pytest.mark.parametrize(
    ("change", "prunable"),
    [(plain, ("first", "inside")), (split, ("first",)), (flattened, ("first",)), (joined, ())],
)
def test_reshapes_to_a_batch_of_a_fixed_size(change, prunable):
    images = keras.Input(batch_shape=(4, 4, 4, 2))
    x = change(layers.Conv2D(8, 3, padding="same", name="first")(images))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(5, 3, padding="same", name="last")(x))
    model = keras.Model(images, layers.Dense(3)(x))
    randomize(model)
    graph = tfrcp.trace(model)
    assert {g.name for g in graph.prunable} == {*prunable, "last"}
    cost, spec = tfrcp.CostModel(graph), tf.TensorSpec((4, 4, 4, 2))
    assert 4 * cost.full.flops == multiply_adds_of(model, [spec])
    data = np.random.default_rng(0).normal(size=spec.shape).astype("float32")
    for seed in range(3):
        masks = random_masks(graph, seed)
        pruned = tfrcp.slice_model(model, graph, masks)
        assert_close(flat(run_model(pruned)(data)), removed_outputs(model, graph, masks, data))
        assert 4 * cost(counts_of(graph, masks)).flops[0] == multiply_adds_of(pruned, [spec])
