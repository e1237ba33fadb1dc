"""Compiles a copy of a model as the model is."""

from __future__ import annotations

import warnings
from typing import Any

import keras


def compile_like(model: keras.Model, source: keras.Model, *, optimizer: Any = None) -> None:
    """Compiles a model with the loss, the metrics and the settings of another.

    Losses and functions are the very objects, so that those that Keras cannot write down are kept
    as well. Metrics and the optimizer are new ones of the same configuration.

    Args:
        model: The copy; its outputs have the structure and the names of the source's.
        source: What it is a copy of; if it is not compiled, nothing is done.
        optimizer: Another optimizer instead of a new one like the source's.
    """
    stored = getattr(source, "_compile_config", None)
    if not source.compiled or stored is None:
        return
    options = dict(stored.config)
    for name in ("metrics", "weighted_metrics"):
        if options.get(name) is not None:
            options[name] = keras.tree.map_structure(_new_metric, options[name])
    options["optimizer"] = _new_optimizer(source) if optimizer is None else optimizer
    model.compile(**options)


def _new_metric(metric: Any) -> Any:
    if not isinstance(metric, keras.metrics.Metric):
        return metric  # a name or a function
    try:
        return type(metric).from_config(metric.get_config())
    except Exception as error:  # whatever a metric of the user's does
        warnings.warn(
            f"The metric '{metric.name}' cannot be made anew from its configuration, so the copy "
            f"shares it: {str(error).strip()[:200]}",
            stacklevel=2,
        )
        return metric


def _new_optimizer(source: keras.Model) -> Any:
    optimizer = source.optimizer
    if optimizer is None:
        return None
    try:
        return type(optimizer).from_config(optimizer.get_config())
    except Exception as error:  # whatever an optimizer of the user's does
        warnings.warn(
            f"The optimizer {type(optimizer).__name__} cannot be made anew from its configuration; "
            f"compile the copy with one before training it: {str(error).strip()[:200]}",
            stacklevel=2,
        )
        return "rmsprop"
