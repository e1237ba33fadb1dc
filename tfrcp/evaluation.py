"""Scores candidates: inherits, repairs and evaluates a pruned network for a channel vector.

`ProgramEvaluator` runs the traced graph as one program, compiled once, on sliced weights.
`SlicedEvaluator` builds the pruned Keras model for each candidate: slower, and just as right. Both
are functions from a channel vector to metrics.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.program import Program, read_weights, slice_weights
from tfrcp.inheritance import select, slice_model
from tfrcp.update import recalibrate_batch_norm

Metric = Callable[[np.ndarray, np.ndarray], float]


def accuracy(y: np.ndarray, outputs: np.ndarray) -> float:
    """Share of the images whose largest output is the label's.

    Args:
        y: Labels, int array [N] or [N, 1], or one-hot [N, classes].
        outputs: Logits or probabilities [N, classes].
    """
    labels = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)
    return float((outputs.argmax(axis=1) == labels).mean())


def metric_for(model: keras.Model, objective: str) -> Metric:
    """The function behind the name of an objective.

    Args:
        model: The unpruned model.
        objective: "val_accuracy", or "val_loss" for the loss that the model is compiled with.

    Returns:
        A function of labels and outputs.

    Raises:
        ValueError: If the name is unknown, or the model does not fit it.
    """
    if objective == "val_accuracy":
        if (
            len(model.outputs) != 1
            or len(model.outputs[0].shape) != 2
            or model.outputs[0].shape[1] < 2
        ):
            raise ValueError(
                "The objective 'val_accuracy' needs one output of shape [batch, classes] with at "
                f"least two classes. Received: outputs {[tuple(x.shape) for x in model.outputs]}"
            )
        return accuracy
    if objective == "val_loss":
        loss = getattr(model, "loss", None)
        if loss is None or isinstance(loss, list | dict):
            raise ValueError(
                "The objective 'val_loss' needs a model that is compiled with one loss. "
                f"Received: loss={loss!r}. Call `model.compile(loss=...)` first."
            )
        function = keras.losses.get(loss)
        return lambda y, outputs: float(np.mean(keras.ops.convert_to_numpy(function(y, outputs))))
    raise ValueError(
        f"`objective` must be 'val_accuracy' or 'val_loss'. Received: objective={objective!r}"
    )


class ProgramEvaluator:
    """Scores channel vectors with one compiled program.

    Args:
        model: The unpruned model.
        graph: Its trace.
        scores: Maps group names to float arrays [size], from a criterion.
        holdout: Tuple of arrays (x, y): the images that score, and their labels.
        calibration: Images that re-estimate the batch norms' statistics, or `None` to keep what the
            unpruned model has.
        metrics: Maps names to functions of labels and outputs.
        batch_size: Images in a forward pass.
    """

    def __init__(
        self,
        model: keras.Model,
        graph: ChannelGraph,
        scores: Mapping[str, np.ndarray],
        holdout: tuple[Any, np.ndarray],
        calibration: Any = None,
        *,
        metrics: Mapping[str, Metric],
        batch_size: int = 250,
    ) -> None:
        self._graph, self._scores, self._metrics = graph, scores, metrics
        self._batch_size = batch_size
        (self._x, self._y), self._calibration = holdout, calibration
        self._weights = read_weights(graph, model)
        self._program = Program(graph)
        arrays = slice_weights(graph, self._weights, {})
        self._run = self._program.compile(self._program.run, self._program.fold(arrays))
        self._statistics = self._program.compile(self._program.run_on_batch_statistics, arrays)

    def __call__(self, channels: np.ndarray) -> dict[str, float]:
        """Metrics of the network with these channel counts, int array [prunable groups]."""
        masks = select(self._graph, self._scores, channels)
        arrays = slice_weights(self._graph, self._weights, masks)
        if self._calibration is not None:
            _, statistics = self._statistics(arrays, self._calibration)
            for path, (mean, variance) in statistics.items():
                arrays[path]["moving_mean"] = np.asarray(mean)
                arrays[path]["moving_variance"] = np.asarray(variance)
        folded = self._program.fold(arrays)
        outputs = np.concatenate(
            [np.asarray(self._run(folded, batch)) for batch in self._batches()]
        )
        return {name: metric(self._y, outputs) for name, metric in self._metrics.items()}

    def _batches(self) -> Iterator[Any]:
        for start in range(0, len(self._y), self._batch_size):
            part = slice(start, start + self._batch_size)
            yield keras.tree.map_structure(operator.itemgetter(part), self._x)


class SlicedEvaluator:
    """Scores channel vectors by building the pruned model each time. Arguments as before."""

    def __init__(
        self,
        model: keras.Model,
        graph: ChannelGraph,
        scores: Mapping[str, np.ndarray],
        holdout: tuple[Any, np.ndarray],
        calibration: Any = None,
        *,
        metrics: Mapping[str, Metric],
        batch_size: int = 250,
    ) -> None:
        self._model, self._graph, self._scores = model, graph, scores
        (self._x, self._y), self._calibration = holdout, calibration
        self._metrics, self._batch_size = metrics, batch_size

    def __call__(self, channels: np.ndarray) -> dict[str, float]:
        """Metrics of the network with these channel counts, int array [prunable groups]."""
        masks = select(self._graph, self._scores, channels)
        pruned = slice_model(self._model, self._graph, masks)
        if self._calibration is not None:
            recalibrate_batch_norm(pruned, self._calibration)
        outputs = pruned.predict(self._x, batch_size=self._batch_size, verbose=0)
        return {name: metric(self._y, outputs) for name, metric in self._metrics.items()}
