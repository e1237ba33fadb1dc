"""Which channels are kept."""

import numpy as np
import pytest

import tfrcp
from tests.networks import NETWORKS
from tests.references import counts_of, randomize


@pytest.fixture(scope="module")
def traced():
    model = NETWORKS["residual_a"].build()  # stem_conv 4, one_conv 5, two 3, three_conv 6
    randomize(model)
    return model, tfrcp.trace(model)


def scores_of(graph, seed=0):
    rng = np.random.default_rng(seed)
    return {group.name: rng.random(group.size) for group in graph.prunable}


def test_select_keeps_the_highest(traced):
    _, graph = traced
    scores = scores_of(graph)
    scores["one_conv"] = [3.0, -1.0, 7.0, np.inf, -np.inf]
    masks = tfrcp.select(graph, scores, [1, 3, 2, 6])
    assert masks["one_conv"].tolist() == [True, False, True, True, False]
    assert counts_of(graph, masks).tolist() == [1, 3, 2, 6]
    assert list(masks) == [group.name for group in graph.prunable]
    assert all(mask.dtype == bool for mask in masks.values())
    for name in ("stem_conv", "two"):
        kept = masks[name]
        assert scores[name][kept].min() > scores[name][~kept].max()


def test_select_keeps_the_first_of_equals(traced):
    _, graph = traced
    scores = {**scores_of(graph), "three_conv": [1, 2, 1, 2, 1, 2], "stem_conv": [0.0] * 4}
    masks = tfrcp.select(graph, scores, np.array([2, 5, 3, 4], dtype="int32"))
    assert masks["three_conv"].tolist() == [True, True, False, True, False, True]
    assert masks["stem_conv"].tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ([1, 1, 1], "`channels` must be 4 ints.*'residual_a'"),
        ([1, 1, 1, 1, 1], "`channels` must be 4 ints"),
        ([[1, 1, 1, 1]], "`channels` must be 4 ints"),
        (3, "`channels` must be 4 ints.*channels=3"),
        (None, "`channels` must be 4 ints.*channels=None"),
        ("1234", "`channels` must be 4 ints"),
        ([1.0, 1.0, 1.0, 1.0], "`channels` must be 4 ints"),
        ([True] * 4, "`channels` must be 4 ints"),
        ([0, 1, 1, 1], "from 1 to 4 for group 'stem_conv'. Received: 0"),
        ([1, 1, 1, 7], "from 1 to 6 for group 'three_conv'. Received: 7"),
        ([1, -1, 1, 1], "from 1 to 5 for group 'one_conv'. Received: -1"),
    ],
)
def test_select_with_bad_channels(traced, channels, message):
    _, graph = traced
    with pytest.raises(ValueError, match=message):
        tfrcp.select(graph, scores_of(graph), channels)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"two": None}, r"`scores\['two'\]` must be 3 numbers"),
        ({"two": [1.0, 2.0]}, r"`scores\['two'\]` must be 3 numbers.*Received: \[1.0, 2.0\]"),
        ({"two": [[1.0, 2.0, 3.0]]}, r"`scores\['two'\]` must be 3 numbers"),
        ({"two": [1.0, np.nan, 3.0]}, r"`scores\['two'\]` must be 3 numbers, none of them NaN"),
    ],
)
def test_select_with_bad_scores(traced, scores, message):
    _, graph = traced
    with pytest.raises(ValueError, match=message):
        tfrcp.select(graph, {**scores_of(graph), **scores}, [1, 1, 1, 1])
    missing = scores_of(graph)
    del missing["two"]
    with pytest.raises(ValueError, match=r"`scores\['two'\]` must be 3 numbers"):
        tfrcp.select(graph, missing, [1, 1, 1, 1])
