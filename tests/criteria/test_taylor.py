from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.criteria.small_criteria import (
    KINDS,
    NORMS,
    RESIDUAL,
    assert_scores,
    labelled,
    network,
    with_factors,
)
from tfrcp.criteria import Taylor, deserialize, serialize, taylor


def _loss(model, x, y):
    """Mean cross-entropy, float64."""
    logits = np.asarray(model(x), dtype="float64")
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(y)), y].mean()


def _expected(model, graph, where, x, y, batches, step=1e-5):
    """Mean squares of the slopes in gates, by differences.

    Args:
        where: Maps group and layer to a function from a channel to the layer's outputs at which its
            gate stands.
        batches: Number of batches.
    """
    clone, gates = with_factors(model, behind={layer for each in where.values() for layer in each})
    run, expected = tf.function(clone, autograph=False), {}
    for group in (group for group in graph.prunable if group.name in where):
        slopes = np.zeros((batches, group.size))
        for batch, part in enumerate(np.split(np.arange(len(y)), batches)):
            for channel in range(group.size):
                for sign in (1, -1):
                    for layer, positions in where[group.name].items():
                        gate = np.ones(gates[layer].shape)
                        gate[positions(channel)] += sign * step
                        gates[layer].assign(gate)
                    loss = _loss(run, tf.constant(x[part]), y[part])
                    slopes[batch, channel] += sign * loss / (2 * step)
                for layer in where[group.name]:
                    gates[layer].assign(np.ones(gates[layer].shape))
        expected[group.name] = (slopes**2).mean(axis=0)
    return expected


@pytest.mark.parametrize("name", KINDS)
def test_taylor_is_the_squared_slope_in_a_gate_behind_the_batch_norms(name):
    model, graph = network(name)
    x, y = labelled(model, 6)
    scores = Taylor(batch_size=3)(model, graph, (x, y))
    assert_scores(scores, _expected(model, graph, NORMS[name], x, y, 2), 1e-3)


def test_a_layer_without_batch_norm_has_its_gate_behind_kernel_and_bias():
    # Not behind the activation: b has none, and the gate of c's channels is in two layers.
    model, graph = network("concatenated_and_added")
    x, y = labelled(model, 6)
    where = {
        "a": {"bn": lambda j: [j], "c": lambda j: [j]},
        "b": {"bn": lambda j: [3 + j], "c": lambda j: [3 + j]},
    }
    scores = Taylor(batch_size=3)(model, graph, (x, y))
    assert_scores(scores, _expected(model, graph, where, x, y, 2), 1e-3)


def test_batch_norms_may_lack_scale_and_offset():
    model, graph = network("norms_without_weights")
    x, y = labelled(model, 6)
    where = {
        "a": {"a_bn": lambda j: [j]},
        "b": {"b_bn": lambda j: [j], "b_bn2": lambda j: [j]},
        "c": {"c": lambda j: [j]},
    }
    scores = Taylor(batch_size=6)(model, graph, (x, y))
    assert_scores(scores, _expected(model, graph, where, x, y, 1), 1e-3)


def test_a_normalization_over_channels_has_its_gate_behind_it():
    model, graph = network("layer_norm")
    x, y = labelled(model, 6)
    where = {"a": {"layer_norm": lambda j: [j]}, "b": {"b": lambda j: [j]}}
    scores = Taylor(batch_size=6)(model, graph, (x, y))
    assert_scores(scores, _expected(model, graph, where, x, y, 1), 1e-3)


def test_channels_may_be_scaled_by_one_map():
    model, graph = network("spatial_attention")
    x, y = labelled(model, 6)
    where = {name: {name: lambda j: [j]} for name in "abc"}
    scores = Taylor(batch_size=6)(model, graph, (x, y))
    assert_scores(scores, _expected(model, graph, where, x, y, 1), 1e-3)


def test_a_factor_has_no_gate():
    model, graph = network("squeeze_excite")
    x, y = labelled(model, 6)
    model.get_layer("a_bn").gamma.assign(np.zeros(6))
    model.get_layer("a_bn").beta.assign(np.zeros(6))
    assert not Taylor()(model, graph, (x, y))["a_conv"].any()


def test_a_gate_for_each_layer():
    model, graph = network(RESIDUAL)
    x, y = labelled(model, 4)
    squares = [
        _expected(model, graph, {"project": {norm: lambda j: [j]}}, x, y, 1)["project"]
        for norm in ("two_bn", "project_bn")
    ]
    for normalize in (False, True):
        each = [square / (square.mean() if normalize else 1) for square in squares]
        for reduction, reduce in (("mean", np.mean), ("sum", np.sum), ("max", np.max)):
            criterion = Taylor(batch_size=4, reduction=reduction, normalize=normalize)
            scores = criterion(model, graph, (x, y))
            assert_scores({"project": scores["project"]}, {"project": reduce(each, axis=0)}, 1e-3)


def test_labels_may_be_one_hot():
    model, graph = network("chain")
    x, y = labelled(model, 6)
    assert_scores(
        Taylor()(model, graph, (x, np.eye(3, dtype="float32")[y])),
        Taylor()(model, graph, (x, y)),
        1e-5,
    )


def test_a_softmax_at_the_end_is_seen():
    model, graph = network("sequential")
    x, y = labelled(model, 6)
    last = model.layers[-1]
    last.activation = keras.activations.linear
    expected = Taylor()(model, graph, (x, y))
    last.activation = keras.activations.softmax
    assert_scores(Taylor()(model, graph, (x, y)), expected, 1e-3)


def test_any_loss_will_do():
    model, graph = network("dense_sequence")
    x, y = labelled(model, 4)[0], np.zeros((4, 5, 3), dtype="float32")
    scores = Taylor(loss="mean_squared_error")(model, graph, (x, y))
    for loss in (keras.losses.MeanSquaredError(), keras.losses.mean_squared_error):
        criterion = deserialize(serialize(Taylor(loss=loss)))
        assert_scores(criterion(model, graph, (x, y)), scores, 1e-6)


def test_the_batches_are_equal():
    model, graph = network("chain")
    x, y = labelled(model, 6)
    # Four at most: two batches of three.
    assert_scores(
        Taylor(batch_size=4)(model, graph, (x, y)), Taylor(batch_size=3)(model, graph, (x, y)), 1e-6
    )


def spread_of_losses(y, outputs):
    """A loss that is no mean over the images."""
    losses = keras.ops.mean(keras.ops.square(outputs - y), axis=(1, 2))
    return keras.ops.std(losses) + keras.ops.max(losses)


@pytest.mark.parametrize("loss", ["mean_squared_error", spread_of_losses])
def test_a_batch_too_large_for_memory_has_the_same_slopes(loss, monkeypatch):
    model, graph = network("dense_sequence")
    x, y = labelled(model, 7)[0], np.random.default_rng(0).normal(size=(7, 5, 3)).astype("float32")
    whole = Taylor(loss=loss)(model, graph, (x, y))
    monkeypatch.setattr(taylor, "_AT_ONCE", 0)
    assert_scores(Taylor(loss=loss)(model, graph, (x, y)), whole, 1e-4)


def test_labels_are_checked():
    model, graph = network("chain")
    x, y = labelled(model, 4)
    with pytest.raises(ValueError, match="must come with labels"):
        Taylor()(model, graph, x)
    with pytest.raises(ValueError, match=r"Labels must be ints in \[0, 3\)"):
        Taylor()(model, graph, (x, y + 1))
    with pytest.raises(ValueError, match="labels of `data` must be finite"):
        Taylor(loss="mean_squared_error")(model, graph, (x, np.full((4, 3), np.nan)))
    with pytest.raises(ValueError, match="needs a classifier, or a model that is compiled"):
        model, graph = network("dicts")
        Taylor()(model, graph, labelled(model, 4))
    with pytest.raises(ValueError, match="nonsense"):
        Taylor(loss="nonsense")
