"""Every small network, pruned at random: the sliced model, the masked original and the program
agree.

The reference is the original model in which the input axes of the consumers' kernels are zeroed for
the removed channels.
"""

import types

import numpy as np
import pytest

import tfrcp
from tests.networks import NETWORKS, Network
from tests.references import (
    assert_close,
    count_cost,
    counts_of,
    flat,
    full_masks,
    images_for,
    masked_outputs,
    one_channel_masks,
    plant_dead,
    random_masks,
    randomize,
)
from tfrcp.graph.program import Program
from tfrcp.graph.weights import read_weights, slice_weights

NARROW = [6, 8, 10, 7, 9, 12, 8, 11, 6, 10, 5, 9, 8]
BUILDERS = {
    "resnet20_a": lambda: tfrcp.models.resnet20((8, 8, 1)),
    "resnet20_b": lambda: tfrcp.models.resnet20((8, 8, 1), shortcut="B"),
    "vgg16": lambda: tfrcp.models.vgg16((8, 8, 3), channels=NARROW),
}
ALL = [*NETWORKS, *BUILDERS]


@pytest.fixture(scope="module", params=ALL)
def case(request):
    """A traced model with random weights, its outputs, masks, and the models sliced by them."""
    network = NETWORKS.get(request.param) or Network(BUILDERS[request.param], {}, {})
    model = network.build()
    randomize(model)
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    weights = [value.copy() for value in model.get_weights()]
    graph, images = tfrcp.trace(model), images_for(model)
    masks = [full_masks(graph), one_channel_masks(graph), random_masks(graph, seed=1)]
    return types.SimpleNamespace(
        network=network,
        tolerance=network.tolerance,
        model=model,
        nodes=nodes,
        weights=weights,
        graph=graph,
        images=images,
        outputs=flat(model(images)),
        masks=masks,
        pruned=[tfrcp.slice_model(model, graph, kept) for kept in masks],
    )


def test_sliced_model_equals_masked_original(case):
    if not case.network.maskable:
        pytest.skip("a layer normalizes over the channels that are left")
    for pruned, masks in zip(case.pruned, case.masks, strict=True):
        expected = masked_outputs(case.model, case.graph, masks, case.images)
        assert_close(flat(pruned(case.images)), expected, case.tolerance)


def test_program_equals_sliced_model(case):
    program, weights = Program(case.graph), read_weights(case.graph, case.model)
    run = program.compile(program.run, program.fold(slice_weights(case.graph, weights, {})))
    for masks, pruned in zip(case.masks, case.pruned, strict=True):
        arrays, expected = slice_weights(case.graph, weights, masks), flat(pruned(case.images))
        assert_close(flat(run(program.fold(arrays), case.images)), expected, case.tolerance)
    assert_close(flat(program.run(arrays, case.images)), expected, case.tolerance)


def test_keeping_everything_changes_nothing(case):
    whole = case.pruned[0]
    assert_close(flat(whole(case.images)), case.outputs, 1e-6)
    assert whole.count_params() == case.model.count_params()


def test_removing_dead_channels_changes_nothing(case):
    if not (case.network.keeps_zero and case.network.maskable):
        pytest.skip("dead channels change the others, or are not zero where they are consumed")
    masks = case.masks[2]
    plant_dead(case.model, case.graph, masks)
    outputs = flat(case.model(case.images))
    arrays = slice_weights(case.graph, read_weights(case.graph, case.model), masks)
    case.model.set_weights(case.weights)
    assert_close(flat(Program(case.graph).run(arrays, case.images)), outputs, case.tolerance)


def test_original_is_untouched(case):
    assert case.nodes == [len(layer._inbound_nodes) for layer in case.model.layers]
    for old, new in zip(case.weights, case.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    own = {id(variable) for variable in case.model.variables}
    for pruned in case.pruned:
        assert own.isdisjoint(id(variable) for variable in pruned.variables)


def test_sliced_model_has_groups_of_the_kept_sizes(case):
    if case.network.regroups:
        pytest.skip("grouped layers of fewer channels are coupled otherwise")
    for pruned, masks in zip(case.pruned, case.masks, strict=True):
        found = {group.name: group.size for group in tfrcp.trace(pruned).prunable}
        expected = {name: kept.sum() for name, kept in masks.items()}
        assert found == expected


def test_cost_equals_count_on_sliced_model(case):
    if not case.network.sized:
        pytest.skip("the image size is open")
    cost = tfrcp.CostModel(case.graph)
    assert {*cost.uncounted, *cost.constant} == set(case.graph.unknown)
    costs = cost(np.stack([counts_of(case.graph, masks) for masks in case.masks]))
    constant = np.array([sum(cost.constant.values()), 0, 0])  # what the reference does not know
    for index, pruned in enumerate(case.pruned):
        found = np.array([int(n[index]) for n in costs]) - constant
        assert tuple(found.tolist()) == count_cost(pruned)
    assert tuple((np.array(cost.full) - constant).tolist()) == count_cost(case.pruned[0])
