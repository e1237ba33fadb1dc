from __future__ import annotations

import itertools
import json
import logging
import pathlib
import re
import types

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

import tfrcp
from tests.search.small_search import CLASSES, GROUPS, HOLDOUT, TRAIN, images, network
from tfrcp import RandomChannelSearch
from tfrcp.search.repair import best_model

TRIALS = 4
CROSSENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Search(RandomChannelSearch):
    """Keeps a list of the trials that were run, and calls `before` each."""

    def __init__(self, *args, before=None, **kwargs):
        self.ran, self.before = [], before or (lambda trial: None)
        super().__init__(*args, **kwargs)

    def run_trial(self, trial):
        self.before(trial)
        self.ran.append(trial.trial_id)
        return super().run_trial(trial)


@pytest.fixture(scope="module")
def trained():
    """Statistics of the batch norms and the head fit the made images; no long training."""
    model = network()
    tfrcp.recalibrate_batch_norm(model, TRAIN)
    model.compile(keras.optimizers.Adam(0.01), loss=CROSSENTROPY)
    for _ in range(10):
        model.train_on_batch(*TRAIN)
    return model


@pytest.fixture
def tuner(trained, tmp_path):
    def make(model=trained, flops=0.5, kind=Search, **options):
        options = {"max_trials": TRIALS, "tolerance": 0.05, "directory": tmp_path} | options
        return kind(model, flops, project_name="project", **options)

    return make


@pytest.fixture
def search(tuner):
    def run(*, train=TRAIN, holdout=HOLDOUT, **options):
        made = tuner(**options)
        made.search(train, validation_data=holdout, verbose=False)
        return made

    return run


def trials(tuner):
    return {
        trial.trial_id: (trial.hyperparameters.values, float(trial.score), trial.status)
        for trial in tuner.oracle.trials.values()
    }


def stored(tuner):
    files = pathlib.Path(tuner.project_dir).glob("trial_*/trial.json")
    states = [json.loads(file.read_text()) for file in files]
    return {state["trial_id"]: state["status"] for state in states}


@pytest.fixture(scope="module")
def undisturbed(trained, tmp_path_factory):
    made = Search(
        trained,
        max_trials=TRIALS,
        tolerance=0.05,
        directory=tmp_path_factory.mktemp("undisturbed"),
        project_name="project",
    )
    made.search(TRAIN, validation_data=HOLDOUT, verbose=False)
    return trials(made)


# What a search gives.


def test_the_models_have_the_channels_and_the_scores_of_their_trials(search, trained):
    before = trained.get_weights()
    made = search()
    best = made.oracle.get_best_trials(TRIALS)
    scores = [trial.score for trial in best]
    assert scores == sorted(scores, reverse=True) and scores[0] > 1 / CLASSES
    channels = made.get_best_channels(TRIALS)
    models = made.get_best_models(TRIALS)
    assert len(models) == len(channels) == TRIALS
    for score, kept, model in zip(scores, channels, models, strict=True):
        assert type(model).__name__ == "Functional"
        assert {name: model.get_layer(name).filters for name in GROUPS} == kept
        labels = model.predict(HOLDOUT[0], verbose=0).argmax(axis=1)
        assert (labels == HOLDOUT[1]).mean() == pytest.approx(score, abs=1e-9)
        ratio = tfrcp.CostModel(tfrcp.trace(model)).full.flops / made.cost.full.flops
        assert abs(ratio - 0.5) <= 0.05
    for old, new in zip(before, trained.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_keras_tuner_side_works(search, capsys):
    made = search()
    assert isinstance(made, keras_tuner.Tuner)
    assert made.get_best_hyperparameters()[0].values == made.get_best_channels()[0]
    made.results_summary(2)
    made.search_space_summary()
    assert "unit1_conv" in capsys.readouterr().out


def test_the_loss_can_be_the_objective(search):
    made = search(objective="val_loss")
    losses = [trial.score for trial in made.oracle.get_best_trials(TRIALS)]
    assert losses == sorted(losses)
    outputs = made.get_best_models()[0].predict(HOLDOUT[0], verbose=0)
    assert float(CROSSENTROPY(HOLDOUT[1], outputs)) == pytest.approx(losses[0], rel=1e-5)


def test_without_a_compiled_loss_it_is_the_crossentropy(search):
    made = search(model=network(), objective="val_loss", max_trials=1)
    outputs = made.get_best_models()[0].predict(HOLDOUT[0], verbose=0)
    score = made.oracle.get_best_trials()[0].score
    assert float(CROSSENTROPY(HOLDOUT[1], outputs)) == pytest.approx(score, rel=1e-5)


def test_the_loss_can_be_a_function_of_ones_own(search):
    def loss(y, outputs):
        return keras.losses.sparse_categorical_crossentropy(y, outputs, from_logits=True)

    model = network()
    model.compile("sgd", loss=loss)
    made = search(model=model, objective="val_loss", max_trials=2)
    scores = [trial.score for trial in made.oracle.get_best_trials(2)]
    for score, best in zip(scores, made.get_best_models(2), strict=True):
        outputs = best.predict(HOLDOUT[0], verbose=0)
        assert float(CROSSENTROPY(HOLDOUT[1], outputs)) == pytest.approx(score, rel=1e-5)


@pytest.mark.parametrize("criterion", ["l1", "l2", "random", "batch_norm_scale"])
def test_the_criterion_decides_which_channels_stay(search, trained, criterion):
    made = search(criterion=criterion, update="none", max_trials=1)
    scores = tfrcp.criteria.get(criterion)(trained, made.graph)["unit0_conv"]
    model = made.get_best_models()[0]
    kept = model.get_layer("unit0_conv").kernel.numpy()
    order = np.sort(np.argsort(-scores, kind="stable")[: kept.shape[-1]])
    np.testing.assert_array_equal(kept, trained.get_layer("unit0_conv").kernel.numpy()[..., order])


def test_without_an_update_weights_and_statistics_are_inherited(search, trained):
    made = search(update="none", fixed=("unit0_conv",), max_trials=1)
    model = made.get_best_models()[0]
    for name in ("unit0_conv", "unit0_bn"):
        for old, new in zip(
            trained.get_layer(name).weights, model.get_layer(name).weights, strict=True
        ):
            np.testing.assert_array_equal(old, new)


def test_the_updates_give_different_scores_and_their_models_have_them(search):
    scores = set()
    for update in ("least_squares", "batch_norm", "none"):
        made = search(update=update, objective="val_loss", max_trials=2, overwrite=True)
        outputs = made.get_best_models()[0].predict(HOLDOUT[0], verbose=0)
        score = made.oracle.get_best_trials()[0].score
        assert float(CROSSENTROPY(HOLDOUT[1], outputs)) == pytest.approx(score, rel=1e-5)
        scores.add(round(float(score), 4))
    assert len(scores) == 3


def test_many_models_are_made_without_a_warning(search, caplog):
    tf.get_logger().propagate = True
    try:
        with caplog.at_level(logging.WARNING):
            search(max_trials=8).get_best_models(8)
    finally:
        tf.get_logger().propagate = False
    assert not caplog.records


# Racing.


def test_racing_finds_the_same_best_and_says_which_trials_it_stopped(search):
    holdout = images(600, seed=2)
    options = {"max_trials": 12, "batch_size": 50, "holdout": holdout, "tolerance": 0.2}
    raced = search(**options)
    full = search(racing=False, overwrite=True, **options)
    best, expected = raced.oracle.get_best_trials()[0], full.oracle.get_best_trials()[0]
    assert (best.trial_id, best.score) == (expected.trial_id, expected.score)
    assert best.message is None
    stopped = [trial for trial in raced.oracle.trials.values() if trial.message]
    assert stopped and all("of 600 holdout images" in trial.message for trial in stopped)
    for trial in stopped:
        assert trial.score < best.score
    assert not any(trial.message for trial in full.oracle.trials.values())


def test_racing_does_not_depend_on_the_order_of_the_holdout_images(search):
    """Images sorted by class are common: the first ones tell about their class alone."""
    x, y = images(600, seed=2)
    order = np.argsort(y, kind="stable")
    options = {"max_trials": 20, "batch_size": 50, "tolerance": 0.2, "model": network()}
    options |= {"holdout": (x[order], y[order]), "update": "none"}
    raced = search(**options)
    full = search(racing=False, overwrite=True, **options)
    best, expected = raced.oracle.get_best_trials()[0], full.oracle.get_best_trials()[0]
    assert (best.trial_id, best.score) == (expected.trial_id, expected.score)


def test_a_race_that_was_interrupted_goes_on_the_same(search, tuner):
    holdout = images(600, seed=2)
    options = {"max_trials": 12, "batch_size": 50, "tolerance": 0.2}
    expected = trials(search(holdout=holdout, **options))

    def interrupt(trial):
        if trial.trial_id == "07":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(holdout=holdout, before=interrupt, overwrite=True, **options)
    resumed = search(holdout=holdout, **options)
    assert resumed.ran == ["07", "08", "09", "10", "11"] and trials(resumed) == expected


# Going on where it was.


def test_a_finished_search_runs_nothing_again(search, undisturbed):
    assert search().ran == list(undisturbed)
    again = search()
    assert again.ran == [] and trials(again) == undisturbed
    assert again.get_best_models()[0].count_params() > 0


@pytest.mark.parametrize("which", ["0", "2"])
def test_after_ctrl_c_it_ends_as_if_undisturbed(search, which, undisturbed):
    def interrupt(trial):
        if trial.trial_id == which:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(before=interrupt)
    resumed = search()
    assert resumed.ran == list(undisturbed)[int(which) :] and trials(resumed) == undisturbed
    assert stored(resumed) == dict.fromkeys(undisturbed, "COMPLETED")


def test_the_same_tuner_goes_on_after_ctrl_c(tuner, undisturbed):
    def interrupt(trial):
        if trial.trial_id == "1":
            raise KeyboardInterrupt

    made = tuner(before=interrupt)
    with pytest.raises(KeyboardInterrupt):
        made.search(TRAIN, validation_data=HOLDOUT, verbose=False)
    made.before = lambda trial: None
    made.search(TRAIN, validation_data=HOLDOUT, verbose=False)
    assert made.ran == list(undisturbed) and trials(made) == undisturbed


def test_best_channels_are_there_without_a_search_in_this_process(search, tuner):
    best = search().get_best_channels(2)
    assert tuner().get_best_channels(2) == best
    with pytest.raises(ValueError, match="call `search` first"):
        tuner().get_best_models()


def test_before_the_first_trial_there_is_no_best(tuner):
    with pytest.raises(ValueError, match="No trial is completed yet"):
        tuner().get_best_channels()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"seed": 1}, "seed"),
        ({"flops": 0.3}, "flops|budget"),
        ({"min_ratio": 0.5}, "min_ratio|space"),
        ({"divisor": 2}, "divisor|space"),
        ({"fixed": ("unit0_conv",)}, "fixed|space"),
        ({"model": network((8, 10, 16))}, "model"),
        # What follows proposes the same channels, and scores them differently.
        ({"criterion": "l2"}, "criterion"),
        ({"update": "batch_norm"}, "update"),
        ({"calibration_images": 8}, "calibration_images"),
        ({"objective": "val_loss"}, "objective"),
        ({"model": network(seed=1)}, "model"),
    ],
)
def test_a_search_with_other_arguments_is_refused(search, change, name, tmp_path, undisturbed):
    search()
    change.get("model", network()).compile(loss=CROSSENTROPY)
    with pytest.raises(ValueError, match=name) as error:
        search(**change)
    assert str(tmp_path) in str(error.value) and "overwrite=True" in str(error.value)
    again = search()
    assert again.ran == [] and trials(again) == undisturbed


def test_overwrite_starts_anew(search):
    search()
    made = search(seed=1, overwrite=True)
    assert len(made.ran) == TRIALS


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
    calls = []

    def loss(y, outputs):
        calls.append(len(y))
        values = keras.losses.sparse_categorical_crossentropy(y, outputs, from_logits=True)
        return values * np.nan if len(calls) == 1 else values

    model = network()
    model.compile(loss=loss)
    made = search(model=model, objective="val_loss")
    assert len(made.ran) == TRIALS
    assert made.oracle.get_trial("0").status != "COMPLETED"
    scores = [trial.score for trial in made.oracle.get_best_trials(TRIALS - 1)]
    assert np.isfinite(scores).all() and scores == sorted(scores)
    assert len(made.get_best_channels(TRIALS)) == TRIALS - 1
    assert search(model=model, objective="val_loss").ran == []
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
    "no labels": (X, "validation_data.*labels"),
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


# Arguments.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flops": 0.0}, "`flops` must be"),
        ({"flops": 1.5}, "`flops` must be"),
        ({"flops": 0.01, "tolerance": 0.005}, "cannot be met. The space reaches"),
        ({"tolerance": -0.1}, "`tolerance` must be"),
        ({"min_ratio": 0.0}, "min_ratio"),
        ({"max_ratio": 1.5}, "max_ratio"),
        ({"divisor": 0}, "`divisor` must be"),
        ({"fixed": ("nope",)}, "'nope'"),
        ({"params": -1}, "`params` must be"),
        ({"max_trials": 0}, "`max_trials` must be"),
        ({"max_trials": 100_000}, "Found .* distinct"),
        ({"criterion": "nope"}, "`criterion` must be one of"),
        ({"criterion": tfrcp.criteria.L1}, "`criterion` must be one of"),
        ({"objective": "val_auc"}, "`objective` must be"),
        ({"objective": keras_tuner.Objective("val_accuracy", "max")}, "`objective` must be"),
        ({"update": "nope"}, "`update` must be one of"),
        ({"calibration_images": -1}, "`calibration_images` must be"),
        ({"batch_size": 0}, "`batch_size` must be"),
        ({"seed": "zero"}, "`seed` must be"),
        ({"seed": -1}, "`seed` must be"),
        ({"model": "resnet20"}, "`model` must be"),
        ({"model": keras.Sequential([keras.layers.Dense(3)])}, "not built"),
        ({"model": type("Mine", (keras.Model,), {})()}, "subclassed"),
    ],
)
def test_bad_arguments_are_refused(tuner, options, message):
    with pytest.raises(ValueError, match=message):
        tuner(**options)


def test_the_loss_must_be_one(tuner):
    model = network()
    model.compile(loss=[CROSSENTROPY])
    with pytest.raises(ValueError, match="compiled with one loss"):
        tuner(model=model, objective="val_loss")


def test_a_folder_that_cannot_be_written_is_refused(tuner, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises((ValueError, OSError), match=str(file)):
        tuner(directory=file / "runs")


def test_a_model_in_which_nothing_can_be_pruned_is_refused(tuner):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="only")])
    with pytest.raises(ValueError, match="No channel of .* can be pruned"):
        tuner(model=model)


# Progress.


def test_progress_says_how_far_and_how_good(tuner, capsys):
    made = tuner()
    made.search(TRAIN, validation_data=HOLDOUT)
    printed = capsys.readouterr().out
    first, *lines = [line for line in printed.splitlines() if line.startswith("search: ")]
    assert re.fullmatch(r"search: [\d.]+% of the drawn channel vectors meet the budget", first)
    assert lines[0].startswith("search: 1/4 candidates, best val_accuracy 0.")
    assert lines[-1].startswith("search: 4/4 candidates") and " s" in lines[-1]
    assert len(lines) <= 4


def test_progress_in_a_file_is_plain_lines(tuner, capsys):
    tuner().search(TRAIN, validation_data=HOLDOUT)
    printed = capsys.readouterr().out
    assert not {"\r", "\b", "\033"} & set(printed)
    assert all(re.match(r"[a-z][a-z ]+: ", line) for line in printed.splitlines())


def test_progress_fits_a_terminal_of_80_columns(tuner, capsys, monkeypatch):
    clock = itertools.count(step=100)  # a slow machine
    now = types.SimpleNamespace(monotonic=lambda: next(clock), perf_counter=lambda: next(clock))
    monkeypatch.setattr("tfrcp.search.progress.time", now)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    made = tuner(max_trials=12)
    made.search(TRAIN, validation_data=HOLDOUT)
    printed = re.sub("\033\\[[0-9]*[A-Za-z]", "", capsys.readouterr().out)
    shown = [line.strip() for line in re.split("[\r\n]", printed) if "candidates" in line]
    assert len(shown) == 12 and max(map(len, shown)) < 80


def test_a_search_can_be_silent(search, capsys):
    search()
    assert capsys.readouterr().out == ""


def test_without_tensorboard_its_logs_are_refused(tuner, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="`log_dir` needs TensorBoard. Install it with"):
        tuner(log_dir=str(tmp_path / "logs"))


def test_tensorboard_gets_a_curve_of_the_scores(search, tmp_path):
    pytest.importorskip("tensorboard")
    made = search(log_dir=str(tmp_path / "logs"))
    (file,) = (tmp_path / "logs").glob("events.*")
    found = {}
    for record in tf.data.TFRecordDataset(str(file)):
        event = event_pb2.Event.FromString(record.numpy())
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = float(tf.make_ndarray(value.tensor))
    scores = [trial.score for trial in made.oracle.trials.values()]
    steps = range(1, len(scores) + 1)
    assert found["val_accuracy"] == pytest.approx(dict(zip(steps, scores, strict=True)))
    best = np.maximum.accumulate(scores)
    assert found["best_val_accuracy"] == pytest.approx(dict(zip(steps, best, strict=True)))


# tfrcp.prune


def test_prune_gives_the_best_model(trained, undisturbed, tmp_path):
    options = {"max_trials": TRIALS, "tolerance": 0.05, "verbose": False}
    pruned = tfrcp.prune(trained, TRAIN, validation_data=HOLDOUT, **options)
    best = max(undisturbed.values(), key=lambda trial: trial[1])
    assert {name: pruned.get_layer(name).filters for name in GROUPS} == best[0]
    labels = pruned.predict(HOLDOUT[0], verbose=0).argmax(axis=1)
    assert (labels == HOLDOUT[1]).mean() >= best[1] - 1e-9
    pruned.compile("sgd", loss=CROSSENTROPY)
    pruned.train_on_batch(*TRAIN)
    pruned.save(tmp_path / "pruned.keras")
    again = keras.models.load_model(tmp_path / "pruned.keras")
    np.testing.assert_allclose(
        again.predict(X, verbose=0), pruned.predict(X, verbose=0), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("update", ["least_squares", "batch_norm"])
@pytest.mark.parametrize("objective", ["val_loss", "val_accuracy"])
def test_the_last_repair_never_lowers_the_score(search, update, objective):
    made = search(update=update, objective=objective)
    model, score = best_model(made, verbose=False)
    scored, trial = made.get_best_models(1)[0], made.oracle.get_best_trials(1)[0]
    assert made.evaluator.score_model(scored) == pytest.approx(trial.score, abs=1e-4)
    assert made.evaluator.score_model(model) == pytest.approx(score, abs=1e-4)
    assert score <= trial.score if objective == "val_loss" else score >= trial.score
    if update == "batch_norm":
        assert score == trial.score


def test_prune_keeps_its_search_where_it_is_told(trained, tmp_path):
    options = {"max_trials": 2, "tolerance": 0.05, "verbose": False, "directory": tmp_path}
    first = tfrcp.prune(trained, *TRAIN, validation_data=HOLDOUT, **options)
    assert len(list(tmp_path.glob("*/trial_*/trial.json"))) == 2
    again = tfrcp.prune(trained, *TRAIN, validation_data=HOLDOUT, **options)
    for old, new in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_prune_leaves_nothing_behind_where_it_is_not_told(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tfrcp.prune(trained, TRAIN, validation_data=HOLDOUT, max_trials=1, tolerance=0.1, verbose=False)
    assert list(tmp_path.iterdir()) == []
