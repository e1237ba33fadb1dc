"""A search of four trials that notes which of them it runs."""

from __future__ import annotations

import json
import pathlib

import keras

from tfrcp import RandomChannelSearch

TRIALS = 4
CROSSENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Search(RandomChannelSearch):
    """Keeps a list of the trials that were run, and calls `before` each."""

    def __init__(self, *args, before=None, **kwargs):
        self.ran, self.before = [], before or (lambda trial: None)
        super().__init__(*args, **kwargs)

    def run_trial(self, trial):
        self.before(trial)
        self.ran.append(trial.trial_id)
        return super().run_trial(trial)


def trials(tuner):
    return {
        trial.trial_id: (trial.hyperparameters.values, float(trial.score), trial.status)
        for trial in tuner.oracle.trials.values()
    }


def stored(tuner):
    files = pathlib.Path(tuner.project_dir).glob("trial_*/trial.json")
    states = [json.loads(file.read_text()) for file in files]
    return {state["trial_id"]: state["status"] for state in states}
