from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

import tfrcp
from tests.search.small_search import network
from tfrcp import Budget, CostModel, SearchSpace
from tfrcp.search import EvolutionarySampler, RandomSampler, RejectionSampler, SurrogateSampler

ADAPTIVE = [EvolutionarySampler, SurrogateSampler]
UNIFORM = [RandomSampler, RejectionSampler]
every_sampler = pytest.mark.parametrize("sampler", [*UNIFORM, *ADAPTIVE])
every_uniform_sampler = pytest.mark.parametrize("sampler", UNIFORM)
every_adaptive_sampler = pytest.mark.parametrize("sampler", ADAPTIVE)

CASES = {
    "half": ({}, Budget(0.5, tolerance=0.05)),
    "a tenth": ({}, Budget(0.1, tolerance=0.02)),
    "nine tenths": ({}, Budget(0.9, tolerance=0.05)),
    "absolute": ({}, Budget(10_000, tolerance=0.05)),
    "few activations": ({}, Budget(0.5, activations=0.55, tolerance=0.1)),
    "tied": ({"tied": [("unit0*", "unit2*")]}, Budget(0.5, tolerance=0.1)),
    "all tied": ({"tied": ["*"]}, Budget(0.5, tolerance=0.2)),
    "wider": ({"max_ratio": 1.5, "from_scratch": True}, Budget(1.0, tolerance=0.05)),
    "few weights": ({}, Budget(0.5, params=0.45, tolerance=0.1)),
    "absolute weights": ({}, Budget(0.5, params=900, tolerance=0.1)),
    "weights alone": ({}, Budget(1.0, params=0.3, tolerance=0.99)),
    "divisor": ({"divisor": 2}, Budget(0.5, tolerance=0.1)),
    "fixed": ({"fixed": ("unit1_conv",)}, Budget(0.5, tolerance=0.1)),
    "ratios": ({"min_ratio": 0.3, "max_ratio": 0.8}, Budget(0.3, tolerance=0.05)),
    # Windows that reach beyond what the space does.
    "from the smallest": ({}, Budget(0.05, tolerance=0.1)),
    "mostly below the smallest": ({}, Budget(0.03, tolerance=0.04)),
    "to the largest": ({}, Budget(1.0, tolerance=0.1)),
    "the smallest alone": ({}, Budget(0.02, tolerance=0.02)),
    "the largest alone": ({}, Budget(1.0, tolerance=0.0)),
    "everything": ({}, Budget(1.0, tolerance=0.99)),
}
every_case = pytest.mark.parametrize("case", CASES)


@pytest.fixture(scope="module")
def small():
    graph = tfrcp.trace(network())
    return graph, CostModel(graph)


@pytest.fixture(scope="module")
def resnet():
    graph = tfrcp.trace(tfrcp.models.resnet20())
    return graph, CostModel(graph)


def feasible(space, cost, budget):
    """All channel vectors that the space allows and the budget accepts, by trying every one."""
    vectors = np.array([list_of(space, picks) for picks in itertools.product(*options(space))])
    return vectors[meets(vectors, cost, budget)]


def options(space):
    return [range(len(block.options)) for block in space.blocks]


def list_of(space, picks):
    vector = np.zeros(len(space.choices), dtype="int64")
    for block, pick in zip(space.blocks, picks, strict=True):
        vector[block.columns] = block.options[pick]
    return vector


def meets(vectors, cost, budget):
    """The budget as its docstring tells it."""
    costs, full = cost(vectors), cost.full
    target = budget.flops * full.flops if isinstance(budget.flops, float) else budget.flops
    fits = np.abs(costs.flops - target) <= budget.tolerance * full.flops + 1e-6
    if budget.params is not None:
        limit = budget.params * full.params if isinstance(budget.params, float) else budget.params
        fits &= costs.params <= limit
    if budget.activations is not None:
        fits &= costs.activations <= budget.activations * full.activations
    return fits


def reachable(space, cost):
    ends = cost(np.stack([space.smallest, space.largest])).flops
    return f"The space reaches {ends[0]:,} to {ends[1]:,} multiply-adds"


def as_set(vectors):
    return {tuple(vector) for vector in vectors.tolist()}


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


def test_acceptance_is_the_share_of_draws_inside_the_budget(small):
    graph, cost = small
    sampler = RandomSampler(SearchSpace(graph), cost, Budget(0.5, tolerance=0.1))
    assert sampler.acceptance == 0
    sampler.suggest(10)
    assert 0.05 < sampler.acceptance < 1
    assert sampler.acceptance == sampler.accepted / sampler.attempts


@every_uniform_sampler
@pytest.mark.parametrize(
    "budget",
    [
        Budget(0.25, tolerance=0.1),
        Budget(0.5, tolerance=0.1),
        Budget(0.8, tolerance=0.15),
        Budget(0.5, params=0.5, tolerance=0.1),
        Budget(0.5, activations=0.6, tolerance=0.1),
    ],
    ids=str,
)
@pytest.mark.parametrize("tied", [(), [("unit0*", "unit2*")]], ids=["free", "tied"])
def test_suggestions_are_uniform_over_the_feasible_vectors(sampler, budget, tied, small):
    """The first half of all feasible vectors, of 20 seeds, holds every vector equally often.

    If the order is a uniform one, a vector is among the first k of N in a share k / N of the seeds.
    The squared deviations then add up to about a chi-square variable with N - 1 degrees of freedom.
    Four standard deviations above its mean are the limit. Draws that are not weighted back from the
    tilt stand 4, 10 and 64 deviations off in the cases without a bound of the weights.
    """
    graph, cost = small
    space = SearchSpace(graph, tied=tied)
    index = {tuple(v): i for i, v in enumerate(feasible(space, cost, budget).tolist())}
    total, first, seeds = len(index), len(index) // 2, 20
    hits = np.zeros(total)
    for seed in range(seeds):
        for vector in sampler(space, cost, budget, seed=seed).suggest(first).tolist():
            hits[index[tuple(vector)]] += 1
    share = first / total
    square = ((hits - seeds * share) ** 2).sum() / (seeds * share * (1 - share))
    square *= (total - 1) / total
    assert abs(square - (total - 1)) < 4 * np.sqrt(2 * (total - 1))


@pytest.mark.parametrize("flops", [0.4, 0.6])
def test_group_means_agree_with_plain_rejection(flops, resnet):
    graph, cost = resnet
    space, budget = SearchSpace(graph), Budget(flops, tolerance=0.02)
    random = np.random.default_rng(0)
    plain = np.stack([random.choice(choice, 200_000) for choice in space.choices], axis=1)
    plain = plain[meets(plain, cost, budget)]
    vectors = RandomSampler(space, cost, budget).suggest(2000)
    assert len(plain) > 500
    error = np.sqrt(plain.var(axis=0) / len(plain) + vectors.var(axis=0) / len(vectors))
    assert (np.abs(plain.mean(axis=0) - vectors.mean(axis=0)) < 4.5 * error).all()
    ratio = cost(vectors).flops / cost.full.flops
    assert abs(ratio.mean() - cost(plain).flops.mean() / cost.full.flops) < 0.002


@pytest.mark.parametrize("sampler", [RandomSampler, *ADAPTIVE])
@pytest.mark.parametrize("flops", [0.1, 0.25, 0.5, 0.75, 0.95])
def test_every_target_of_a_real_network_is_met(sampler, flops, resnet):
    graph, cost = resnet
    space, budget = SearchSpace(graph), Budget(flops)
    vectors = sampler(space, cost, budget).suggest(100)
    assert len(as_set(vectors)) == 100
    assert (np.abs(cost(vectors).flops / cost.full.flops - flops) <= 0.005).all()
    for column, choice in zip(vectors.T, space.choices, strict=True):
        assert np.isin(column, choice).all()


def test_the_effective_size_is_that_of_nearly_independent_draws(resnet):
    graph, cost = resnet
    sampler = RandomSampler(SearchSpace(graph), cost, Budget(0.5))
    assert sampler.effective_size == 0
    sampler.suggest(300)
    assert 0.3 * sampler.accepted < sampler.effective_size <= sampler.accepted


# Samplers that learn from scores.


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


def test_prune_rates_confine_the_widths(resnet):
    graph, cost = resnet
    space, budget = SearchSpace(graph), Budget(0.4, tolerance=0.02)
    sampler = RejectionSampler(space, cost, budget, prune_rates=(0.2, 0.5))
    ratios = sampler.suggest(200) / graph.full
    assert ratios.min() >= 0.45 and ratios.max() <= 0.85
    assert sampler.acceptance == sampler.accepted / sampler.attempts
    with pytest.raises(ValueError, match="no further one in 8,192 draws"):
        RejectionSampler(space, cost, Budget(0.9), prune_rates=(0.2, 0.5), max_draws=5000).suggest(
            1
        )


@pytest.mark.parametrize(
    ("sampler", "options", "message"),
    [
        (RejectionSampler, {"prune_rates": (0.7, 0.1)}, "`prune_rates` must be"),
        (RejectionSampler, {"prune_rates": (0.1, 1.0)}, "`prune_rates` must be"),
        (EvolutionarySampler, {"population": 3}, "tournament <= population"),
        (EvolutionarySampler, {"tournament": 0}, "tournament=0"),
        (EvolutionarySampler, {"crossover": 1.5}, "`crossover` must be in"),
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
