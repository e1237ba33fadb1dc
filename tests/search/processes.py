"""Tuners that are chief and workers in threads of one process."""

from __future__ import annotations

import threading

from tests.search.small_search import GROUPS
from tfrcp.search import distributed

TRIALS = 8


class Tuner(distributed.DistributedTuner):
    """Scores without data, by default; `score` is a function of the trial."""

    def __init__(self, *args, score=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.score, self.ran = score, []

    def run_trial(self, trial):
        self.ran.append(trial.trial_id)
        if self.score:
            return {"score": self.score(trial)}
        return {"score": 1 / sum(trial.hyperparameters.values[name] for name in GROUPS)}


def together(*searches):
    """Runs functions side by side. Returns their errors, `None` where there is none."""
    errors = [None] * len(searches)

    def run(index):
        try:
            searches[index]()
        except Exception as error:
            errors[index] = error

    threads = [threading.Thread(target=run, args=[i], daemon=True) for i in range(len(searches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "it does not come to an end"
    return errors
