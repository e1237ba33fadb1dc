"""Runs that are killed or interrupted go on, and end as if nothing had been."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import keras
import pytest

import tfrcp
from tests.run.results import (
    MODELS,
    assert_complete,
    assert_same_result,
    files,
    metrics,
)
from tests.small_run import REPOSITORY, STAGES, arguments, config
from tfrcp import training
from tfrcp.run import Pipeline


class Die(keras.callbacks.Callback):
    """Ends the process, or interrupts it, in the middle of the second epoch."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == 1 and batch == 1:
            self.how()


def die_in_training(how):
    """Lets the next training die."""
    fit = training.fit

    def dying(*args, callbacks=(), **kwargs):
        return fit(*args, callbacks=[*callbacks, Die(how)], **kwargs)

    training.fit = dying


def die_in_trial(which, how):
    """Lets the search die in a trial."""
    run_trial = tfrcp.RandomChannelSearch.run_trial

    def run(self, trial):
        if trial.trial_id == which:
            how()
        return run_trial(self, trial)

    tfrcp.RandomChannelSearch.run_trial = run


def prune(inputs, workdir, prelude):
    """Runs the binary in a process of its own, after some lines of Python."""
    script = (
        "import os, runpy, signal, sys\n"
        "from tests.run.test_interrupted import *\n"
        # A process that was started in the background ignores it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"{prelude}\n"
        f"sys.argv = {['prune.py', *arguments(inputs, workdir)]!r}\n"
        f"runpy.run_path({str(REPOSITORY / 'bin' / 'prune.py')!r}, run_name='__main__')\n"
    )
    binaries = str(REPOSITORY / "bin")
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), binaries])},
        capture_output=True,
        text=True,
    )


@pytest.mark.nightly
def test_killed_in_every_stage_it_goes_on_and_ends_as_if_undisturbed(
    inputs, finished, tmp_path, capsys
):
    workdir = tmp_path / "run"
    process = prune(inputs, workdir, "die_in_training(lambda: os._exit(9))")
    assert process.returncode == 9, process.stderr
    assert "train: starts" in process.stdout and "epoch 1/2" in process.stdout
    assert not (workdir / "base.keras").exists()

    process = prune(inputs, workdir, "die_in_trial('1', lambda: os._exit(9))")
    assert process.returncode == 9, process.stderr
    assert "train: resumes" in process.stdout and "1 of 2 epochs restored" in process.stdout
    assert "search: starts" in process.stdout
    first = (workdir / "search" / "trial_0" / "trial.json").stat().st_mtime_ns

    interrupt = "die_in_training(lambda: os.kill(os.getpid(), signal.SIGINT))"
    process = prune(inputs, workdir, interrupt)
    assert process.returncode == 130, process.stderr
    assert "train: already complete" in process.stdout and "search: resumes" in process.stdout
    assert "run the same command to resume" in process.stderr.splitlines()[-1]
    assert "Traceback" not in process.stderr
    assert not (workdir / "finetuned.keras").exists()

    Pipeline(config(inputs), workdir).prune()
    printed = capsys.readouterr().out
    assert "search: already complete" in printed and "finetune: resumes" in printed
    assert "1 of 2 epochs restored" in printed
    assert_same_result(workdir, finished)
    assert (workdir / "search" / "trial_0" / "trial.json").stat().st_mtime_ns == first
    assert_complete(workdir, epochs=2, trials=3)


@pytest.mark.parametrize(
    ("stage", "place"),
    [("evaluate", "tfrcp.deployment.latency.measure"), ("export", "keras.Model.export")],
)
def test_interrupted_in_a_later_stage_it_goes_on(copy, inputs, stage, place, monkeypatch):
    found = metrics(copy)
    found["stages"] = found["stages"][: STAGES.index(stage)]
    del found["results"]["after"]
    (copy / "metrics.json").write_text(json.dumps(found))
    shutil.rmtree(copy / "export")
    before = files(copy)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, interrupt)
        with pytest.raises(KeyboardInterrupt):
            getattr(Pipeline(config(inputs), copy), stage)()
    assert not list(copy.glob("export/*")) and not list(copy.glob("export/.*"))
    getattr(Pipeline(config(inputs), copy), stage)()
    assert metrics(copy)["stages"][-1]["seconds"] > 0
    assert stage == "export" or metrics(copy)["results"]["after"]["test_accuracy"] > 0
    assert stage == "evaluate" or (copy / "export/saved_model/saved_model.pb").exists()
    after = files(copy)
    assert all(before[n] == after[n] for n in before if n.startswith((*MODELS, "search/")))


def test_two_runs_in_one_folder_do_not_meet(inputs, tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    fit, refused = training.fit, []

    def second_run(*args, **kwargs):
        monkeypatch.setattr(training, "fit", fit)
        before = (workdir / "metrics.json").read_bytes()
        with pytest.raises(ValueError, match="(?i)another run") as error:
            Pipeline(config(inputs), workdir).prune()
        refused.append(error)
        assert (workdir / "metrics.json").read_bytes() == before
        return fit(*args, **kwargs)

    monkeypatch.setattr(training, "fit", second_run)
    Pipeline(config(inputs), workdir).train()
    assert refused and (workdir / "base.keras").exists()


def test_a_refused_command_changes_nothing(inputs, tmp_path):
    from tfrcp.run import Pipeline

    first = Pipeline(config(inputs), tmp_path)
    before = (tmp_path / "metrics.json").read_text()
    with first.workdir.alone():
        with pytest.raises(ValueError, match="Another run is active"):
            Pipeline(config(inputs, search__flops=0.6), tmp_path)
    assert (tmp_path / "metrics.json").read_text() == before
