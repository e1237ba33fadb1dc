from __future__ import annotations

import keras
import numpy as np
import pytest

import tfrcp
from examples import own_allocation
from tests.networks import head, unit
from tests.search.small_search import network
from tfrcp.allocation.kernels import Kernels
from tfrcp.space.sampling.bounds import Bounds
from tfrcp.studies.allocations import ALLOCATIONS, Step, into_window, meet_budget, nearest

GRAPHS = {
    "chain": lambda: tfrcp.trace(network()),
    "resnet8": lambda: tfrcp.trace(tfrcp.models.resnet8((8, 8, 1))),
}
EVERY = ALLOCATIONS | {"own": own_allocation.wider_with_depth}


@pytest.fixture(scope="module", params=GRAPHS)
def graph(request):
    return GRAPHS[request.param]()


def step_of(graph, flops=0.4, tolerance=0.02, *, samples=6, seed=0, score=None, **space):
    random = np.random.default_rng(5)
    scores = {group.name: random.random(group.size) for group in graph.prunable}
    weights = random.random(len(graph.prunable))
    return Step(
        tfrcp.SearchSpace(graph, **space),
        tfrcp.CostModel(graph),
        tfrcp.Budget(flops, tolerance=tolerance),
        scores,
        score or (lambda channels: float(channels / graph.full @ weights)),
        samples,
        seed,
    )


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("flops", [0.2, 0.5, 0.9])
def test_it_meets_the_budget_in_the_space_and_does_so_again(graph, name, flops):
    step = step_of(graph, flops)
    vector = EVERY[name](step)
    assert vector.shape == (len(graph.prunable),) and vector.dtype.kind == "i"
    assert all(n in choice for n, choice in zip(vector, step.space.choices, strict=True))
    assert Bounds(step.space, step.cost, step.budget).violation(vector[None])[0] == 0
    assert (EVERY[name](step) == vector).all()


@pytest.mark.parametrize("name", EVERY)
def test_divisors_fixed_and_tied_groups_are_respected(name):
    graph = GRAPHS["resnet8"]()
    step = step_of(
        graph, 0.5, 0.05, divisor=4, fixed=("stem_conv",), tied=(("stage3_block1_conv*",),)
    )
    vector = EVERY[name](step)
    assert vector[graph.column("stem_conv")] == 16 and (vector % 4 == 0).all()
    for block in step.space.blocks:
        assert (block.options == vector[block.columns]).all(axis=1).any()


@pytest.mark.parametrize("name", EVERY)
def test_those_that_say_so_do_not_depend_on_the_seed(name):
    graph = GRAPHS["resnet8"]()
    vectors = [EVERY[name](step_of(graph, seed=seed)) for seed in (0, 1)]
    same = (vectors[0] == vectors[1]).all()
    assert same == getattr(EVERY[name], "deterministic", False)


def test_uniform_keeps_one_share():
    step = step_of(GRAPHS["resnet8"](), 0.25)
    ratios = ALLOCATIONS["uniform"](step) / step.space.graph.full
    # Counts are whole, and one group may have been changed to meet the window.
    assert np.median(ratios) == pytest.approx(0.5, abs=0.05) and np.ptp(ratios) < 0.2


def test_global_ranking_keeps_more_where_scores_are_even():
    graph = GRAPHS["chain"]()
    step = step_of(graph, 0.4, 0.05)
    for group, spread in zip(graph.prunable, (0.0, 0.0, 5.0), strict=True):
        step.scores[group.name][:] = np.exp(spread * np.linspace(-1, 1, group.size))
    ratios = ALLOCATIONS["global_ranking"](step) / graph.full
    assert ratios[2] < ratios[0] and ratios[2] < ratios[1]


def test_erk_narrows_large_layers_and_random_tickets_deep_ones():
    graph = tfrcp.trace(tfrcp.models.vgg16((32, 32, 3)))
    step = step_of(graph, 0.3)
    for name in ("erk", "random_tickets"):
        ratios = ALLOCATIONS[name](step) / graph.full
        assert ratios[0] > ratios[6] > ratios[-1]


def test_kernels_and_their_densities():
    inputs = keras.Input((8, 8, 1))
    graph = tfrcp.trace(keras.Model(inputs, head(unit(unit(inputs, 8, "a"), 6, "b"))))
    kernels = Kernels(graph)
    assert [shape[-2:] for shape in kernels.shapes][:2] == [(1, 8), (8, 6)]
    assert len(kernels.shapes) == 3 and kernels.of_group == [[0], [1]]
    assert kernels.ratios(np.array([0.25, 0.16, 1.0])) == pytest.approx([0.5, 0.4])


def test_greedy_spares_what_the_score_needs():
    graph = GRAPHS["resnet8"]()
    needed = graph.column("stage1_block1_conv1")
    step = step_of(graph, 0.5, score=lambda channels: float(channels[needed]))
    vector = ALLOCATIONS["greedy"](step)
    others = np.delete(vector / graph.full, needed)
    assert vector[needed] == graph.full[needed] and others.min() < 0.6


@pytest.mark.parametrize("name", ["random", "evolutionary"])
def test_searches_score_as_many_as_told_and_keep_the_best(name):
    graph, asked = GRAPHS["resnet8"](), []

    def score(channels):
        asked.append(channels)
        return float(channels[0])

    vector = ALLOCATIONS[name](step_of(graph, samples=9, score=score))
    assert len(asked) == 9 and vector[0] == max(channels[0] for channels in asked)


def test_a_budget_that_nothing_meets_is_an_error():
    step = step_of(GRAPHS["chain"](), 0.4, 0.0)
    found = step.space.largest
    with pytest.raises(ValueError, match="cannot be changed so that"):
        into_window(step, found)
    with pytest.raises(ValueError, match="cannot be changed so that"):
        meet_budget(step, lambda r: nearest(step.space, r * np.ones(3)), 1.0)
