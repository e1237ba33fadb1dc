"""Gives a layer that was made anew the state of the old one."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Container, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from tfrcp.graph.calls import named_variables
from tfrcp.graph.cloning import is_own_function

_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.ndarray, np.generic)


def carry_over(old: keras.Operation, new: keras.Operation, sliced: Mapping[str, Any]) -> None:
    """Gives a layer that was made anew the state of the old one.

    That is quantization and low-rank adapters (LoRA) of layers inside, all weights and random
    states, vocabularies and other files, what is derived from weights, what is trainable, and
    arguments that the `get_config` of a class of the user's leaves out.

    Args:
        old: The layer.
        new: Its copy, built.
        sliced: Arrays by name, as in `named_variables`, for weights that have another shape.

    Raises:
        ValueError: If the copy has other layers or weights.
    """
    if not isinstance(old, keras.layers.Layer):
        return
    sources, copies = list(old._flatten_layers()), list(new._flatten_layers())
    if [type(layer) for layer in sources] != [type(layer) for layer in copies]:
        raise _other(old, "layers inside", len(sources) - 1, len(copies) - 1)
    pairs = list(zip(sources, copies, strict=True))
    for source, copy in pairs:
        _adapt(source, copy)
    variables = _variable_pairs(old, new)
    whole = all(np.shape(sliced.get(name, x)) == tuple(x.shape) for name, x, _ in variables)
    for name, source, copy in variables:
        value = sliced.get(name, source)
        if tuple(np.shape(value)) != tuple(copy.shape):
            raise _other(old, f"shape of '{name}'", tuple(np.shape(value)), tuple(copy.shape))
        copy.assign(value)
    for source, copy in pairs:
        if whole:
            _carry_attributes(source, copy)
            _carry_store(source, copy)
        _carry_assets(source, copy)
        if copy.variables and hasattr(
            copy, "finalize_state"
        ):  # derives numbers from weights, as `Normalization`
            copy.finalize_state()
    _set_trainable([(copy, source.trainable) for source, copy in pairs])
    _set_trainable([(copy, source.trainable) for _, source, copy in variables])


def freeze_like(new: keras.Model, old: keras.Model) -> None:
    """Freezes a model as a whole if the old one is, and no more of its layers than there."""
    if old.trainable:
        return
    layers = list(new._flatten_layers(include_self=False))
    flags = [(x, x.trainable) for x in (*layers, *new.variables)]
    new.trainable = False
    _set_trainable(flags)


def _set_trainable(flags: Iterable[tuple[Any, bool]]) -> None:
    for owner, trainable in flags:  # the outer layers first: these set those inside
        if owner.trainable != trainable:
            owner.trainable = trainable


def _variable_pairs(old: Any, new: Any) -> list[tuple[str, keras.Variable, keras.Variable]]:
    """The variables of a layer and of its copy, with the name that they have in the former."""
    expected, found = named_variables(old), named_variables(new)
    names = [name for name, _ in expected]
    by_name = dict(found)
    if len(set(names)) == len(names) and set(by_name) == set(names):
        found = [(name, by_name[name]) for name in names]
    if len(found) != len(expected):
        raise _other(old, "variables", len(expected), len(found))
    return [(name, x, y) for (name, x), (_, y) in zip(expected, found, strict=True)]


def _other(layer: keras.layers.Layer, what: str, expected: Any, received: Any) -> ValueError:
    return ValueError(
        f"`{layer.name}` ({type(layer).__name__}), made again from its own configuration, is "
        f"another layer, so that its weights cannot be inherited: {what}: {expected} in the model, "
        f"{received} in the copy. Its `get_config` must hold all arguments of its `__init__`."
    )


def _adapt(source: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Quantizes the copy and adds low-rank adapters where the source has them."""
    if getattr(source, "quantization_mode", None) and not getattr(copy, "quantization_mode", None):
        config = getattr(source, "quantization_config", None)
        copy.quantize(source.quantization_mode, **({} if config is None else {"config": config}))
    if getattr(source, "lora_enabled", False):
        if not copy.lora_enabled:
            copy.enable_lora(source.lora_rank, lora_alpha=source.lora_alpha)
        copy.lora_alpha = source.lora_alpha  # which the `build` of `Dense` forgets


def _carry_attributes(source: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Sets the numbers, strings, arrays and functions in which a copy differs.

    They do where the `get_config` of a class leaves out an argument that has a default, or where
    the user has set them afterwards. Keras's own classes hold all of them.
    """
    if type(source).__module__.startswith("keras."):
        return
    for name, value in differences(source, copy, vars(keras.layers.Layer())):
        setattr(copy, name, value)


def differences(source: Any, copy: Any, known: Container[str]) -> list[tuple[str, Any]]:
    """The attributes that are numbers, strings, arrays or functions and differ in a copy.

    Args:
        source: An object of some class.
        copy: Another one of that class.
        known: Names of attributes to leave alone.
    """
    return [
        (name, value)
        for name, value in vars(source).items()
        if name not in known
        and not callable(getattr(type(source), name, None))
        and (_is_plain(value) or is_own_function(value))
        and not (name in vars(copy) and _same(vars(copy)[name], value))
    ]


def _is_plain(value: Any) -> bool:
    if type(value) in (list, tuple):
        return all(_is_plain(x) for x in value)
    return isinstance(value, _PLAIN)


def _same(first: Any, second: Any) -> bool:
    if first is second:
        return True
    if isinstance(second, np.ndarray):
        return isinstance(first, np.ndarray) and np.array_equal(first, second)
    return type(first) is type(second) and not callable(first) and bool(first == second)


def _carry_store(source: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Hands over numbers that a layer saves in a way of its own, such as those of tf-idf."""
    defines = inspect.getattr_static(type(source), "load_own_variables")
    if defines is inspect.getattr_static(keras.layers.Layer, "load_own_variables"):
        return
    if source.variables and defines.__module__.startswith("keras."):
        return  # which merges adapters, say
    store: dict[str, Any] = {}
    source.save_own_variables(store)
    copy.load_own_variables(store)


def _carry_assets(source: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Hands over what a layer saves in files, such as a vocabulary."""
    if hasattr(source, "save_assets") and hasattr(copy, "load_assets"):
        with tempfile.TemporaryDirectory() as folder:
            source.save_assets(folder)
            copy.load_assets(folder)
