"""What a recipe offers beyond plain training."""

from __future__ import annotations

import dataclasses
import json

import keras
import numpy as np
import pytest

from tests.training.small_training import IMAGES, holdout, network, train
from tfrcp.training import Recipe, evaluate, fit
from tfrcp.training.distillation import distillation

RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=0.05)


def trained(model=None, data=train, **changes):
    teacher = changes.pop("teacher", None)
    model = model or network()
    recipe = dataclasses.replace(RECIPE, **changes)
    return model, fit(model, data, holdout(), recipe, teacher=teacher, verbose=False)


def without_norm():
    """A network that sees every example alone."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Flatten(), keras.layers.Dense(8, "relu"), keras.layers.Dense(4)]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers])


def test_distillation_is_the_divergence_of_softened_predictions():
    random = np.random.default_rng(0)
    teacher, student = random.normal(size=(2, 5, 4))

    def softened(logits):
        powers = np.exp(logits / 3)
        return powers / powers.sum(axis=1, keepdims=True)

    p, q = softened(teacher), softened(student)
    expected = 9 * (p * np.log(p / q)).sum(axis=1)
    np.testing.assert_allclose(distillation(teacher, student, 3.0), expected, rtol=1e-6)
    np.testing.assert_allclose(distillation(teacher, teacher, 3.0), 0, atol=1e-9)


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_a_student_of_its_teacher_alone_comes_to_answer_alike(activation):
    teacher, _ = trained(network(activation=activation))

    def distance(student):
        return np.abs(teacher(IMAGES) - student(IMAGES)).mean()

    before = teacher.get_weights()
    student = network(seed=1, activation=activation)
    start = distance(student)
    _, history = trained(student, teacher=teacher, distillation=1.0, epochs=8)
    assert distance(student) < 0.75 * start
    assert history["loss"][-1] < history["loss"][0]
    for old, new in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_averaged_weights_are_scored_and_kept():
    plain, _ = trained()
    averaged, history = trained(ema=0.9)
    scores = evaluate(averaged, holdout())
    assert history["val_loss"][-1] == pytest.approx(scores["loss"], rel=1e-6)
    lagging, _ = trained(ema=0.9999)
    start, *ends = (m.get_weights()[0] for m in (network(), plain, averaged, lagging))
    ways = [np.abs(end - start).mean() for end in ends]
    assert ways[0] > ways[1] > 2 * ways[2]


def test_the_best_epoch_is_kept(tmp_path):
    # The last epoch is ruined.
    wrong = train(2).map(lambda x, y: (-x, (y + 1) % 4))
    batches = [train(0), train(1), wrong]
    options = {"learning_rate": 0.3, "label_smoothing": 0.0, "weight_decay": 0.0}
    last, history = trained(data=batches.__getitem__, **options)
    best, same = trained(data=batches.__getitem__, keep_best=True, **options)
    assert same["val_accuracy"] == history["val_accuracy"]
    assert evaluate(last, holdout())["accuracy"] == history["val_accuracy"][-1]
    assert evaluate(best, holdout())["accuracy"] == max(history["val_accuracy"])

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    recipe = dataclasses.replace(RECIPE, keep_best=True, **options)
    with pytest.raises(KeyboardInterrupt):
        fit(
            network(),
            batches.__getitem__,
            holdout(),
            recipe,
            backup_dir=tmp_path,
            callbacks=[Stop()],
            verbose=False,
        )
    again = network(seed=1)
    fit(again, batches.__getitem__, holdout(), recipe, backup_dir=tmp_path, verbose=False)
    for ours, theirs in zip(again.get_weights(), best.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_patience_ends_training():
    _, history = trained(without_norm(), epochs=20, patience=2, learning_rate=1e-9)
    assert len(history["loss"]) == 3  # the first, and two that are no better


def test_parts_of_a_batch_make_the_same_step():
    whole, history = trained(without_norm())
    parts, other = trained(without_norm(), accumulate=3)  # of 8: 2, 3 and 3
    assert other["loss"] == pytest.approx(history["loss"], abs=1e-5)
    for ours, theirs in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_compiled_by_xla_the_result_is_the_same():
    _, plain = trained(epochs=1)
    _, compiled = trained(epochs=1, jit_compile=True)
    assert compiled["loss"] == pytest.approx(plain["loss"], abs=1e-4)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_trains_weights_in_single_precision(precision):
    model, history = trained(precision=precision, epochs=2)
    _, single = trained(epochs=2)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.dtype_policy.name == "float32"
    assert history["loss"] == pytest.approx(single["loss"], abs=0.05)
    assert evaluate(model, holdout())["loss"] == pytest.approx(history["val_loss"][-1], abs=0.05)


def test_a_recipe_with_everything_survives_json():
    recipe = Recipe(
        ema=0.9, distillation=0.5, patience=3, keep_best=True, precision="mixed_bfloat16"
    )
    assert Recipe(**json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ema": 1.0}, "`ema` must be a number in .0, 1."),
        ({"distillation": 1.5}, "`distillation` must be a number in"),
        ({"temperature": 0}, "`temperature` must be a number in"),
        ({"accumulate": 0}, "`accumulate` must be an int of at least 1"),
        ({"patience": -1}, "`patience` must be an int of at least 0"),
        ({"precision": "float8"}, "`precision` must be one of .*'mixed_float16'.*'float8'"),
        ({"jit_compile": True, "accumulate": 2}, "do not go together"),
    ],
)
def test_bad_options_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**fields)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ValueError, match="`distillation` needs a teacher"):
        trained(distillation=0.5)
    with pytest.raises(ValueError, match="`teacher` must take and give what the model does"):
        inputs = keras.Input((8, 8, 1))
        other = keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Flatten()(inputs)))
        trained(distillation=0.5, teacher=other)
    for option in ({"keep_best": True}, {"patience": 1}):
        with pytest.raises(ValueError, match="need a holdout"):
            fit(network(), train, None, dataclasses.replace(RECIPE, **option))
    with pytest.raises(ValueError, match="holds no batch"):
        fit(network(), train, holdout().take(0), RECIPE, verbose=False)
