"""What a model is for, told from its outputs and from what it is compiled with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfrcp.models.structure import input_structure


def is_classifier(model: keras.Model) -> bool:
    """Whether a model has one output [batch, classes] of class scores.

    That is: two classes or more, and compiled with a categorical cross-entropy, or not compiled.
    """
    shapes = [tuple(x.shape) for x in model.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or (shapes[0][1] or 0) < 2:
        return False
    return not is_compiled(model) or "categorical" in loss_name(model)


def overrides_loss(model: keras.Model) -> bool:
    """Whether the class of a model computes its loss itself."""
    return type(model).compute_loss is not keras.Model.compute_loss


def has_own_loss(model: keras.Model) -> bool:
    """Whether a model is for what it is compiled for, not a classifier of integer labels."""
    if not getattr(model, "compiled", False) or getattr(model, "_compile_config", None) is None:
        return False
    if model.loss is None:
        return overrides_loss(model) or adds_losses(model)
    sparse = "sparsecategorical" in loss_name(model)
    return overrides_loss(model) or not (sparse and is_classifier(model))


def threshold(model: keras.Model) -> float | None:
    """Above which one output [batch, 1] means the class 1, of a binary classifier; else `None`.

    That of "accuracy" where the model is compiled with it, which is 0.5 for logits too in Keras.
    """
    shapes = [tuple(x.shape) for x in model.outputs]
    if len(shapes) != 1 or shapes[0][1:] != (1,) or "binary" not in loss_name(model):
        return None
    if not getattr(model.loss, "from_logits", False):
        return 0.5
    return 0.0 if compiled_metric(model, "accuracy") is None else 0.5


def loss_name(model: keras.Model) -> str:
    """The name of the one compiled loss in lower case, without underscores; else empty."""
    loss = getattr(model, "loss", None)
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return "" if isinstance(loss, list | dict | tuple) else name.lower().replace("_", "")


def is_compiled(model: keras.Model) -> bool:
    """Whether a model has a loss to be evaluated by."""
    has_loss = getattr(model, "loss", None) is not None or overrides_loss(model)
    return getattr(model, "compiled", False) and has_loss


def adds_losses(model: keras.Model) -> bool:
    """Whether all that a compiled model is trained by is what its layers add (`add_loss`)."""
    if not getattr(model, "compiled", False) or getattr(model, "loss", None) is not None:
        return False
    if is_classifier(model):
        return False
    one = [
        np.zeros(
            (1, *(size or 8 for size in x.shape[1:])), keras.backend.standardize_dtype(x.dtype)
        )
        for x in model.inputs
    ]
    try:  # They are known after a call.
        model(keras.tree.pack_sequence_as(input_structure(model), one), training=False)
    except Exception:  # such as an open size that must be another
        return False
    penalties = [v for v in model.trainable_variables if getattr(v, "regularizer", None)]
    return len(model.losses) > len(penalties)


def has_plain_accuracy(model: keras.Model) -> bool:
    """Whether a classifier's "accuracy" is the share of right answers, not a metric of its own."""
    if not is_classifier(model) and threshold(model) is None:
        return False
    plain = (keras.metrics.SparseCategoricalAccuracy, keras.metrics.CategoricalAccuracy)
    metric = compiled_metric(model, "accuracy")
    return metric is None or isinstance(metric, str) or type(metric) in plain


def compiled_metric(
    model: keras.Model, name: str, kinds: Sequence[str] = ("metrics", "weighted_metrics")
) -> keras.metrics.Metric | str | None:
    """What the model was compiled with under this name, as far as that can be told."""
    for metric in _compiled_metrics(model, kinds):
        own = _metric_name(metric)
        if own and (name == own or name.endswith(f"_{own}")):
            return metric
    return None


def compiled_names(model: keras.Model) -> list[str]:
    """Names of the metrics that a model is compiled with."""
    names = map(_metric_name, _compiled_metrics(model, ("metrics", "weighted_metrics")))
    return [name for name in names if name]


def _compiled_metrics(model: keras.Model, kinds: Sequence[str]) -> list[Any]:
    config = getattr(model, "_compile_config", None)
    given = [] if config is None else [config.config.get(kind) for kind in kinds]
    return keras.tree.flatten([part for part in given if part is not None])


def _metric_name(metric: Any) -> str | None:
    if isinstance(metric, str):
        return metric
    return getattr(metric, "name", None) or getattr(metric, "__name__", None)
