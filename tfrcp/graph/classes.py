"""Keeps the class of a model."""

from __future__ import annotations

import warnings
from typing import Any

import keras

_OWN = (
    "train_step",
    "test_step",
    "predict_step",
    "compute_loss",
    "compute_metrics",
    "fit",
    "compile",
    "get_config",
    "preprocessor",
)


def model_like(model: keras.Model, inputs: Any, outputs: Any) -> keras.Model:
    """A Functional model of the class of another, where that can be made of inputs and outputs.

    Args:
        model: The other model.
        inputs: Structure of symbolic tensors.
        outputs: Structure of symbolic tensors.

    Returns:
        The model. If its class cannot be kept, a plain one, with a warning that names what is lost.
    """
    kind = type(model)
    own = [n for n in _OWN if _own(kind, n) or n in vars(model) and n == "preprocessor"]
    if not own or kind.__module__.startswith("keras."):
        return keras.Model(inputs, outputs, name=model.name)
    try:
        made = kind(inputs=inputs, outputs=outputs, name=model.name)
        if len(keras.tree.flatten(made.outputs)) == len(keras.tree.flatten(outputs)):
            return made
        reason = "it makes other outputs"
    except Exception as error:  # whatever the constructor of a user's class does
        reason = str(error).strip()[:200] or type(error).__name__
    warnings.warn(
        f"The pruned model is a plain keras.Model, without the {', '.join(own)} of "
        f"{kind.__name__}, which cannot be made of inputs and outputs ({reason}). Build a "
        f"{kind.__name__} around it before training it further.",
        stacklevel=5,
    )
    return keras.Model(inputs, outputs, name=model.name)


def _own(kind: type, name: str) -> bool:
    """Whether a class outside of Keras defines a method."""
    for base in kind.__mro__:
        if name in vars(base):
            return not base.__module__.startswith(("keras.", "tensorflow.", "builtins"))
    return False
