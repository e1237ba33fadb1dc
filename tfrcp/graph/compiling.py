"""Compiles a copy of a model as the model is."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from tfrcp.graph.cloning import clone


def compile_like(model: keras.Model, source: keras.Model, *, optimizer: Any = None) -> None:
    """Compiles a model with the loss, the metrics and the settings of another.

    Losses and functions are the very objects, so that those that Keras cannot write down are kept
    as well. Metrics and the optimizer are new ones of the same configuration; a metric that stands
    at several outputs is one metric at all of them again.

    Args:
        model: The copy; its outputs have the structure and the names of the source's.
        source: What it is a copy of; if it is not compiled, nothing is done.
        optimizer: Another optimizer instead of a new one like the source's.
    """
    stored = getattr(source, "_compile_config", None)
    if not source.compiled or stored is None:
        return
    options = dict(stored.config)
    copies: dict[int, Any] = {}

    def copied(metric: Any) -> Any:
        if id(metric) not in copies:
            copies[id(metric)] = _new_metric(metric)
        return copies[id(metric)]

    for name in ("metrics", "weighted_metrics"):
        if options.get(name) is not None:
            options[name] = keras.tree.map_structure(copied, options[name])
    options["optimizer"] = _new_optimizer(model, source) if optimizer is None else optimizer
    scaled = isinstance(source.optimizer, keras.optimizers.LossScaleOptimizer)
    if model.dtype_policy.name == "mixed_float16" and not scaled:
        options["auto_scale_loss"] = False
    try:
        model.compile(**options)
    except TypeError as error:
        if type(model).compile is keras.Model.compile:
            raise
        warnings.warn(
            f"The copy of '{source.name}' is not compiled: the `compile` of {type(model).__name__} "
            f"takes other arguments. Compile it before training it further: {error}",
            stacklevel=2,
        )


def _new_metric(metric: Any) -> Any:
    if not isinstance(metric, keras.metrics.Metric):
        return metric  # a name or a function
    try:
        return clone(metric)
    except Exception as error:  # whatever a metric of the user's does
        warnings.warn(
            f"The metric '{metric.name}' cannot be made anew from its configuration, so the copy "
            f"shares it: {str(error).strip()[:200]}",
            stacklevel=2,
        )
        return metric


def _new_optimizer(model: keras.Model, source: keras.Model) -> Any:
    optimizer = source.optimizer
    if optimizer is None:
        return None
    try:
        made = clone(optimizer)
    except Exception as error:  # whatever an optimizer of the user's does
        warnings.warn(
            f"The optimizer {type(optimizer).__name__} cannot be made anew from its configuration; "
            f"compile the copy with one before training it: {str(error).strip()[:200]}",
            stacklevel=2,
        )
        return "rmsprop"
    old, new = (getattr(x, "inner_optimizer", x) for x in (optimizer, made))
    # Callbacks that lower the learning rate as training goes note it for every epoch.
    history = getattr(getattr(source, "history", None), "history", {}).get("learning_rate")
    if history and int(old.iterations) and isinstance(old._learning_rate, keras.Variable):
        new.learning_rate = float(history[0])
    keys = getattr(old, "_exclude_from_weight_decay", None) or ()
    pattern = getattr(old, "_exclude_from_weight_decay_pattern", None)
    if keys or pattern:
        paths = {v.path for v in source.variables if old._var_key(v) in keys}
        new.exclude_from_weight_decay([v for v in model.variables if v.path in paths])
        new._exclude_from_weight_decay_pattern = pattern
    return made
