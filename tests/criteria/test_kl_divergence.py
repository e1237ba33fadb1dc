from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.criteria.small_criteria import (
    KINDS,
    READERS,
    assert_scores,
    labelled,
    network,
    with_factors,
)
from tfrcp import slice_model
from tfrcp.criteria import KLDivergence


def _predictions(model, x):
    outputs = np.asarray(model(x), dtype="float64")
    if model.layers[-1].activation is keras.activations.softmax:
        return outputs
    exponents = np.exp(outputs)
    return exponents / exponents.sum(axis=1, keepdims=True)


def _divergence(q, p):
    return (q * np.log(q / p)).sum(axis=1).mean()


@pytest.mark.parametrize("name", [*KINDS, "vgg", "sequential"])
def test_kl_divergence_is_that_of_masked_clones(name):
    model, graph = network(name)
    x, _ = labelled(model, 6)
    readers = {layer for where in READERS[name].values() for layer in where}
    clone, masks = with_factors(model, before=readers)
    p, expected = _predictions(model, x), {}
    for group in graph.prunable:
        expected[group.name] = np.zeros(group.size)
        for channel in range(group.size):
            for layer, positions in READERS[name][group.name].items():
                masks[layer].assign(~np.isin(np.arange(masks[layer].shape[0]), positions(channel)))
            expected[group.name][channel] = _divergence(_predictions(clone, x), p)
            for layer in READERS[name][group.name]:
                masks[layer].assign(np.ones(masks[layer].shape))
    assert_scores(KLDivergence()(model, graph, x), expected)


@pytest.mark.parametrize("name", ["residual_a", "shuffled", "grouped_whole"])
def test_kl_divergence_is_that_of_the_network_without_the_channel(name):
    model, graph = network(name)
    x, _ = labelled(model, 6)
    p, scores = _predictions(model, x), KLDivergence()(model, graph, x)
    for channel, group in enumerate(graph.prunable):
        channel %= group.size
        pruned = slice_model(model, graph, {group.name: np.arange(group.size) != channel})
        expected = _divergence(_predictions(pruned, x), p)
        assert scores[group.name][channel] == pytest.approx(expected, rel=1e-4)


def test_a_channel_that_is_not_read_changes_nothing():
    model, graph = network("chain")
    weights = np.array(model.get_layer("b").kernel)
    weights[:, :, 1] = 0
    model.get_layer("b").kernel.assign(weights)
    scores = KLDivergence()(model, graph, labelled(model, 4)[0])["a_conv"]
    assert scores[1] < 1e-10 < scores[[0, 2, 3]].min()


def test_confident_predictions_give_finite_scores():
    model, graph = network("sequential")
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 1e4)
    scores = KLDivergence()(model, graph, labelled(model, 4)[0])
    assert all(np.isfinite(s).all() for s in scores.values())


@pytest.mark.parametrize("name", ["dicts", "dense_sequence"])
def test_of_what_is_no_classifier_the_outputs_distance_counts(name):
    model, graph = network(name)
    scores = KLDivergence(verbose=False)(model, graph, labelled(model, 6)[0])
    assert all(np.isfinite(s).all() and (s >= 0).all() for s in scores.values())
