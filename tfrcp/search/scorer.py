"""What scores the candidates of a search: criterion, objective, reconstruction and data."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from tfrcp import criteria
from tfrcp.arguments import check_choice, check_int
from tfrcp.data import IN_MEMORY, Examples, check_disjoint
from tfrcp.graph.channels import ChannelGraph
from tfrcp.reconstruction import CachedLeastSquares
from tfrcp.scoring import objectives
from tfrcp.scoring.evaluator import ProgramEvaluator
from tfrcp.scoring.identity import identity
from tfrcp.search import inputs
from tfrcp.search.stored_scores import Scores, load_or_compute

RECONSTRUCTIONS = ("least_squares", "batch_norm", "none")
LATER = ("objective", "scored_by", "calibration_data", "validation_data")
"""Names of the settings that are known with the data."""


class Data(NamedTuple):
    """The data of a search, checked.

    Attributes:
        train: Training data as they were given, for the criterion.
        calibration: Images for the reconstruction, arrays; `None` where there is none.
        holdout: Holdout data.
    """

    train: Any
    calibration: Any
    holdout: Examples


class Scorer:
    """Scores channel vectors of one model; see `ChannelSearch` for the arguments.

    Args:
        model: The model.
        graph: Its trace.
        criterion: Which channels of a group are kept.
        objective: What candidates are scored by.
        reconstruction: One of `RECONSTRUCTIONS`.
        calibration_images: Number of training images for that.
        batch_norm_images: How many of these re-estimate the batch norms; `None` as of the
            evaluator.
        racing: Whether to stop what is surely worse than the best so far.
        batch_size: Holdout images in a forward pass.
        memory_limit: Bytes of holdout images that are held in memory.

    Attributes:
        criterion: The criterion; of "auto" the one that was chosen, once there are data.
        objective: The objective, likewise.
        evaluator: Scores channel vectors, once there are data.
        holdout_size: Number of holdout images, likewise.
        settings: What scores depend on: plain values, and checksums of model and data.

    Raises:
        ValueError: If an argument is wrong.
    """

    def __init__(
        self,
        model: keras.Model,
        graph: ChannelGraph,
        criterion: Any,
        objective: Any,
        *,
        reconstruction: str,
        calibration_images: int,
        batch_norm_images: int | None,
        racing: bool,
        batch_size: int,
        memory_limit: int = IN_MEMORY,
    ) -> None:
        check_choice("reconstruction", reconstruction, RECONSTRUCTIONS)
        check_int("calibration_images", calibration_images, 2)
        if batch_norm_images is not None:
            check_int("batch_norm_images", batch_norm_images, 2)
        check_int("batch_size", batch_size, 1)
        check_int("memory_limit", memory_limit, 0)
        self.model, self.graph, self.racing = model, graph, racing
        self.criterion, self.reconstruction = criteria.get(criterion), reconstruction
        self._is_auto = isinstance(objective, str) and objective == objectives.AUTO
        self.objective = objectives.get(model, objective)
        self._calibration_images, self._batch_norm_images = calibration_images, batch_norm_images
        self._batch_size, self._memory_limit = batch_size, memory_limit
        self._channel_scores: Scores | None = None
        self.evaluator: ProgramEvaluator | None = None
        self.holdout_size = 0
        self.settings = {
            "criterion": inputs.identity(self.criterion),
            "update": reconstruction,  # as in the folders of before
            "calibration_images": calibration_images,
            "batch_norm_images": batch_norm_images,
            "objective": self.objective.name,
            "scored_by": identity(model, self.objective),
            "model": inputs.fingerprint(graph, model),
        }

    def read(self, x: Any, y: Any, validation_data: Any) -> Data:
        """Reads and checks data; see `ChannelSearch.search`. Settles what is "auto" by them."""
        train = x if y is None else (x, y)
        holdout = inputs.read(
            "validation_data", validation_data, self.model, memory=self._memory_limit
        )
        if self._is_auto and holdout.y is None:
            self.objective = objectives.get(self.model, objectives.AUTO, labels=False)
            self.settings["objective"] = self.objective.name
            self.settings["scored_by"] = identity(self.model, self.objective)
        if self.objective.needs_labels:
            inputs.check_targets("validation_data", holdout, self.model, self.objective)
        calibration = None
        if self.reconstruction != "none":
            count = self._calibration_images
            calibration = inputs.read("x", train, self.model, count=count, targets=False).x
            check_disjoint(calibration, holdout.x, ("The training data", "`validation_data`"))
            self.settings["calibration_data"] = inputs.checksum(calibration)
        self.settings["validation_data"] = inputs.checksum(holdout[:3])
        self._channel_scores = None
        return Data(train, calibration, holdout)

    def channel_scores(self, train: Any, folder: Path) -> Scores:
        """Scores of the channels by the criterion.

        Returns:
            Dict from group name to float array [size].
        """
        if self._channel_scores is None:
            if isinstance(self.criterion, criteria.Automatic):
                self.criterion = self.criterion.choose(self.model, self.graph, train)
            self._channel_scores = load_or_compute(
                folder / "scores.npz",
                {"criterion": inputs.identity(self.criterion), "model": self.settings["model"]},
                lambda: self.criterion(self.model, self.graph, train),
            )
        return self._channel_scores

    def prepare(self, data: Data, folder: Path, *, verbose: bool) -> None:
        """Makes `evaluator`."""
        self.holdout_size = data.holdout.size
        self.evaluator = evaluator_of(
            self.model,
            self.graph,
            self.channel_scores(data.train, folder),
            data.holdout,
            self.objective,
            data.calibration,
            reconstruction=self.reconstruction,
            verbose=verbose,
            batch_norm_images=self._batch_norm_images,
            batch_size=self._batch_size,
            racing=self.racing,
        )

    def __call__(self, channels: np.ndarray) -> tuple[float, str | None]:
        """Scores a channel vector.

        Returns:
            Tuple of the score and what there is to say of it, a sentence or `None`.
        """
        score, message = self.evaluator.score(channels), None
        if not np.isfinite(score.value):
            message = "The score is not a number (NaN)."
        elif score.images < self.holdout_size:
            message = (
                f"stopped after {score.images} of {self.holdout_size} holdout images: surely worse "
                "than the best; the score is an estimate"
            )
        return score.value, message


def evaluator_of(
    model: keras.Model,
    graph: ChannelGraph,
    scores: Scores,
    holdout: Any,
    objective: objectives.Objective,
    calibration: Any,
    *,
    reconstruction: str,
    verbose: bool = False,
    **options: Any,
) -> ProgramEvaluator:
    """The evaluator of a way to reconstruct."""
    least_squares = None
    if reconstruction == "least_squares":
        verbose = verbose and sys.stdout.isatty()
        least_squares = CachedLeastSquares(model, graph, calibration, verbose=verbose)
    return ProgramEvaluator(
        model,
        graph,
        scores,
        holdout,
        objective,
        calibration,
        reconstruction=least_squares,
        **options,
    )


def renamed(update: str | None, reconstruction: str) -> str:
    """`reconstruction`, or `update`, its old name, with a warning."""
    if update is None:
        return reconstruction
    warnings.warn("`update` is now `reconstruction`", DeprecationWarning, stacklevel=3)
    return update
