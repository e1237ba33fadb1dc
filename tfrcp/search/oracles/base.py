"""What all oracles do: they hand the core's channel vectors to keras-tuner, one trial each."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import keras_tuner
from keras_tuner.engine import trial as trial_module
from keras_tuner.src.engine import metrics_tracking

from tfrcp import files
from tfrcp.arguments import check_int
from tfrcp.search import settings
from tfrcp.search.loop import Proposals
from tfrcp.search.oracles.stored import ENDED, StoredOracle
from tfrcp.search.reports import note_of
from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.sampling import RandomSampler, Sampler
from tfrcp.space.sampling.settling import settle
from tfrcp.space.space import SearchSpace

if TYPE_CHECKING:
    from tfrcp.deployment.latency_model import LatencyModel

_Status = trial_module.TrialStatus


class ChannelOracle(StoredOracle):
    """Proposes channel vectors that meet a budget, none of them twice; the base of what follows.

    Each prunable group is one Int hyperparameter, named as the group. Further hyperparameters that
    a hypermodel asks for take their default values.

    The arguments are kept beside the trials, and compared when a search resumes. Subclasses say
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
        proposals: `tfrcp.search.loop.Proposals`: the vectors by trial.
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
        max_trials = check_int("max_trials", max_trials, 1)
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
        sampler, vectors, self.note = settled.sampler, settled.vectors, settled.note
        # Random vectors are drawn at once; for others this tells whether there are as many.
        drawn = type(sampler) is RandomSampler
        if not sampler.adaptive and not drawn:
            vectors, drawn = sampler.suggest_up_to(max_trials), True
        self.proposals = Proposals(sampler, vectors if drawn else ())
        space = sampler.space
        self._names = [group.name for group in space.graph.prunable]
        hyperparameters = keras_tuner.HyperParameters()
        for name, choices in zip(self._names, space.choices, strict=True):
            low, high = int(choices[0]), int(choices[-1])
            hyperparameters.Int(name, low, high, default=high)
        super().__init__(
            objective=objective,
            max_trials=len(vectors),
            hyperparameters=hyperparameters,
            tune_new_entries=False,
            seed=sampler.seed,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
        )
        self.seed = self._seed_state = sampler.seed  # keras-tuner takes 0 for none
        self.verbose = 0  # a table with a row for each group at each trial

    @property
    def sampler(self) -> Sampler:
        """What proposes the vectors."""
        return self.proposals.sampler

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
        if stored.status in ENDED:
            self._ended.add(trial.trial_id)
            self._tell_sampler(stored)
            if self.sampler.converged:
                files.write_text(self._converged_file, f"{len(self.end_order)} trials\n")
            else:
                self._converged_file.unlink(missing_ok=True)

    def _check_consecutive_failures(self) -> None:
        # keras-tuner raises here, before the trial is saved and with its lock held.
        last = [self.trials[name] for name in self.end_order[-self.max_consecutive_failed_trials :]]
        failed = all(trial.status == _Status.FAILED for trial in last)
        if failed and len(last) == self.max_consecutive_failed_trials:
            self.failure = (
                "Number of consecutive failures exceeded the limit of "
                f"{self.max_consecutive_failed_trials}.\n{last[-1].message or ''}"
            )
