"""The cost model against counts by hand and golden figures."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfrcp
from tests.counting import count_cost
from tests.networks import NETWORKS, conv, head, image
from tfrcp.space.cost import Costs

GOLDEN = json.loads((Path(__file__).parent / "golden_costs.json").read_text())


@pytest.fixture(scope="module")
def residual():
    graph = tfrcp.trace(NETWORKS["residual_a"].build())
    return graph, tfrcp.CostModel(graph)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name):
    golden = GOLDEN[name]
    model = getattr(tfrcp.models, golden["builder"])(**golden["options"])
    graph = tfrcp.trace(model)
    cost = tfrcp.CostModel(graph)
    assert cost.full._asdict() == {key: golden[key] for key in Costs._fields}
    assert tuple(cost.full) == count_cost(model)
    assert {group.name: group.size for group in graph.prunable} == golden["groups"]
    assert cost.uncounted == ()


def test_by_hand():
    #            kernel   in out positions
    flops = 9 * 2 * 4 * 36 + 9 * 4 * 6 * 36 + 6 * 3
    params = (9 * 2 * 4 + 4 * 4) + (9 * 4 * 6 + 6 + 4 * 6) + (6 * 3 + 3)
    activations = 4 * 36 + 6 * 36 + 3
    cost = tfrcp.CostModel(tfrcp.trace(NETWORKS["chain"].build()))
    assert cost.full == (flops, params, activations)
    pruned = cost(np.array([3, 1]))
    assert pruned.flops == [9 * 2 * 3 * 36 + 9 * 3 * 1 * 36 + 1 * 3]
    assert pruned.params == [9 * 2 * 3 + 4 * 3 + 9 * 3 * 1 + 1 + 4 + 3 + 3]
    assert pruned.activations == [3 * 36 + 36 + 3]


def test_thousands_at_once_are_as_one_by_one(residual):
    graph, cost = residual
    rng = np.random.default_rng(0)
    channels = rng.integers(1, graph.full + 1, (5000, len(graph.full)))
    costs = cost(channels)
    for field in costs:
        assert field.shape == (5000,)
        assert field.dtype == np.int64
    for index in (0, 17, 4095, 4096, 4999):
        single = cost(channels[index])
        assert tuple(n[index] for n in costs) == tuple(n[0] for n in single)


def test_costs_grow_with_every_channel(residual):
    graph, cost = residual
    before = cost(graph.full[None] - 1)
    for column in range(len(graph.full)):
        more = graph.full - 1
        more[column] += 1
        after = cost(more)
        assert all(a > b for a, b in zip(after, before, strict=True))


def test_the_quadratic_forms_are_the_costs(residual):
    graph, cost = residual
    vector = np.append(graph.full - 1, 1)
    for form, value in zip(cost.forms, cost(graph.full - 1), strict=True):
        assert vector @ form @ vector == value[0]
        assert (form == np.triu(form)).all() and (form >= 0).all()


def test_large_numbers_are_exact():
    inputs = image(2048, 2048, 3)
    x = layers.Conv2D(4001, 7, padding="same", name="a")(inputs)
    x = layers.Conv2D(3, 7, padding="same", name="b")(x)
    cost = tfrcp.CostModel(tfrcp.trace(keras.Model(inputs, x)))
    assert cost.full.flops == 2 * 49 * 3 * 4001 * 2048**2
    assert cost(np.array([3999])).flops == [2 * 49 * 3 * 3999 * 2048**2]


class Reversed(layers.Layer):
    """Channels in the opposite order, by a function of TensorFlow, which is not followed."""

    def call(self, x):
        return tf.reverse(x, [-1])


def test_unknown_layers_are_listed():
    inputs = image()
    x = head(Reversed(name="unknown")(conv(4, "a")(inputs)))
    cost = tfrcp.CostModel(tfrcp.trace(keras.Model(inputs, x)))
    assert cost.uncounted == () and cost.constant == {"unknown": 0}
    assert cost.full.flops == 9 * 2 * 4 * 36 + 4 * 3
    assert cost(np.zeros((2, 0), int)).flops.tolist() == [cost.full.flops] * 2


def test_frozen_layers_are_counted():
    # The dense layer mixes the steps, along which no channels lie.
    inputs = keras.Input((6, 2), name="series")
    x = layers.Permute((2, 1))(layers.Conv1D(4, 1, name="a")(inputs))
    x = layers.GlobalAveragePooling1D()(layers.Dense(5, name="mix")(x))
    model = keras.Model(inputs, layers.Dense(3, name="head")(x))
    assert tuple(tfrcp.CostModel(tfrcp.trace(model)).full) == count_cost(model)


@pytest.mark.parametrize("name", ["open_size"])
def test_open_image_size(name):
    with pytest.raises(ValueError, match="leaves open.*an `input_shape`"):
        tfrcp.CostModel(tfrcp.trace(NETWORKS[name].build()))


def windows():
    """A dense layer on windows of an image of open size, which are joined with the batch."""
    x = inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 1, name="a")(x)
    x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, 2, 4))
    x = ops.reshape(layers.Dense(6, name="b")(x), (-1, 5, 6))
    return keras.Model(inputs, x)


@pytest.mark.parametrize("build", [NETWORKS["open_size"].build, windows])
def test_open_image_size_is_given(build):
    model = build()
    graph = tfrcp.trace(model, input_shape=(12, 10, 3))
    fixed = keras.models.clone_model(model, input_tensors=keras.Input((12, 10, 3)))
    assert tfrcp.CostModel(graph).full == tfrcp.CostModel(tfrcp.trace(fixed)).full
    pruned = tfrcp.slice_model(model, graph, {"a": np.arange(4) < 2})
    assert pruned.input_shape == model.input_shape
    assert pruned(np.zeros((1, 20, 16, 3))).shape == model(np.zeros((1, 20, 16, 3))).shape
    for wrong in ((12, 10), (12, 10, 1), [(12, 10, 3), (12, 10, 3)]):
        with pytest.raises(ValueError, match="`input_shape` must.*Received"):
            tfrcp.trace(model, input_shape=wrong)


@pytest.mark.parametrize(
    ("channels", "shape"),
    [([1, 2], r"\(1, 2\)"), (np.ones((3, 5)), r"\(3, 5\)"), (np.ones((1, 2, 4)), r"\(1, 2, 4\)")],
)
def test_bad_shape(residual, channels, shape):
    with pytest.raises(ValueError, match=rf"\[N, 4\].*Received an array of shape {shape}"):
        residual[1](channels)


def test_channel_counts_must_be_whole(residual):
    # Fails: 2.5 channels are multiplied out and the result is cut off to an int.
    with pytest.raises(ValueError, match="int"):
        residual[1]([[2.5, 2.0, 1.0, 1.0]])
