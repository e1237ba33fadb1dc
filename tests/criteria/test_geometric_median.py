from __future__ import annotations

import numpy as np
import pytest

from tests.criteria.small_criteria import KINDS, MAKERS, assert_scores, kernel, network
from tfrcp.criteria import GeometricMedian


def _distances(model, layer, axis):
    """Sum over i of the distance between the weights of filters i and j, by its definition."""
    filters = np.moveaxis(kernel(model, layer), axis, 0)
    return np.array([sum(np.sqrt(((w - v) ** 2).sum()) for v in filters) for w in filters])


@pytest.mark.parametrize("name", KINDS)
def test_geometric_median_is_the_formula(name):
    model, graph = network(name)
    expected = {
        group: np.mean([(d := _distances(model, *place)) / d.mean() for place in places], axis=0)
        for group, places in MAKERS[name].items()
    }
    assert_scores(GeometricMedian()(model, graph), expected, 1e-9)


def test_geometric_median_counts_the_other_groups_of_a_layer():
    model, graph = network("residual_a")
    scores = GeometricMedian(normalize=False, reduction="sum")(model, graph)
    # The last two channels of `two` and `four`, and the first, are a group of their own.
    expected = _distances(model, "two", 3) + _distances(model, "four", 3)
    assert_scores({"two": scores["two"]}, {"two": expected[[0, 5, 6]]}, 1e-9)


def test_geometric_median_lets_the_central_filter_go_first():
    model, graph = network("chain")
    weights = kernel(model, "a_conv")
    weights[..., 2] = weights[..., [0, 1, 3]].mean(axis=-1)
    model.get_layer("a_conv").kernel.assign(weights)
    assert GeometricMedian()(model, graph)["a_conv"].argmin() == 2


def test_geometric_median_of_equal_filters_is_zero():
    model, graph = network("chain")
    weights = kernel(model, "a_conv")
    model.get_layer("a_conv").kernel.assign(np.repeat(weights[..., :1], 4, axis=-1))
    scores = GeometricMedian()(model, graph)["a_conv"]
    assert np.isfinite(scores).all() and np.abs(scores).max() < 1e-6
