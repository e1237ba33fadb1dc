"""Objectives say what `model.evaluate` says, or are refused with what would do."""

import keras
import keras_tuner
import numpy as np
import pytest
from keras import layers, ops

from tests.networks import head, image
from tfrcp.scoring import objectives

X = np.random.default_rng(0).normal(size=(70, 6)).astype("float32")
CLASSES = np.random.default_rng(1).integers(0, 4, 70)
REAL = np.random.default_rng(2).normal(size=(70, 3)).astype("float32")
WEIGHT = np.random.default_rng(3).uniform(0.5, 2.0, 70).astype("float32")


def dense(units, activation=None, heads=1, **compiled):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = layers.Dense(5, activation="tanh")(inputs)
    outputs = [layers.Dense(units, activation, name=f"head{i}")(x) for i in range(heads)]
    model = keras.Model(inputs, outputs if heads > 1 else outputs[0], name="dense")
    if compiled:
        model.compile("sgd", **compiled)
    return model


def classifier(**options):
    inputs = image()
    model = keras.Model(inputs, head(layers.Conv2D(4, 3, name="a")(inputs)), name="classifier")
    if options:
        model.compile("sgd", **options)
    return model


def own(y, outputs):
    return ops.mean(ops.abs(y - outputs), axis=-1)


def scalar(y, outputs):
    return ops.mean(ops.square(y - outputs))


BINARY = dict(loss="binary_crossentropy", metrics=["accuracy", "auc"])
HEADS = dict(loss=["mse", own], loss_weights=[1.0, 0.3], metrics=[["mae"], ["mse"]])


@pytest.mark.parametrize(
    ("model", "y", "names"),
    [
        (
            dict(units=4, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
            | dict(activation="softmax"),
            CLASSES,
            ["loss", "accuracy"],
        ),
        (dict(units=1, activation="sigmoid", **BINARY), CLASSES // 2, ["loss", "accuracy", "auc"]),
        (
            dict(units=1, activation="sigmoid", **BINARY),
            (CLASSES[:, None] // 2).astype("float32"),
            ["loss", "accuracy", "auc"],
        ),
        (dict(units=1, loss=own), REAL[:, 0], ["loss"]),
        (dict(units=3, loss=scalar), REAL, ["loss"]),
        (
            dict(units=3, heads=2, **HEADS),
            [REAL, -REAL],
            ["loss", "head0_loss", "head1_loss", "head0_mae", "head1_mse"],
        ),
    ],
    ids=["classes", "binary", "binary column", "own", "batch scalar", "heads"],
)
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
def test_as_keras_evaluates(model, y, names, weight):
    model = dense(**model)
    keras_says = model.evaluate(X, y, 32, 0, sample_weight=weight, return_dict=True)
    data = (X, y) if weight is None else (X, y, weight)
    for name in names:
        if weight is not None and name != "loss":
            continue
        found = objectives.evaluate(
            model, data, keras_tuner.Objective(f"val_{name}", _better(name))
        )
        assert found == pytest.approx(keras_says[name], rel=1e-5, abs=1e-6), name


def _better(name):
    return "max" if name in ("accuracy", "auc") else "min"


@pytest.mark.parametrize(
    ("objective", "better"),
    [
        (keras.metrics.AUC(), "max"),
        (keras.metrics.F1Score(average="macro", threshold=0.5), "max"),
        (keras.metrics.RootMeanSquaredError(), "min"),
    ],
)
def test_metric_objects_need_not_be_compiled(objective, better):
    model, y = dense(1, "sigmoid"), (CLASSES[:, None] // 2).astype("float32")
    found = objectives.get(model, objective)
    assert (found.name, found.direction) == (f"val_{objective.name}", better)
    value = objectives.evaluate(model, (X, y), objective)
    objective.reset_state()
    objective.update_state(y, model(X))
    assert value == pytest.approx(float(np.mean(objective.result())), rel=1e-5)


def test_functions_are_means_over_examples():
    model = dense(3)

    def closeness(y, outputs):
        return -np.abs(y - np.asarray(outputs)).max(axis=1)

    found = objectives.get(model, closeness)
    assert (found.name, found.direction) == ("val_closeness", "max")
    expected = closeness(REAL, model(X)).mean()
    assert objectives.evaluate(model, (X, REAL), closeness) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"one number for each example, \[32\].*shape \(\)"):
        objectives.evaluate(model, (X, REAL), scalar)


def test_agreement_of_classifiers_is_that_of_their_answers():
    first, second = dense(4, "softmax"), dense(4, "softmax")
    second.set_weights(
        [w + 0.3 * np.sin(np.arange(w.size)).reshape(w.shape) for w in second.get_weights()]
    )
    same = np.mean(np.argmax(first(X), axis=1) == np.argmax(second(X), axis=1))
    assert 0 < same < 1
    assert objectives.evaluate(second, X, "agreement", reference=first) == pytest.approx(same)


def test_agreement_of_others_is_one_minus_the_normalised_distance():
    first, second = (dense(3, heads=2, loss="mse") for _ in range(2))
    second.set_weights([1.1 * w for w in second.get_weights()])
    shares = []
    for wanted, found in zip(first(X), second(X), strict=True):
        wanted, found = np.asarray(wanted, float), np.asarray(found, float)
        spread = np.square(wanted - wanted.mean(axis=0)).sum()
        shares.append(1 - np.square(wanted - found).sum() / spread)
    found = objectives.evaluate(second, X, "agreement", reference=first)
    assert found == pytest.approx(np.mean(shares), abs=1e-5) and found < 0.99
    assert objectives.evaluate(first, X, "agreement", reference=first) == 1.0


@pytest.mark.parametrize(
    ("model", "labels", "name"),
    [
        (lambda: dense(4), True, "val_accuracy"),
        (lambda: dense(4, loss="sparse_categorical_crossentropy"), True, "val_accuracy"),
        (lambda: dense(1, "sigmoid", loss="binary_crossentropy"), True, "val_accuracy"),
        (lambda: dense(4, loss="mse"), True, "val_loss"),
        (lambda: dense(4, "sigmoid", loss="binary_crossentropy"), True, "val_loss"),
        (lambda: dense(2, heads=2, loss="mse"), True, "val_loss"),
        (lambda: dense(2, heads=2), True, "agreement"),
        (lambda: dense(4), False, "agreement"),
        (lambda: dense(4, loss="mse"), False, "agreement"),
    ],
)
def test_auto(model, labels, name):
    assert objectives.get(model(), "auto", labels=labels).name == name


def test_accuracy():
    metric = objectives.get(classifier(), "val_accuracy")
    outputs = np.array([[0.1, 0.9, 0.0], [2.0, 1.0, 0.0], [0.0, 0.1, 0.2], [0.0, 5.0, 1.0]])
    assert metric.higher_is_better
    for labels in (np.array([1, 0, 0, 1]), np.array([[1], [0], [0], [1]]), np.eye(3)[[1, 0, 0, 1]]):
        assert metric.values(labels, outputs).tolist() == [1, 1, 0, 1]


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), np.array([1, 0])),
        (keras.losses.CategoricalCrossentropy(from_logits=True), np.eye(3)[[1, 0]]),
    ],
)
def test_loss_of_every_image(loss, labels):
    metric = objectives.get(classifier(loss=loss), "val_loss")
    outputs = np.array([[0.1, 0.9, 0.0], [2.0, 1.0, 0.0]])
    expected = np.log(np.exp(outputs).sum(axis=1)) - outputs[[0, 1], [1, 0]]
    assert not metric.higher_is_better
    np.testing.assert_allclose(metric.values(labels, outputs), expected, rtol=1e-6)


def two_headed():
    inputs = image()
    x = layers.Flatten()(inputs)
    return keras.Model(inputs, [layers.Dense(3)(x), layers.Dense(2)(x)])


def single_valued():
    inputs = image()
    return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(inputs)))


def map_valued():
    inputs = image()
    return keras.Model(inputs, layers.Conv2D(3, 3)(inputs))


@pytest.mark.parametrize(
    ("build", "objective", "message"),
    [
        (classifier, "accuracy", "`objective` must be 'auto', 'val_loss'.*'accuracy'"),
        (classifier, None, "`objective` must be.*None"),
        (two_headed, "val_accuracy", r"compiled with this metric.*\(None, 3\), \(None, 2\)"),
        (single_valued, "val_accuracy", r"compiled with this metric.*\(None, 1\)"),
        (map_valued, "val_accuracy", r"compiled with this metric"),
        (map_valued, "val_loss", r"needs a compiled model"),
        (classifier, keras_tuner.Objective("val_loss", "max"), "less is better.*'max'"),
        (classifier, keras_tuner.Objective("val_loss", "up"), "'min' or 'max'.*'up'"),
        (classifier, keras.metrics.Mean(name="mine"), "keras_tuner.Objective"),
    ],
)
def test_bad_objectives(build, objective, message):
    with pytest.raises(ValueError, match=message):
        objectives.get(build(), objective)


def test_a_metric_that_is_not_compiled_is_named():
    model = dense(3, loss="mse", metrics=["mae"])
    with pytest.raises(ValueError, match=r"'val_auc' must be among.*\['loss', 'mae'\]"):
        objectives.evaluate(model, (X, REAL), keras_tuner.Objective("val_auc", "max"))


def test_a_model_that_is_compiled_again_is_scored_by_its_new_loss():
    model = dense(3, loss="mse")
    first = objectives.evaluate(model, (X, REAL), "val_loss")
    model.compile("sgd", "mae")
    second = objectives.evaluate(model, (X, REAL), "val_loss")
    assert second == pytest.approx(model.evaluate(X, REAL, verbose=0), rel=1e-5) != first
