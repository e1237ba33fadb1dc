"""Parts of a network, compiled for channel counts of any size."""

import keras
import numpy as np
import pytest

import tfrcp
from tests.networks import NETWORKS
from tests.references import full_masks, images_for, randomize
from tfrcp.graph.parts import Parts
from tfrcp.graph.program import Program
from tfrcp.graph.weights import read_weights, slice_weights
from tfrcp.reconstruction.segments import inputs_of


@pytest.mark.parametrize("name", ["residual_a", "inverted_residual", "vgg", "squeeze_excite"])
@pytest.mark.parametrize("step", [1, 3, 100])
def test_parts_give_what_the_program_gives(name, step):
    model = NETWORKS[name].build()
    randomize(model)
    graph, x = tfrcp.trace(model), images_for(model, count=5)
    program, weights, masks = Program(graph), read_weights(graph, model), full_masks(graph)
    for group in graph.prunable:
        masks[group.name][1:3] = False
    parts = Parts(program)
    for count, kept in ((5, {}), (3, masks)):  # the same compiled parts
        arrays, images = (
            slice_weights(graph, weights, kept),
            keras.tree.map_structure(lambda a, n=count: a[:n], x),
        )
        tensors, calls = inputs_of(program, images, slice(None)), len(graph.calls.calls)
        for start in range(0, calls, step):
            stop = min(start + step, calls)
            tensors = parts(start, stop, parts.arrays(start, stop, arrays), tensors)
        expected = keras.tree.flatten(program.run(arrays, program.pack(images)))
        for value, wanted in zip(keras.tree.flatten(graph.calls.outputs), expected, strict=True):
            np.testing.assert_allclose(tensors[value], wanted, rtol=1e-4, atol=1e-5)
    assert all(run is not None for run in parts._compiled.values())
    assert len(parts._compiled) == -(-calls // step)


def test_a_part_that_cannot_be_compiled_runs_operation_by_operation():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(6, name="hidden")(inputs)
    x = keras.layers.Lambda(lambda t: t * float(np.asarray(t).ndim), output_shape=(6,))(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name="out")(x))
    graph, x = tfrcp.trace(model), np.ones((3, 4), "float32")
    program = Program(graph)
    arrays, parts = slice_weights(graph, read_weights(graph, model), {}), Parts(program)
    calls = len(graph.calls.calls)
    for _ in range(2):
        tensors = inputs_of(program, x, slice(None))
        tensors = parts(0, calls, parts.arrays(0, calls, arrays), tensors)
        (value,) = keras.tree.flatten(graph.calls.outputs)
        np.testing.assert_allclose(tensors[value], model(x), rtol=1e-5)
    assert list(parts._compiled.values()) == [None]
