"""What holds of all spaces, budgets and samplers, on arguments that are drawn and shrunk."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tfrcp
from tests.search.small_search import GROUPS, network
from tests.space.sampling import ADAPTIVE, UNIFORM, as_set, feasible
from tfrcp import Budget, CostModel, SearchSpace
from tfrcp.search import SpreadSampler

SAMPLERS = [*UNIFORM, SpreadSampler, *ADAPTIVE]
GRAPH = tfrcp.trace(network(widths=(5, 6, 7)))
COST = CostModel(GRAPH)
a_few = settings(max_examples=40, derandomize=True, deadline=None, database=None)

shares = st.sampled_from([0.1, 0.25, 0.4, 0.5, 0.75, 1.0])
names = st.sampled_from(GROUPS)


@st.composite
def spaces(draw):
    low, high = sorted((draw(shares), draw(shares)))
    fixed = draw(st.sets(names, max_size=1))
    tied = draw(st.sampled_from([(), ("unit0*", "unit1*"), GROUPS]))
    ratios = {"min_ratio": low, "max_ratio": high}
    try:
        return SearchSpace(
            GRAPH, **ratios, divisor=draw(st.integers(1, 3)), fixed=tuple(fixed), tied=(tied,)
        )
    except ValueError:  # such as no multiple of the divisor within the ratios
        return SearchSpace(GRAPH, fixed=tuple(fixed))


def costs(full):
    return st.none() | shares | st.integers(1, full)


@st.composite
def budgets(draw):
    full = COST.full
    flops, params = draw(costs(full.flops)), draw(costs(full.params))
    return Budget(flops, params, tolerance=draw(st.sampled_from([0.0, 0.01, 0.1, 0.5])))


def accepted(space, budget):
    """All vectors that the budget accepts by its own ranges."""
    vectors = feasible(space, COST, Budget(1.0, tolerance=0.999))
    found = COST(vectors)._asdict()
    fits = [
        (low <= found[name]) & (found[name] <= high)
        for name, (low, high) in budget.ranges(COST.full._asdict()).items()
    ]
    return vectors[np.all(fits, axis=0)]


@a_few
@given(spaces())
def test_a_space_holds_what_its_blocks_allow(space):
    vectors = feasible(space, COST, Budget(1.0, tolerance=0.999))
    assert len(as_set(vectors)) == space.size
    assert (vectors >= space.smallest).all() and (vectors <= space.largest).all()
    for column, (group, choices) in enumerate(zip(GRAPH.prunable, space.choices, strict=True)):
        assert set(vectors[:, column]) == set(choices)
        assert 1 <= choices[0] and choices[-1] <= group.size
        if group.name in space.fixed:
            assert choices.tolist() == [group.size]


@a_few
@given(spaces(), budgets(), st.sampled_from(SAMPLERS), st.integers(0, 99))
def test_a_sampler_gives_what_the_budget_accepts_or_refuses(space, budget, sampler, seed):
    expected = as_set(accepted(space, budget))
    if not expected:
        with pytest.raises(ValueError, match="cannot be met|Found 0 distinct"):
            sampler(space, COST, budget, seed).suggest(1)
        return
    count = min(4, len(expected))
    vectors = sampler(space, COST, budget, seed).suggest(count)
    assert len(as_set(vectors)) == count and as_set(vectors) <= expected
    again = sampler(space, COST, budget, seed)
    np.testing.assert_array_equal(np.concatenate([again.suggest(1) for _ in range(count)]), vectors)


@a_few
@given(spaces(), budgets())
def test_a_budget_in_absolute_numbers_accepts_the_same(space, budget):
    full = COST.full._asdict()
    if budget.target == "flops":
        absolute = budget.absolute(full, full)
        low, high = budget.window(full["flops"])
        assert np.abs(np.subtract(absolute.window(full["flops"]), (low, high))).max() <= 1
    assert Budget(**budget.get_config()) == budget


@a_few
@given(st.data())
def test_select_keeps_the_best_in_any_order(data):
    """The order of the channels and increasing functions of the scores change nothing."""
    sizes = [group.size for group in GRAPH.prunable]
    channels = [data.draw(st.integers(1, size)) for size in sizes]
    scores = {
        name: np.array(data.draw(st.permutations(range(size))), float)
        for name, size in zip(GROUPS, sizes, strict=True)
    }
    masks = tfrcp.select(GRAPH, scores, channels)
    assert [int(mask.sum()) for mask in masks.values()] == channels
    for name, kept in zip(GROUPS, channels, strict=True):
        assert set(scores[name][masks[name]]) == set(range(len(scores[name]))[-kept:])
    other = tfrcp.select(GRAPH, {name: np.exp(s) - 9 for name, s in scores.items()}, channels)
    turned = tfrcp.select(GRAPH, {name: s[::-1] for name, s in scores.items()}, channels)
    for name in GROUPS:
        np.testing.assert_array_equal(other[name], masks[name])
        np.testing.assert_array_equal(turned[name], masks[name][::-1])
