"""Where a mean over examples is not the figure, or not the obvious one, `evaluate` decides."""

import keras
import numpy as np
import pytest
from keras import layers

import tfrcp
from tests.nightly import nightly
from tests.scoring.jobs import IMAGES, LABELS, compiled
from tfrcp.scoring import objectives

WEIGHT = np.random.default_rng(3).uniform(0.2, 3.0, len(IMAGES)).astype("float32")
SPARSE = "sparse_categorical_crossentropy"
OWN_ACCURACY = keras.metrics.SparseTopKCategoricalAccuracy
HOLDOUT = slice(60, 220)


def network(units, activation=None, *, loss, metrics=(), added=None, **options):
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(6, 3, activation="relu", activity_regularizer=added, name="conv")(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    return compiled(inputs, layers.Dense(units, activation)(x), loss, metrics, **options)


def searched(model, y, objective, folder, weight=None, **options):
    tuner = tfrcp.RandomChannelSearch(
        model,
        0.6,
        max_trials=2,
        objective=objective,
        reconstruction="none",
        tolerance=0.3,
        directory=str(folder),
        **options,
    )
    holdout = (IMAGES[HOLDOUT], y[HOLDOUT])
    if weight is not None:
        holdout = (*holdout, weight[HOLDOUT])
    tuner.search(IMAGES[:40], y[:40], validation_data=holdout, verbose=False)
    scores = [trial.score for trial in tuner.oracle.get_best_trials(2)]
    return tuner, scores, holdout


def keras_says(tuner, holdout, key):
    x, y, weight = (*holdout, None)[:3]
    return [
        model.evaluate(x, y, 32, 0, sample_weight=weight, return_dict=True)[key]
        for model in tuner.get_best_models(2)
    ]


@pytest.mark.parametrize(
    "options",
    [
        dict(metrics=["accuracy"]),
        dict(weighted_metrics=["accuracy"]),
        dict(metrics=[OWN_ACCURACY(2, name="accuracy")]),
    ],
    ids=["metrics", "weighted metrics", "of its own"],
)
def test_accuracy_is_the_compiled_one(options, tmp_path):
    model = network(3, "softmax", loss=SPARSE, **options)
    tuner, scores, holdout = searched(model, LABELS, "auto", tmp_path, WEIGHT, racing=False)
    assert tuner.objective.name == "val_accuracy"
    assert scores == pytest.approx(keras_says(tuner, holdout, "accuracy"), abs=1e-4)


def test_losses_that_layers_add_are_those_of_every_batch(tmp_path):
    added = keras.regularizers.L2(0.05)
    model = network(3, "softmax", loss=SPARSE, added=added)
    tuner, scores, holdout = searched(model, LABELS, "val_loss", tmp_path)
    assert scores == pytest.approx(keras_says(tuner, holdout, "loss"), abs=1e-4)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_a_network_without_errors_does_not_hide_how_they_are_weighted(reduction, tmp_path):
    model = network(1, loss=keras.losses.MeanSquaredError(reduction=reduction))
    y = np.asarray(model(IMAGES))
    tuner, scores, holdout = searched(model, y, "val_loss", tmp_path, WEIGHT, racing=False)
    assert scores == pytest.approx(keras_says(tuner, holdout, "loss"), abs=1e-4)
    assert min(scores) > 1e-3


@pytest.mark.parametrize(("objective", "said"), [("val_auc", True), ("val_accuracy", False)])
def test_a_search_that_cannot_race_says_so(objective, said, tmp_path, capsys):
    model = network(1, "sigmoid", loss="binary_crossentropy", metrics=["auc", "accuracy"])
    tuner = tfrcp.RandomChannelSearch(
        model, 0.6, max_trials=1, objective=objective, tolerance=0.3, directory=str(tmp_path)
    )
    y = LABELS // 2
    tuner.search(IMAGES[:40], y[:40], validation_data=(IMAGES[HOLDOUT], y[HOLDOUT]), verbose=True)
    assert ("cannot be raced" in capsys.readouterr().out) is said


def test_lists_of_inputs_are_data(tmp_path):
    inputs = [keras.Input((3,)), keras.Input((3,))]
    model = keras.Model(inputs, layers.Dense(2)(layers.Subtract()(inputs)))
    data = [np.eye(3, dtype="float32"), np.ones((3, 3), "float32")]
    assert objectives.evaluate(model, data, "agreement", reference=model) == 1.0
    with pytest.raises(ValueError, match="at least one batch"):
        objectives.evaluate(model, iter(()), "agreement", reference=model)


MIRRORED = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfrcp.scoring import objectives
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
x, y = np.ones((40, 3), "float32"), np.zeros((40, 2), "float32")
expected = model.evaluate(x, y, verbose=0)
for _ in range(2):
    assert abs(objectives.evaluate(model, (x, y), "val_loss") - expected) < 1e-5
    with strategy.scope():
        assert abs(objectives.evaluate(model, (x, y), "val_loss") - expected) < 1e-5
"""


@nightly
def test_the_loss_is_the_same_inside_of_a_strategy_s_scope():
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", MIRRORED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("metrics", [["accuracy"], []])
def test_accuracy_of_logits_is_keras_s_where_it_is_compiled(metrics, tmp_path):
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model = network(1, loss=loss, metrics=metrics)
    y = LABELS > 0
    tuner, scores, holdout = searched(model, y, "auto", tmp_path, racing=False)
    assert tuner.objective.name == "val_accuracy"
    if metrics:
        expected = keras_says(tuner, holdout, "accuracy")
    else:  # the class that is more probable
        outputs = [found.predict(holdout[0], verbose=0) for found in tuner.get_best_models(2)]
        expected = [np.mean((out[:, 0] > 0) == holdout[1]) for out in outputs]
    assert scores == pytest.approx(expected, abs=1e-6)
