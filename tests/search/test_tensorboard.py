"""Who tells TensorBoard of a trial: the process that knows of all of them."""

import pytest

import tfrcp
from tests.search.small_search import HOLDOUT, TRAIN, network


class Recorder:
    """A board that only remembers."""

    def __init__(self, folder, objective):
        self.added = []

    def add(self, trial, done, best):
        self.added.append((trial.trial_id, done, best))


@pytest.fixture
def searched(tmp_path, monkeypatch):
    monkeypatch.setattr("tfrcp.search.tuner.TensorBoardLogger", Recorder)
    tuner = tfrcp.RandomChannelSearch(
        network(),
        max_trials=3,
        tolerance=0.05,
        directory=tmp_path,
        log_dir="any",
        reconstruction="none",
    )
    tuner.search(TRAIN, validation_data=HOLDOUT, verbose=False)
    return tuner


def test_a_search_of_one_process_tells_of_every_trial(searched):
    scores = [searched.store.trials[name].score for name in searched.store.end_order]
    assert searched._board.added == [
        (name, done, max(scores[:done]))
        for done, name in enumerate(searched.store.end_order, start=1)
    ]


def test_a_worker_leaves_that_to_the_chief(searched):
    told = list(searched._board.added)
    last = searched.store.trials[searched.store.end_order[-1]]
    searched.role = "worker"
    searched.on_trial_end(last)
    assert searched._board.added == told
    searched.role = "chief"
    searched.on_trial_served()
    assert searched._board.added == [*told, told[-1]]
