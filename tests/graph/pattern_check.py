"""Holds a network against what is said of it: groups, outputs, program, costs, file."""

import keras
import numpy as np
import tensorflow as tf

import tfrcp
from tests.references import (
    assert_close,
    flat,
    full_masks,
    images_for,
    random_masks,
    randomize,
    walked_outputs,
)
from tfrcp.graph.program import Program
from tfrcp.graph.weights import read_weights, slice_weights
from tfrcp.space.counting import multiply_adds_of


def check_pattern(model, groups, folder):
    """Prunes a model at random.

    Args:
        model: The model; gets random weights.
        groups: Sizes of its prunable groups, by name.
        folder: Where a file may be written.
    """
    randomize(model)
    graph, images = tfrcp.trace(model), images_for(model)
    assert {group.name: group.size for group in graph.prunable} == groups, graph.explain()
    before = model.get_weights()
    whole = tfrcp.slice_model(model, graph, full_masks(graph))
    assert_close(flat(whole(images)), flat(model(images)), 1e-6)
    loaded, masks, expected = check_slices(model, graph, images, folder)
    again = tfrcp.trace(loaded)
    assert sum(g.size for g in again.prunable) <= sum(int(m.sum()) for m in masks.values())
    assert_close(flat(tfrcp.slice_model(loaded, again, {})(images)), expected, 1e-6)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def check_slices(model, graph, images, folder):
    """Slices a model at random, and holds outputs, costs and the last one's file against it.

    Returns:
        Tuple of the loaded model, its masks, and the outputs that it should have.
    """
    cost, program, weights = tfrcp.CostModel(graph), Program(graph), read_weights(graph, model)
    assert cost.full.flops == macs(model) and not cost.uncounted
    run = program.compile(program.run, slice_weights(graph, weights, {}))
    for seed in (1, 2, 3):
        masks = random_masks(graph, seed)
        pruned = tfrcp.slice_model(model, graph, masks)
        expected = walked_outputs(model, graph, masks, images)
        assert_close(flat(pruned(images)), expected)
        assert_close(flat(run(slice_weights(graph, weights, masks), images)), expected)
        counts = np.array([masks[group.name].sum() for group in graph.prunable])
        costs = cost(counts)
        assert (costs.flops[0], costs.params[0]) == (macs(pruned), pruned.count_params())
    pruned.save(folder / "pruned.keras")
    loaded = keras.models.load_model(folder / "pruned.keras")
    assert_close(flat(loaded(images)), expected, 1e-6)
    return loaded, masks, expected


def macs(model):
    """MACs of one image, of TensorFlow's own graph."""
    spec = tf.TensorSpec((1, *model.input_shape[1:]), "float32")
    return multiply_adds_of(lambda x: model(x, training=False), [spec])
