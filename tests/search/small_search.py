"""A small network whose channel vectors can all be listed, made images, and a search over it."""

from __future__ import annotations

import functools
import json
import pathlib

import keras
import keras_tuner
import numpy as np
from keras_tuner.engine import base_tuner

import tfrcp
from tests.networks import head, unit
from tfrcp import Budget, CostModel, RandomChannelOracle, SearchSpace

CLASSES = 3
CROSSENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
GROUPS = ("unit0_conv", "unit1_conv", "unit2_conv")


def network(widths=(8, 10, 12), *, seed=0):
    """Three convolutions with batch norm, one channel group each; random weights."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 1), name="image")
    x = inputs
    for index, width in enumerate(widths):
        x = unit(x, width, f"unit{index}", strides=1 + (index > 0))
    return keras.Model(inputs, head(x), name="small")


def images(count, *, seed):
    """Images float32 [count, 8, 8, 1] that tell their labels int32 [count]."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count).astype("int32")
    noise = random.normal(size=(count, 8, 8, 1))
    return (noise + labels[:, None, None, None]).astype("float32"), labels


TRAIN = images(48, seed=0)
HOLDOUT = images(64, seed=1)

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
