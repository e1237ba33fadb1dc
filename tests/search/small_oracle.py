"""A tuner of one's own over a random oracle of five trials, which needs no data."""

from __future__ import annotations

import functools
import json
import pathlib

import keras_tuner
from keras_tuner.engine import base_tuner

import tfrcp
from tests.search.small_search import GROUPS, network
from tfrcp import Budget, CostModel, RandomChannelOracle, SearchSpace

BUDGET = Budget(0.5, tolerance=0.05)
TRIALS = 5


@functools.cache
def traced():
    graph = tfrcp.trace(network())
    return graph, CostModel(graph)


def oracle(*, budget=BUDGET, space=None, max_trials=TRIALS, seed=0, **options):
    graph, cost = traced()
    return RandomChannelOracle(
        space=SearchSpace(graph, **(space or {})),
        cost=cost,
        budget=budget,
        objective=keras_tuner.Objective("score", "max"),
        max_trials=max_trials,
        seed=seed,
        **options,
    )


class Endless(BaseException):
    """The search does not come to an end."""


class Counter(base_tuner.BaseTuner):
    """A tuner of one's own that needs no data: the score is a function of the channels."""

    def __init__(self, made, directory, before=None, **options):
        self.before = before or (lambda trial: None)
        self.ran = []
        super().__init__(made, directory=str(directory), project_name="project", **options)

    def run_trial(self, trial):
        if len(self.ran) > 2 * self.oracle.max_trials:
            raise Endless
        self.before(trial)
        self.ran.append(trial.trial_id)
        values = trial.hyperparameters.values
        return {"score": float(sum((7 * i + 1) * values[name] for i, name in enumerate(GROUPS)))}


def search(directory, before=None, **options):
    tuner = Counter(oracle(**options), directory, before)
    tuner.search()
    return tuner


def trials(tuner):
    """What the user gets: id, channels and score of every trial."""
    return {
        trial.trial_id: (trial.hyperparameters.values, trial.score, trial.status)
        for trial in tuner.oracle.trials.values()
    }


def stored(directory):
    """What stands on the disk, by trial id."""
    found = {}
    for file in pathlib.Path(directory, "project").glob("trial_*/trial.json"):
        state = json.loads(file.read_text())
        assert state["trial_id"] not in found
        values = state["hyperparameters"]["values"]
        found[state["trial_id"]] = (values, state["score"], state["status"])
    return found


# What may have become of the file of a trial; None for nothing.
DAMAGES = {
    "truncated": lambda text: text[: len(text) // 2].encode(),
    "empty": lambda text: b"",
    "zeros": lambda text: bytes(len(text)),
    "not text": lambda text: b"\xff\xfe\x00\x9c",
    "null": lambda text: b"null",
    "a list": lambda text: b"[]",
    "no entries": lambda text: b"{}",
    "no hyperparameters": lambda text: json.dumps(
        json.loads(text) | {"hyperparameters": None}
    ).encode(),
    "no metrics": lambda text: json.dumps(json.loads(text) | {"metrics": 3}).encode(),
    "no score": lambda text: json.dumps(json.loads(text) | {"score": None}).encode(),
    "another score": lambda text: json.dumps(json.loads(text) | {"score": 0.123}).encode(),
    "of another trial": lambda text: json.dumps(json.loads(text) | {"trial_id": "1"}).encode(),
    "missing": lambda text: None,
}
