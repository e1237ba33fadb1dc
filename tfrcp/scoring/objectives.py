"""What a network is for, as one figure: the score by which candidates are compared.

An objective is the user's own: the loss as `model.evaluate` gives it, a compiled metric, a metric
object, a function, or the agreement with the unpruned network, which needs no labels. `get` finds
it, `evaluate` says it of a network and data.

Figures are gathered batch by batch in a `Meter`, by Keras's own rules. Where the figure is a mean
over examples of one value for each, `Objective.values` gives these, so that a search can stop a
candidate early; whether it truly is such a mean is for the caller to check on data.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tfrcp.scoring.kinds import (
    AGREEMENT,
    Accuracy,
    Agreement,
    CompiledLoss,
    CompiledMetric,
    Crossentropy,
    Function,
    MetricObject,
    Objective,
)
from tfrcp.scoring.running import run_model

__all__ = ["AGREEMENT", "AUTO", "Objective", "evaluate", "get", "has_own_loss", "is_classifier"]

DIRECTIONS = ("min", "max")
AUTO = "auto"

# Metrics of Keras of which less is better; of all its others more is.
_LOWER_IS_BETTER = (
    keras.metrics.BinaryCrossentropy,
    keras.metrics.CategoricalCrossentropy,
    keras.metrics.CategoricalHinge,
    keras.metrics.FalseNegatives,
    keras.metrics.FalsePositives,
    keras.metrics.Hinge,
    keras.metrics.KLDivergence,
    keras.metrics.LogCoshError,
    keras.metrics.MeanAbsoluteError,
    keras.metrics.MeanAbsolutePercentageError,
    keras.metrics.MeanSquaredError,
    keras.metrics.MeanSquaredLogarithmicError,
    keras.metrics.Poisson,
    keras.metrics.RootMeanSquaredError,
    keras.metrics.SparseCategoricalCrossentropy,
    keras.metrics.SquaredHinge,
)


def get(model: keras.Model, objective: Any = AUTO, *, labels: bool = True) -> Objective:
    """Finds an objective.

    Args:
        model: The unpruned model, compiled where its loss or metrics are meant.
        objective: "auto": accuracy for a classifier with labels, else the compiled loss, else
            "agreement". "val_loss"; "val_NAME" for a compiled metric; "val_accuracy" also for a
            classifier that is not compiled; "agreement"; a `keras_tuner.Objective`; a
            `keras.metrics.Metric`; a function (y, outputs) -> [n], of which more is better; or an
            `Objective`.
        labels: Whether there are labels.

    Returns:
        `Objective`.

    Raises:
        ValueError: If there is no such objective for this model, with what there is.
    """
    if isinstance(objective, Objective):
        return objective
    if isinstance(objective, keras.metrics.Metric):
        return MetricObject(objective, _direction(objective, objective.name))
    direction = getattr(objective, "direction", None)
    if direction is not None:
        if direction not in DIRECTIONS:
            raise ValueError(f"The direction must be 'min' or 'max'. Received: {direction!r}")
        return _by_name(model, objective.name, direction, labels)
    if callable(objective):
        return Function(objective)
    if not isinstance(objective, str):
        raise ValueError(
            "`objective` must be 'auto', 'val_loss', 'val_NAME' of a compiled metric, 'agreement', "
            "a keras_tuner.Objective, a keras.metrics.Metric or a function (y, outputs) -> [n]. "
            f"Received: objective={objective!r}"
        )
    if objective != AUTO:
        return _by_name(model, objective, None, labels)
    if labels and (is_classifier(model) or _threshold(model) is not None):
        return _by_name(model, "val_accuracy", None, labels)
    if labels and _is_compiled(model):
        return CompiledLoss(model)
    return Agreement(is_classifier(model))


def evaluate(
    model: keras.Model,
    data: Any,
    objective: Any = AUTO,
    *,
    reference: keras.Model | None = None,
    batch_size: int = 32,
) -> float:
    """What an objective says of a network.

    Args:
        model: The network, compiled where its loss or metrics are meant.
        data: Tuple of arrays (x, y) or (x, y, sample_weight), x alone, or an iterable of batches.
        objective: As for `get`.
        reference: The unpruned network, for "agreement".
        batch_size: Examples in a batch of arrays. As in `model.evaluate`, of which it is the
            default, a loss that is no mean over examples depends on it.

    Returns:
        The figure.

    Raises:
        ValueError: If the objective does not fit the model and the data.
    """
    if isinstance(data, list) and len(data) == len(model.inputs):
        data = (data,)  # the inputs of the model, without labels
    batches = _batches(data, batch_size)
    first = next(batches, None)
    if first is None:
        raise ValueError("`data` must hold at least one batch. Received: data without any")
    found = get(model, objective, labels=first[1] is not None)
    if found.needs_labels and first[1] is None:
        raise ValueError(
            f"The objective '{found.name}' compares outputs with targets. Received: data without; "
            "'agreement' needs none"
        )
    if found.needs_reference and reference is None:
        raise ValueError("The objective 'agreement' needs `reference`, the unpruned network")
    meter, run = found.meter(model), run_model(model)
    run_reference = run_model(reference) if found.needs_reference else None
    for x, y, weight in itertools.chain([first], batches):
        if run_reference is not None:
            y = run_reference(x)
        meter.update(y, run(x), weight, x)
    return meter.result()


def is_classifier(model: keras.Model) -> bool:
    """Whether a model has one output [batch, classes] of class scores.

    That is: two classes or more, and compiled with a categorical cross-entropy, or not compiled.
    """
    shapes = [tuple(x.shape) for x in model.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or (shapes[0][1] or 0) < 2:
        return False
    return not _is_compiled(model) or "categorical" in _loss_name(model)


def has_own_loss(model: keras.Model) -> bool:
    """Whether a model is for what it is compiled for, not a classifier of integer labels."""
    if not getattr(model, "compiled", False) or getattr(model, "_compile_config", None) is None:
        return False
    own = type(model).compute_loss is not keras.Model.compute_loss
    loss = model.loss
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    sparse = "sparsecategorical" in str(name).lower().replace("_", "")
    return own or not (loss is None or (sparse and is_classifier(model)))


def _threshold(model: keras.Model) -> float | None:
    """Above which one output [batch, 1] means the class 1, of a binary classifier; else `None`."""
    shapes = [tuple(x.shape) for x in model.outputs]
    if len(shapes) != 1 or shapes[0][1:] != (1,) or "binary" not in _loss_name(model):
        return None
    return 0.0 if getattr(model.loss, "from_logits", False) else 0.5


def _loss_name(model: keras.Model) -> str:
    """The name of the one compiled loss in lower case, without underscores; else empty."""
    loss = getattr(model, "loss", None)
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return "" if isinstance(loss, list | dict | tuple) else name.lower().replace("_", "")


def _is_compiled(model: keras.Model) -> bool:
    """Whether a model has a loss to be evaluated by."""
    own = type(model).compute_loss is not keras.Model.compute_loss
    return getattr(model, "compiled", False) and (own or getattr(model, "loss", None) is not None)


def _by_name(model: keras.Model, name: str, direction: str | None, labels: bool) -> Objective:
    """The objective of a name; its direction as given, or as Keras's metrics have it."""
    if name == AGREEMENT:
        found: Objective = Agreement(is_classifier(model))
    elif not name.startswith("val_"):
        raise ValueError(
            "`objective` must be 'auto', 'val_loss', 'val_NAME' of a compiled metric, or "
            f"'agreement'. Received: objective={name!r}"
        )
    elif not labels:
        raise ValueError(f"The objective '{name}' needs labels; 'agreement' needs none.")
    elif name == "val_loss":
        if not _is_compiled(model) and not is_classifier(model):
            raise ValueError(
                "The objective 'val_loss' needs a compiled model: `model.compile(loss=...)`. "
                f"Received: '{model.name}', which is not, with outputs "
                f"{[tuple(x.shape) for x in model.outputs]}"
            )
        found = CompiledLoss(model) if _is_compiled(model) else Crossentropy(model)
    elif name == "val_accuracy" and _has_plain_accuracy(model):
        threshold = _threshold(model)
        found = Accuracy(
            model.outputs[0].shape[-1] if threshold is None else None,
            threshold,
            weighted=_compiled_metric(model, "accuracy", ("metrics",)) is None,
        )
    else:
        metric = _compiled_metric(model, name.removeprefix("val_"))
        if metric is None and not getattr(model, "compiled", False):
            raise ValueError(
                f"The objective '{name}' needs a model that is compiled with this metric. "
                f"Received: '{model.name}', which is not compiled, with outputs "
                f"{[tuple(x.shape) for x in model.outputs]}"
            )
        if direction is None:
            direction = _direction(metric, name)
        return CompiledMetric(name, direction)
    if direction not in (None, found.direction):
        raise ValueError(
            f"Of '{name}' {'more' if found.higher_is_better else 'less'} is better. "
            f"Received: direction={direction!r}"
        )
    return found


def _has_plain_accuracy(model: keras.Model) -> bool:
    """Whether a classifier's "accuracy" is the share of right answers, not a metric of its own."""
    if not is_classifier(model) and _threshold(model) is None:
        return False
    plain = (keras.metrics.SparseCategoricalAccuracy, keras.metrics.CategoricalAccuracy)
    metric = _compiled_metric(model, "accuracy")
    return metric is None or isinstance(metric, str) or type(metric) in plain


def _compiled_metric(
    model: keras.Model, name: str, kinds: Sequence[str] = ("metrics", "weighted_metrics")
) -> keras.metrics.Metric | str | None:
    """What the model was compiled with under this name, as far as that can be told."""
    config = getattr(model, "_compile_config", None)
    given = [] if config is None else [config.config.get(kind) for kind in kinds]
    for metric in keras.tree.flatten([part for part in given if part is not None]):
        own = metric if isinstance(metric, str) else getattr(metric, "name", None)
        own = own or getattr(metric, "__name__", None)
        if own and (name == own or name.endswith(f"_{own}")):
            return metric
    return None


def _direction(metric: Any, name: str) -> str:
    """Which is better of a metric."""
    plain = name.removeprefix("val_")
    if isinstance(metric, str):
        metric = keras.metrics.get(metric) if metric not in ("accuracy", "acc") else metric
    if metric in ("accuracy", "acc") or plain.endswith(("accuracy", "acc")):
        return "max"
    if plain.endswith("loss") or isinstance(metric, _LOWER_IS_BETTER):
        return "min"
    if isinstance(metric, keras.metrics.Metric) and type(metric).__module__.startswith("keras."):
        if type(metric) not in (
            keras.metrics.Mean,
            keras.metrics.MeanMetricWrapper,
            keras.metrics.Sum,
        ):
            return "max"
    raise ValueError(
        f"It is not known whether more or less of '{name}' is better. Say so: "
        f"objective=keras_tuner.Objective('val_{plain}', 'max'), or 'min'"
    )


def _batches(data: Any, batch_size: int) -> Iterator[tuple[Any, Any, Any]]:
    """Yields (x, y, sample_weight)."""
    if isinstance(data, tuple | dict | np.ndarray):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        parts = {"x": x, "y": y, "w": weight}
        parts = {name: tree for name, tree in parts.items() if tree is not None}
        count = len(keras.tree.flatten(x)[0])
        for start in range(0, count, batch_size):
            cut = keras.tree.map_structure(lambda a, i=start: a[i : i + batch_size], parts)
            yield cut["x"], cut.get("y"), cut.get("w")
    else:
        for batch in data:
            yield keras.utils.unpack_x_y_sample_weight(batch)
