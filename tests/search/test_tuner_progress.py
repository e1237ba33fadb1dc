from __future__ import annotations

import itertools
import re
import types

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

from tests.search.small_search import HOLDOUT, TRAIN


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
