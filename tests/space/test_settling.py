"""Fewer channel vectors in the window than asked for, or none."""

from __future__ import annotations

import numpy as np
import pytest

from tests.space.sampling import every_sampler, feasible
from tfrcp import Budget, SearchSpace
from tfrcp.search import EvolutionarySampler, RandomSampler
from tfrcp.space.sampling import enumeration
from tfrcp.space.sampling.settling import settle


@every_sampler
def test_enough_vectors_change_nothing(sampler, small):
    graph, cost = small
    budget = Budget(0.5, tolerance=0.1)
    settled = settle(sampler(SearchSpace(graph), cost, budget, seed=3), 8)
    assert settled.note == "" and settled.sampler.budget == budget
    expected = RandomSampler(SearchSpace(graph), cost, budget, seed=3).suggest(8)
    np.testing.assert_array_equal(settled.vectors, expected)


@pytest.mark.parametrize("budget", [Budget(0.5, tolerance=0.02), Budget(params=0.5)])
def test_all_there_are(budget, small):
    graph, cost = small
    settled = settle(RandomSampler(SearchSpace(graph), cost, budget), 10_000)
    found = settled.vectors
    shares = cost(found)._asdict()[budget.target] / getattr(cost.full, budget.target)
    assert f"only {len(found)} candidates" in settled.note and len(np.unique(found, axis=0)) > 1
    assert shares.max() <= 0.5 + (budget.target == "flops") * 0.02
    if budget.target == "flops":
        assert len(found) == len(feasible(SearchSpace(graph), cost, budget))


@pytest.mark.parametrize("enumerable", [True, False])
@pytest.mark.parametrize("kind", [RandomSampler, EvolutionarySampler])
def test_with_none_in_the_window_the_nearest_come(kind, enumerable, small, monkeypatch):
    graph, cost = small
    if not enumerable:
        monkeypatch.setattr(enumeration, "LARGEST", 1)
    space = SearchSpace(graph, divisor=4)
    budget = Budget(int(0.5 * cost.full.flops) + 1, tolerance=0.0)
    settled = settle(kind(space, cost, budget), 10_000)
    assert "no channel vector is within 0 of the target" in settled.note
    everything = enumeration_of(space)
    distance = np.abs(cost(everything).flops - budget.flops)
    nearest = everything[distance == distance.min()]
    assert {tuple(v) for v in nearest} <= {tuple(v) for v in settled.vectors}
    assert settled.sampler.budget.tolerance < 2 * max(distance.min() / cost.full.flops, 0.001)
    assert type(settled.sampler) is kind


def enumeration_of(space):
    picks = np.indices([len(choice) for choice in space.choices]).reshape(len(space.choices), -1)
    return np.stack([c[p] for c, p in zip(space.choices, picks, strict=True)], axis=1)


@pytest.mark.parametrize("name", ["params", "activations"])
def test_a_target_that_is_an_upper_bound_stays_one(name, small):
    graph, cost = small
    budget = Budget(**{name: 0.5}, tolerance=0.0)
    settled = settle(RandomSampler(SearchSpace(graph, divisor=4), cost, budget), 50)
    shares = cost(settled.vectors)._asdict()[name] / getattr(cost.full, name)
    assert 0.3 < shares.min() and shares.max() <= 0.5


def test_a_bound_that_nothing_meets_is_an_error(small):
    graph, cost = small
    space = SearchSpace(graph, divisor=4)
    with pytest.raises(ValueError, match="Found 0 distinct|cannot be met"):
        settle(RandomSampler(space, cost, Budget(0.9, params=0.2)), 3)
