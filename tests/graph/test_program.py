"""The program: which batch norms are folded, one compilation for all widths, batch statistics."""

import keras
import numpy as np
import pytest

import tfrcp
from tests.networks import NETWORKS
from tests.references import assert_close, flat, images_for, random_masks, randomize
from tfrcp.graph.batch_statistics import Cuts
from tfrcp.graph.program import Program
from tfrcp.graph.weights import layer_at, read_weights, slice_weights


def program_of(name):
    model = NETWORKS[name].build()
    randomize(model)
    graph = tfrcp.trace(model)
    return model, graph, Program(graph), read_weights(graph, model)


def folded(name):
    """Paths of the batch norms that are folded, and of those that are left."""
    _, graph, program, weights = program_of(name)
    arrays = slice_weights(graph, weights, {})
    norms = {path for path, entry in arrays.items() if "moving_mean" in entry}
    left = {path for path, entry in program.fold(arrays).items() if "moving_mean" in entry}
    return norms - left, left


@pytest.mark.parametrize(
    ("name", "gone", "left"),
    [
        ("chain", {"a_bn", "b_bn"}, set()),
        ("depthwise", {"stem_bn", "depthwise_bn", "pointwise_bn"}, set()),
        ("other_convolutions", {"a_bn", "b_bn"}, set()),
        ("norms_without_weights", {"a_bn", "b_bn"}, {"b_bn2"}),
        ("not_foldable", set(), {"a_bn", "b_bn"}),
        ("called_twice", set(), {"bn"}),
        ("norm_of_two", set(), {"bn"}),
        ("concatenated_and_added", set(), {"bn"}),
    ],
)
def test_which_norms_are_folded(name, gone, left):
    assert folded(name) == (gone, left)


def test_folding_leaves_its_argument_alone():
    _, graph, program, weights = program_of("chain")
    arrays = slice_weights(graph, weights, {})
    copies = {path: {k: v.copy() for k, v in entry.items()} for path, entry in arrays.items()}
    program.fold(arrays)
    assert copies.keys() == arrays.keys()
    for path, entry in copies.items():
        for name, array in entry.items():
            np.testing.assert_array_equal(array, arrays[path][name])


def test_compiled_once_for_all_widths_and_batch_sizes():
    model, graph, program, weights = program_of("residual_a")
    traced = []

    def counted(arrays, inputs):
        traced.append(inputs)
        return program.run(arrays, inputs)

    run = program.compile(counted, program.fold(slice_weights(graph, weights, {})))
    for seed in range(6):
        arrays = program.fold(slice_weights(graph, weights, random_masks(graph, seed)))
        run(arrays, images_for(model, count=1 + seed))
    assert len(traced) == 1


def test_a_compiled_program_takes_structures_and_arrays_as_they_are():
    model, graph, program, weights = program_of("dicts")
    arrays, images = slice_weights(graph, weights, {}), images_for(model)
    run = program.compile(program.run, arrays)
    assert_close(flat(run(arrays, program.pack(images))), flat(model(images)))
    with pytest.raises((ValueError, TypeError)):
        run(dict(list(arrays.items())[:-1]), program.pack(images))


def test_a_compiled_program_with_a_gpu(monkeypatch):
    model, graph, program, weights = program_of("dicts")
    arrays, images = slice_weights(graph, weights, {}), images_for(model)
    monkeypatch.setattr("tensorflow.config.list_logical_devices", lambda kind: [kind])
    run = program.compile(program.run, arrays)
    assert_close(flat(run(arrays, program.pack(images))), flat(model(images)))


def test_inputs_of_another_structure_are_refused():
    _, graph, program, weights = program_of("dicts")
    arrays = slice_weights(graph, weights, {})
    with pytest.raises(ValueError, match="Expected an instance of dict"):
        program.run(arrays, [np.zeros((1, 6, 6, 2)), np.zeros((1, 6, 6, 3))])


def test_walk_shows_every_call():
    model, graph, program, weights = program_of("vgg")
    seen = []

    def step(call, entry, args, kwargs):
        seen.append(call.path)
        return program.step(call, entry, args, kwargs)

    images = images_for(model)
    outputs = program.interpret(slice_weights(graph, weights, {}), images, step)
    assert seen == [layer.name for layer in model.layers[1:]]
    assert_close(flat(outputs), flat(model(images)))


def test_batch_statistics_are_those_of_training_mode():
    model, graph, program, weights = program_of("chain")
    images = images_for(model, count=8)
    arrays = slice_weights(graph, weights, {})
    outputs, statistics = program.run_on_batch_statistics(arrays, images)
    assert list(statistics) == ["a_bn", "b_bn"]
    assert_close(flat(outputs), flat(model(images, training=True)))
    before = keras.Model(model.input, model.get_layer("a_conv").output)(images)
    mean, variance = statistics["a_bn"]
    np.testing.assert_allclose(mean, np.mean(before, (0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(variance, np.var(before, (0, 1, 2)), atol=1e-5)


def widening(make):
    """A narrow tensor that a pointwise layer widens, with a bias and a mean far from 0."""
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="narrow")(inputs)
    x = keras.layers.BatchNormalization(name="wide_bn")(make(9)(x))
    return keras.Model(inputs, keras.layers.Conv2D(2, 1, name="head")(keras.layers.ReLU()(x)))


@pytest.mark.parametrize(
    "make",
    [
        lambda n: keras.layers.Conv2D(n, 1, use_bias=False),
        lambda n: keras.layers.Conv2D(n, 1),
        lambda n: keras.layers.Dense(n),
        lambda n: keras.layers.Conv2D(n, 1, strides=2),
        lambda n: keras.layers.DepthwiseConv2D(1, depth_multiplier=2),
        lambda n: keras.layers.SeparableConv2D(n, 1),
        lambda n: keras.layers.Conv2DTranspose(n, 1),
    ],
)
def test_batch_statistics_behind_a_pointwise_layer(make):
    model = widening(make)
    randomize(model)
    graph = tfrcp.trace(model)
    program, images = Program(graph), images_for(model, count=8)
    masks = random_masks(graph, 0)
    arrays = slice_weights(graph, read_weights(graph, model), masks)
    pruned = tfrcp.slice_model(model, graph, masks)
    outputs, statistics = program.run_on_batch_statistics(arrays, images)
    assert_close(flat(outputs), flat(pruned(images, training=True)))
    for first in range(len(graph.calls.calls) + 1):  # images in parts of 3, 3 and 2, and joined
        cuts = Cuts(frozenset(graph.calls.calls[:first]), 3, 3)
        found, in_parts = program.run_on_batch_statistics(arrays, images, cuts=cuts)
        assert_close(flat(found), flat(outputs))
        for a, b in zip(flat(in_parts["wide_bn"]), flat(statistics["wide_bn"]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    before = keras.Model(pruned.input, pruned.get_layer("wide_bn").input)(images)
    mean, variance = statistics["wide_bn"]
    np.testing.assert_allclose(mean, np.mean(before, (0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(variance, np.var(before, (0, 1, 2)), rtol=1e-4, atol=1e-5)


def test_missing_layer_is_named():
    model = NETWORKS["nested"].build()
    assert layer_at(model, "inner/b").name == "b"
    for path in ("inner/z", "a/b", "z"):
        with pytest.raises(ValueError, match=f"no layer '{path}'.*Trace this model"):
            layer_at(model, path)
