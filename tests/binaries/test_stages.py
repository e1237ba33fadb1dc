from __future__ import annotations

import json
import os
import pathlib
import pty
import subprocess
import sys

from tests.binaries.running import BINARIES, assert_one_clear_line
from tests.data.small_images import write_folder
from tests.small_run import STAGES, arguments

# What the last line of a stage tells.
FIGURES = {
    "train": {"epochs", "holdout_accuracy"},
    "search": {"candidates", "holdout_score", "flops_ratio", "params"},
    "finetune": {"epochs", "holdout_accuracy"},
    "evaluate": {"test_accuracy", "test_accuracy_before", "flops_ratio", "latency_ratio"},
    "export": {"files"},
}

# The stages, one by one.


def test_every_stage_by_its_own_binary_makes_the_whole_job(run, inputs, tmp_path):
    workdir = tmp_path / "stage by stage"
    results = ("base.keras", "pruned.keras", "finetuned.keras", None, "export/saved_model")
    made = {}
    for stage, result in zip(STAGES, results, strict=True):
        assert result is None or not (workdir / result).exists()
        status, out, err = run(stage, *arguments(inputs, workdir))
        assert (status, err) == (0, "")
        assert f"{stage}: starts" in out and f"{stage}: done in" in out
        figures = json.loads(out.splitlines()[-1])
        assert set(figures) >= FIGURES[stage] | {"stage", "seconds", "workdir"}
        assert all(f"{other}:" not in out for other in STAGES if other != stage)
        assert result is None or (workdir / result).exists()
        times = {path: path.stat().st_mtime_ns for path in workdir.glob("*.keras")}
        assert all(times[path] == before for path, before in made.items())
        made = times
        status, out, err = run(stage, *arguments(inputs, workdir))
        assert (status, err) == (0, "") and out.splitlines()[0] == f"{stage}: already complete"
    status, out, err = run("prune", *arguments(inputs, workdir))
    assert (status, err) == (0, "")
    assert out.splitlines()[: len(STAGES)] == [f"{stage}: already complete" for stage in STAGES]
    assert set(json.loads(out.splitlines()[-1])) >= FIGURES["evaluate"]
    assert "test accuracy" in out and (workdir / "report.html").is_file()
    assert {path: path.stat().st_mtime_ns for path in workdir.glob("*.keras")} == made


def test_a_stage_before_its_time_is_refused(run, inputs, tmp_path):
    status, _, err = run("finetune", *arguments(inputs, tmp_path / "run"))
    assert_one_clear_line(status, err, "pruned.keras is missing: run the stage 'search' first")


def test_the_workdir_is_named_after_the_configuration(run, inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = [flag for flag in arguments(inputs, "") if not flag.startswith("--workdir")]
    status, _, err = run("train", *given, "--config.train.epochs=0")
    assert (status, err) == (0, "")
    assert (tmp_path / "runs" / "digits_resnet20" / "base.keras").is_file()


def test_strategy_and_devices_have_flags_of_their_own(run, inputs, tmp_path):
    given = [*arguments(inputs, tmp_path / "run"), "--config.train.epochs=0"]
    status, _, err = run("train", *given, "--strategy=nope")
    assert_one_clear_line(status, err, "'mirrored'.*'nope'")
    status, _, err = run("train", *given, "--devices=CPU:0,CPU:7")
    assert_one_clear_line(status, err, "devices.*'CPU:0', 'CPU:7'")
    status, out, err = run("train", *given, "--strategy=none")
    assert (status, err) == (0, "") and json.loads(out.splitlines()[-1])["epochs"] == 0


def test_data_are_prepared_from_a_folder(run, tmp_path):
    write_folder(tmp_path / "images", {"ants": 6, "bees": 6}, seed=0)
    given = [f"--folder={tmp_path / 'images'}", f"--data_dir={tmp_path / 'tfds'}"]
    status, out, _ = run("prepare_data", *given, "--test_share=0.5")
    assert status == 0
    assert json.loads(out.splitlines()[-1])["images"] == {"train": 6, "test": 6}
    assert (tmp_path / "tfds" / "images" / "1.0.0").is_dir()
    status, _, err = run("prepare_data")
    assert_one_clear_line(status, err, "--name or --folder must be given")
    status, _, err = run("prepare_data", f"--folder={tmp_path / 'nowhere'}")
    assert_one_clear_line(status, err, "must be a folder of images")


# A real process in a real terminal.


def test_on_a_terminal_of_another_folder(inputs, tmp_path):
    """The binary finds its package and its configurations from anywhere."""
    terminal, side = pty.openpty()
    process = subprocess.Popen(
        [
            sys.executable,
            BINARIES / "train.py",
            *arguments(inputs, "a run", train__epochs=0, search__flops=1.5),
        ],
        cwd=tmp_path,
        stdout=side,
        stderr=side,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    os.close(side)
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux's word for the end of a terminal
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    assert process.wait() == 1
    assert "flops=1.5" in shown.decode().strip().splitlines()[-1]
    assert pathlib.Path(tmp_path, "a run").is_dir()
