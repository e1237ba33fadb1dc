"""Chief and workers: threads of this process; those that are killed are processes of their own."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest

import tfrcp
from tests.search.kill_search import free_port, stored
from tests.search.processes import TRIALS, Tuner, together
from tests.search.small_search import GROUPS, HOLDOUT, TRAIN
from tfrcp.search import distributed

REPOSITORY = pathlib.Path(__file__).parents[2]


def test_two_workers_give_what_one_process_gives(make, tmp_path):
    make(folder="alone").search()
    chief, one, two = make("chief"), make("worker1"), make("worker2")
    for worker in (one, two):
        worker.score = lambda trial: (
            time.sleep(0.02) or 1 / sum(trial.hyperparameters.values[name] for name in GROUPS)
        )
    assert together(chief.search, one.search, two.search) == [None] * 3
    assert stored(tmp_path) == stored(tmp_path / "alone")  # scores to the last digit
    assert one.ran and two.ran and sorted(one.ran + two.ran) == list("01234567")
    for worker in (one, two):
        assert worker.store.finished  # a worker can tell the best as well
        assert worker.store.get_best_trials()[0].score == chief.oracle.get_best_trials()[0].score


@pytest.mark.parametrize(
    "kind",
    [
        tfrcp.EvolutionaryChannelOracle,
        tfrcp.SurrogateChannelOracle,
        tfrcp.GuidedChannelOracle,
    ],
)
def test_samplers_that_adapt_come_to_an_end_with_workers(make, tmp_path, kind):
    chief, one, two = (make(name, kind=kind) for name in ("chief", "a", "b"))
    assert together(chief.search, one.search, two.search) == [None] * 3
    vectors = [tuple(values[name] for name in GROUPS) for values, *_ in stored(tmp_path).values()]
    assert len(set(vectors)) == TRIALS


def test_workers_leave_when_nothing_more_is_expected(make, tmp_path):
    options = {"kind": tfrcp.GuidedChannelOracle, "starts": [[4, 7, 9]], "patience": 2}
    chief, one, two = (make(name, score=lambda _: 1.0, **options) for name in ("chief", "a", "b"))
    assert together(chief.search, one.search, two.search) == [None] * 3
    assert 3 <= len(stored(tmp_path)) < TRIALS and chief.store.finished
    assert len(chief.store.end_order) == len(one.ran) + len(two.ran)
    late = make("late", kind=tfrcp.GuidedChannelOracle, patience=2)  # knows no starts
    assert late.search() is None and late.ran == [] and late.store.finished


def test_a_guided_search_with_workers_ends_in_a_winner(trained, tmp_path, monkeypatch):
    port, tuners = free_port(), []
    for name in ("chief", "a", "b"):
        monkeypatch.setenv("KERASTUNER_TUNER_ID", name)
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(port))
        tuners.append(
            tfrcp.GuidedChannelSearch(
                trained,
                max_trials=7,
                tolerance=0.05,
                directory=tmp_path,
                project_name="project",
            )
        )
    data = {"validation_data": HOLDOUT, "verbose": False}
    searches = [lambda tuner=tuner: tuner.search(TRAIN, **data) for tuner in tuners]
    assert together(*searches) == [None] * 3
    chief, *workers = tuners
    best = chief.store.get_best_trials(1)[0].score
    assert chief.winner.score >= best and all(worker.winner is None for worker in workers)
    assert stored(tmp_path)["0"][0] == chief.store.trials["0"].hyperparameters.values


@pytest.mark.nightly
def test_killed_at_random_moments_and_started_again_it_ends_the_same():
    process = subprocess.run(
        [sys.executable, "-m", "tests.search.kill_search", "--kills=6", "--trials=60"],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert "60 of 60 trials as in the undisturbed search, 0 others" in process.stdout


def test_the_trial_of_a_worker_that_is_gone_is_given_to_another(make, tmp_path):
    chief, lost, other = make("chief"), make("lost"), make("other")
    taken = threading.Event()

    def vanish():
        lost.oracle.create_trial("lost")  # and is never heard of again
        taken.set()

    def work():
        taken.wait(60)
        other.search()

    assert together(chief.search, vanish, work) == [None] * 3
    assert len(stored(tmp_path)) == TRIALS and sorted(other.ran) == list("01234567")


def test_the_end_of_a_trial_that_was_given_up_changes_nothing(make):
    chief = make()
    oracle = chief.oracle
    oracle.lease = 0.0
    first = oracle.create_trial("slow")
    time.sleep(0.01)
    again = oracle.create_trial("quick")
    assert again.trial_id == first.trial_id
    for score in (0.25, 0.75):
        oracle.update_trial(first.trial_id, {"score": score})
        first.status = "COMPLETED"
        oracle.end_trial(first)
    assert oracle.get_trial(first.trial_id).score == 0.25
    assert oracle.end_order == [first.trial_id] and not oracle.ongoing_trials


def test_a_late_worker_leaves_at_once(make):
    make().search()
    worker = make("late")
    start = time.monotonic()
    worker.search()
    assert worker.ran == [] and time.monotonic() - start < distributed.OUTAGE
    chief = make("chief")
    chief.search()  # has nothing to do either
    assert chief.oracle.finished


def test_a_worker_overwrites_nothing(make, tmp_path):
    make().search()
    before = stored(tmp_path)
    oracle = make("worker").store
    Tuner(oracle, directory=str(tmp_path), project_name="project", overwrite=True)
    assert stored(tmp_path) == before


def test_without_a_chief_a_worker_gives_up_with_its_address(make, monkeypatch):
    monkeypatch.setattr(distributed, "OUTAGE", 0.3)
    worker = make("worker")
    with pytest.raises(RuntimeError, match=r"chief at 127.0.0.1:\d+ has not answered for 0 s"):
        worker.search()


def test_a_worker_waits_for_a_chief_that_is_started_later(make, tmp_path):
    chief, worker = make("chief"), make("worker")

    def later():
        time.sleep(0.5)
        chief.search()

    assert together(later, worker.search) == [None] * 2
    assert len(stored(tmp_path)) == TRIALS


def test_a_failed_trial_keeps_its_message(make, tmp_path):
    def score(trial):
        if trial.trial_id == "2":
            raise ValueError("no luck with this one")
        return 0.1

    chief, worker = make("chief"), make("worker", score=score)
    assert together(chief.search, worker.search) == [None] * 2
    values, _, status, message = stored(tmp_path)["2"]
    assert status == "FAILED" and "no luck with this one" in message
    assert set(values) == set(GROUPS)


def test_three_failures_in_a_row_end_the_search_with_their_cause(make):
    def score(trial):
        raise ValueError("no luck")

    chief, worker = make("chief"), make("worker", score=score)
    errors = together(chief.search, worker.search)
    assert isinstance(errors[0], RuntimeError) and "no luck" in str(errors[0])
    assert len(worker.ran) == 3


def test_a_second_chief_is_refused(make):
    first, second, worker = make("chief"), make("chief2"), make("worker")

    def late():
        time.sleep(2)
        with pytest.raises(ValueError, match="cannot listen at 127.0.0.1.*another one running"):
            second.search()
        worker.search()

    assert together(first.search, late) == [None] * 2
