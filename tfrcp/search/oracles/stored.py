"""The trials of a search that survive kills, and the workers that run them.

keras-tuner's own store rewrites several files in place at every step, which a crash can tear. Here
the trial files are all that there is, each is replaced in one step, and a search that was killed
is restored from them: finished trials are kept, the one in flight is run again.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine import trial as trial_module

from tfrcp.search import settings
from tfrcp.search.loop import Proposals
from tfrcp.search.oracles import trial_files

_Status = trial_module.TrialStatus
ENDED = (_Status.COMPLETED, _Status.FAILED)


class StoredOracle(keras_tuner.Oracle):
    """A `keras_tuner.Oracle` whose trials are restored from their files alone.

    Attributes:
        proposals: The vectors by trial; subclasses set them, and say which values they stand for.
        failure: Why the search cannot go on, or `None`.
        lease: Seconds without a sign of life of a worker after which its trial is given to another;
            `None` if all is one process.
    """

    proposals: Proposals
    _names: list[str]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.failure: str | None = None
        self.lease: float | None = None
        self._restored = False
        self._ended: set[str] = set()
        self._leases: dict[str, float] = {}  # when workers must have been heard of, by trial

    def _values(self, index: int) -> dict[str, int]:
        """The values of a trial's hyperparameters."""
        return dict(zip(self._names, self.proposals[index].tolist(), strict=True))

    def _tell_sampler(self, trial: trial_module.Trial) -> None:
        """Tells the score of a trial that was completed."""
        if trial.status == _Status.COMPLETED:
            sign = 1 if self.objective.direction == "max" else -1
            vector = [trial.hyperparameters.values[name] for name in self._names]
            self.proposals.tell(np.array(vector), sign * trial.score)

    def renew(self, trial_id: str) -> None:
        """Notes that the worker of a trial was heard of."""
        if self.lease is not None:
            self._leases[trial_id] = time.monotonic() + self.lease

    def _take_back(self) -> None:
        """Makes trials of workers that were not heard of available to others."""
        now = time.monotonic()
        for tuner_id, trial in list(self.ongoing_trials.items()):
            if self._leases.get(trial.trial_id, now) < now:
                del self.ongoing_trials[tuner_id]
                self.tuner_ids.discard(tuner_id)
                self._retry_queue.append(trial.trial_id)

    @property
    def _project(self) -> Path:
        return Path(self._project_dir)

    @property
    def _settings_file(self) -> Path:
        return self._project / "space.json"

    @property
    def _converged_file(self) -> Path:
        return self._project / "converged.txt"

    def save(self) -> None:
        """Does nothing: the trial files, written one by one, hold everything."""

    def _save_trial(self, trial: trial_module.Trial) -> None:
        trial_files.write(self._project, trial)

    def reload(self) -> None:
        """Restores the trials of the project folder.

        Raises:
            ValueError: If they were made with another space, budget or seed, with the difference.
        """
        self._restored, self.failure = True, None
        self.trials, self.ongoing_trials, self._ended = {}, {}, set()
        self.start_order, self.end_order, self._retry_queue = [], [], []
        self.proposals.restart()
        found = trial_files.names(self._project)
        if found:
            settings.check(self._settings_file, self.proposals.sampler.get_config())
        for index in range(min(max(found, default=-1) + 1, self.max_trials)):
            # A folder that is gone, or a file that cannot be read, is a trial to be run again.
            name = found.get(index, f"{index:0{len(str(self.max_trials))}d}")
            trial = self._restore(name, index)
            self.trials[trial.trial_id] = trial
            self.start_order.append(trial.trial_id)
            if trial.status in ENDED:
                self.end_order.append(trial.trial_id)
                self._ended.add(trial.trial_id)
                self._run_times[trial.trial_id] = 1
                self._tell_sampler(trial)
            elif self.lease is not None:
                # Its worker may be alive, and would end it.
                self.ongoing_trials[f"the worker of trial {trial.trial_id}"] = trial
                self.renew(trial.trial_id)
            else:
                self._retry_queue.insert(0, trial.trial_id)

    def _restore(self, name: str, index: int) -> trial_module.Trial:
        """A trial as it ended; one that did not, or cannot be read, as new."""
        trial = trial_files.read(self._project, name, self._names)
        if trial is not None:
            found = {group: trial.hyperparameters.values[group] for group in self._names}
            self.proposals.restore(np.array([*found.values()], dtype="int64"))
            values = self._values(index)
            if found != values:
                group = next(group for group in values if found[group] != values[group])
                raise ValueError(
                    f"The search in {self._project} was made with another model, space, budget "
                    f"or seed: trial {name} has {found[group]} channels in '{group}', and this "
                    f"search would have {values[group]}. Take another project name, or "
                    "`overwrite=True`."
                )
            if trial.status in ENDED:
                return trial
        hyperparameters = self.hyperparameters.copy()
        hyperparameters.values = self._values(index)
        return trial_module.Trial(hyperparameters, name)
