"""Scores candidates: inherits, repairs and evaluates a pruned network for a channel vector.

`ProgramEvaluator` runs the traced graph as one program, compiled once, on sliced weights, so that a
candidate costs what its own multiply-adds cost. `SlicedEvaluator` builds the pruned Keras model for
each candidate: slower, and just as right.
"""

from __future__ import annotations

import dataclasses
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.inheritance import select
from tfrcp.graph.program import Program
from tfrcp.graph.rebuilding import build_model
from tfrcp.graph.weights import Weights, read_weights, slice_weights
from tfrcp.scoring.losses import crossentropy

_SURE = 3.0  # standard errors
_LOOK = 100  # images between two looks at who is ahead


@dataclasses.dataclass(frozen=True)
class Metric:
    """A figure that is a mean over images.

    Attributes:
        values: Function of labels [N, ...] and outputs [N, ...] to a float array [N].
        higher_is_better: Bool.
    """

    values: Callable[[np.ndarray, np.ndarray], np.ndarray]
    higher_is_better: bool


@dataclasses.dataclass(frozen=True)
class Score:
    """What a candidate reached.

    Attributes:
        value: Mean over the holdout images; estimated if the candidate was stopped.
        images: Number of holdout images that it saw before it was clear that it is not the best.
    """

    value: float
    images: int


def metric_for(model: keras.Model, objective: str) -> Metric:
    """The metric behind the name of an objective.

    Args:
        model: The unpruned model.
        objective: "val_accuracy", or "val_loss": the loss that the model is compiled with, or else
            the cross-entropy of integer labels.

    Returns:
        `Metric`.

    Raises:
        ValueError: If the name is unknown, or the model does not fit it.
    """
    if not isinstance(objective, str):
        raise ValueError(
            f"`objective` must be 'val_accuracy' or 'val_loss'. Received: objective={objective!r}"
        )
    if objective == "val_accuracy":
        shapes = [tuple(x.shape) for x in model.outputs]
        if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] < 2:
            raise ValueError(
                "The objective 'val_accuracy' needs one output of shape [batch, classes] with at "
                f"least two classes. Received: outputs {shapes}"
            )
        return Metric(_correct, higher_is_better=True)
    if objective == "val_loss":
        loss = getattr(model, "loss", None)
        if isinstance(loss, list | dict):
            raise ValueError(
                "The objective 'val_loss' needs a model that is compiled with one loss. "
                f"Received: loss={loss!r}"
            )
        function = crossentropy(model) if loss is None else keras.losses.get(loss)
        per_image = getattr(function, "call", function)
        return Metric(
            lambda y, outputs: keras.ops.convert_to_numpy(per_image(y, outputs)).reshape(-1),
            higher_is_better=False,
        )
    raise ValueError(
        f"`objective` must be 'val_accuracy' or 'val_loss'. Received: objective={objective!r}"
    )


def _correct(y: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """1 where the largest output is the label's, else 0; labels [N], [N, 1] or one-hot."""
    labels = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)
    return (outputs.argmax(axis=1) == labels).astype(float)


class SlicedEvaluator:
    """Scores channel vectors by building the pruned Keras model each time.

    Args:
        model: The unpruned model.
        graph: Its trace.
        scores: Maps group names to float arrays [size], from a criterion.
        holdout: Tuple of arrays (x, y): the images that score, and their labels.
        metric: What is scored.
        calibration: Images for repairs, of which the first ones re-estimate the batch norms'
            statistics, or `None` to keep what the unpruned model has.
        update: Repairs sliced weights: a function of arrays and masks to arrays, such as a
            `tfrcp.reconstruction.CachedLeastSquares`; `None` for none.
        batch_norm_images: How many of the calibration images do that; all if `None`.
        batch_size: Images in a forward pass; in a race not more than 100.
        racing: Whether to stop a candidate that is surely worse than the best so far: by more than
            three standard errors of the paired difference on the images that both have seen.

    Attributes:
        scores: As given; may be replaced by those of another criterion.
        calibration: Images for repairs, in the structure of the model's inputs, or `None`.
        batch_norm_images: How many of them every candidate sees.
    """

    def __init__(
        self,
        model: keras.Model,
        graph: ChannelGraph,
        scores: Mapping[str, np.ndarray],
        holdout: tuple[Any, np.ndarray],
        metric: Metric,
        calibration: Any = None,
        *,
        update: Callable[[Weights, Mapping[str, np.ndarray]], Weights] | None = None,
        batch_norm_images: int | None = None,
        batch_size: int = 250,
        racing: bool = False,
    ) -> None:
        self._update = update
        self._model, self._graph, self.scores = model, graph, scores
        self._program = Program(graph)
        # In random order, so that the first images tell about all.
        order = np.random.default_rng(0).permutation(len(holdout[1]))
        x = keras.tree.map_structure(operator.itemgetter(order), holdout[0])
        self._x, self._y = self._program.pack(x), holdout[1][order]
        self.calibration = None if calibration is None else self._program.pack(calibration)
        self._normalizing, self.batch_norm_images = self.calibration, 0
        if calibration is not None:
            some = operator.itemgetter(slice(batch_norm_images))
            self._normalizing = keras.tree.map_structure(some, self.calibration)
            self.batch_norm_images = len(keras.tree.flatten(self._normalizing)[0])
        self._metric, self._racing = metric, racing
        self._batch_size = min(batch_size, _LOOK) if racing else batch_size
        self._weights = read_weights(graph, model)
        self._full = slice_weights(graph, self._weights, {})
        self._statistics = self._program.compile(self._program.run_on_batch_statistics, self._full)
        self._best: np.ndarray | None = None

    def score(self, channels: np.ndarray) -> Score:
        """Scores the network with these channel counts, int array [prunable groups]."""
        sign = 1 if self._metric.higher_is_better else -1
        seen = np.empty(0)
        for outputs in self._outputs(self.prepare(channels)):
            y = self._y[len(seen) : len(seen) + len(outputs)]
            seen = np.append(seen, self._metric.values(y, outputs))
            if self._racing and self._best is not None and len(seen) < len(self._y):
                behind = sign * (self._best[: len(seen)] - seen)
                if _surely_positive(behind, len(self._y)):
                    # The mean of its own images alone would also tell how easy they are.
                    value = self._best.mean() - sign * behind.mean()
                    return Score(float(value), len(seen))
        if self._best is None or sign * (seen.mean() - self._best.mean()) > 0:
            self._best = seen
        return Score(float(seen.mean()), len(seen))

    def prepare(self, channels: np.ndarray) -> Weights:
        """Weights and sizes of a candidate: inherited and repaired."""
        masks = self.masks(channels)
        arrays = slice_weights(self._graph, self._weights, masks)
        if self._update is not None:
            arrays = self._update(arrays, masks)
        if self._normalizing is not None:
            _, statistics = self._statistics(arrays, self._normalizing)
            for path, (mean, variance) in statistics.items():
                arrays[path]["moving_mean"] = np.asarray(mean)
                arrays[path]["moving_variance"] = np.asarray(variance)
        return arrays

    def masks(self, channels: np.ndarray) -> dict[str, np.ndarray]:
        """Which channels a candidate keeps, bool array [size] by group name."""
        return select(self._graph, self.scores, channels)

    def score_model(self, model: keras.Model) -> float:
        """Scores a Keras model, such as `build` gives, on all holdout images."""
        outputs = [_only(model.predict_on_batch(batch)) for batch in self._batches()]
        return float(self._metric.values(self._y, np.concatenate(outputs)).mean())

    def build(self, channels: np.ndarray) -> keras.Model:
        """The candidate as a plain Keras model, with the weights that are scored."""
        return build_model(self._model, self._graph, self.prepare(channels))

    def _outputs(self, arrays: Weights) -> Iterator[np.ndarray]:
        """Outputs on the holdout images, batch by batch."""
        pruned = build_model(self._model, self._graph, arrays)
        for batch in self._batches():
            yield _only(pruned.predict_on_batch(batch))

    def _batches(self) -> Iterator[Any]:
        for start in range(0, len(self._y), self._batch_size):
            part = slice(start, start + self._batch_size)
            yield keras.tree.map_structure(operator.itemgetter(part), self._x)


class ProgramEvaluator(SlicedEvaluator):
    """Scores channel vectors with one compiled program. Arguments as before.

    A network that cannot be compiled for channel counts of any size is run operation by operation,
    with a warning.

    Raises:
        ValueError: If the program does not give the unpruned model's outputs.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        program = self._program
        self._run = program.compile(program.run, program.fold(self._full))
        batch = next(self._batches())
        expected = _only(self._model.predict_on_batch(batch))
        try:
            received = next(self._outputs(self._full))
        except Exception as error:  # whatever a layer does that asks for the number of channels
            warnings.warn(
                f"'{self._graph.name}' cannot be compiled for channel counts of any size and runs "
                f"operation by operation, which is slower: {str(error).strip()[:500]}",
                stacklevel=2,
            )
            self._run, self._statistics = program.run, program.run_on_batch_statistics
            received = next(self._outputs(self._full))
        scale = 1 + np.abs(expected).max()
        if not np.abs(received - expected).max() < 1e-2 * scale:
            raise ValueError(
                f"The program of '{self._graph.name}' does not give the model's outputs: a rule "
                "for one of its layers is wrong, or a layer is random in inference."
            )

    def _outputs(self, arrays: Weights) -> Iterator[np.ndarray]:
        """Outputs on the holdout images, batch by batch."""
        folded = self._program.fold(arrays)
        folded = keras.tree.map_structure(keras.ops.convert_to_tensor, folded)
        for batch in self._batches():
            yield _only(self._run(folded, batch))


def _only(outputs: Any) -> np.ndarray:
    """The one output of a model, which may stand in a list."""
    (output,) = keras.tree.flatten(outputs)
    return np.asarray(output)


def _surely_positive(differences: np.ndarray, total: int) -> bool:
    """Whether the mean over all `total` images is surely above 0, given the first ones."""
    count = len(differences)
    if count < _LOOK:
        return False
    left = 1 - count / total  # drawn from a finite set
    error = np.sqrt(differences.var(ddof=1) / count * left)
    return bool(differences.mean() > _SURE * error + 1 / count)
