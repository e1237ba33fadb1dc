"""Images in blocks give what all of them at once give."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrcp
from tests.networks import NETWORKS
from tests.references import full_masks, images_for, randomize
from tfrcp.graph.program import Program
from tfrcp.graph.rules import find_rule
from tfrcp.graph.weights import read_weights, slice_weights
from tfrcp.reconstruction import batch_norm, blocked_statistics, cached
from tfrcp.reconstruction.equations import Moments
from tfrcp.scoring import evaluator, objectives
from tfrcp.scoring.running import in_blocks

KEPT = (0, 50 * 1000, 2**30)


def program_on_images(name):
    """A network's program, its arrays, and images."""
    model = NETWORKS[name].build()
    randomize(model)
    graph = tfrcp.trace(model)
    program, arrays = Program(graph), slice_weights(graph, read_weights(graph, model), {})
    return program, arrays, program.pack(images_for(model, count=50))


def assert_same_statistics(found, expected):
    assert found.keys() == expected.keys()
    for path, pair in expected.items():
        for a, b in zip(found[path], pair, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("name", ["residual_a", "inverted_residual", "squeeze_excite", "open_size"])
def test_statistics_in_blocks(name, kept, monkeypatch):
    monkeypatch.setattr(blocked_statistics, "AT_ONCE", 1)
    monkeypatch.setattr(blocked_statistics, "_KEPT", kept)
    program, arrays, images = program_on_images(name)
    _, expected = program.run_on_batch_statistics(arrays, images)
    found = blocked_statistics.statistics_in_blocks(program, arrays, images)
    assert_same_statistics(found, expected)


@pytest.mark.parametrize("at_once", [9, 20, 45])
@pytest.mark.parametrize("name", ["residual_a", "inverted_residual", "called_twice", "open_size"])
def test_compiled_statistics_in_parts(name, at_once, monkeypatch):
    """Images whose widest tensors are cut into parts of `at_once` images, and joined later."""
    program, arrays, images = program_on_images(name)
    _, expected = program.run_on_batch_statistics(arrays, images)
    widest = blocked_statistics.widest_bytes(program, arrays, images)
    monkeypatch.setattr(blocked_statistics, "AT_ONCE", at_once * widest)
    cut = []
    run = program.run_on_batch_statistics
    monkeypatch.setattr(
        program,
        "run_on_batch_statistics",
        lambda *args, cuts: cut.append(cuts) or run(*args, cuts=cuts),
    )
    found = blocked_statistics.statistics_on(program, arrays, images)(arrays)
    assert cut[0].count == -(-50 // at_once)
    assert cut[0].calls == frozenset(program.graph.calls.calls[: len(cut[0].calls)])
    assert_same_statistics(found, expected)


def test_recalibration_in_blocks(monkeypatch):
    models = []
    for at_once in (2**28, 0):
        monkeypatch.setattr(batch_norm, "AT_ONCE", at_once)
        model = NETWORKS["inverted_residual"].build()
        randomize(model)
        tfrcp.recalibrate_batch_norm(model, images_for(model, count=40))
        models.append(model)
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["residual_a", "inverted_residual", "grouped", "other_convolutions", "called_twice"]
)
def test_moments_are_gathered_in_blocks(name, monkeypatch):
    model = NETWORKS[name].build()
    randomize(model)
    graph, x = tfrcp.trace(model), images_for(model, count=50)
    masks = full_masks(graph)
    for group in graph.prunable:
        masks[group.name][0] = False
    inherited = slice_weights(graph, read_weights(graph, model), masks)
    fitted = []
    for at_once in (50, 16):
        monkeypatch.setattr(cached, "images_at_once", lambda *_, n=at_once: n)
        options = {"samples": 20, "ridge": 1e-3, "verbose": False}
        fitted.append(cached.CachedLeastSquares(model, graph, x, **options)(inherited, masks))
    for path, entry in fitted[0].items():
        for key, array in entry.items():
            np.testing.assert_allclose(fitted[1][path][key], array, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("size", "count"), [(8, 128), (200, 62), (600, 32)])
def test_fewer_large_images_normalize(size, count):
    inputs = keras.Input((size, size, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(13, 1, name="a")(inputs))
    outputs = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    graph, x = tfrcp.trace(model), np.zeros((130, size, size, 3), "uint8")
    scores = tfrcp.criteria.get("l1")(model, graph)
    objective = objectives.get(model, "agreement")
    made = evaluator.ProgramEvaluator(model, graph, scores, (x[:2], None), objective, x)
    assert made.batch_norm_images == count


def test_candidates_in_blocks(monkeypatch):
    model = NETWORKS["inverted_residual"].build()
    randomize(model)
    graph, x = tfrcp.trace(model), images_for(model, count=60)
    scores = tfrcp.criteria.get("l1")(model, graph)
    channels = np.array([max(1, group.size // 2) for group in graph.prunable])
    found = []
    for at_once in (2**28, 1):
        monkeypatch.setattr(evaluator, "AT_ONCE", at_once)
        objective = objectives.get(model, "agreement")
        made = evaluator.ProgramEvaluator(model, graph, scores, (x, None), objective, x[:40])
        found.append((made.score(channels).value, made.score_model(made.build(channels))))
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_outputs_in_blocks_keep_their_structure():
    sizes = []

    def outputs(inputs):
        sizes.append(len(inputs["x"]))
        return [inputs["x"] + 1, {"y": inputs["x"] * 2}]

    x = np.arange(10.0)
    first, second = in_blocks(outputs, 4)({"x": x})
    assert sizes == [4, 4, 2]
    np.testing.assert_array_equal(first, x + 1)
    np.testing.assert_array_equal(second["y"], x * 2)


@pytest.mark.parametrize("blocks", [1, 2])
def test_moments_in_float32(blocks):
    random = np.random.default_rng(0)
    x = random.normal(1, 1, (blocks, 3000, 150)).astype("float32")
    y = random.normal(size=(blocks, 3000, 3))
    equations = []
    for fast in (False, True):
        moments = Moments(fast=fast)
        for start in range(0, 3000, 700):
            moments.add(x[:, start : start + 700], y[:, start : start + 700])
        equations.append(moments.equations(True))
    exact, rounded = equations
    assert exact.count == rounded.count == 3000
    np.testing.assert_allclose(rounded.gram, exact.gram, atol=3e-6)
    np.testing.assert_allclose(rounded.change(1e-5), exact.change(1e-5), atol=1e-5)


@pytest.mark.parametrize("mean", [0.0, 3.0, 3000.0, "of one channel"])
@pytest.mark.parametrize("shape", [(5, 6, 6, 3), (5, 7, 1, 300), (9, 4)])
def test_statistics_of_a_tensor(mean, shape):
    keras.utils.clear_session()
    inputs = keras.Input(shape[1:])
    graph = tfrcp.trace(keras.Model(inputs, keras.layers.BatchNormalization()(inputs)))
    (call,) = (c for c in graph.calls.calls if c.kind == "BatchNormalization")
    if mean == "of one channel":
        mean = 3000.0 * (np.arange(shape[-1]) == 1)
    x = np.random.default_rng(0).normal(mean, 1, shape).astype("float32")
    rows = x.reshape(-1, shape[-1]).astype("float64")
    of_rule = find_rule(call.operation).statistics(call, tf.constant(x))
    for found in (blocked_statistics.statistics(call, tf.constant(x)), of_rule):
        np.testing.assert_allclose(found[0], rows.mean(0), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found[1], rows.var(0), rtol=1e-3)


def test_moments_in_float32_of_inputs_far_from_zero():
    random = np.random.default_rng(0)
    x = random.normal(100, 1, (1, 6000, 130)).astype("float32")
    equations = []
    for fast in (False, True):
        moments = Moments(fast=fast)
        for start in range(0, 6000, 500):
            moments.add(x[:, start : start + 500])
        equations.append(moments.equations(True))
    np.testing.assert_allclose(equations[1].gram, equations[0].gram, atol=1e-5)
    np.testing.assert_allclose(equations[1].means, equations[0].means, rtol=1e-6)
