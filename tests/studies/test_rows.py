"""Rows that the paper's text names: what each of them does, on tiny networks."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfrcp
from tests.nightly import mostly_nightly
from tests.search.small_search import images, network
from tests.studies.test_allocations import GRAPHS, step_of
from tfrcp import training
from tfrcp.criteria.elimination import eliminate
from tfrcp.graph.weights import variables_of
from tfrcp.studies.allocations import ALLOCATIONS
from tfrcp.studies.criteria import HRank, ThiNet
from tfrcp.studies.criteria.thinet import Unfitted
from tfrcp.studies.functions import CRITERIA, find
from tfrcp.studies.preparations import PREPARATIONS, prepare


def test_the_policy_learns_which_groups_pay():
    graph, rewards = GRAPHS["resnet8"](), []

    def score(channels):
        ratios = channels / graph.full
        rewards.append(float(ratios[-3:].mean() - ratios[:3].mean()))
        return rewards[-1]

    found = ALLOCATIONS["reinforcement"](step_of(graph, samples=60, score=score))
    assert len(rewards) == 60 and np.mean(rewards[-20:]) > np.mean(rewards[:20]) + 0.1
    ratios = found / graph.full
    assert ratios[-3:].mean() - ratios[:3].mean() == pytest.approx(max(rewards))


def test_the_surrogate_is_ahead_of_its_first_half():
    graph, asked = GRAPHS["resnet8"](), []

    def score(channels):
        asked.append(float(channels[0] / graph.full[0] - channels[-1] / graph.full[-1]))
        return asked[-1]

    ALLOCATIONS["surrogate"](step_of(graph, samples=20, score=score))
    assert len(asked) == 20 and np.mean(asked[10:]) > np.mean(asked[:10])


def test_thinet_removes_what_the_outputs_miss_least():
    random = np.random.default_rng(0)
    rows, matrix = random.normal(size=(1, 300, 8)), random.normal(size=(1, 8, 5))
    rows[0, :, 4:] += rows[0, :, :4]  # inputs that are alike
    gram, places = rows.swapaxes(1, 2) @ rows / 300, np.arange(8).reshape(2, 4).T
    layer = Unfitted(matrix, gram, None, places, ridge=0.0)
    whole = ((rows[0] @ matrix[0]) ** 2).sum() / 300
    alive, cost = [0, 1, 2, 3], 0.0
    while alive:
        errors = []
        for channel in alive:
            gone = places[[c for c in range(4) if c not in alive or c == channel]].reshape(-1)
            errors.append(((rows[0][:, gone] @ matrix[0][gone]) ** 2).sum() / 300 / whole)
        np.testing.assert_allclose(layer.losses(np.array(alive)), np.array(errors) - cost)
        least = int(np.argmin(errors))
        cost = errors[least]
        layer.remove(np.array([alive.pop(least)]))
    assert cost == pytest.approx(1.0)


def test_thinet_and_hrank_find_a_channel_that_does_nothing():
    model = network()
    graph = tfrcp.trace(model)
    group = graph.prunable[0]
    for piece in group.slices:
        if piece.weight in ("gamma", "beta"):
            variable = variables_of(graph, model)[piece.layer][piece.weight]
            values = variable.numpy()
            values[np.flatnonzero(piece.channel_of == 1)] = 0
            variable.assign(values)
    for criterion in (ThiNet(images=12, verbose=False), HRank(images=12)):
        scores = criterion(model, graph, images(24, seed=0))
        assert list(scores) == [g.name for g in graph.prunable]
        assert scores[group.name].argmin() == 1 and scores[group.name].min() < 1e-6
    assert eliminate([], 1).tolist() == [0.0]


def test_hrank_counts_ranks():
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(3, 1, use_bias=False, name="a")(inputs)
    x = keras.layers.Conv2D(2, 3, name="b")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    model.get_layer("a").set_weights([np.eye(3)[None, None]])
    random = np.random.default_rng(0)
    maps = random.normal(size=(4, 6, 6, 3)).astype("float32")
    maps[..., 0] = maps[:, :1, :, 0]  # all rows alike: rank 1
    maps[:, 3:, :, 1] = maps[:, :3, :, 1]  # rank 3
    graph = tfrcp.trace(model)
    scores = HRank()(model, graph, maps)
    np.testing.assert_allclose(scores[graph.prunable[0].name], [1, 3, 6], atol=0.1)


def test_preparations_are_named_with_a_criterion():
    found = find("criterion", "batch_norm_scale+slimming", CRITERIA)
    assert found.preparation == "slimming" and found.name == "batch_norm_scale"
    assert found.label == "batch_norm_scale, slimming"
    assert find("criterion", "index+supernet", CRITERIA).call is tfrcp.criteria.Index
    for kind, name in (("criterion", "l1+nope"), ("allocation", "uniform+soft")):
        with pytest.raises(ValueError, match="preparation, one of"):
            find(kind, name, {**CRITERIA, **ALLOCATIONS})


@pytest.mark.parametrize("kind", mostly_nightly(PREPARATIONS, "slimming", "soft"))
def test_preparations_leave_what_their_method_prunes(kind):
    model, (x, y) = network(), images(24, seed=0)
    graph = tfrcp.trace(model)
    space, budget = tfrcp.SearchSpace(graph), tfrcp.Budget(0.5, tolerance=0.1)
    recipe = training.Recipe(
        epochs=2, batch_size=6, learning_rate=0.05, augment=None, sparsity_strength=1.5
    )
    channels = np.maximum(graph.full // 2, 1)
    data = keras.tree.map_structure(np.asarray, (x, y))
    before = model.get_weights()

    def batches(epoch):
        import tensorflow as tf

        from tfrcp.data import Batches

        return Batches(tf.data.Dataset.from_tensor_slices(data).batch(6), lambda x, y: (x, y))

    rounds = prepare(kind, model, graph, batches, recipe, channels, space, budget)
    assert rounds == (6 if kind == "supernet" else 2)
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    variables = variables_of(graph, model)
    group = graph.prunable[0]
    norms = {
        piece.weight: np.abs(
            np.moveaxis(variables[piece.layer][piece.weight].numpy(), piece.axis, 0)
        )
        .reshape(group.size, -1)
        .sum(axis=1)
        for piece in group.slices
        if piece.role != "input" and (piece.channel_of == np.arange(group.size)).all()
    }
    if kind == "soft":
        assert (norms["kernel"] == 0).sum() == group.size - channels[0]
    elif kind in ("slimming", "group_lasso"):
        assert (norms["gamma"] == 0).any()
    else:
        assert (norms["kernel"] > 0).all() and (norms["gamma"] > 0).all()
