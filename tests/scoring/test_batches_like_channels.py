"""Keras takes [batch, 1, 1, 1] for a bias where the batch is as large as the channels."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfrcp
from tfrcp.scoring import kinds
from tfrcp.scoring.evaluator import RACING_INTERVAL, ProgramEvaluator, SlicedEvaluator
from tfrcp.scoring.running import in_other_sizes, run_model

CHANNELS = 4


def over_all(x):
    return ops.mean(x, axis=(1, 2, 3), keepdims=True)


def nested(x):
    inner = keras.Input(x.shape[1:])
    return keras.Model(inner, inner + over_all(inner))


SUMS = {
    "operator": lambda x: x + over_all(x),
    "ops.add": lambda x: ops.add(x, over_all(x)),
    "layer": lambda x: layers.Add()([x, over_all(x)]),
    "three": lambda x: layers.Add()([x, x, over_all(x)]),
    "nested": lambda x: keras.Sequential([keras.Input(x.shape[1:]), nested(x)])(x),
    "flat": lambda x: ops.mean(x, axis=(1, 2)) + ops.reshape(over_all(x), (-1, 1)),
}


def network(add, channels=CHANNELS):
    inputs = keras.Input((3, 5, 2))
    x = layers.Conv2D(channels, 1, name="conv")(inputs)
    x = layers.Flatten()(add(x))
    return keras.Model(inputs, layers.Dense(3, name="head")(x))


def images(count):
    return np.random.default_rng(0).normal(size=(count, 3, 5, 2)).astype("float32")


@pytest.mark.parametrize("add", SUMS.values(), ids=SUMS)
@pytest.mark.parametrize("count", [1, 2, 3, CHANNELS, CHANNELS + 1])
def test_a_batch_gives_what_its_images_give(add, count):
    model, x = network(add), images(count)
    expected = np.concatenate([model(image[None], training=False) for image in x])
    np.testing.assert_allclose(run_model(model)(x), expected, rtol=1e-4, atol=1e-5)


def test_sizes_next_to_each_other():
    seen = []

    def run(x):
        seen.append(len(x))
        return x

    x = np.arange(6.0)
    np.testing.assert_array_equal(in_other_sizes(run, {4, 5, 6})(x), x)
    assert sorted(seen) == [1, 1, 1, 3]


def test_the_check_at_the_start_does_not_depend_on_the_batch():
    model = network(SUMS["operator"], channels=RACING_INTERVAL)
    graph = tfrcp.trace(model)
    scores = tfrcp.criteria.get("l1")(model, graph)
    y = np.arange(RACING_INTERVAL) % 3
    objective = kinds.Function(lambda y, outputs: outputs[:, 0])
    values = [
        kind(model, graph, scores, (images(RACING_INTERVAL), y), objective).score(graph.full).value
        for kind in (ProgramEvaluator, SlicedEvaluator)
    ]
    assert values[0] == pytest.approx(values[1])
