"""What all oracles do: they hand channel vectors to keras-tuner, one trial each.

keras-tuner's own store rewrites several files in place at every step, which a crash can tear. Here
the trial files are all that there is, each is replaced in one step, and a search that was killed
is restored from them: finished trials stand, the one in flight is run again.
"""

from __future__ import annotations

import math
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras_tuner
import numpy as np
from keras_tuner.engine import trial as trial_module
from keras_tuner.src.engine import metrics_tracking

from tfrcp import files
from tfrcp.search import settings
from tfrcp.search.oracles import trial_files
from tfrcp.search.reports import note_of
from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.sampling import RandomSampler, Sampler
from tfrcp.space.sampling.settling import settle
from tfrcp.space.space import SearchSpace

if TYPE_CHECKING:
    from tfrcp.deployment.latency_model import LatencyModel

_Status = trial_module.TrialStatus
_ENDED = (_Status.COMPLETED, _Status.FAILED)


class ChannelOracle(keras_tuner.Oracle):
    """Proposes channel vectors that meet a budget, none of them twice; the base of what follows.

    Each prunable group is one Int hyperparameter, named as the group. Further hyperparameters that
    a hypermodel asks for take their default values.

    The arguments are kept beside the trials, and compared when a search goes on. Subclasses say
    with `sampler_class` what proposes the vectors.

    Args:
        space: `tfrcp.SearchSpace`.
        cost: `tfrcp.CostModel` of the same graph.
        budget: `tfrcp.Budget`. If no channel vector lies in its window, the tolerance is widened
            until one does.
        objective: String or `keras_tuner.Objective`. Defaults to "val_accuracy".
        max_trials: Int. Defaults to 100. With fewer candidates all are tried.
        seed: Int; 0 is a seed. Defaults to 0.
        latency: `tfrcp.LatencyModel` of the same graph, needed where the budget bounds the latency.
        sampler: A new `tfrcp.search.Sampler` that proposes the vectors, instead of one that is made
            from `space`, `cost`, `budget`, `seed` and `latency`.
        max_retries_per_trial: See `keras_tuner.Oracle`.
        max_consecutive_failed_trials: See `keras_tuner.Oracle`.
        **sampler_options: Further arguments of `sampler_class`.

    Attributes:
        sampler: The `Sampler`.
        note: What differs from what was asked for, since the space is small: one line, or empty.
        failure: Why the search cannot go on, or `None`.
        lease: Seconds without a sign of life of a worker after which its trial is given to another;
            `None` if all is one process.

    Raises:
        ValueError: If the budget cannot be met.
        TypeError: If the sampler knows no such option.
    """

    sampler_class: type[Sampler]

    def __init__(
        self,
        space: SearchSpace | None = None,
        cost: CostModel | None = None,
        budget: Budget | None = None,
        objective: str | keras_tuner.Objective = "val_accuracy",
        max_trials: int = 100,
        seed: int = 0,
        *,
        latency: LatencyModel | None = None,
        sampler: Sampler | None = None,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        **sampler_options: Any,
    ) -> None:
        if isinstance(max_trials, bool) or not isinstance(max_trials, int) or max_trials < 1:
            raise ValueError(
                f"`max_trials` must be a positive int. Received: max_trials={max_trials!r}"
            )
        if (sampler is None) == (space is None):
            raise ValueError(
                "Either `space`, `cost` and `budget` must be given, or `sampler`, which has them. "
                f"Received: space={space!r}, sampler={sampler!r}"
            )
        if sampler is None:
            sampler = self.sampler_class(
                space, cost, budget, seed, latency=latency, **sampler_options
            )
        elif sampler_options:
            raise TypeError(f"Beside `sampler` there are no options. Received: {sampler_options}")
        settled = settle(sampler, max_trials)
        self.sampler, self.note = settled.sampler, settled.note
        space, vectors = self.sampler.space, settled.vectors.tolist()
        # Random vectors are drawn at once; for others this tells whether there are as many.
        drawn = type(self.sampler) is RandomSampler
        if not self.sampler.adaptive and not drawn:
            vectors, drawn = self.sampler.suggest_up_to(max_trials).tolist(), True
        max_trials = len(vectors)
        self._vectors: list[list[int]] = vectors if drawn else []
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
            seed=self.sampler.seed,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
        )
        self.seed = self._seed_state = self.sampler.seed  # keras-tuner takes 0 for none
        self.verbose = 0  # a table with a row for each group at each trial
        self.failure: str | None = None
        self.lease: float | None = None
        self._restored = False
        self._ended: set[str] = set()
        self._leases: dict[str, float] = {}  # when workers must have been heard of, by trial

    @property
    def finished(self) -> bool:
        """Whether all trials have ended, or nothing better is expected from further ones."""
        if len(self.end_order) >= self.max_trials:
            return True
        if self.ongoing_trials or self._retry_queue:
            return False
        # A worker's sampler does not know where the chief's began; its folder tells.
        told = bool(self.end_order) and self._converged_file.exists()
        return self.sampler.converged or told

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The channel vector of a trial."""
        return {"status": _Status.RUNNING, "values": self._values(int(trial_id))}

    def _values(self, index: int) -> dict[str, int]:
        while len(self._vectors) <= index:
            self._vectors += self.sampler.suggest(1).tolist()
        return dict(zip(self._names, self._vectors[index], strict=True))

    # What workers call.

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> trial_module.Trial:
        """The next trial; at first what an interrupted search left over."""
        if not self._restored:
            self.reload()
        if not self._settings_file.exists():
            settings.write(self._settings_file, self.sampler.get_config())
        self._take_back()
        if self.failure:
            self.tuner_ids.discard(tuner_id)
            return self._empty_trial(_Status.STOPPED)
        mine, retries = tuner_id in self.ongoing_trials, list(self._retry_queue)
        if not mine and not retries:
            converged = self.sampler.converged
            if self.ongoing_trials and (converged or len(self.trials) >= self.max_trials):
                self.tuner_ids.add(tuner_id)  # One of the others may yet be killed.
                return self._empty_trial(_Status.IDLE)
            if converged:
                self.tuner_ids.discard(tuner_id)
                return self._empty_trial(_Status.STOPPED)
        trial = super().create_trial(tuner_id)
        if trial.trial_id in retries:
            # keras-tuner would take the metrics of the run before for those of this one.
            trial.metrics, trial.score = metrics_tracking.MetricsTracker(), None
        self.renew(trial.trial_id)
        return trial

    def _empty_trial(self, status: str) -> trial_module.Trial:
        return trial_module.Trial(keras_tuner.HyperParameters(), trial_id="", status=status)

    def renew(self, trial_id: str) -> None:
        """Notes that the worker of a trial was heard of.

        Args:
            trial_id: The trial's id.
        """
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

    @keras_tuner.synchronized
    def update_trial(self, trial_id: str, metrics: Any, step: int = 0) -> trial_module.Trial:
        """Takes the metrics of a trial; one without a number fails, and NumPy need not say so."""
        if trial_id in self._ended:
            return self.trials[trial_id]
        metrics = {n: v if math.isfinite(v) else math.nan for n, v in dict(metrics).items()}
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            return super().update_trial(trial_id, metrics, step)

    def score_trial(self, trial: trial_module.Trial) -> None:
        """Scores a trial, likewise."""
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            super().score_trial(trial)

    def end_trial(self, trial: trial_module.Trial) -> None:
        """Ends a trial. Another end of the same one, by a worker given up, changes nothing.

        Args:
            trial: The trial, with its status.

        Raises:
            RuntimeError: If too many in a row have failed. (A chief tells it elsewhere.)
        """
        self._end(trial)
        if self.failure and self.lease is None:
            raise RuntimeError(self.failure)

    @keras_tuner.synchronized
    def _end(self, trial: trial_module.Trial) -> None:
        stored, note = self.trials[trial.trial_id], note_of(trial)
        if trial.trial_id in self._ended:
            return
        if note.get("failure"):
            self.failure = note["failure"]
            return
        trial.message = trial.message or note.get("message")
        if note.get("metrics"):  # keras-tuner transmits them in single precision
            stored.metrics = metrics_tracking.MetricsTracker()
            step = note["metrics"].pop("step")
            self.update_trial(trial.trial_id, note["metrics"], step)
        # Its worker may have been given up, and came to an end nevertheless.
        self._retry_queue = [name for name in self._retry_queue if name != trial.trial_id]
        super().end_trial(trial)
        if stored.status in _ENDED:
            self._ended.add(trial.trial_id)
            self._tell_sampler(stored)
            if self.sampler.converged:
                files.write_text(self._converged_file, f"{len(self.end_order)} trials\n")
            else:
                self._converged_file.unlink(missing_ok=True)

    def _tell_sampler(self, trial: trial_module.Trial) -> None:
        if self.sampler.adaptive and trial.status == _Status.COMPLETED:
            sign = 1 if self.objective.direction == "max" else -1
            vector = [trial.hyperparameters.values[name] for name in self._names]
            self.sampler.update(np.array([vector]), np.array([sign * trial.score]))

    def _check_consecutive_failures(self) -> None:
        # keras-tuner raises here, before the trial is saved and with its lock held.
        last = [self.trials[name] for name in self.end_order[-self.max_consecutive_failed_trials :]]
        failed = all(trial.status == _Status.FAILED for trial in last)
        if failed and len(last) == self.max_consecutive_failed_trials:
            self.failure = (
                "Number of consecutive failures exceeded the limit of "
                f"{self.max_consecutive_failed_trials}.\n{last[-1].message or ''}"
            )

    # The store.

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
        if self.sampler.adaptive:
            self.sampler, self._vectors = self.sampler.again(), []
        found = trial_files.names(self._project)
        if found:
            settings.check(self._settings_file, self.sampler.get_config())
        for index in range(min(max(found, default=-1) + 1, self.max_trials)):
            # A folder that is gone, or a file that cannot be read, is a trial to be run again.
            name = found.get(index, f"{index:0{len(str(self.max_trials))}d}")
            trial = self._restore(name, index)
            self.trials[trial.trial_id] = trial
            self.start_order.append(trial.trial_id)
            if trial.status in _ENDED:
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
            if self.sampler.adaptive:
                # What it was proposed from may be unknown, if there were several workers.
                self._vectors.append(list(found.values()))
                self.sampler.take(np.array(self._vectors[-1:]))
            values = self._values(index)
            if found != values:
                group = next(group for group in values if found[group] != values[group])
                raise ValueError(
                    f"The search in {self._project} was made with another model, space, budget "
                    f"or seed: trial {name} has {found[group]} channels in '{group}', and this "
                    f"search would have {values[group]}. Take another project name, or "
                    "`overwrite=True`."
                )
            if trial.status in _ENDED:
                return trial
        hyperparameters = self.hyperparameters.copy()
        hyperparameters.values = self._values(index)
        return trial_module.Trial(hyperparameters, name)
