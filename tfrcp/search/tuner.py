"""Searches: keras-tuner tuners whose trials are pruned networks, scored without training."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import keras_tuner

from tfrcp.data import IN_MEMORY
from tfrcp.renamed import moved
from tfrcp.search import progress, settings, task
from tfrcp.search.base_check import check_base
from tfrcp.search.options import check_options
from tfrcp.search.oracles import ChannelOracle, RandomChannelOracle
from tfrcp.search.role import role
from tfrcp.search.scorer import LATER, Data, Scorer, renamed
from tfrcp.search.stored_scores import Scores
from tfrcp.search.tensorboard import TensorBoardLogger
from tfrcp.search.timing import near_budget
from tfrcp.search.trials import ScoringTuner
from tfrcp.space.budget import Budget
from tfrcp.space.sampling import Sampler
from tfrcp.space.space import SearchSpace

if TYPE_CHECKING:
    from tfrcp.deployment.latency_model import LatencyModel

__getattr__ = moved(__name__)


class ChannelSearch(ScoringTuner):
    """Prunes a trained model: tries channel counts under a budget; the base of what follows.

    Every trial keeps, in each group, the channels that the criterion scores highest, re-estimates
    the batch norms' statistics with a few training images, and is scored on the holdout images.
    Nothing is trained. A search that was interrupted resumes when it is made again with the same
    arguments.

    On several processes or machines, all run the same script; see `tfrcp.search.distributed`. The
    chief hands out trials and the workers score them. They share the project's folder.

    The cost, what may be pruned, the seed and what is not listed here: as for `tfrcp.prune`.

    Args:
        model: A built, trained Functional or Sequential `keras.Model`. It is not changed.
        criterion: Name, config or instance, see `tfrcp.criteria.get`; or "auto":
            `optimal_brain_surgeon` where images and a loss allow it, else `taylor`, else `l1`.
        objective: What candidates are scored by: "auto" (accuracy for a classifier, else the
            compiled loss; "agreement" where there are no labels), "val_loss" as `model.evaluate`
            gives it, "val_NAME" for a compiled metric, "agreement" with the unpruned model, which
            needs no labels, a `keras_tuner.Objective`, a `keras.metrics.Metric`, or a function
            (y, outputs) -> [n], of which more is better.
        max_trials: Number of candidates.
        reconstruction: How the weights of a candidate are reconstructed: "least_squares" fits the
            kernels to what the original layers compute (`reconstruction.CachedLeastSquares`) and
            re-estimates the batch norms' statistics, "batch_norm" does only the latter, "none"
            neither.
        batch_norm_images: How many of the `calibration_images` re-estimate the batch norms of a
            candidate. Defaults to 128, of large images to as many as keep the network's widest
            tensor within 124 MiB, but at least 32. The winner's (`tfrcp.search.winner`) takes all.
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
    #: Whether an unpruned network that guesses is refused: "never", "rescaling" if its Rescaling
    #: layer expects pixels of another scale, or "always".
    refuses_guessing = "never"

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
        batch_norm_images: int | None = None,
        racing: bool = True,
        batch_size: int = 250,
        memory_limit: int = IN_MEMORY,
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
        self.scorer = Scorer(
            model,
            self.graph,
            criterion,
            objective,
            reconstruction=renamed(update, reconstruction),
            calibration_images=calibration_images,
            batch_norm_images=batch_norm_images,
            racing=racing and role() is None,
            batch_size=batch_size,
            memory_limit=memory_limit,
        )
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
            objective=self._keras_tuner_objective(),
            max_trials=max_trials,
            **proposed,
            **oracle_options,
        )
        super().__init__(
            oracle, directory=directory, project_name=project_name, overwrite=overwrite
        )
        self.reload()
        if self.store.trials:
            settings.check(self._settings_file, self.scorer.settings, later=LATER)

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
        data = self._read(x, y, validation_data)
        self._begin(data.train, verbose)
        if self.role == "chief":
            self._run(verbose)  # Others score.
        try:
            self._prepare(data, verbose)
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
        self._prepare(self._read(x, y, validation_data), verbose)

    def _read(self, x: Any, y: Any, validation_data: Any) -> Data:
        """The data, checked, also against those of an earlier process."""
        data = self.scorer.read(x, y, validation_data)
        if self.oracle.objective.name != self.objective.name:  # of "auto", without labels
            self.oracle.objective = self._keras_tuner_objective()
        if self.store.trials:
            settings.check(self._settings_file, self.scorer.settings)
        return data

    def _prepare(self, data: Data, verbose: bool) -> None:
        """Makes what scores candidates."""
        self.scorer.prepare(data, Path(self.project_dir), verbose=verbose)
        if self.refuses_guessing == "never":
            return
        strict = self.refuses_guessing == "always"
        score = functools.partial(self.evaluator.score_model, self.model)
        note = check_base(self.model, self.objective, score, data.holdout.x, strict=strict)
        if note and verbose:
            print(f"search: {note}", flush=True)

    def identity(self) -> dict[str, Any]:
        """What makes this search the one it is: settings, and contents of model and data."""
        return {**super().identity(), **self.scorer.settings}

    def _begin(self, data: Any, verbose: bool) -> None:
        """What a search does before its first trial, once it has its data."""

    def channel_scores(self, data: Any) -> Scores:
        """Scores of the channels by the search's criterion, from the project folder if there.

        Args:
            data: Training data, as for `search`.

        Returns:
            Dict from group name to float array [size].
        """
        return self.scorer.channel_scores(data, Path(self.project_dir))

    def _run(self, verbose: bool) -> None:
        """Runs the trials that are left, or lets others do so."""
        if self.store.finished:
            return
        if self.store.end_order and self.evaluator is not None and self.evaluator.racing:
            # The one to beat is known again.
            self.evaluator.score(self.channels_of(self._best(1)[0]))
        verbose = verbose and self.role != "worker"
        if verbose:
            for line in progress.beginning(self):
                print(f"search: {line}", flush=True)
        self._progress = progress.Progress(self.store, verbose=verbose)
        if self.role != "worker":
            settings.write(self._settings_file, self.scorer.settings)
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

    @property
    def _settings_file(self) -> Path:
        return Path(self.project_dir) / "search.json"
