"""Both evaluators give the same scores: the compiled program and the sliced Keras model."""

import keras
import numpy as np
import pytest
from keras import layers

import tfrcp
from tests.networks import NETWORKS, head, image, norm
from tests.references import flat, images_for, randomize
from tfrcp.graph.rules import ElementwiseRule
from tfrcp.scoring import kinds
from tfrcp.scoring.evaluator import ProgramEvaluator, SlicedEvaluator


def first_output(y, outputs):
    return flat(outputs)[0][:, 0]


FIRST_OUTPUT = kinds.Function(first_output)


@pytest.fixture(scope="module", params=["residual_a", "squeeze_excite"])
def arguments(request):
    """Model, graph, scores, labelled images, and images for calibration."""
    model = NETWORKS[request.param].build()
    randomize(model)
    graph = tfrcp.trace(model)
    scores = tfrcp.criteria.get("l1")(model, graph)
    holdout = images_for(model, count=30), np.arange(30) % 3
    return model, graph, scores, holdout, images_for(model, count=16, seed=2)


def vectors(graph):
    rng = np.random.default_rng(0)
    return [
        graph.full,
        np.ones_like(graph.full),
        *rng.integers(1, graph.full + 1, (2, len(graph.full))),
    ]


@pytest.mark.parametrize("calibrated", [False, True])
def test_program_scores_as_the_sliced_model(arguments, calibrated):
    *first, calibration = arguments
    rest = FIRST_OUTPUT, calibration if calibrated else None
    program, sliced = (kind(*first, *rest) for kind in (ProgramEvaluator, SlicedEvaluator))
    found = []
    for channels in vectors(arguments[1]):
        left, right = program.score(channels), sliced.score(channels)
        assert left.value == pytest.approx(right.value, abs=1e-4)
        assert left.images == right.images == 30
        found.append(left.value)
    assert len(set(found)) > 1


def test_batches_do_not_matter(arguments):
    *first, calibration = arguments
    whole, parts = (
        ProgramEvaluator(*first, FIRST_OUTPUT, calibration, batch_size=size) for size in (250, 7)
    )
    for channels in vectors(arguments[1]):
        assert whole.score(channels).value == pytest.approx(parts.score(channels).value, abs=1e-5)


def test_builds_the_model_that_it_scores(arguments):
    *first, calibration = arguments
    evaluator = ProgramEvaluator(*first, FIRST_OUTPUT, calibration)
    channels = vectors(arguments[1])[2]
    outputs = flat(evaluator.build(channels)(first[3][0]))[0]
    assert outputs[:, 0].mean() == pytest.approx(evaluator.score(channels).value, abs=1e-4)


def test_calibration_is_recalibration(arguments):
    model, graph, scores, _, calibration = arguments
    evaluator = SlicedEvaluator(*arguments[:4], FIRST_OUTPUT, calibration)
    channels = vectors(graph)[3]
    pruned = tfrcp.slice_model(model, graph, tfrcp.select(graph, scores, channels))
    tfrcp.recalibrate_batch_norm(pruned, calibration)
    for left, right in zip(
        evaluator.build(channels).get_weights(), pruned.get_weights(), strict=True
    ):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)


def test_the_first_images_alone_may_normalize(arguments):
    *first, calibration = arguments
    some, few = (
        ProgramEvaluator(*first, FIRST_OUTPUT, images, batch_norm_images=count)
        for images, count in ((calibration, 5), (calibration[:5], None))
    )
    channels = vectors(arguments[1])[3]
    assert some.batch_norm_images == few.batch_norm_images == 5
    assert some.score(channels).value == pytest.approx(few.score(channels).value, abs=1e-6)
    assert len(flat(some.calibration)[0]) == len(calibration)


def test_original_keeps_its_weights(arguments):
    model, graph = arguments[:2]
    before = model.get_weights()
    evaluator = ProgramEvaluator(*arguments[:4], FIRST_OUTPUT, arguments[4])
    evaluator.score(vectors(graph)[2])
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("calibrated", [False, True])
def test_lists_of_one_input_and_one_output(calibrated):
    inputs = image()
    model = keras.Model([inputs], [head(norm("bn")(layers.Conv2D(4, 3, name="a")(inputs)))])
    randomize(model)
    graph = tfrcp.trace(model)
    x = images_for(model, count=8)[0]
    rest = {"a": np.arange(4.0)}, (x, np.arange(8) % 3), FIRST_OUTPUT, x if calibrated else None
    program, sliced = (kind(model, graph, *rest) for kind in (ProgramEvaluator, SlicedEvaluator))
    channels = np.array([2])
    assert program.score(channels).value == pytest.approx(sliced.score(channels).value, abs=1e-4)


class AsksForChannels(layers.Layer):
    """Cannot be compiled where the number of channels is open."""

    def call(self, x):
        return x * 2 if x.shape[-1] > 0 else x


class Doubles(layers.Layer):
    def call(self, x):
        return 2 * x


class ForgetsToDouble(ElementwiseRule):
    def run(self, call, entry, args, kwargs):
        return args[0]

    def products(self, call, labels, axes):
        return ()

    def sizes(self, call, labels, keep):
        return {"channels": np.array(1)}  # so that `run` is asked


def around(layer):
    inputs = image()
    x = layer(norm("bn")(layers.Conv2D(4, 3, name="a")(inputs)))
    model = keras.Model(inputs, head(x))
    randomize(model)
    x = images_for(model, count=8)
    graph = tfrcp.trace(model)
    return model, graph, {"a": np.arange(4.0)}, (x, np.arange(8) % 3), FIRST_OUTPUT, x


def test_what_cannot_be_compiled_runs_operation_by_operation():
    tfrcp.register_rule(AsksForChannels, ElementwiseRule())
    arguments = around(AsksForChannels())
    with pytest.warns(UserWarning, match="cannot be compiled for channel counts of any size"):
        program = ProgramEvaluator(*arguments)
    channels = np.array([2])
    outputs = program.build(channels).predict(arguments[3][0], verbose=0)
    assert program.score(channels).value == pytest.approx(outputs[:, 0].mean(), abs=1e-4)


def test_a_wrong_rule_is_found_out():
    tfrcp.register_rule(Doubles, ForgetsToDouble())
    with pytest.raises(ValueError, match="a rule for one of its layers is wrong"):
        ProgramEvaluator(*around(Doubles()))
