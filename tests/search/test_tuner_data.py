from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.search.small_search import CLASSES, HOLDOUT, TRAIN, network
from tests.search.small_tuner import TRIALS, stored, trials
from tfrcp.search.inputs import read

# Scores that cannot be had.


def test_an_error_in_scoring_surfaces_with_its_cause(search, trained, undisturbed):
    class Fault(Exception):
        pass

    def loss(y, outputs):
        raise Fault("the loss is out of order")

    model = network()
    model.compile(loss=loss)
    with pytest.raises(Exception, match="the loss is out of order") as error:
        search(model=model, objective="val_loss")
    assert isinstance(error.value.__cause__, Fault) or isinstance(error.value, Fault)


def test_a_candidate_without_a_number_is_never_the_best(search, recwarn):
    state = {"first": False}

    def closeness(y, outputs):
        values = -np.abs(np.asarray(outputs)).max(axis=1)
        return values * np.nan if state["first"] else values

    def before(trial):
        state["first"] = trial.trial_id == "0"

    made = search(objective=closeness, before=before)
    assert len(made.ran) == TRIALS
    assert made.oracle.get_trial("0").status != "COMPLETED"
    scores = [trial.score for trial in made.oracle.get_best_trials(TRIALS - 1)]
    assert np.isfinite(scores).all() and scores == sorted(scores, reverse=True)
    assert len(made.get_best_channels(TRIALS)) == TRIALS - 1
    state["first"] = False
    assert search(objective=closeness).ran == []
    assert not [str(w.message) + w.filename for w in recwarn if w.category is RuntimeWarning]


@pytest.mark.parametrize("max_trials", [2, 5])
def test_no_candidate_with_a_number_is_an_error_that_says_so(search, max_trials, recwarn):
    def loss(y, outputs):
        return np.full(len(y), np.nan)

    model = network()
    model.compile(loss=loss)
    with pytest.raises(Exception, match="NaN|nan|not finite|not a number") as error:
        search(model=model, objective="val_loss", max_trials=max_trials).get_best_channels()
    assert "Traceback" not in str(error.value)
    assert not [str(w.message) + w.filename for w in recwarn if w.category is RuntimeWarning]


@pytest.mark.parametrize("layer", ["unit1_conv", "unit1_bn", "head"])
def test_a_model_with_nan_weights_is_refused_before_any_trial(search, tuner, layer):
    model = network()
    weight = model.get_layer(layer).weights[0]
    weight.assign(weight * np.nan)
    with pytest.raises(ValueError, match="NaN|finite"):
        search(model=model)
    assert stored(tuner(model=model)) == {}


# Data.


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return -(-len(self.x) // 10)

    def __getitem__(self, index):
        part = slice(10 * index, 10 * index + 10)
        return self.x[part], self.y[part]


def as_dataset(x, y):
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(7)


@pytest.mark.parametrize(
    ("train", "holdout"),
    [
        (as_dataset(*TRAIN), as_dataset(*HOLDOUT)),
        (as_dataset(*TRAIN).repeat(), HOLDOUT),
        (Batches(*TRAIN), Batches(*HOLDOUT)),
        (TRAIN[0], HOLDOUT),
        (tuple(map(tf.constant, TRAIN)), tuple(map(tf.constant, HOLDOUT))),
        (TRAIN, (HOLDOUT[0].astype("float64"), HOLDOUT[1].astype("int64"))),
        (TRAIN, (HOLDOUT[0], HOLDOUT[1][:, None])),
        (TRAIN, (HOLDOUT[0], np.eye(CLASSES)[HOLDOUT[1]])),
    ],
    ids="dataset endless_train pydataset images_alone tensors doubles columns one_hot".split(),
)
def test_all_kinds_of_data_give_the_same_trials(search, train, holdout, undisturbed):
    made = search(train=train, holdout=holdout, calibration_images=len(TRAIN[0]))
    assert trials(made) == undisturbed


def test_labels_may_be_given_on_their_own(tuner, undisturbed):
    made = tuner()
    made.search(*TRAIN, validation_data=HOLDOUT, verbose=False)
    assert trials(made) == undisturbed


def spoilt(value):
    x = HOLDOUT[0].copy()
    x[3, 2, 2] = value
    return x


X, Y = HOLDOUT
BAD_HOLDOUTS = {
    "wrong height": ((X[:, :5], Y), "validation_data.*shape"),
    "flat": ((X.reshape(len(X), -1), Y), "validation_data.*shape"),
    "no channel axis": ((X[..., 0], Y), "validation_data.*shape"),
    "fewer labels": ((X, Y[:-1]), "validation_data.*as many labels as images"),
    "labels too large": ((X, Y + 1), r"validation_data.*\[0, 3\).* from 1 to 3"),
    "labels below 0": ((X, Y - 1), r"validation_data.*\[0, 3\).* from -1 to 1"),
    "labels of other classes": ((X, np.eye(5)[Y]), r"validation_data.*\[0, 3\)"),
    "labels not whole": ((X, Y + 0.5), r"validation_data.*ints"),
    "nan": ((spoilt(np.nan), Y), "validation_data.*1 of 64 images with NaN"),
    "infinite": ((spoilt(np.inf), Y), "validation_data.*1 of 64 images"),
    "empty": ((X[:0], Y[:0]), "validation_data.*at least one image"),
    "endless": (as_dataset(X, Y).repeat(), "validation_data.*end"),
    "not batched": (as_dataset(X, Y).unbatch(), "validation_data"),
    "nothing": (None, "validation_data.*NoneType"),
    "text": ((np.array(["a"] * len(X)), Y), "validation_data"),
    "training data": (TRAIN, "`validation_data` must be disjoint.*48 images that are in both"),
}


@pytest.mark.parametrize("case", BAD_HOLDOUTS)
def test_bad_holdout_data_are_refused_before_any_trial(search, tuner, case):
    data, message = BAD_HOLDOUTS[case]
    with pytest.raises(ValueError, match=f"(?s){message}") as error:
        search(holdout=data)
    assert len(str(error.value)) < 500
    assert stored(tuner()) == {}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((TRAIN[0][:, :5], TRAIN[1]), "`x`.*shape"),
        ((TRAIN[0][:0], TRAIN[1][:0]), "`x`.*at least one image"),
        ((np.full_like(TRAIN[0], np.nan), TRAIN[1]), "`x`.*48 of 48 images with NaN"),
        (None, "`x`.*NoneType"),
        ([image.tolist() for image in TRAIN[0]], "`x`.*list"),
    ],
    ids="shape empty nan nothing lists".split(),
)
def test_bad_training_data_are_refused_before_any_trial(search, tuner, data, message):
    with pytest.raises(ValueError, match=f"(?s){message}") as error:
        search(train=data)
    assert len(str(error.value)) < 500
    assert stored(tuner()) == {}


def test_labels_are_checked_for_the_loss_as_well(search, tuner):
    with pytest.raises(ValueError, match=r"(?s)\[0, 3\).* from 2 to 4"):
        search(objective="val_loss", holdout=(X, Y + 2))
    assert stored(tuner(objective="val_loss")) == {}


def test_an_objective_that_needs_labels_asks_for_them(search, tuner):
    with pytest.raises(ValueError, match="`validation_data` must come with labels.*'agreement'"):
        search(objective="val_accuracy", holdout=X)
    assert stored(tuner(objective="val_accuracy")) == {}


def test_without_labels_agreement_decides(search):
    made = search(holdout=X)
    assert made.objective.name == made.oracle.objective.name == "agreement"
    scores = [trial.score for trial in made.oracle.trials.values()]
    assert all(0 <= score <= 1 for score in scores)
    assert made.evaluator.score_model(made.model) == 1.0


def test_other_holdout_images_are_another_search(search):
    search()
    with pytest.raises(ValueError, match="`validation_data` has"):
        search(holdout=(X[::-1], Y[::-1]))


def test_a_preprocessor_of_the_model_is_not_called_and_named():
    model = network()
    model.preprocessor = keras.layers.Rescaling(1 / 255)
    with pytest.warns(UserWarning, match="`preprocessor`, which tfrcp does not call: pass `x`"):
        found = read("x", TRAIN, model)
    np.testing.assert_array_equal(found.x, read("x", TRAIN, network()).x)
