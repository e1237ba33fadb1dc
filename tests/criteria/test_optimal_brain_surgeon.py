"""The second-order score against removal and least squares done by hand."""

import keras
import numpy as np
import pytest

import tfrcp
from tests.criteria.small_criteria import KINDS, labelled, network
from tfrcp.criteria import L1, Automatic, OptimalBrainSurgeon, Taylor, layer_statistics
from tfrcp.criteria.elimination import Elimination, Fixed, eliminate


def layer(seed=0, blocks=1, channels=4, window=3, outputs=5):
    random = np.random.default_rng(seed)
    inputs = channels * window
    mixing = random.normal(size=(blocks, inputs, inputs))
    rows = random.normal(size=(blocks, 200, inputs)) @ mixing
    matrix = random.normal(size=(blocks, inputs, outputs))
    places = np.arange(inputs).reshape(window, channels).T
    return matrix, rows, random.random((blocks, outputs)), places


def error(matrix, rows, weights, kept):
    """Half the weighted mean squared error of the best kernel on the kept inputs."""
    total = 0.0
    for own, x, weight in zip(matrix, rows, weights, strict=True):
        wanted = x @ own
        fit = np.linalg.lstsq(x[:, kept], wanted, rcond=None)[0]
        total += (((x[:, kept] @ fit - wanted) ** 2).mean(axis=0) * weight).sum() / 2
    return total


@pytest.mark.parametrize("blocks", [1, 2])
def test_scores_are_what_each_removal_costs_after_least_squares(blocks):
    matrix, rows, weights, places = layer(blocks=blocks)
    gram = rows.swapaxes(1, 2) @ rows / rows.shape[1]
    scores = eliminate([Elimination(matrix, gram, weights, places, ridge=0.0)], 4)
    alive, cost = [0, 1, 2, 3], 0.0
    while len(alive) > 1:
        options = {}
        for channel in alive:
            kept = np.sort(places[[c for c in alive if c != channel]].reshape(-1))
            options[channel] = error(matrix, rows, weights, kept)
        channel = min(options, key=options.get)
        np.testing.assert_allclose(scores[channel], options[channel] - cost, rtol=1e-5)
        cost = options[channel]
        alive.remove(channel)
    assert scores[alive[0]] == 2 * np.sort(scores)[-2]


def test_layers_that_read_the_same_channels_are_added():
    cases = [layer(seed, channels=6) for seed in range(2)]
    grams = [rows.swapaxes(1, 2) @ rows / 200 for _, rows, _, _ in cases]
    readers = [
        Elimination(matrix, gram, weights, places, ridge=0.0)
        for (matrix, _, weights, places), gram in zip(cases, grams, strict=True)
    ]
    alone = [reader.losses(np.arange(6)) for reader in readers]
    assert eliminate(readers, 6).min() == pytest.approx((alone[0] + alone[1]).min())


def test_a_channel_that_others_repeat_costs_nothing():
    matrix, rows, weights, places = layer()
    rows[:, :, places[2]] = 0.5 * rows[:, :, places[1]]
    gram = rows.swapaxes(1, 2) @ rows / 200
    compensated = eliminate([Elimination(matrix, gram, weights, places, ridge=1e-9)], 4)
    assert min(compensated[1], compensated[2]) < 1e-6 * np.median(compensated)
    alone = eliminate([Fixed(matrix, rows, weights, places)], 4)
    assert alone.min() > 1e-3 * np.median(alone)


def test_many_channels_go_in_few_rounds_in_nearly_the_same_order():
    matrix, rows, weights, places = layer(channels=64, window=1, outputs=8)
    gram = rows.swapaxes(1, 2) @ rows / 200
    scores = eliminate([Elimination(matrix, gram, weights, places, ridge=1e-3)], 64)
    assert len(np.unique(scores)) == 64


def test_an_output_counts_by_the_slope_of_the_loss():
    """The loss looks at output 0 alone: the channel that feeds it stays, however small it is."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(3, activation="relu", name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(hidden))
    model.get_layer("hidden").set_weights([np.eye(3), np.zeros(3)])
    head = np.array([[0.1, 0.0], [0.0, 9.0], [0.0, 5.0]])
    model.get_layer("head").set_weights([head, np.zeros(2)])
    model.compile(loss=lambda y, outputs: keras.ops.square(y[:, 0] - outputs[:, 0]))
    random = np.random.default_rng(0)
    x, y = random.random((64, 3)).astype("float32"), random.normal(size=(64, 2)).astype("float32")
    scores = OptimalBrainSurgeon(verbose=False)(model, tfrcp.trace(model), (x, y))["hidden"]
    assert scores.argmax() == 0


def test_scores_need_no_labels_for_a_classifier_and_depend_on_the_seed():
    model, graph = network("residual_b")
    x, y = labelled(model, 40)
    first = OptimalBrainSurgeon(verbose=False)(model, graph, x)
    again = OptimalBrainSurgeon(verbose=False)(model, graph, (x, y))
    other = OptimalBrainSurgeon(verbose=False, seed=1)(model, graph, x)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert any((first[name] != other[name]).any() for name in first)


@pytest.mark.parametrize("few", [100, 0])  # 0: compiled
@pytest.mark.parametrize("name", KINDS)
def test_batches_do_not_matter(name, few, monkeypatch):
    model, graph = network(name)
    x, y = labelled(model, 40)
    criterion = OptimalBrainSurgeon(loss="sparse_categorical_crossentropy", verbose=False)
    whole = criterion(model, graph, (x, y))
    monkeypatch.setattr(layer_statistics, "_MOST", 7)
    monkeypatch.setattr(layer_statistics, "_FEW", few)
    for name, scores in criterion(model, graph, (x, y)).items():
        np.testing.assert_allclose(scores, whole[name], rtol=1e-3)


def test_wide_layers_are_scored_without_compensation(monkeypatch):
    from tfrcp.criteria import layer_statistics

    monkeypatch.setattr(layer_statistics, "_WIDEST", 16 * 1024)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="conv")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, name="head")(keras.layers.Flatten()(x)))
    images = np.random.default_rng(0).normal(size=(20, 8, 8, 1)).astype("float32")
    scores = OptimalBrainSurgeon(verbose=False)(model, tfrcp.trace(model), images)["conv"]
    assert scores.shape == (6,) and scores.min() > 0


def test_what_no_layer_mixes_is_refused_and_auto_takes_another():
    inputs = keras.Input((8, 4))
    x = keras.layers.MultiHeadAttention(2, 4, name="attention")(inputs, inputs)
    x = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    graph = tfrcp.trace(model)
    assert graph.prunable
    random = np.random.default_rng(0)
    x, y = random.normal(size=(8, 8, 4)).astype("float32"), random.integers(0, 3, 8)
    with pytest.raises(ValueError, match="mixes its channels"):
        OptimalBrainSurgeon(verbose=False)(model, graph, x)
    auto = Automatic()
    assert isinstance(auto.choose(model, graph, (x, y)), Taylor)
    assert isinstance(auto.choose(model, graph, x), L1)
    assert isinstance(auto.choose(model, graph), L1)
