from __future__ import annotations

import numpy as np
import pytest

from tests.space.sampling import (
    ADAPTIVE,
    as_set,
    every_uniform_sampler,
    feasible,
    meets,
)
from tfrcp import Budget, SearchSpace
from tfrcp.search import RandomSampler, RejectionSampler, SpreadSampler


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


@pytest.mark.parametrize("sampler", [RandomSampler, SpreadSampler, *ADAPTIVE])
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


def test_the_spread_sampler_draws_near_uniform_and_uneven_networks_alike(resnet):
    graph, cost = resnet
    space = SearchSpace(graph, min_ratio=0.02)

    def spreads(sampler):
        return (sampler.suggest(300) / graph.full).std(axis=1)

    even = spreads(SpreadSampler(space, cost, Budget(0.5), max_spread=0.2))
    assert (even < 0.05).mean() > 0.1 and (even > 0.15).mean() > 0.1
    assert (spreads(RandomSampler(space, cost, Budget(0.5))) > 0.1).all()
    with pytest.raises(ValueError, match="`max_spread` must be"):
        SpreadSampler(space, cost, Budget(0.5), max_spread=0)
