from __future__ import annotations

import numpy as np
import pytest

import tfrcp
from tests.networks import NETWORKS
from tests.search.small_search import network
from tfrcp import allocation
from tfrcp.space.sampling.bounds import Bounds

GRAPHS = {
    "chain": tfrcp.trace(network()),
    "resnet8": tfrcp.trace(tfrcp.models.resnet8((8, 8, 1))),
}
BUDGETS = {
    "flops": tfrcp.Budget(0.5, tolerance=0.03),
    "absolute weights": tfrcp.Budget(params=900, tolerance=0.03),
    "weights": tfrcp.Budget(params=0.4, tolerance=0.03),
    "activations": tfrcp.Budget(activations=0.6, tolerance=0.03),
    "flops and weights": tfrcp.Budget(0.5, params=0.45, tolerance=0.05),
}
OUTER = ("stem_conv", "stage2_block1_conv2", "stage3_block1_conv2")
KINDS = {
    **{name: name for name in allocation.ALLOCATIONS},
    "inner": {"class_name": "global_ranking", "config": {"groups": "inner"}},
    "per cost": {"class_name": "global_ranking", "config": {"cost_power": 1.0}},
}


def inputs(graph, budget=BUDGETS["flops"], *, seed=5, **space):
    random = np.random.default_rng(seed)
    scores = {group.name: random.random(group.size) for group in graph.prunable}
    return graph, scores, tfrcp.SearchSpace(graph, **space), tfrcp.CostModel(graph), budget


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", BUDGETS)
def test_every_allocation_meets_every_budget(kind, budget):
    graph = GRAPHS["chain"]
    made = inputs(graph, BUDGETS[budget], divisor=2 if budget == "flops and weights" else 1)
    vector = allocation.get(KINDS[kind])(*made)
    _, _, space, cost, wanted = made
    assert vector.shape == (3,) and vector.dtype.kind == "i"
    assert all(n in choice for n, choice in zip(vector, space.choices, strict=True))
    assert Bounds(space, cost, wanted).violation(vector[None])[0] == 0
    assert (allocation.get(KINDS[kind])(*made) == vector).all()


@pytest.mark.parametrize("name", allocation.ALLOCATIONS)
def test_it_is_made_again_from_its_configuration(name):
    config = allocation.get(name).get_config()
    again = allocation.get({"class_name": name, "config": config})
    assert type(again) is allocation.ALLOCATIONS[name] and again.get_config() == config


def test_inner_groups_alone_are_ranked():
    graph = GRAPHS["resnet8"]
    vector = allocation.GlobalRanking(groups="inner")(*inputs(graph, tfrcp.Budget(0.6)))
    outer = [graph.column(n) for n in OUTER]
    assert (vector[outer] == graph.full[outer]).all()
    assert (np.delete(vector, outer) < np.delete(graph.full, outer)).any()


def test_inner_groups_that_cannot_meet_the_budget_alone_are_an_error():
    graph = GRAPHS["resnet8"]
    with pytest.raises(ValueError, match="groups='all'"):
        allocation.GlobalRanking(groups="inner")(
            *inputs(graph, min_ratio=0.9 * 0.5, budget=tfrcp.Budget(0.25))
        )


@pytest.mark.parametrize("given", ["relative", "none", "as they are"])
def test_network_slimming_ranks_the_scales_as_they_are(given):
    model = network()
    random, scales = np.random.default_rng(1), {}
    for name, size in (("unit0", 0.1), ("unit1", 1.0), ("unit2", 1.0)):
        layer = next(x for x in model.layers if x.name.startswith(name) and hasattr(x, "gamma"))
        sign = random.choice([-1, 1], layer.gamma.shape)
        scales[f"{name}_conv"] = size * random.uniform(0.5, 1.0, layer.gamma.shape)
        layer.gamma.assign(sign * scales[f"{name}_conv"])
    graph, _, space, cost, budget = inputs(tfrcp.trace(model), tfrcp.Budget(0.5, tolerance=0.03))
    scores = {"none": {}, "as they are": scales}.get(given)
    if scores is None:
        scores = tfrcp.criteria.get("batch_norm_scale")(model, graph)
    vector = allocation.get("network_slimming")(graph, scores, space, cost, budget)
    every = np.concatenate([*scales.values()])
    kept = np.array(
        [
            [
                max(least, int((s >= t).sum()))
                for s, least in zip(scales.values(), space.smallest, strict=True)
            ]
            for t in every
        ]
    )
    wanted = kept[np.abs(cost(kept).flops / cost.full.flops - 0.5).argmin()]
    assert np.abs(vector - wanted).max() <= 1 and vector[0] <= 4
    raw = allocation.GlobalRanking(normalize=False)(graph, scales, space, cost, budget)
    np.testing.assert_array_equal(raw, vector)


def test_network_slimming_needs_batch_norms():
    graph = tfrcp.trace(NETWORKS["vgg"].build())
    with pytest.raises(ValueError, match="passes none"):
        allocation.get("network_slimming")(*inputs(graph))


def test_scores_by_cost_spare_cheap_channels():
    made = inputs(GRAPHS["resnet8"], tfrcp.Budget(0.5))
    graph, _, _, cost, _ = made
    plain, cheap = (allocation.GlobalRanking(cost_power=p)(*made) for p in (0.0, 1.0))
    assert cheap.sum() > plain.sum()  # more channels for the same MACs


def test_greedy_goes_by_the_scores_where_nothing_is_measured():
    made = inputs(GRAPHS["chain"], tfrcp.Budget(0.5, tolerance=0.1))
    made[1]["unit1_conv"][5:] = 1e-6
    vector = allocation.get("greedy")(*made)
    assert (vector / made[0].full).argmin() == 1


@pytest.mark.parametrize("wrong", [{}, {"unit0_conv": np.ones(3)}])
def test_missing_scores_are_named(wrong):
    graph, _, *rest = inputs(GRAPHS["chain"])
    with pytest.raises(ValueError, match="'unit0_conv' has 8 channels"):
        allocation.get("global_ranking")(graph, wrong, *rest)
    allocation.get("uniform")(graph, wrong, *rest)  # It looks at none.


@pytest.mark.parametrize("wrong", ["nothing", {"class_name": "x"}, allocation.Uniform, 3])
def test_unknown_allocations(wrong):
    with pytest.raises(ValueError, match="must be one of.*global_ranking"):
        allocation.get(wrong)
