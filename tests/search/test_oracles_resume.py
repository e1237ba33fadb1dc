from __future__ import annotations

import itertools
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.search.small_oracle import (
    DAMAGES,
    TRIALS,
    Counter,
    oracle,
    search,
    stored,
    trials,
)
from tfrcp import Budget

REPOSITORY = pathlib.Path(__file__).parents[2]


class Killed(BaseException):
    """Stands for a kill -9: nothing after it runs."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return trials(search(tmp_path_factory.mktemp("undisturbed")))


# The same trials, whatever happens.


def test_a_seed_tells_the_trials(tmp_path, undisturbed):
    assert trials(search(tmp_path / "again")) == undisturbed
    other = trials(search(tmp_path / "other", seed=1))
    assert other.keys() == undisturbed.keys()
    assert [t[0] for t in other.values()] != [t[0] for t in undisturbed.values()]


def test_a_finished_search_runs_nothing_again(tmp_path, undisturbed):
    assert search(tmp_path).ran == list(undisturbed)
    again = search(tmp_path)
    assert again.ran == [] and trials(again) == undisturbed
    assert again.remaining_trials == 0


def test_more_trials_later_go_on_where_the_search_ended(tmp_path, undisturbed):
    search(tmp_path, max_trials=2)
    later = search(tmp_path)
    assert trials(later) == undisturbed and later.ran == list(undisturbed)[2:]


def test_more_digits_in_the_trial_numbers_repeat_nothing(tmp_path):
    search(tmp_path / "grown", max_trials=3)
    grown = search(tmp_path / "grown", max_trials=12)
    straight = search(tmp_path / "straight", max_trials=12)
    assert len(grown.ran) == 9
    assert [t[0] for t in trials(grown).values()] == [t[0] for t in trials(straight).values()]


def test_fewer_trials_later_are_the_first_ones(tmp_path, undisturbed):
    search(tmp_path)
    fewer = search(tmp_path, max_trials=2)
    assert fewer.ran == [] and trials(fewer) == dict(list(undisturbed.items())[:2])


def test_killed_in_another_process_the_search_goes_on_in_this_one(tmp_path, undisturbed):
    script = (
        "import os\n"
        "from tests.search.small_oracle import search\n"
        "def die(trial):\n"
        "    if trial.trial_id == '3':\n"
        "        os._exit(9)\n"
        f"search({str(tmp_path)!r}, die)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == 9, killed.stderr
    done = {name: trial for name, trial in stored(tmp_path).items() if trial[2] == "COMPLETED"}
    assert done == {name: undisturbed[name] for name in ("0", "1", "2")}
    tuner = search(tmp_path)
    assert tuner.ran == ["3", "4"] and trials(tuner) == undisturbed


def test_ctrl_c_in_a_trial_loses_that_trial_alone(tmp_path, undisturbed):
    def interrupt(trial):
        if trial.trial_id == "2":
            raise KeyboardInterrupt

    tuner = Counter(oracle(), tmp_path, interrupt)
    with pytest.raises(KeyboardInterrupt):
        tuner.search()
    tuner.before = lambda trial: None
    tuner.search()  # in the same process
    assert tuner.ran == list(undisturbed) and trials(tuner) == undisturbed
    assert stored(tmp_path) == undisturbed


def crash_at(monkeypatch, moment):
    """Lets the process die around its `moment`-th step on the disk; tells whether it will have."""
    steps, died = itertools.count(), []

    def dying(function, partly=None):
        def call(*args, **kwargs):
            if not str(args[0]).startswith(str(call.folder)) or died:
                return function(*args, **kwargs)
            for how in ("before", "partly", "after"):
                if how == "partly" and not partly:
                    continue
                if how == "after":
                    function(*args, **kwargs)
                if next(steps) == moment:
                    if how == "partly":
                        partly(*args, **kwargs)
                    died.append(moment)
                    raise Killed
            return None

        return call

    wrapped = []
    write = pathlib.Path.write_text
    for owner, name, partly in (
        (os, "mkdir", None),
        (os, "replace", None),
        (pathlib.Path, "write_text", lambda path, text: write(path, text[: len(text) // 2])),
    ):
        wrapped.append(dying(getattr(owner, name), partly))
        monkeypatch.setattr(owner, name, wrapped[-1])
    clean_up = pathlib.Path.unlink
    monkeypatch.setattr(
        pathlib.Path, "unlink", lambda *args, **kw: None if died else clean_up(*args, **kw)
    )
    return wrapped, died


def test_whenever_it_is_killed_the_search_goes_on_and_ends_the_same(
    tmp_path, undisturbed, monkeypatch
):
    expected = dict(list(undisturbed.items())[:3])
    moment, broken = 0, []
    while True:
        folder = tmp_path / str(moment)
        tuner = Counter(oracle(max_trials=3), folder)
        with monkeypatch.context() as patch:
            wrapped, died = crash_at(patch, moment)
            for function in wrapped:
                function.folder = folder
            try:
                tuner.search()
            except Killed:
                pass
        if not died:
            break
        try:
            finished = {name for name, trial in stored(folder).items() if trial[1] is not None}
            again = search(folder, max_trials=3)
            if trials(again) != expected or stored(folder) != expected:
                broken.append((moment, "other trials"))
            if finished & set(again.ran):
                broken.append((moment, "a finished trial was run again"))
        except Exception as error:
            broken.append((moment, f"{type(error).__name__}: {error}"))
        moment += 1
    assert moment > 15  # a folder and two files at least in each trial, before and after each
    assert not broken


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_trial_file_is_run_again_and_nothing_else(tmp_path, damage, undisturbed):
    search(tmp_path)
    file = tmp_path / "project" / "trial_2" / "trial.json"
    content = DAMAGES[damage](file.read_text())
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    tuner = search(tmp_path)
    assert tuner.ran == ["2"] and trials(tuner) == undisturbed
    assert stored(tmp_path) == undisturbed


@pytest.mark.parametrize("which", ["0", "2", "4"])
def test_a_trial_folder_that_is_gone_is_made_again(tmp_path, which, undisturbed):
    search(tmp_path)
    shutil.rmtree(tmp_path / "project" / f"trial_{which}")
    tuner = search(tmp_path)
    assert tuner.ran == [which]
    assert sorted(trials(tuner).items()) == sorted(undisturbed.items())


def test_what_else_lies_in_the_folder_is_left_alone(tmp_path, undisturbed):
    search(tmp_path)
    for name in ("trial_notes", "trial_", "plots"):
        (tmp_path / "project" / name).mkdir()
    (tmp_path / "project" / "trial_1" / "trial.json.123.tmp").write_text("{")
    tuner = search(tmp_path)
    assert tuner.ran == [] and trials(tuner) == undisturbed


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"seed": 1}, "seed"),
        ({"budget": Budget(0.3, tolerance=0.05)}, "budget"),
        ({"space": {"min_ratio": 0.5}}, "space"),
        ({"space": {"fixed": ("unit0_conv",)}}, "space"),
    ],
)
def test_a_search_with_other_arguments_is_refused(tmp_path, change, name, undisturbed):
    search(tmp_path)
    with pytest.raises(ValueError, match=name) as error:
        search(tmp_path, **change)
    message = str(error.value)
    assert str(tmp_path) in message and "overwrite=True" in message
    assert " has " in message and " would have " in message  # the difference
    assert trials(search(tmp_path)) == undisturbed


def test_overwrite_starts_anew(tmp_path):
    search(tmp_path)
    tuner = Counter(oracle(seed=1), tmp_path, overwrite=True)
    tuner.search()
    assert len(tuner.ran) == TRIALS


# Trials that fail.


def test_a_trial_that_fails_is_passed_over_and_not_tried_again(tmp_path, undisturbed):
    def fail(trial):
        if trial.trial_id == "1":
            raise ValueError("no luck")

    tuner = search(tmp_path, fail)
    assert tuner.ran == ["0", "2", "3", "4"]
    values, score, status = trials(tuner)["1"]
    assert (values, score, status) == (undisturbed["1"][0], None, "FAILED")
    assert "no luck" in tuner.oracle.get_trial("1").message
    again = search(tmp_path)
    assert again.ran == [] and trials(again)["1"][2] == "FAILED"


def test_a_trial_is_retried_with_the_same_channels_if_the_user_wants(tmp_path, undisturbed):
    luck = iter([False, True])

    def fail_once(trial):
        if trial.trial_id == "1" and not next(luck):
            raise ValueError("no luck")

    assert trials(search(tmp_path, fail_once, max_retries_per_trial=1)) == undisturbed


def test_three_failures_in_a_row_end_the_search_with_their_cause(tmp_path):
    def fail(trial):
        raise ValueError("no luck")

    with pytest.raises(RuntimeError, match="(?s)exceeded the limit of 3.*no luck"):
        search(tmp_path, fail)
