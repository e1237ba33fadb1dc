from __future__ import annotations

import numpy as np
import pytest

from tests.space.sampling import (
    as_set,
    every_adaptive_sampler,
    every_sampler,
    feasible,
    meets,
)
from tfrcp import Budget, SearchSpace
from tfrcp.search import RandomSampler


def told(sampler, count, score):
    """Suggests one vector at a time, and tells its score."""
    vectors = []
    for _ in range(count):
        vectors.append(sampler.suggest(1))
        sampler.update(vectors[-1], [score(vectors[-1][0])])
    return np.concatenate(vectors)


def score(vector):
    """Best where the first group is narrow and the last one is wide."""
    return float(vector[-1] - 2 * vector[0])


@every_sampler
def test_with_scores_vectors_are_feasible_and_differ_and_a_seed_tells_them(sampler, small):
    graph, cost = small
    space, budget = SearchSpace(graph), Budget(0.5, params=0.6, tolerance=0.1)
    vectors = told(sampler(space, cost, budget, 3), 26, score)
    assert len(as_set(vectors)) == 26 and meets(vectors, cost, budget).all()
    assert as_set(vectors) <= as_set(feasible(space, cost, budget))
    np.testing.assert_array_equal(told(sampler(space, cost, budget, 3), 26, score), vectors)


@every_sampler
def test_scores_change_the_suggestions_of_those_that_adapt_alone(sampler, small):
    graph, cost = small
    space, budget = SearchSpace(graph), Budget(0.5, tolerance=0.1)
    one = told(sampler(space, cost, budget), 24, score)
    other = told(sampler(space, cost, budget), 24, lambda vector: -score(vector))
    assert np.array_equal(one, other) != sampler.adaptive
    np.testing.assert_array_equal(one[:20], other[:20])  # random at first


@every_adaptive_sampler
def test_one_that_is_told_what_was_suggested_goes_on_as_the_one_before(sampler, small):
    graph, cost = small
    space, budget = SearchSpace(graph), Budget(0.5, tolerance=0.1)
    vectors = told(sampler(space, cost, budget), 25, score)
    for done in (5, 22):
        again = sampler(space, cost, budget)
        again.take(vectors[:done])
        again.update(vectors[:done], [score(vector) for vector in vectors[:done]])
        np.testing.assert_array_equal(told(again, 25 - done, score), vectors[done:])


@every_adaptive_sampler
def test_with_scores_all_feasible_vectors_come_too(sampler, small):
    graph, cost = small
    space, budget = SearchSpace(graph, divisor=3), Budget(0.5, tolerance=0.2)
    expected = feasible(space, cost, budget)
    made = sampler(space, cost, budget)
    assert as_set(told(made, len(expected), score)) == as_set(expected) and len(expected) > 20
    with pytest.raises(ValueError, match=f"Found {len(expected)} distinct"):
        made.suggest(1)


@every_adaptive_sampler
def test_adaptive_samplers_find_better_vectors_than_random_ones(sampler, resnet):
    graph, cost = resnet
    space, budget = SearchSpace(graph), Budget(0.5)
    weights = np.random.default_rng(0).normal(size=len(space.choices))

    def best(made):
        vectors = told(made, 35, lambda vector: weights @ (vector / graph.full))
        return (vectors / graph.full @ weights).max()

    better = [
        best(sampler(space, cost, budget, seed)) - best(RandomSampler(space, cost, budget, seed))
        for seed in range(2)
    ]
    assert min(better) > 0


@every_sampler
def test_scores_without_a_number_do_no_harm(sampler, small):
    graph, cost = small
    made = sampler(SearchSpace(graph), cost, Budget(0.5, tolerance=0.1))
    vectors = told(made, 23, lambda vector: float("nan") if vector[0] % 2 else score(vector))
    assert len(as_set(vectors)) == 23
    assert np.isfinite(made.scored()[1]).all()


@every_sampler
def test_scores_must_be_as_many_as_vectors(sampler, small):
    graph, cost = small
    made = sampler(SearchSpace(graph), cost, Budget(0.5, tolerance=0.1))
    with pytest.raises(ValueError, match=r"`scores` \[N\]. Received: \(2, 3\) and \(1,\)"):
        made.update(made.suggest(2), [0.5])
