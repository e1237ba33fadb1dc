"""What a network is for, as one figure: the score by which candidates are compared.

An objective is the user's own: the loss as `model.evaluate` gives it, a compiled metric, a metric
object, a function, or the agreement with the unpruned network, which needs no labels. `get` finds
it, `evaluate` says it of a network and data.

Figures are gathered batch by batch in a `Meter`, by Keras's own rules. Where the figure is a mean
over examples of one value for each, `Objective.values` gives these, so that a search can stop a
candidate early; whether it truly is such a mean is for the caller to check on data.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tfrcp.data.rows import count_rows, take
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
from tfrcp.scoring.traits import (
    adds_losses,
    compiled_metric,
    compiled_names,
    has_own_loss,
    has_plain_accuracy,
    is_classifier,
    is_compiled,
    loss_name,
    overrides_loss,
    threshold,
)

__all__ = [
    "AGREEMENT",
    "AUTO",
    "Objective",
    "evaluate",
    "get",
    "has_own_loss",
    "is_classifier",
    "loss_name",
    "overrides_loss",
]

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
    if labels and (is_classifier(model) or threshold(model) is not None):
        return _by_name(model, "val_accuracy", None, labels)
    if (labels and is_compiled(model)) or adds_losses(model):
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


def _by_name(model: keras.Model, name: str, direction: str | None, labels: bool) -> Objective:
    """The objective of a name; its direction as given, or as Keras's metrics have it."""
    if name == AGREEMENT:
        found: Objective = Agreement(is_classifier(model))
    elif not name.startswith("val_"):
        raise ValueError(
            "`objective` must be 'auto', 'val_loss', 'val_NAME' of a compiled metric, or "
            f"'agreement'. Received: objective={name!r}"
        )
    elif not labels and not (name == "val_loss" and adds_losses(model)):
        raise ValueError(f"The objective '{name}' needs labels; 'agreement' needs none.")
    elif name == "val_loss":
        own = is_compiled(model) or adds_losses(model)
        if not own and not is_classifier(model):
            raise ValueError(
                "The objective 'val_loss' needs a compiled model: `model.compile(loss=...)`. "
                f"Received: '{model.name}', which is not, with outputs "
                f"{[tuple(x.shape) for x in model.outputs]}"
            )
        found = CompiledLoss(model) if own else Crossentropy(model)
    elif name == "val_accuracy" and has_plain_accuracy(model):
        limit = threshold(model)
        found = Accuracy(
            model.outputs[0].shape[-1] if limit is None else None,
            limit,
            weighted=compiled_metric(model, "accuracy", ("metrics",)) is None,
        )
    else:
        metric = compiled_metric(model, name.removeprefix("val_"))
        if metric is None and not getattr(model, "compiled", False):
            raise ValueError(
                f"The objective '{name}' needs a model that is compiled with this metric. "
                f"Received: '{model.name}', which is not compiled, with outputs "
                f"{[tuple(x.shape) for x in model.outputs]}"
            )
        if metric is None and direction is None:
            given = [f"val_{metric}" for metric in ("loss", *compiled_names(model))]
            near = difflib.get_close_matches(name, given, n=1)
            raise ValueError(
                f"The objective '{name}' is none of what '{model.name}' is compiled with: "
                f"{', '.join(given)}.{f' Did you mean {near[0]!r}?' if near else ''}"
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
        parts = keras.utils.unpack_x_y_sample_weight(data)
        for start in range(0, count_rows(parts), batch_size):
            yield tuple(take(part, slice(start, start + batch_size)) for part in parts)
    else:
        for batch in data:
            yield keras.utils.unpack_x_y_sample_weight(batch)
