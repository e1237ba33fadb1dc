"""Oracles: hand channel vectors to keras-tuner, one trial each.

keras-tuner's own store rewrites several files in place at every step, which a crash can tear. Here
the trial files are all that there is, each is replaced in one step, and a search that was killed
is restored from them: finished trials stand, the one in flight is run again.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine import trial as trial_module

from tfrcp.cost import CostModel
from tfrcp.search.samplers import RandomSampler
from tfrcp.space import Budget, SearchSpace

_ENDED = (trial_module.TrialStatus.COMPLETED, trial_module.TrialStatus.FAILED)


class RandomChannelOracle(keras_tuner.Oracle):
    """Proposes random channel vectors that meet a budget, none of them twice.

    Each prunable group is one Int hyperparameter, named as the group. The n-th trial depends on the
    space, the budget and the seed alone. Further hyperparameters that a hypermodel asks for take
    their default values.

    Args:
        space: `tfrcp.SearchSpace`.
        cost: `tfrcp.CostModel` of the same graph.
        budget: `tfrcp.Budget`.
        objective: String or `keras_tuner.Objective`. Defaults to "val_accuracy".
        max_trials: Int. Defaults to 100.
        seed: Int. Defaults to 0.
        max_retries_per_trial: See `keras_tuner.Oracle`.
        max_consecutive_failed_trials: See `keras_tuner.Oracle`.

    Raises:
        ValueError: If the budget cannot be met, or by fewer vectors than `max_trials`.
    """

    def __init__(
        self,
        space: SearchSpace,
        cost: CostModel,
        budget: Budget,
        objective: str | keras_tuner.Objective = "val_accuracy",
        max_trials: int = 100,
        seed: int = 0,
        *,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
    ) -> None:
        if isinstance(max_trials, bool) or not isinstance(max_trials, int) or max_trials < 1:
            raise ValueError(
                f"`max_trials` must be a positive int. Received: max_trials={max_trials!r}"
            )
        self.sampler = RandomSampler(space, cost, budget, seed)
        self._vectors = self.sampler.suggest(max_trials).tolist()
        self._names = [group.name for group in space.graph.prunable]
        hyperparameters = keras_tuner.HyperParameters()
        for name, choices in zip(self._names, space.choices, strict=True):
            low, high = int(choices[0]), int(choices[-1])
            hyperparameters.Int(name, low, high, default=high)
        super().__init__(
            objective=objective,
            max_trials=max_trials,
            hyperparameters=hyperparameters,
            tune_new_entries=False,
            seed=seed,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
        )
        self.seed = self._seed_state = seed  # keras-tuner takes 0 for none
        self.verbose = 0  # a table with a row for each group at each trial
        self._restored = False

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The channel vector of a trial."""
        return {
            "status": trial_module.TrialStatus.RUNNING,
            "values": self._values(int(trial_id)),
        }

    def _values(self, index: int) -> dict[str, int]:
        return dict(zip(self._names, self._vectors[index], strict=True))

    # The store.

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> trial_module.Trial:
        """The next trial; at first what an interrupted search left over."""
        if not self._restored:
            self.reload()
        return super().create_trial(tuner_id)

    def score_trial(self, trial: trial_module.Trial) -> None:
        """Scores a trial; one without a number fails, and NumPy need not say so."""
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            super().score_trial(trial)

    def update_trial(self, trial_id: str, metrics: Any, step: int = 0) -> trial_module.Trial:
        """Takes the metrics of a trial, likewise."""
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            return super().update_trial(trial_id, metrics, step)

    def save(self) -> None:
        """Does nothing: the trial files, written one by one, hold everything."""

    def _save_trial(self, trial: trial_module.Trial) -> None:
        folder = Path(self._project_dir) / f"trial_{trial.trial_id}"
        folder.mkdir(exist_ok=True)
        unfinished = folder / f"trial.json.{os.getpid()}.tmp"
        unfinished.write_text(json.dumps(trial.get_state()))
        os.replace(unfinished, folder / "trial.json")

    def reload(self) -> None:
        """Restores the trials of the project folder.

        Raises:
            ValueError: If they were made with another space, budget or seed.
        """
        self._restored = True
        self.trials, self.ongoing_trials = {}, {}
        self.start_order, self.end_order, self._retry_queue = [], [], []
        found = {
            int(folder.name.removeprefix("trial_")): folder
            for folder in Path(self._project_dir).glob("trial_*")
            if folder.name.removeprefix("trial_").isdecimal()
        }
        count = min(max(found, default=-1) + 1, len(self._vectors))
        for index in range(count):
            # A folder that is gone, or a file that cannot be read, is a trial to be run again.
            name = f"{index:0{len(str(self.max_trials))}d}"
            folder = found.get(index, Path(self._project_dir) / f"trial_{name}")
            trial = self._read_trial(folder, index)
            self.trials[trial.trial_id] = trial
            self.start_order.append(trial.trial_id)
            if trial.status in _ENDED:
                self.end_order.append(trial.trial_id)
                self._run_times[trial.trial_id] = 1
            else:
                self._retry_queue.insert(0, trial.trial_id)

    def _read_trial(self, folder: Path, index: int) -> trial_module.Trial:
        """A trial as it ended; one that did not, or cannot be read, as new."""
        values, name = self._values(index), folder.name.removeprefix("trial_")
        try:
            trial = trial_module.Trial.from_state(json.loads((folder / "trial.json").read_text()))
            found = {group: trial.hyperparameters.values.get(group) for group in values}
            sound = trial.trial_id == name and all(isinstance(n, int) for n in found.values())
            completed = trial.status == trial_module.TrialStatus.COMPLETED
            sound = sound and isinstance(trial.score, float if completed else object)
        except Exception:
            sound = False  # whatever a torn or foreign file leads to
        if sound and found != values:
            group = next(group for group in values if found[group] != values[group])
            raise ValueError(
                f"The search in {self._project_dir} was made with another model, space, budget or "
                f"seed: trial {name} has {found[group]} channels in '{group}', and this search "
                f"would have {values[group]}. Take another project name, or `overwrite=True`."
            )
        if sound and trial.status in _ENDED:
            return trial
        hyperparameters = self.hyperparameters.copy()
        hyperparameters.values = values
        return trial_module.Trial(hyperparameters, name)
