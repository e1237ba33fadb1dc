from __future__ import annotations

import keras
import numpy as np
import pytest

import tfrcp
from tests.search.small_search import GROUPS, HOLDOUT, TRAIN
from tests.search.small_tuner import CROSSENTROPY, TRIALS
from tfrcp.search.winner import best_model


def test_prune_gives_the_best_model(trained, undisturbed, tmp_path):
    options = {"search": "random", "max_trials": TRIALS, "tolerance": 0.05, "verbose": False}
    options["criterion"] = "l1"
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
        again.predict(TRAIN[0], verbose=0),
        pruned.predict(TRAIN[0], verbose=0),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("reconstruction", ["least_squares", "batch_norm"])
@pytest.mark.parametrize("objective", ["val_loss", "val_accuracy"])
def test_the_last_repair_never_lowers_the_score(search, reconstruction, objective):
    made = search(reconstruction=reconstruction, objective=objective)
    model, score = best_model(made, verbose=False)
    scored, trial = made.get_best_models(1)[0], made.oracle.get_best_trials(1)[0]
    assert made.evaluator.score_model(scored) == pytest.approx(trial.score, abs=1e-4)
    assert made.evaluator.score_model(model) == pytest.approx(score, abs=1e-4)
    assert score <= trial.score if objective == "val_loss" else score >= trial.score
    if reconstruction == "batch_norm":
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


def test_images_alone_will_do(trained, capsys):
    options = {"max_trials": 2, "tolerance": 0.2}
    pruned = tfrcp.prune(trained, TRAIN[0], **options)
    assert "holds 10 of 48 images back" in capsys.readouterr().out
    again = tfrcp.prune(trained, TRAIN[0], **options, verbose=False)
    for old, new in zip(pruned.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    with pytest.raises(ValueError, match="`validation_data` must be given.*Received: 5 images"):
        tfrcp.prune(trained, TRAIN[0][:5], **options)


@pytest.mark.parametrize(
    ("function", "options"),
    [(tfrcp.prune, {}), (tfrcp.prune, {"max_drop": 0.1}), (tfrcp.tradeoff, {"flops": (0.5,)})],
    ids=["prune", "max_drop", "tradeoff"],
)
def test_an_error_leaves_the_trials(trained, tmp_path, monkeypatch, capsys, function, options):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fails(*args, **kwargs):
        raise RuntimeError("at the end")

    monkeypatch.setattr("tfrcp.search.prune.winner_of", fails)
    monkeypatch.setattr("tfrcp.search.tradeoff.winner_of", fails)
    options = {"max_trials": 1, "tolerance": 0.2, "verbose": False} | options
    with pytest.raises(RuntimeError, match="at the end") as error:
        function(trained, *TRAIN, validation_data=HOLDOUT, **options)
    (folder,) = tmp_path.iterdir()
    assert str(folder) in error.value.__notes__[0] and str(folder) in capsys.readouterr().err
    assert len(list(folder.glob("*/trial_*"))) == 1


@pytest.mark.parametrize("search", ["guided", "random"])
def test_a_sequential_model_is_pruned(search):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    pruned = tfrcp.prune(
        model, *TRAIN, validation_data=HOLDOUT, search=search, max_trials=100, verbose=False
    )
    assert pruned.predict(HOLDOUT[0], verbose=0).shape == (64, 3)
    (convolution,) = (c for c in pruned.layers if isinstance(c, keras.layers.Conv2D))
    assert convolution.filters == 4  # the only one within the tolerance


def test_it_ends_with_what_was_gained_and_lost(trained, capsys):
    tfrcp.prune(trained, TRAIN, validation_data=HOLDOUT, max_trials=2, tolerance=0.2)
    text = capsys.readouterr().out.split("Before fine-tuning: ")[1]
    first, *rest = text.splitlines()
    assert "fewer MACs" in first and "smaller, accuracy" in first and "holdout data" in first
    names = [line.split("  ")[0] for line in rest]
    assert {"accuracy", "MACs per image", "parameters", "size of the weights"} <= {*names}
    assert not any("time per image" in line for line in rest)


def test_a_network_is_not_lost_where_it_cannot_be_compared(trained, monkeypatch):
    def fails(*args, **kwargs):
        raise RuntimeError("read once")

    monkeypatch.setattr("tfrcp.search.prune.compare", fails)
    with pytest.warns(UserWarning, match="cannot be compared: read once"):
        pruned = tfrcp.prune(trained, TRAIN, validation_data=HOLDOUT, max_trials=1, tolerance=0.2)
    assert pruned.count_params() < trained.count_params()


def test_the_idiom_of_transfer_learning(trained):
    """`keras.Model(base.inputs, outputs)`: a list of one input."""
    x = trained.get_layer(index=-2).output
    model = keras.Model(trained.inputs, keras.layers.Dense(3, "softmax", name="new_head")(x))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    pruned = tfrcp.prune(model, *TRAIN, validation_data=HOLDOUT, max_trials=2, tolerance=0.2)
    assert pruned.predict(HOLDOUT[0], verbose=0).shape == (64, 3)
    pruned.fit(*TRAIN, verbose=0)
    found = tfrcp.compare(model, pruned, HOLDOUT, latency=True, batch_size=4)
    assert found.after["params"] == pruned.count_params() < model.count_params()
