"""A search of several processes on the command line."""

import functools
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.small_run import REPOSITORY, arguments, config, write_inputs
from tfrcp.commands import launch
from tfrcp.run import Pipeline
from tfrcp.run.workdir import Workdir

FIELDS = {"train__epochs": 0, "search__max_trials": 12, "search__tolerance": 0.1}
LAUNCH = [sys.executable, str(REPOSITORY / "bin" / "launch.py")]


def children(process):
    """Command lines and ids of the processes that a process has started."""
    listed = subprocess.run(
        ["ps", "--ppid", str(process.pid), "-o", "pid="], capture_output=True, text=True
    )
    return [int(line) for line in listed.stdout.split()]


@pytest.mark.nightly
def test_a_chief_and_a_worker_that_is_killed(tmp_path):
    write_inputs(tmp_path)
    for name in ("alone", "run"):
        Pipeline(config(tmp_path, **FIELDS), tmp_path / name).train()
    Pipeline(config(tmp_path, search__racing=False, **FIELDS), tmp_path / "alone").search()
    process = subprocess.Popen(
        [
            *LAUNCH,
            "--workers=1",
            *arguments(tmp_path, tmp_path / "run", search__racing=False, **FIELDS),
        ],
        env=os.environ | {"PYTHONPATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 100
    while len(children(process)) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    os.kill(children(process)[-1], signal.SIGKILL)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert "worker0 was killed by signal 9; it is started again" in out
    assert "search: 12/12 candidates" in out and "search: done" in out
    results = [
        json.loads((tmp_path / name / "channels.json").read_text()) for name in ("alone", "run")
    ]
    assert results[0] == results[1]
    metrics = [Workdir(tmp_path / name).metrics["search"] for name in ("alone", "run")]
    assert metrics[0]["trials"] == metrics[1]["trials"]


def test_what_is_wrong_is_one_line_before_anything_is_started():
    for flags, message in (
        (["--workers=0"], "workers"),
        (["--workers=2"], "--config must be given"),
        (["--workers=2", "--config=missing.py"], "must be a file"),
    ):
        process = subprocess.run([*LAUNCH, *flags], capture_output=True, text=True)
        assert process.returncode == 2 and message in process.stderr
        assert len(process.stderr.splitlines()) == 1


def test_a_worker_runs_the_search_alone_and_writes_nothing(tmp_path, monkeypatch):
    write_inputs(tmp_path)
    for name, value in (("TUNER_ID", "w"), ("ORACLE_IP", "127.0.0.1"), ("ORACLE_PORT", "9")):
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    with pytest.raises(ValueError, match="run is missing: start the chief first"):
        Pipeline(config(tmp_path), tmp_path / "run")
    (tmp_path / "run").mkdir()
    worker = Pipeline(config(tmp_path), tmp_path / "run")
    with pytest.raises(ValueError, match="base.keras is missing: run the stage 'train' first"):
        worker.search()
    with pytest.raises(ValueError, match="Workers run the search alone, not the stage 'train'"):
        worker.train()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_process_whose_launcher_is_gone_ends_before_it_begins():
    begins = functools.partial(launch._end_with_parent, os.getpid() + 1)  # not its parent
    process = subprocess.Popen([sys.executable, "-c", "print('begun')"], preexec_fn=begins)
    assert process.wait() == 128 + signal.SIGTERM
