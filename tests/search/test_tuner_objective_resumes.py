"""A search that goes on is scored as it was: another objective of the same name is refused."""

import keras
import numpy as np
import pytest
from keras import layers

import tfrcp
from tests.scoring.jobs import IMAGES, LABELS, compiled
from tfrcp.scoring import objectives
from tfrcp.scoring.identity import describe, identity


def network(loss="mse", **options):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(6, 3, activation="relu", name="conv")(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    return compiled(inputs, layers.Dense(1, "sigmoid")(x), loss, **options)


def share(limit):
    def near(y, outputs):
        return np.abs(y - np.asarray(outputs)[:, 0]) < limit

    return near


def search(model, objective, folder):
    tuner = tfrcp.RandomChannelSearch(
        model,
        0.6,
        max_trials=2,
        objective=objective,
        reconstruction="none",
        tolerance=0.3,
        directory=str(folder),
    )
    y = (LABELS > 0).astype("float32")
    holdout = (IMAGES[40:80], y[40:80])
    tuner.search(IMAGES[:40], y[:40], validation_data=holdout, verbose=False)


PAIRS = {
    "another loss": (("mse", {}, "val_loss"), ("mae", {}, "val_loss")),
    "another argument of the loss": (
        (keras.losses.BinaryCrossentropy(), {}, "val_loss"),
        (keras.losses.BinaryCrossentropy(label_smoothing=0.1), {}, "val_loss"),
    ),
    "another metric of the name": (
        ("mse", {"metrics": [keras.metrics.AUC(curve="ROC", name="a")]}, "val_a"),
        ("mse", {"metrics": [keras.metrics.AUC(curve="PR", name="a")]}, "val_a"),
    ),
    "another metric object": (
        ("mse", {}, keras.metrics.AUC(num_thresholds=50, name="a")),
        ("mse", {}, keras.metrics.AUC(num_thresholds=80, name="a")),
    ),
    "a function that closes over another value": (
        ("mse", {}, share(0.1)),
        ("mse", {}, share(0.4)),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_another_objective_of_the_same_name_is_refused(name, tmp_path):
    (loss, options, objective), other = PAIRS[name]
    for _ in range(2):  # the same goes on
        search(network(loss, **options), objective, tmp_path)
    loss, options, objective = other
    with pytest.raises(ValueError, match="made with another .* way of scoring.*scored_by"):
        search(network(loss, **options), objective, tmp_path)


def test_names_that_keras_numbers_are_not_part_of_it():
    first, second = keras.metrics.AUC(), keras.metrics.AUC()
    assert first.name != second.name and describe(first) == describe(second)


def test_an_objective_is_described_in_plain_values():
    import json

    class Odd(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.mean(y_true - y_pred)

        def get_config(self):
            raise NotImplementedError

    for loss in ("mse", Odd(), lambda y, o: o, {"dense": "mse"}, [keras.losses.huber]):
        model = network("mse")
        model.compile("sgd", loss if not isinstance(loss, dict) else "mse")
        found = identity(model, objectives.get(model, "val_loss"))
        assert json.loads(json.dumps(found)) == found


def test_other_examples_are_refused_with_what_may_be_the_reason(tmp_path):
    search(network(), "val_loss", tmp_path)
    model, y = network(), (LABELS > 0).astype("float32")
    tuner = tfrcp.RandomChannelSearch(
        model,
        0.6,
        max_trials=2,
        objective="val_loss",
        reconstruction="none",
        tolerance=0.3,
        directory=str(tmp_path),
    )
    with pytest.raises(ValueError, match="dataset that shuffles gives others"):
        tuner.search(IMAGES[:40], y[:40], validation_data=(IMAGES[44:84], y[44:84]))
