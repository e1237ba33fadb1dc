"""Bad input. tests/pipeline/test_input.py holds the whole table; here it comes through the door."""

from __future__ import annotations

import os

import keras
import pytest

from tests.binaries.running import assert_one_clear_line
from tests.small_run import arguments


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"model__base": "nope.keras"}, ["model.base", "nope.keras"]),
        ({"model__name": "nope"}, ["'resnet20'", "'nope'"]),
        ({"data__name": "nope"}, ["Unknown data set 'nope'"]),
        ({"search__criterion": "nope"}, ["'l1'", "'nope'"]),
        ({"train__augment": "nope"}, ["'cifar'", "'nope'"]),
        ({"export__format": "litert,nope"}, ["'tf_saved_model'", "'nope'"]),
        ({"strategy": "nope"}, ["'mirrored'", "'nope'"]),
        ({"search__flops": 0.01, "search__tolerance": 0.001}, ["cannot be met", "reaches"]),
        ({"search__flops": 1.5}, ["flops=1.5"]),
        ({"search__flops": 0.0}, ["flops=0"]),
        ({"search__flops": "inf"}, ["flops=inf"]),
        ({"search__tolerance": -1.0}, ["tolerance=-1"]),
        ({"search__max_trials": 0}, ["max_trials=0"]),
        ({"train__epochs": -1}, ["epochs=-1"]),
        ({"seed": -1}, ["seed"]),
    ],
)
def test_bad_input_is_one_clear_line(run, inputs, tmp_path, change, parts):
    status, out, err = run("prune", *arguments(inputs, tmp_path / "run", **change))
    assert_one_clear_line(status, err, *parts)
    assert out == "" and not list(tmp_path.glob("run/*.keras"))


def test_a_layer_that_is_not_there_is_one_clear_line(run, inputs, tmp_path):
    class Unknown(keras.layers.Layer):
        def call(self, x):
            return x

    model = keras.Sequential(
        [keras.Input((8, 8, 1)), Unknown(), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    model.save(tmp_path / "unknown.keras")
    given = arguments(inputs, tmp_path / "run", model__base=tmp_path / "unknown.keras")
    status, _, err = run("train", *given)
    assert_one_clear_line(status, err, "model.base", "'Unknown'")
    status, _, err = run("profile", f"--model={tmp_path / 'unknown.keras'}")
    assert_one_clear_line(status, err, "--model|unknown.keras", "'Unknown'")


def test_a_workdir_under_a_file_is_one_clear_line(run, inputs, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = run("prune", *arguments(inputs, tmp_path / "file" / "run"))
    assert_one_clear_line(status, err, "cannot be written", "--workdir")


def test_another_configuration_in_an_old_workdir_is_one_clear_line(run, inputs, tmp_path):
    assert run("train", *arguments(inputs, tmp_path, train__epochs=0))[0] == 0
    status, _, err = run("train", *arguments(inputs, tmp_path, train__epochs=1))
    assert_one_clear_line(status, err, "train.epochs was 0 and is now 1", "--workdir")


def test_what_fails_in_a_trial_is_one_clear_line(run, inputs, tmp_path, monkeypatch):
    def fail(self, channels):
        raise MemoryError("too large")

    assert run("train", *arguments(inputs, tmp_path, train__epochs=0))[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr("tfrcp.scoring.evaluator.ProgramEvaluator.score", fail)
        status, _, err = run("search", *arguments(inputs, tmp_path, train__epochs=0))
    assert_one_clear_line(status, err, "too large")
    assert run("search", *arguments(inputs, tmp_path, train__epochs=0))[0] == 0


def test_a_full_disk_is_one_clear_line_and_does_no_harm(run, inputs, tmp_path, monkeypatch):
    given = arguments(inputs, tmp_path / "run", train__epochs=0)
    replace = os.replace

    def full(source, target):
        if str(target).endswith("trial.json"):
            raise OSError(28, "No space left on device", str(source))
        replace(source, target)

    assert run("train", *given)[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        status, _, err = run("search", *given)
    assert_one_clear_line(status, err, "No space left on device")
    status, out, err = run("search", *given)
    assert (status, err) == (0, "") and "search: resumes" in out


def test_ctrl_c_is_one_line_and_exit_status_130(run, inputs, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("tfrcp.training.fit", interrupt)
    status, _, err = run("train", *arguments(inputs, tmp_path))
    assert status == 130
    assert err.strip().splitlines() == ["interrupted; run the same command to resume"]
