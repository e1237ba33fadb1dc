"""Budgets that bound the latency."""

from __future__ import annotations

import numpy as np
import pytest

import tfrcp
from tests.deployment.test_latency_model import Priced
from tests.search.small_search import HOLDOUT, TRAIN, network
from tfrcp import Budget, CostModel, SearchSpace
from tfrcp.search import RandomSampler


def sampler(budget, latency, seed=0, **options):
    graph = latency.graph
    return RandomSampler(
        SearchSpace(graph, **options), CostModel(graph), budget, seed, latency=latency
    )


def test_without_multiply_adds_the_latency_is_met():
    latency = Priced(tfrcp.trace(network((24, 24, 24))))
    budget = Budget(latency=0.6, tolerance=0.01)
    assert budget.flops is None
    vectors = sampler(budget, latency).suggest(50)
    np.testing.assert_allclose(latency(vectors) / latency.full, 0.6, atol=0.01)
    np.testing.assert_array_equal(vectors, sampler(budget, latency).suggest(50))


def test_all_bounds_at_once():
    graph = tfrcp.trace(network((24, 24, 24)))
    latency = Priced(graph, slow=[3, 1, 1])
    budget = Budget(flops=0.5, params=0.6, tolerance=0.03, latency=0.7)
    vectors = sampler(budget, latency).suggest(10)
    costs, full = CostModel(graph)(vectors), CostModel(graph).full
    assert (abs(costs.flops / full.flops - 0.5) <= 0.03).all()
    assert (costs.params <= 0.6 * full.params).all()
    assert (latency(vectors) <= 0.7 * latency.full).all()


def test_a_time_that_cannot_be_reached():
    latency = Priced(tfrcp.trace(network()))
    with pytest.raises(ValueError, match="cannot be met.* ms per image"):
        sampler(Budget(latency=0.1), latency)
    graph = latency.graph
    with pytest.raises(ValueError, match="needs `latency`, a tfrcp.LatencyModel"):
        RandomSampler(SearchSpace(graph), CostModel(graph), Budget(latency=0.6))


@pytest.mark.parametrize("wrong", [0.0, 1.5, -1.0, 1, "fast", float("nan")])
def test_a_bound_that_makes_no_sense(wrong):
    with pytest.raises(ValueError, match="`latency` must be a float in"):
        Budget(latency=wrong)


def test_without_a_latency_nothing_changes():
    full = {"flops": 100, "latency": 4.0}
    assert Budget() == Budget(flops=0.5) and "latency" not in Budget().ranges(full)
    assert Budget(0.4, latency=0.5).ranges(full)["latency"] == (0.0, 2.0)


@pytest.mark.parametrize(
    "kind",
    [tfrcp.RandomChannelSearch, tfrcp.EvolutionaryChannelSearch, tfrcp.SurrogateChannelSearch],
)
def test_a_search_keeps_to_the_latency(kind, tmp_path):
    model = network()
    latency = Priced(tfrcp.trace(model))
    options = {"latency": 0.6, "tolerance": 0.05, "max_trials": 4, "reconstruction": "none"}
    with pytest.raises(ValueError, match="needs `latency`, a tfrcp.LatencyModel"):
        kind(model, directory=tmp_path, **options)
    tuner = kind(model, latency_model=latency, directory=tmp_path, **options)
    tuner.search(TRAIN, validation_data=HOLDOUT, verbose=False)
    vectors = np.array([tuner.channels_of(trial) for trial in tuner.oracle.trials.values()])
    assert len(vectors) == 4
    np.testing.assert_allclose(latency(vectors) / latency.full, 0.6, atol=0.05)
