"""Keeps the class of a model."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from tfrcp.graph.carrying import differences

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
        wanted = keras.tree.flatten(outputs)
        if [id(x) for x in keras.tree.flatten(made.outputs)] == [id(x) for x in wanted]:
            _carry_attributes(model, made)
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


def _carry_attributes(model: keras.Model, made: keras.Model) -> None:
    """Gives a model the attributes that its class or the user has given another one.

    An inner layer becomes its copy; a layer outside of the graph, such as a teacher, is shared.
    """
    plain = keras.Model(made.inputs, made.outputs)
    plain.compile("sgd", "mse", metrics=["mse"])
    known = {*vars(plain), "history"}  # what Keras itself holds
    for name, value in differences(model, made, known):
        setattr(made, name, value)
    inside = {id(layer): layer.name for layer in model.layers}
    lost = []
    for name, value in vars(model).items():
        if name in known or not isinstance(value, keras.layers.Layer | keras.Variable):
            continue
        held = vars(made).get(name)
        if isinstance(value, keras.Variable):
            if isinstance(held, keras.Variable) and held.shape == value.shape:
                held.assign(value)
            else:
                lost.append(name)
        elif id(value) not in {id(x) for x in model.operations}:
            if held is None:
                setattr(made, name, value)
        else:
            try:
                setattr(made, name, made.get_layer(inside[id(value)]))
            except (KeyError, ValueError):
                lost.append(name)
    if lost:
        warnings.warn(
            f"The pruned {type(made).__name__} has no {', '.join(lost)} of the model's. Set what "
            "its training needs before training it further.",
            stacklevel=6,
        )


def _own(kind: type, name: str) -> bool:
    """Whether a class outside of Keras defines a method."""
    for base in kind.__mro__:
        if name in vars(base):
            return not base.__module__.startswith(("keras.", "tensorflow.", "builtins"))
    return False
