"""The kinds of objectives: loss, metrics, functions, and the agreement with a reference."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfrcp.data.rows import count_rows
from tfrcp.scoring import losses
from tfrcp.scoring.meters import (
    CompiledMeter,
    DistanceMeter,
    MeanMeter,
    Meter,
    MetricMeter,
    lifted,
    tensors,
)
from tfrcp.scoring.traits import loss_name, overrides_loss

AGREEMENT = "agreement"
_LABELS = {"mean_io_u": "mean IoU", "io_u": "IoU", "auc": "AUC", "f1_score": "F1 score"}


class Objective(abc.ABC):
    """One figure of a network; see `get`.

    Attributes:
        name: As keras-tuner calls it: "val_loss", "val_accuracy", "val_NAME", or "agreement".
        metric: The same without "val_".
        direction: "max" or "min": which is better.
        label: What it is called in prose, such as "mean IoU".
        needs_labels: Whether it compares outputs with targets.
        needs_reference: Whether it compares them with the outputs of the unpruned network, which
            then stand for the targets.
        is_mean: Whether the figure is by its definition the mean of `values` without weights.
        classes: Number of classes of which targets must be, ints or one-hot rows; `None` for any.
        uses_losses: Whether regularisation and other losses that layers add are part of it.
    """

    needs_labels = True
    needs_reference = False
    is_mean = False
    uses_losses = False
    classes: int | None = None

    def __init__(self, name: str, direction: str, label: str | None = None) -> None:
        self.name, self.direction, self.metric = name, direction, name.removeprefix("val_")
        self.label = label or _LABELS.get(self.metric, self.metric.replace("_", " "))

    @property
    def is_share(self) -> bool:
        """Whether it is a share of the examples."""
        return self.metric.endswith(("accuracy", AGREEMENT))

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better."""
        return self.direction == "max"

    def better(self, first: float, second: float) -> bool:
        """Whether the first score is better than the second; NaN never is."""
        return first > second if self.higher_is_better else first < second

    @abc.abstractmethod
    def meter(self, model: keras.Model) -> Meter:
        """A new meter.

        Args:
            model: The network whose own loss and metrics count, compiled as the unpruned one.
        """

    def values(self, y: Any, outputs: Any, sample_weight: Any = None) -> np.ndarray | None:
        """The value of every example, float64 [n], if the figure may be the mean of such values.

        Args:
            y: Targets [n, ...].
            outputs: Outputs [n, ...].
            sample_weight: Sample weights, or `None`.

        Returns:
            The values, or `None` where there are none.
        """
        return None


class CompiledLoss(Objective):
    """`loss` as `model.evaluate` gives it: weights, structures and overridden losses included."""

    uses_losses = True

    def __init__(self, model: keras.Model) -> None:
        super().__init__("val_loss", "min")
        self._per_example = _per_example_loss(model)
        self.needs_labels = overrides_loss(model) or getattr(model, "loss", None) is not None
        self.classes = _classes(model)

    def meter(self, model: keras.Model) -> Meter:
        """A new meter; see `Objective.meter`."""
        return CompiledMeter(model, "loss")

    def values(self, y: Any, outputs: Any, sample_weight: Any = None) -> np.ndarray | None:
        """The value of every example; see `Objective.values`."""
        if self._per_example is None:
            return None
        (y,), (outputs,) = keras.tree.flatten(y), keras.tree.flatten(outputs)
        y, outputs = lifted(tensors(y), tensors(outputs))
        try:
            found = self._per_example(y, outputs)
        except (TypeError, ValueError):  # a loss that needs more than one example
            return None
        found = np.asarray(keras.ops.convert_to_numpy(found), dtype=float)
        if found.ndim == 0 or len(found) != outputs.shape[0]:
            return None
        weights = keras.tree.flatten(sample_weight) if sample_weight is not None else []
        if weights:
            weight = np.asarray(weights[0], dtype=float)
            weight = weight.reshape(weight.shape[: found.ndim])
            found = found * weight.reshape(weight.shape + (1,) * (found.ndim - weight.ndim))
        return found.reshape(len(found), -1).mean(axis=1)


class CompiledMetric(Objective):
    """A figure of `model.evaluate` other than the loss: `name` without "val_" is its key."""

    def meter(self, model: keras.Model) -> Meter:
        """A new meter; see `Objective.meter`."""
        return CompiledMeter(model, self.metric)


class Crossentropy(CompiledLoss):
    """The cross-entropy, in nats, of a classifier that is not compiled and integer labels."""

    is_mean, uses_losses = True, False

    def __init__(self, model: keras.Model) -> None:
        Objective.__init__(self, "val_loss", "min")
        loss = losses.crossentropy(model)
        self._per_example, self.classes = loss.call, losses.classes(model)

    def meter(self, model: keras.Model) -> Meter:
        """A new meter; see `Objective.meter`."""
        return MeanMeter(self.values)


class Accuracy(Objective):
    """The share of examples whose largest output, or side of the threshold, is the label's.

    Sample weights count only where `weighted`: Keras ignores them for what is compiled as
    `metrics`.
    """

    is_mean = True

    def __init__(
        self, classes: int | None, threshold: float | None = None, *, weighted: bool = True
    ) -> None:
        super().__init__("val_accuracy", "max")
        self.classes, self._threshold, self._weighted = classes, threshold, weighted

    def meter(self, model: keras.Model) -> Meter:
        """A new meter; see `Objective.meter`."""
        return MeanMeter(self.values, weighted=self._weighted)

    def values(self, y: Any, outputs: Any, sample_weight: Any = None) -> np.ndarray:
        """The value of every example; see `Objective.values`."""
        (y,), (outputs,) = keras.tree.flatten(y), keras.tree.flatten(outputs)
        y, outputs = np.asarray(y), np.asarray(outputs)
        if self._threshold is not None:
            return ((outputs > self._threshold).reshape(-1) == (y.reshape(-1) > 0.5)).astype(float)
        labels = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)
        return (outputs.argmax(axis=1) == labels).astype(float)


class MetricObject(Objective):
    """A `keras.metrics.Metric` of the user's, which need not be compiled into the model."""

    def __init__(self, metric: keras.metrics.Metric, direction: str) -> None:
        super().__init__(f"val_{metric.name}", direction)
        self._metric = metric

    def meter(self, model: keras.Model) -> Meter:
        """A new meter; see `Objective.meter`."""
        return MetricMeter(self._metric)


class Function(Objective):
    """A function of the user's, (y, outputs) -> [n], of which more is better."""

    is_mean = True

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__(f"val_{getattr(function, '__name__', type(function).__name__)}", "max")
        self._function = function

    def meter(self, model: keras.Model) -> Meter:
        """A new meter; see `Objective.meter`."""
        return MeanMeter(self._checked)

    def values(self, y: Any, outputs: Any, sample_weight: Any = None) -> np.ndarray | None:
        """The value of every example; see `Objective.values`."""
        return self._checked(y, outputs) if sample_weight is None else None

    def _checked(self, y: Any, outputs: Any) -> np.ndarray:
        found = np.asarray(keras.ops.convert_to_numpy(self._function(y, outputs)), dtype=float)
        count = count_rows(outputs)
        if found.shape != (count,):
            raise ValueError(
                f"The function {self.metric!r} of `objective` must return one "
                f"number for each example, [{count}]. Received: shape {found.shape}"
            )
        return found


class Agreement(Objective):
    """How far the outputs agree with those of the unpruned network; needs no labels.

    Of classifiers the share of examples with the same largest output. Else, of outputs o and those
    of the unpruned network o', 1 - |o - o'|^2 / |o' - mean o'|^2, the mean over the outputs: 1 is
    perfect, 0 is as good as always answering the mean. Sums run over all examples and positions.
    """

    needs_labels, needs_reference, is_mean = False, True, True

    def __init__(self, classifier: bool) -> None:
        super().__init__(AGREEMENT, "max", "agreement with the unpruned network")
        self._classifier = classifier

    def meter(self, model: keras.Model) -> Meter:
        """A new meter; see `Objective.meter`."""
        return MeanMeter(self.values) if self._classifier else DistanceMeter()

    def values(self, y: Any, outputs: Any, sample_weight: Any = None) -> np.ndarray | None:
        """The value of every example; see `Objective.values`."""
        if not self._classifier:
            return None
        (y,), (outputs,) = keras.tree.flatten(y), keras.tree.flatten(outputs)
        return (np.asarray(outputs).argmax(axis=1) == np.asarray(y).argmax(axis=1)).astype(float)


def _classes(model: keras.Model) -> int | None:
    """Number of classes if the one loss is the cross-entropy of a label for each example."""
    shapes = [tuple(x.shape) for x in model.outputs]
    sparse = loss_name(model) == "sparsecategoricalcrossentropy"
    whole = getattr(getattr(model, "loss", None), "ignore_class", None) is None
    return shapes[0][1] if sparse and whole and [len(s) for s in shapes] == [2] else None


def _per_example_loss(model: keras.Model) -> Callable[[Any, Any], Any] | None:
    """The compiled loss as a function that gives a value for each example, if it is one such."""
    loss = getattr(model, "loss", None)
    if loss is None or isinstance(loss, list | dict | tuple) or len(model.outputs) != 1:
        return None
    function = keras.losses.get(loss)
    return function.call if isinstance(function, keras.losses.Loss) else function
