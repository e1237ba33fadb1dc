"""The trials of a search: how each is run and told, and what the best ones are."""

from __future__ import annotations

from typing import Any

import keras
import keras_tuner
import numpy as np

from tfrcp.graph.channels import ChannelGraph
from tfrcp.scoring import objectives
from tfrcp.scoring.evaluator import ProgramEvaluator
from tfrcp.search.distributed import DistributedTuner
from tfrcp.search.progress import Progress
from tfrcp.search.scorer import Scorer
from tfrcp.search.tensorboard import TensorBoardLogger


class ScoringTuner(DistributedTuner):
    """A tuner whose trials are channel vectors, which a `Scorer` scores.

    Attributes:
        graph: The trace of the model.
        scorer: The `Scorer`.
    """

    graph: ChannelGraph
    scorer: Scorer
    _board: TensorBoardLogger | None
    _progress: Progress

    @property
    def criterion(self) -> Any:
        """Scores the channels."""
        return self.scorer.criterion

    @property
    def objective(self) -> objectives.Objective:
        """What candidates are scored by."""
        return self.scorer.objective

    @property
    def reconstruction(self) -> str:
        """How weights are reconstructed."""
        return self.scorer.reconstruction

    @property
    def evaluator(self) -> ProgramEvaluator | None:
        """Scores channel vectors; `None` before `search` or `prepare`."""
        return self.scorer.evaluator

    def _keras_tuner_objective(self) -> keras_tuner.Objective:
        return keras_tuner.Objective(self.objective.name, self.objective.direction)

    def run_trial(self, trial: Any) -> dict[str, float]:
        """Scores one candidate."""
        try:
            score, message = self.scorer(self.channels_of(trial))
        except Exception as error:
            # Scoring is deterministic: what failed once fails again, and keras-tuner would hide it.
            failure = f"Trial {trial.trial_id} failed: {error}"
            if self.role == "worker":
                self.oracle.fail(trial, failure)
            raise keras_tuner.errors.FatalError(failure) from error
        trial.message = message or trial.message
        return {self.oracle.objective.name: score}

    def on_trial_end(self, trial: Any) -> None:
        """Stores the trial and shows progress."""
        super().on_trial_end(trial)
        if self.role is None:
            self._show()

    def on_trial_served(self) -> None:
        """Shows progress, as the chief: a worker does not know of the others' trials."""
        self._show()

    def _show(self) -> None:
        """Tells of the trial that ended last."""
        self._progress.update()
        if self._board is not None:
            trial = self.store.trials[self.store.end_order[-1]]
            best = self.store.get_best_trials(1)
            self._board.add(trial, len(self.store.end_order), best[0].score if best else None)

    def channels_of(self, trial: Any) -> np.ndarray:
        """Channel vector of a trial, int64 array [prunable groups]."""
        values = trial.hyperparameters.values
        return np.array([values[group.name] for group in self.graph.prunable], dtype="int64")

    def get_best_channels(self, num_trials: int = 1) -> list[dict[str, int]]:
        """Kept channels of the best candidates, best first: dicts from group name to int."""
        return [
            {group.name: trial.hyperparameters.values[group.name] for group in self.graph.prunable}
            for trial in self._best(num_trials)
        ]

    def get_best_models(self, num_models: int = 1) -> list[keras.Model]:
        """The best candidates, best first: plain pruned models with the weights that were scored.

        Raises:
            ValueError: If `search` has not been called in this process. (It returns at once
                when all trials are done.)
        """
        return [self.load_model(trial) for trial in self._best(num_models)]

    def load_model(self, trial: Any) -> keras.Model:
        """The pruned model of a trial, as it was scored."""
        if self.evaluator is None:
            raise ValueError(
                "Pruned models are made from the data that the search is given: call `search` "
                "first. It returns at once when all trials are done."
            )
        return self.evaluator.build(self.channels_of(trial))

    def _best(self, count: int) -> list[Any]:
        trials = self.store.get_best_trials(count)
        trials = [trial for trial in trials if trial.status == "COMPLETED"]
        if not trials and self.store.end_order:
            raise ValueError("The score of every candidate is NaN (not a number).")
        if not trials:
            raise ValueError("No trial is completed yet. Call `search` first.")
        return trials
