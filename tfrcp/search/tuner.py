"""Searches: keras-tuner tuners whose trials are pruned networks, scored without training."""

from __future__ import annotations

import contextlib
import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import keras_tuner
import numpy as np

from tfrcp import criteria
from tfrcp.data import Examples, check_disjoint
from tfrcp.reconstruction import CachedLeastSquares
from tfrcp.scoring import objectives
from tfrcp.scoring.evaluator import ProgramEvaluator
from tfrcp.scoring.identity import identity
from tfrcp.scoring.racing import RACING_INTERVAL
from tfrcp.search import inputs, settings, task
from tfrcp.search.distributed import DistributedTuner, role
from tfrcp.search.options import check_options
from tfrcp.search.oracles import (
    ChannelOracle,
    EvolutionaryChannelOracle,
    RandomChannelOracle,
    SurrogateChannelOracle,
)
from tfrcp.search.progress import Progress
from tfrcp.search.stored_scores import Scores, load_or_compute
from tfrcp.search.tensorboard import TensorBoardLogger
from tfrcp.search.timing import near_budget
from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.sampling import Sampler
from tfrcp.space.space import SearchSpace

if TYPE_CHECKING:
    from tfrcp.deployment.latency_model import LatencyModel

_DATA = ("calibration_data", "validation_data")
RECONSTRUCTIONS = ("least_squares", "batch_norm", "none")


class ChannelSearch(DistributedTuner):
    """Prunes a trained model: tries channel counts under a budget; the base of what follows.

    Every trial keeps, in each group, the channels that the criterion scores highest, re-estimates
    the batch norms' statistics with a few training images, and is scored on the holdout images.
    Nothing is trained. A search that was interrupted goes on where it was when it is made again
    with the same arguments.

    On several processes or machines, all run the same script; see `tfrcp.search.distributed`. The
    chief hands out trials and the workers score them. They share the project's folder.

    Args:
        model: A built, trained Functional or Sequential `keras.Model`. It is not changed.
        flops: Target of the multiply-adds: a float in (0, 1] is a share of the unpruned network's,
            an int is absolute. Defaults to 0.5 where no other cost is given.
        criterion: Name, config or instance, see `tfrcp.criteria.get`; or "auto": `taylor` where
            labels and a loss allow it, else `l1`.
        objective: What candidates are scored by: "auto" (accuracy for a classifier, else the
            compiled loss; "agreement" where there are no labels), "val_loss" as `model.evaluate`
            gives it, "val_NAME" for a compiled metric, "agreement" with the unpruned model, which
            needs no labels, a `keras_tuner.Objective`, a `keras.metrics.Metric`, or a function
            (y, outputs) -> [n], of which more is better.
        max_trials: Number of candidates.
        seed: Int; 0 is a seed.
        params: Upper bound of the number of weights, in the units of `flops`; the target where it
            is given alone.
        activations: Upper bound of the number of activations, likewise.
        latency: Time per image as a share of the unpruned network's: an upper bound beside `flops`,
            the target without. See `tfrcp.Budget`.
        latency_model: `tfrcp.LatencyModel` of the model, needed for that; ten networks near the
            budget are timed to set it right there.
        tolerance: How far from the target a candidate may be, as a share of the unpruned network's
            multiply-adds.
        min_ratio: Least share of its channels that a group keeps.
        max_ratio: Largest share.
        divisor: Channel counts are multiples of it.
        fixed: Groups, layers, or names or patterns of them, to leave alone. See `tfrcp.SearchSpace`
            for this and the three before, which can differ between groups.
        tied: Groups that keep the same share of their channels; see there.
        budget: A `tfrcp.Budget` instead of `flops`, `params`, `latency` and `tolerance`.
        space: A `tfrcp.SearchSpace` of the same model instead of the ratios, `divisor`, `fixed` and
            `tied`.
        sampler: A new `tfrcp.search.Sampler` of the same model that proposes the candidates,
            instead of all these and of `seed`.
        reconstruction: How the weights of a candidate are reconstructed: "least_squares" fits the
            kernels to what the original layers compute (`reconstruction.CachedLeastSquares`) and
            re-estimates the batch norms' statistics, "batch_norm" does only the latter, "none"
            neither.
        calibration_images: Number of training images for that.
        batch_norm_images: How many of these re-estimate the batch norms of a candidate, which costs
            more than the fit. The winner's reconstruction (`tfrcp.search.winner`) takes all.
        racing: Whether to stop a candidate as soon as it is surely worse than the best so far; the
            trial's message says so, and its score is an estimate. Such scores depend on the order
            of the trials. So several workers never race: every score is that of all holdout images.
        batch_size: Holdout images in a forward pass; with `racing` not more than 100.
        log_dir: Folder for TensorBoard (the extra `tensorboard`): scores as curves, and the trials
            as a table of hyperparameters.
        directory: Folder of the project.
        project_name: Name of the project.
        overwrite: Whether to start anew where the project exists.
        update: Old name of `reconstruction`.
        **oracle_options: Further arguments of `oracle_class`.

    Raises:
        ValueError: If the model cannot be traced, the budget not be met, or an argument is wrong.
        TypeError: If there is no such option, with the nearest one.
    """

    oracle_class: type[ChannelOracle] = RandomChannelOracle
    #: How many of the best candidates are reconstructed layer by layer to choose the winner.
    finalists = 1

    def __init__(
        self,
        model: keras.Model,
        flops: float | int | None = None,
        criterion: Any = "l1",
        objective: Any = "auto",
        max_trials: int = 100,
        seed: int = 0,
        *,
        params: float | int | None = None,
        activations: float | int | None = None,
        latency: float | None = None,
        latency_model: LatencyModel | None = None,
        tolerance: float = 0.005,
        min_ratio: float | Mapping[str, float] = 0.1,
        max_ratio: float | Mapping[str, float] = 1.0,
        divisor: int | Mapping[str, int] = 1,
        fixed: Sequence[Any] = (),
        tied: Sequence[str | Sequence[str]] = (),
        budget: Budget | None = None,
        space: SearchSpace | None = None,
        sampler: Sampler | None = None,
        reconstruction: str = "least_squares",
        calibration_images: int = 256,
        batch_norm_images: int = 128,
        racing: bool = True,
        batch_size: int = 250,
        log_dir: str | None = None,
        directory: str | None = None,
        project_name: str | None = None,
        overwrite: bool = False,
        update: str | None = None,
        **oracle_options: Any,
    ) -> None:
        arguments = locals()
        check_options(f"tfrcp.{type(self).__name__}", oracle_options, type(self))
        names = (*task.BUDGET, *task.SPACE)
        what = task.Task.of(model, {key: arguments[key] for key in names}, budget, space, sampler)
        self.graph, self.cost, self.space = what.graph, what.cost, what.space
        self.model = model
        self.criterion = criteria.get(criterion)
        self._channel_scores: Scores | None = None
        self._is_auto = isinstance(objective, str) and objective == objectives.AUTO
        self.objective = objectives.get(model, objective)
        if update is not None:
            message = "`update` is now `reconstruction`"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            reconstruction = update
        if reconstruction not in RECONSTRUCTIONS:
            raise ValueError(
                f"`reconstruction` must be one of {list(RECONSTRUCTIONS)}. "
                f"Received: {reconstruction!r}"
            )
        for name, value, least in (
            ("calibration_images", calibration_images, 2),
            ("batch_norm_images", batch_norm_images, 2),
            ("batch_size", batch_size, 1),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(
                    f"`{name}` must be an int of at least {least}. Received: {value!r}"
                )
        self.reconstruction = reconstruction
        self._calibration_images, self._batch_norm_images = calibration_images, batch_norm_images
        self._options = {"batch_size": batch_size, "racing": racing and role() is None}
        self.evaluator: ProgramEvaluator | None = None
        self._board = None if log_dir is None else TensorBoardLogger(log_dir, self.objective.name)
        folder = Path(directory or ".") / (project_name or "untitled_project")
        folder.mkdir(parents=True, exist_ok=True)  # Python's error names the path.
        if what.budget.latency is not None and latency_model is not None and sampler is None:
            latency_model = near_budget(latency_model, self.space, self.cost, what.budget, seed)
        proposed: dict[str, Any] = {"sampler": sampler}
        if sampler is None:
            proposed = {
                "space": self.space,
                "cost": self.cost,
                "budget": what.budget,
                "seed": seed,
                "latency": latency_model,
            }
        oracle = self.oracle_class(
            objective=keras_tuner.Objective(self.objective.name, self.objective.direction),
            max_trials=max_trials,
            **proposed,
            **oracle_options,
        )
        super().__init__(
            oracle, directory=directory, project_name=project_name, overwrite=overwrite
        )
        self._settings = {
            "criterion": inputs.identity(self.criterion),
            "update": reconstruction,  # as in the folders of before
            "calibration_images": calibration_images,
            "batch_norm_images": batch_norm_images,
            "objective": self.objective.name,
            "scored_by": identity(model, self.objective),
            "model": inputs.fingerprint(self.graph, model),
        }
        self.reload()
        if self.store.trials:
            later = ("objective", "scored_by", *_DATA)  # are known when `search` is called
            settings.check(self._settings_file, self._settings, later=later)

    def search(self, x: Any, y: Any = None, *, validation_data: Any, verbose: bool = True) -> None:
        """Scores the candidates.

        Args:
            x: Training data, for calibration and for criteria that look at data: a batched
                `tf.data.Dataset`, a tuple of arrays (x, y), x alone, or a `PyDataset`.
            y: Labels, where `x` is an array.
            validation_data: Holdout data, likewise, with labels where the objective needs them;
                disjoint from the training data.
            verbose: Whether to show progress.

        Raises:
            ValueError: If the data are empty, not finite, do not fit the model, or overlap.
            RuntimeError: If a candidate cannot be scored.
        """
        data, calibration, holdout = self._read(x, y, validation_data)
        self._begin(data, verbose)
        if self.role == "chief":
            self._run(verbose)  # Others score.
        try:
            self._prepare(data, calibration, holdout, verbose)
        except ValueError as error:
            if self.role == "worker":
                self._tell_chief(f"No candidate can be scored: {error}", error)
            raise
        if self.role != "chief":
            self._run(verbose)

    def _tell_chief(self, message: str, error: Exception) -> None:
        """Ends the search of all: the data and the model are the same everywhere."""
        with contextlib.suppress(keras_tuner.errors.FatalError):  # it has left, or refuses
            trial = self.oracle.create_trial(self.tuner_id)
            if trial.status == "RUNNING":
                self.oracle.fail(trial, message)
        raise RuntimeError(message) from error

    def prepare(self, x: Any, y: Any = None, *, validation_data: Any, verbose: bool = True) -> None:
        """Makes `evaluator`, which scores channel vectors, and runs no trial; see `search`."""
        self._prepare(*self._read(x, y, validation_data), verbose)

    def _read(self, x: Any, y: Any, validation_data: Any) -> tuple[Any, Any, Examples]:
        """Training data as given, calibration images, and holdout data, checked."""
        data = x if y is None else (x, y)
        holdout = inputs.read("validation_data", validation_data, self.model)
        self._settle_objective(holdout)
        calibration = None
        if self.reconstruction != "none":
            count = self._calibration_images
            calibration = inputs.read("x", data, self.model, count=count, targets=False).x
            check_disjoint(calibration, holdout.x, ("The training data", "`validation_data`"))
            self._settings["calibration_data"] = inputs.checksum(calibration)
        self._settings["validation_data"] = inputs.checksum(holdout[:3])
        if self.store.trials:
            settings.check(self._settings_file, self._settings)
        self._channel_scores = None
        return data, calibration, holdout

    def _prepare(self, data: Any, calibration: Any, holdout: Any, verbose: bool) -> None:
        """Makes what scores candidates."""
        least_squares = None
        if self.reconstruction == "least_squares":
            least_squares = CachedLeastSquares(
                self.model,
                self.graph,
                calibration,
                verbose=verbose and sys.stdout.isatty(),
            )
        self._holdout_images = holdout.size
        self.evaluator = ProgramEvaluator(
            self.model,
            self.graph,
            self.channel_scores(data),
            holdout,
            self.objective,
            calibration,
            update=least_squares,
            batch_norm_images=self._batch_norm_images,
            **self._options,
        )

    def identity(self) -> dict[str, Any]:
        """What makes this search the one it is: settings, and contents of model and data."""
        return {**super().identity(), **self._settings}

    def _settle_objective(self, holdout: Examples) -> None:
        """Finds the objective of "auto" again where there are no labels; checks the labels."""
        labels = holdout.y is not None
        if self._is_auto and not labels:
            self.objective = objectives.get(self.model, objectives.AUTO, labels=False)
            self.oracle.objective = keras_tuner.Objective(
                self.objective.name, self.objective.direction
            )
            self._settings["objective"] = self.objective.name
            self._settings["scored_by"] = identity(self.model, self.objective)
        if self.objective.needs_labels:
            inputs.check_targets("validation_data", holdout, self.model, self.objective)

    def _begin(self, data: Any, verbose: bool) -> None:
        """What a search does before its first trial, once it has its data."""

    def channel_scores(self, data: Any) -> Scores:
        """Scores of the channels by the search's criterion, from the project folder if there.

        Args:
            data: Training data, as for `search`.

        Returns:
            Dict from group name to float array [size].
        """
        if self._channel_scores is None:
            if isinstance(self.criterion, criteria.Automatic):
                self.criterion = self.criterion.choose(self.model, self.graph, data)
            identity, folder = inputs.identity(self.criterion), Path(self.project_dir)
            self._channel_scores = load_or_compute(
                folder / "scores.npz",
                {"criterion": identity, "model": self._settings["model"]},
                lambda: self.criterion(self.model, self.graph, data),
            )
        return self._channel_scores

    def _run(self, verbose: bool) -> None:
        """Runs the trials that are left, or lets others do so."""
        if self.store.finished:
            return
        if self.store.end_order and self.evaluator is not None and self.evaluator.racing:
            # The one to beat is known again.
            self.evaluator.score(self.channels_of(self._best(1)[0]))
        verbose = verbose and self.role != "worker"
        if verbose and (self.cost.constant or self.cost.uncounted):
            print(f"search: {_out_of_reach(self.cost)}", flush=True)
        if verbose and self.space.fixed:
            print(f"search: {', '.join(self.space.fixed)} keep all channels", flush=True)
        if verbose and self.store.note:
            print(f"search: {self.store.note}", flush=True)
        if verbose and self.role == "chief":
            print("search: workers score every candidate on all holdout images", flush=True)
        if verbose and self._options["racing"] and self.evaluator is not None:
            if not self.evaluator.racing and self._holdout_images > RACING_INTERVAL:
                print(
                    f"search: '{self.objective.name}' cannot be raced here: every candidate sees "
                    "all holdout images",
                    flush=True,
                )
        self._progress = Progress(self.store, verbose=verbose)
        if verbose and hasattr(self.store.sampler, "acceptance"):
            share = self.store.sampler.acceptance
            print(f"search: {share:.1%} of the drawn channel vectors meet the budget", flush=True)
        if self.role != "worker":
            settings.write(self._settings_file, self._settings)
        try:
            super().search()
        except keras_tuner.errors.FatalError as error:
            raise RuntimeError(str(error)) from error.__cause__
        ended = len(self.store.end_order)
        if verbose and self.store.finished and ended < self.store.max_trials:
            print(
                f"search: ends after {ended} of at most {self.store.max_trials} trials: the last "
                f"{self.store.sampler.patience} moves gained nothing",
                flush=True,
            )

    def run_trial(self, trial: Any) -> dict[str, float]:
        """Scores one candidate."""
        try:
            score = self.evaluator.score(self.channels_of(trial))
        except Exception as error:
            # Scoring is deterministic: what failed once fails again, and keras-tuner would hide it.
            message = f"Trial {trial.trial_id} failed: {error}"
            if self.role == "worker":
                self.oracle.fail(trial, message)
            raise keras_tuner.errors.FatalError(message) from error
        if not math.isfinite(score.value):
            trial.message = f"The score of trial {trial.trial_id} is not a number (NaN)."
        elif score.images < self._holdout_images:
            trial.message = (
                f"stopped after {score.images} of {self._holdout_images} holdout images: surely "
                "worse than the best; the score is an estimate"
            )
        return {self.oracle.objective.name: score.value}

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

    @property
    def _settings_file(self) -> Path:
        return Path(self.project_dir) / "search.json"


def _out_of_reach(cost: CostModel) -> str:
    """What of a network's cost no pruning changes, a sentence."""
    text = f"{cost.out_of_reach:.1%} of the MACs are out of reach"
    if cost.constant:
        share = sum(cost.constant.values()) / max(cost.full.flops, 1)
        text += f", {share:.1%} in layers without a rule"
    if cost.uncounted:
        text += f"; those of {', '.join(cost.uncounted[:5])} cannot be counted"
    return text


class RandomChannelSearch(ChannelSearch):
    """Random channel pruning: tries random channel counts under a budget. See `ChannelSearch`.

    Li et al., "Revisiting Random Channel Pruning for Neural Network Compression", CVPR 2022.
    """


class EvolutionaryChannelSearch(ChannelSearch):
    """Evolves the channel counts, from random ones. See `ChannelSearch`.

    Further arguments are `population`, `tournament` and `crossover`, as in
    `EvolutionaryChannelOracle`, which also tells what the trials depend on.
    """

    oracle_class = EvolutionaryChannelOracle


class SurrogateChannelSearch(ChannelSearch):
    """Lets a regression of the scores choose the channel counts. See `ChannelSearch`.

    A further argument is `random_first`, as in `SurrogateChannelOracle`, which also tells what the
    trials depend on.
    """

    oracle_class = SurrogateChannelOracle
