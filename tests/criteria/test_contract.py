"""What every criterion must do; those of the table in `tfrcp.criteria` run through here."""

import inspect

import numpy as np
import pytest

import tfrcp
from tests.networks import NETWORKS
from tests.references import images_for, permute, randomize
from tfrcp import criteria

NAMES = sorted(criteria.CRITERIA)
KINDS = ["residual_a", "depthwise", "concatenated"]


def criterion_of(name):
    kind = criteria.CRITERIA[name]
    quiet = "verbose" in inspect.signature(kind).parameters
    return kind(**({"verbose": False} if quiet else {}))


@pytest.fixture(scope="module", params=KINDS)
def network(request):
    """A traced model with random weights in which every group has a batch norm; labelled images."""
    model = NETWORKS[request.param].build()
    randomize(model)
    images = images_for(model, count=12)
    return model, tfrcp.trace(model), (images, np.arange(12) % 3)


@pytest.fixture(scope="module", params=NAMES)
def case(request, network):
    return request.param, *network, criterion_of(request.param)(*network)


def test_scores_every_channel_of_every_prunable_group(case):
    _, _, graph, _, scores = case
    assert list(scores) == [group.name for group in graph.prunable]
    for group in graph.prunable:
        score = scores[group.name]
        assert score.shape == (group.size,)
        assert score.dtype == np.float64
        assert np.isfinite(score).all()
        assert score.min() >= 0
    assert any(len(set(score)) > 1 for score in scores.values())


def test_same_scores_again(case):
    name, model, graph, data, scores = case
    weights = model.get_weights()
    again = criterion_of(name)(model, graph, data)
    for group, score in scores.items():
        np.testing.assert_array_equal(score, again[group])
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_scores_move_with_the_channels(case):
    name, model, graph, data, scores = case
    if name in ("index", "random"):
        pytest.skip("looks at no weights")
    rng, weights = np.random.default_rng(0), model.get_weights()
    orders = {group.name: rng.permutation(group.size) for group in graph.prunable}
    permute(model, graph, orders)
    moved = criterion_of(name)(model, graph, data)
    model.set_weights(weights)
    for group, order in orders.items():
        np.testing.assert_allclose(moved[group], scores[group][order], rtol=1e-3, atol=1e-6)


def test_scores_can_be_selected_by(case):
    _, _, graph, _, scores = case
    masks = tfrcp.select(graph, scores, np.maximum(graph.full // 2, 1))
    for name, mask in masks.items():
        assert scores[name][mask].min() >= scores[name][~mask].max(initial=-np.inf)


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_those_of_the_model_that_is_given(name):
    model, other = NETWORKS["chain"].build(), NETWORKS["chain"].build()
    randomize(model)
    randomize(other, seed=5)
    data = images_for(model, count=12), np.arange(12) % 3
    through, directly = (
        criterion_of(name)(other, tfrcp.trace(traced), data) for traced in (model, other)
    )
    for group, score in through.items():
        np.testing.assert_allclose(score, directly[group], rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_config_is_the_criterion(name):
    criterion = criterion_of(name)
    again = criteria.deserialize(criteria.serialize(criterion))
    assert type(again) is type(criterion)
    assert again.get_config() == criterion.get_config()
    assert set(criterion.get_config()) == set(inspect.signature(type(criterion)).parameters)
