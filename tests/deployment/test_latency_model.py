from __future__ import annotations

import json

import keras
import numpy as np
import pytest

import tfrcp
from tests.search.small_search import network
from tfrcp import Budget, CostModel, LatencyModel, SearchSpace
from tfrcp.deployment.latency_model.model import Check
from tfrcp.deployment.latency_model.segments import cut, widths
from tfrcp.deployment.latency_model.tables import Cache, Table
from tfrcp.search.timing import near_budget

QUICK = {"batch_size": 2, "points": 2, "networks": 2, "repeats": 2, "verbose": False}


def residual():
    """Two convolutions around a shortcut, a strided one, and a head."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(12, 3, padding="same", name="stem")(x)
    y = keras.layers.Conv2D(16, 3, padding="same", use_bias=False, name="inner")(x)
    y = keras.layers.ReLU()(keras.layers.BatchNormalization()(y))
    y = keras.layers.Conv2D(12, 3, padding="same", name="outer")(y)
    x = keras.layers.ReLU()(keras.layers.Add()([x, y]))
    x = keras.layers.DepthwiseConv2D(3, strides=2, name="depthwise")(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(4)(x))


@pytest.fixture(scope="module")
def graph():
    return tfrcp.trace(residual())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def measured(folder):
    """A predictor of the small network of the search tests; really measured."""
    model = network()
    return LatencyModel(model, tfrcp.trace(model), folder=folder, **QUICK)


class Priced:
    """A stand-in for a measured predictor: time proportional to the weighted channel counts."""

    def __init__(self, graph, slow=None):
        self.graph = graph
        prices = np.ones(len(graph.full)) if slow is None else np.array(slow, float)
        self.form = np.zeros((len(prices) + 1, len(prices) + 1))
        self.form[:-1, -1] = prices
        self.form[-1, -1] = 5.0
        self.full = float(self(graph.full)[0])

    def __call__(self, channels):
        vectors = np.c_[np.atleast_2d(channels), np.ones(len(np.atleast_2d(channels)))]
        return ((vectors @ self.form) * vectors).sum(axis=1)


# Segments.


def test_a_layer_stands_with_what_runs_together_with_it(graph):
    kinds = [[call.kind for call in segment.calls] for segment in cut(graph)]
    assert kinds == [
        ["Conv2D"],
        ["Conv2D", "BatchNormalization", "ReLU"],
        ["Conv2D"],
        ["Add", "ReLU"],
        ["DepthwiseConv2D"],
        ["Flatten"],
        ["Dense"],
    ]


def test_segments_have_the_shapes_of_the_pruned_network():
    channels = np.array([5, 7])
    model = residual()
    graph = tfrcp.trace(model)
    masks = {g.name: np.arange(g.size) < n for g, n in zip(graph.prunable, channels, strict=True)}
    pruned = tfrcp.slice_model(model, graph, masks)
    for segment in cut(graph):
        built = segment.build(channels)
        last = pruned.get_layer(segment.calls[-1].path)
        assert built.output.shape == last.output.shape
        assert sum(np.size(w) for w in built.get_weights()) == sum(
            np.size(w) for call in segment.calls for w in pruned.get_layer(call.path).get_weights()
        )


def test_counts_of_a_segment_are_those_of_its_tensors(graph):
    segments = cut(graph)
    counts = [segment.counts(np.array([[5, 7]])).ravel().tolist() for segment in segments]
    # Of the image one unknown label; both inputs of the addition; all positions after flattening.
    assert counts[1] == [5, 7] and counts[2] == [7, 5]
    assert counts[3] == [10, 0] and counts[4] == [5, 0]
    assert counts[5] == [5, 0] and counts[6] == [5 * 9, 4]


def test_equal_segments_share_a_key():
    model = tfrcp.models.resnet56((8, 8, 1))
    segments = cut(tfrcp.trace(model))
    assert len({segment.key for segment in segments}) < len(segments) / 3
    first, second = (s.key for s in cut(tfrcp.trace(network((8, 10, 10))))[1:3])
    assert first != second  # Images of different sizes.


def test_widths_of_tables_are_those_that_a_search_meets():
    full = np.array([16, 16, 16, 1, 20])
    share = np.array([0.1, 0.999, 1.0, 0.5, 0.6])
    assert widths(full, share, 1).tolist() == [3, 15, 16, 1, 13]
    assert widths(full, share, 8).tolist() == [8, 16, 16, 1, 8]


# Tables.


def test_tables_are_linear_between_their_points_and_beyond():
    grid = np.array([2.0, 4.0, 8.0]), np.array([1.0, 3.0])
    plane = lambda i, o: 1 + 2 * i + 3 * o + i * o  # noqa: E731
    table = Table(*grid, plane(grid[0][:, None], grid[1][None]))
    counts = np.array([[2.0, 3.0, 8.0, 10.0], [1.0, 2.0, 3.0, 4.0]])
    np.testing.assert_allclose(table(counts), plane(*counts))
    np.testing.assert_allclose(table.bilinear(), [1, 2, 3, 1], atol=1e-9)
    single = Table(np.array([3.0]), np.array([0.0]), np.array([[7.0]]))
    assert single(np.array([[3.0], [0.0]])) == 7.0


def test_times_are_never_negative():
    table = Table(np.array([4.0, 8.0]), np.array([1.0]), np.array([[0.1], [1.0]]))
    assert table(np.array([[1.0], [1.0]])) == 0.0


# The predictor.


def test_predicts_thousands_at_once(measured):
    full = measured.graph.full
    random = np.random.default_rng(0)
    vectors = np.stack([random.integers(1, n + 1, 3000) for n in full], axis=1)
    times = measured(vectors)
    assert times.shape == (3000,) and np.isfinite(times).all() and (times >= 0).all()
    assert measured(full)[0] == pytest.approx(measured.full)
    ends = np.append(full, 1)
    assert np.isfinite(ends @ measured.form @ ends)


def test_what_was_measured_is_kept_on_disk(measured, folder, monkeypatch):
    (file,) = folder.glob("latency-*.json")
    about = json.loads(file.read_text())["about"]
    assert {"processor", "cores", "versions"} <= set(about["machine"]) and about["batch_size"] == 2
    monkeypatch.setattr(tfrcp.latency, "measure", None)  # Would fail if called.
    model = network()
    again = LatencyModel(model, tfrcp.trace(model), folder=folder, **QUICK)
    assert again.full == measured.full
    file.write_text("{")
    with pytest.raises(TypeError):
        LatencyModel(model, tfrcp.trace(model), folder=folder, **QUICK)


def test_an_entry_of_another_machine_is_not_used(tmp_path, monkeypatch):
    Cache(tmp_path, {}).get("key", lambda: 1)
    assert Cache(tmp_path, {}).get("key", lambda: 2) == 1
    monkeypatch.setattr(
        "tfrcp.deployment.latency_model.tables.machine", lambda: {"processor": "another"}
    )
    assert Cache(tmp_path, {}).get("key", lambda: 2) == 2
    assert Cache(None, {}).get("key", lambda: 3) == 3


def test_its_error_is_told(measured):
    check = measured.check(2)
    assert check.predicted.shape == check.measured.shape == (2,)
    assert "2 random networks" in str(check)
    made_up = Check(np.array([0.5, 0.9]), np.array([0.4, 1.0]))
    assert "off by 17.5 % on average and by 25.0 % at most" in str(made_up)


@pytest.mark.parametrize("wrong", [{"points": 1}, {"networks": 1}, {"divisor": 0}])
def test_arguments_out_of_range(wrong):
    model = network()
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be an int of at least"):
        LatencyModel(model, tfrcp.trace(model), folder=None, **(QUICK | wrong))


def test_vectors_of_another_network(measured):
    with pytest.raises(ValueError, match="`channels` must be an int array"):
        measured(np.ones((2, 2), dtype=int))


# Near a budget.


def test_a_predictor_is_right_on_average_where_it_is_calibrated(measured, monkeypatch):
    vectors = np.array([[4, 5, 5], [3, 6, 4], [5, 4, 6]])
    shares = np.array([0.5, 0.45, 0.6])
    calls = []
    monkeypatch.setattr(
        LatencyModel, "measure", lambda self, vectors: (calls.append(vectors), (shares, 2.0))[1]
    )
    # Made up, too: so small layers take next to no time.
    monkeypatch.setattr(LatencyModel, "_sum", lambda self, vectors: vectors.sum(axis=1) / 10)
    near = measured.calibrated(vectors)
    assert near.full == pytest.approx(2.0)
    assert (near(vectors) / (2 * shares)).mean() == pytest.approx(1)
    assert near.form[-1, -1] != measured.form[-1, -1]
    again = measured.calibrated(vectors)
    assert len(calls) == 1 and again.full == near.full  # kept, as all that is measured
    assert measured.full != near.full


def test_networks_as_slow_as_the_unpruned_one_calibrate_nothing(measured, monkeypatch):
    monkeypatch.setattr(LatencyModel, "measure", lambda self, vectors: (np.array([1.0]), 2.0))
    assert measured.calibrated(measured.graph.full[None]) is measured


class Optimist(Priced):
    """Takes a saving in time for a quarter larger than it is, until it is calibrated."""

    def __init__(self, graph, calibrated_with=None):
        super().__init__(graph)
        self.seen = calibrated_with
        if calibrated_with is None:
            self.form = 1.25 * self.form
            self.form[-1, -1] -= 0.25 * self.full

    def calibrated(self, vectors):
        return Optimist(self.graph, vectors)


def test_a_search_calibrates_where_its_networks_are(tmp_path):
    model = network()
    latency = Optimist(tfrcp.trace(model))
    options = {"latency": 0.6, "tolerance": 0.05, "max_trials": 4, "reconstruction": "none"}
    tuner = tfrcp.RandomChannelSearch(model, latency_model=latency, directory=tmp_path, **options)
    used = tuner.oracle.sampler.latency
    assert len(used.seen) == 5
    np.testing.assert_allclose(used(used.seen) / used.full, 0.6, atol=0.05)
    true = Priced(latency.graph)
    vectors = tuner.oracle.sampler.suggest(4)
    np.testing.assert_allclose(true(vectors) / true.full, 0.6, atol=0.05)


def test_a_small_space_calibrates_with_what_it_has(tmp_path):
    model = network((2, 2, 2))
    graph = tfrcp.trace(model)
    space, cost = SearchSpace(graph), CostModel(graph)
    budget = Budget(latency=0.7, tolerance=0.15)
    seen = near_budget(Optimist(graph), space, cost, budget, 0).seen
    assert 1 < len(seen) < 5 and len(np.unique(seen, axis=0)) == len(seen)


# As a budget.
