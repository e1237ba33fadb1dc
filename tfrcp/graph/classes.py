"""Keeps the class of a model."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Collection, Mapping
from typing import Any

import keras

from tfrcp.graph.carrying import carry_over, differences
from tfrcp.graph.remaking import remade, twins

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


#: What of these makes the loss of another kind than what `compile` is given.
_LOSSES = frozenset({"train_step", "test_step", "compute_loss", "compute_metrics"})


@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """A model of the class of another, as far as that can be.

    Attributes:
        model: The model.
        twins: Maps id(operation) of those that were given to those that stand in their place, where
            the class makes its own ones.
        scored: Whether its losses and metrics are those that the other was compiled with.
    """

    model: keras.Model
    twins: Mapping[int, keras.Operation] = dataclasses.field(default_factory=dict)
    scored: bool = True


def model_like(model: keras.Model, inputs: Any, outputs: Any) -> Kept:
    """A Functional model of the class of another.

    It is made of inputs and outputs where the class takes these; else of the other's configuration,
    around nested models of this graph.

    Args:
        model: The other model.
        inputs: Structure of symbolic tensors.
        outputs: Structure of symbolic tensors.

    Returns:
        `Kept`. If its class cannot be kept, a plain model, with a warning that names what is lost.
    """
    kind = type(model)
    own = [n for n in _OWN if _own(kind, n) or n in vars(model) and n == "preprocessor"]
    if not own or kind.__module__.startswith("keras."):
        return Kept(keras.Model(inputs, outputs, name=model.name))
    try:
        made = kind(inputs=inputs, outputs=outputs, name=model.name)
        wanted = keras.tree.flatten(outputs)
        if [id(x) for x in keras.tree.flatten(made.outputs)] == [id(x) for x in wanted]:
            _carry_attributes(model, made)
            return Kept(made)
        reason = "it makes other outputs"
    except Exception as error:  # whatever the constructor of a user's class does
        reason = str(error).strip()[:200] or type(error).__name__
    plain = keras.Model(inputs, outputs, name=model.name)
    try:
        made, sizes = remade(model, plain)
        if made is not None:
            replaced = twins(made, plain)
            _carry_attributes(model, made, sizes)
            config = made.get_config()
            if all(config[name] == size for name, size in sizes.items()):
                return Kept(made, replaced)
            raise ValueError("its `get_config` does not tell of what it was made")
    except Exception as error:  # likewise
        text = str(error).strip() or type(error).__name__
        reason = text.split("Keras says: ")[-1][:200]
    scored = not _LOSSES.intersection(own)
    if model.compiled and not scored:
        further = "is not compiled, as its loss would be another one"
    else:
        further = "fits, evaluates and predicts as any keras.Model"
    if "preprocessor" in own and getattr(model, "preprocessor", None) is not None:
        further += ", on data that the `preprocessor` of the model has prepared"
    warnings.warn(
        f"The pruned model is a plain keras.Model, without the {', '.join(own)} of "
        f"{kind.__name__}, which cannot be made of the pruned graph ({reason}). It holds the whole "
        f"graph, is saved and loaded, and {further}. To keep its methods, prune a keras.Model made "
        "of its inputs and outputs that has them: docs/how-to/own_class.md.",
        stacklevel=5,
    )
    return Kept(plain, scored=scored)


def _carry_attributes(model: keras.Model, made: keras.Model, own: Collection[str] = ()) -> None:
    """Gives a model the attributes that its class or the user has given another one, but for its
    own.

    An inner layer becomes its copy. A layer outside of the graph, such as a teacher, is shared, or
    gives its weights to the one that the class has made.
    """
    plain = keras.Model(made.inputs, made.outputs)
    plain.compile("sgd", "mse", metrics=["mse"])
    known = {*vars(plain), "history", *own}  # what Keras itself holds
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
            elif held is not value and not _carried(value, held):
                lost.append(name)
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


def _carried(source: keras.layers.Layer, copy: Any) -> bool:
    """Whether a layer outside of the graph that a class has made again took the state of its
    source."""
    try:
        if source.built and not copy.built:
            copy.build_from_config(source.get_build_config())
        carry_over(source, copy, {})
    except Exception:  # whatever a class of the user's does
        return False
    return True


def _own(kind: type, name: str) -> bool:
    """Whether a class outside of Keras defines a method."""
    for base in kind.__mro__:
        if name in vars(base):
            return not base.__module__.startswith(("keras.", "tensorflow.", "builtins"))
    return False
