from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from tests.space.sampling import (
    CASES,
    as_set,
    every_case,
    every_sampler,
    feasible,
    reachable,
)
from tfrcp import Budget, SearchSpace
from tfrcp.search import EvolutionarySampler, RejectionSampler, SurrogateSampler


@every_sampler
@every_case
def test_all_feasible_vectors_and_no_others_come_each_once(sampler, case, small):
    graph, cost = small
    options, budget = CASES[case]
    space = SearchSpace(graph, **options)
    expected = feasible(space, cost, budget)
    assert len(expected)
    vectors = sampler(space, cost, budget).suggest(len(expected))
    assert vectors.dtype == np.int64 and vectors.shape == expected.shape
    assert as_set(vectors) == as_set(expected)


@every_sampler
def test_one_vector_more_than_there_are_is_refused(sampler, small):
    graph, cost = small
    space, budget = SearchSpace(graph), Budget(0.5, tolerance=0.02)
    count = len(feasible(space, cost, budget))
    made = sampler(space, cost, budget)
    with pytest.raises(ValueError, match=f"Found {count} distinct .*, and no further") as error:
        made.suggest(count + 1)
    assert reachable(space, cost) in str(error.value)
    assert len(as_set(made.suggest(count))) == count  # what was found is not lost


@every_sampler
def test_a_window_between_two_costs_is_refused(sampler, small):
    graph, cost = small
    space = SearchSpace(graph, divisor=4)
    flops = np.unique(cost(np.array(list(itertools.product(*space.choices)))).flops)
    gap = int(np.diff(flops).argmax())
    target = int(flops[gap] + flops[gap + 1]) // 2
    with pytest.raises(ValueError, match="Found 0 distinct"):
        sampler(space, cost, Budget(target, tolerance=0.0)).suggest(1)


@every_sampler
@pytest.mark.parametrize(
    ("options", "budget"),
    [
        ({}, Budget(0.01)),
        ({}, Budget(7)),
        ({}, Budget(10**12)),
        ({"max_ratio": 0.5}, Budget(0.9)),
        ({"min_ratio": 0.9}, Budget(0.5)),
        ({"fixed": ("unit0_conv", "unit1_conv", "unit2_conv")}, Budget(0.5)),
        ({}, Budget(0.5, params=20)),
        ({}, Budget(0.5, params=0.01)),
        ({}, Budget(0.5, activations=0.01)),
    ],
)
def test_an_unreachable_budget_is_refused_at_once(sampler, options, budget, small):
    graph, cost = small
    space = SearchSpace(graph, **options)
    with pytest.raises(ValueError, match=re.escape(f"{budget} cannot be met")) as error:
        sampler(space, cost, budget)
    assert reachable(space, cost) in str(error.value)
    assert "weights" in str(error.value)


@every_sampler
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_a_seed_tells_the_suggestions(sampler, seed, small):
    graph, cost = small
    space, budget = SearchSpace(graph), Budget(0.5, tolerance=0.1)
    whole = sampler(space, cost, budget, seed=seed).suggest(8)
    np.testing.assert_array_equal(sampler(space, cost, budget, seed=seed).suggest(8), whole)
    parts = sampler(space, cost, budget, seed=seed)
    np.testing.assert_array_equal(np.concatenate([parts.suggest(3), parts.suggest(5)]), whole)
    assert not np.array_equal(sampler(space, cost, budget, seed=seed + 1).suggest(8), whole)


@every_sampler
def test_seed_0_is_the_default_and_a_seed_like_any_other(sampler, small):
    graph, cost = small
    space, budget = SearchSpace(graph), Budget(0.5, tolerance=0.1)
    np.testing.assert_array_equal(
        sampler(space, cost, budget).suggest(5), sampler(space, cost, budget, seed=0).suggest(5)
    )


@every_sampler
@pytest.mark.parametrize("seed", [-1, 0.5, "0", None])
def test_what_is_no_seed_is_refused(sampler, seed, small):
    graph, cost = small
    with pytest.raises(ValueError, match="`seed` must be"):
        sampler(SearchSpace(graph), cost, Budget(0.5), seed=seed)


@every_sampler
def test_no_suggestions_are_an_empty_array(sampler, small):
    graph, cost = small
    none = sampler(SearchSpace(graph), cost, Budget(0.5, tolerance=0.1)).suggest(0)
    assert none.shape == (0, 3) and none.dtype == np.int64


@every_sampler
@pytest.mark.parametrize("count", [-1, 1.5, "3"])
def test_what_is_no_count_is_refused(sampler, count, small):
    graph, cost = small
    with pytest.raises(ValueError, match="`count` must be"):
        sampler(SearchSpace(graph), cost, Budget(0.5, tolerance=0.1)).suggest(count)


@pytest.mark.parametrize(
    ("sampler", "options", "message"),
    [
        (RejectionSampler, {"prune_rates": (0.7, 0.1)}, "`prune_rates` must be"),
        (RejectionSampler, {"prune_rates": (0.1, 1.0)}, "`prune_rates` must be"),
        (EvolutionarySampler, {"population": 3}, "tournament <= population"),
        (EvolutionarySampler, {"tournament": 0}, "tournament=0"),
        (EvolutionarySampler, {"crossover": 1.5}, "`crossover` must be a number in"),
        (SurrogateSampler, {"random_first": 1}, "`random_first` must be"),
    ],
)
def test_bad_options_are_refused(sampler, options, message, small):
    graph, cost = small
    with pytest.raises(ValueError, match=message):
        sampler(SearchSpace(graph), cost, Budget(0.5), **options)


def test_without_scikit_learn_the_surrogate_says_what_to_install(small, monkeypatch):
    graph, cost = small
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install .*tfrcp\[surrogate\]"):
        SurrogateSampler(SearchSpace(graph), cost, Budget(0.5))
