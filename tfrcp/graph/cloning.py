"""Makes a layer anew from its configuration, with what a configuration cannot hold.

A configuration names functions and classes, which works only for those that Keras can find by that
name. Here the object itself is at hand, so the new layer gets the very functions and classes.
"""

from __future__ import annotations

import contextlib
import inspect
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import keras
from keras.src.saving.serialization_lib import SafeModeScope

from tfrcp.graph.calls import named_variables


def clone_layer(layer: keras.Operation, /, **changes: Any) -> keras.Operation:
    """A new layer with the same configuration but for the changes; without weights.

    Its functions (of `Lambda`, activations, initializers and so on) are the very objects, with
    their globals and closures; classes of one's own need not be registered.

    Args:
        layer: The layer.
        **changes: Entries of the configuration. A layer as value becomes part of the new one.

    Raises:
        ValueError: If the class cannot be made from its own configuration.
        NotImplementedError: If the class has no configuration.
    """
    stand_ins: dict[str, Any] = {}
    for name, value in changes.items():
        if isinstance(value, keras.layers.Layer):
            changes[name] = _stands_for(value, stand_ins)
    reasons = []
    # Keras hands functions to a class as they are, or written down where it comes from a file.
    for written in (False, True):
        try:
            with _functions_named(layer, stand_ins) as functions:
                config = {**layer.get_config(), **changes}
                if written:
                    config = keras.saving.serialize_keras_object(config)
            config = _copy(config if written else _replaced(config, functions))
            scope = {**_classes(layer), **stand_ins}
            with keras.saving.CustomObjectScope(scope), SafeModeScope(safe_mode=False):
                return type(layer).from_config(config)
        except NotImplementedError:
            raise
        except Exception as error:  # whatever a class of the user's does
            reasons.append(str(error).strip() or type(error).__name__)
    raise ValueError(
        f"`{layer.name}` ({type(layer).__name__}) cannot be made again from its own configuration, "
        "so that no pruned model can hold it. Give the class a `get_config` that its `__init__` "
        f"takes, or leave it out of the model. Keras says: {reasons[0][:500]}"
    )


def parts_of(layer: keras.Operation) -> list[Any]:
    """A layer, the layers inside of it, and their initializers, regularizers and so on."""
    inner = getattr(layer, "_flatten_layers", None)
    owners = [layer] if inner is None else list(inner())
    parts = {id(owner): owner for owner in owners}
    for owner in owners:
        for value in vars(owner).values():
            if hasattr(value, "get_config") and not isinstance(value, type | keras.Operation):
                parts.setdefault(id(value), value)
    return list(parts.values())


@contextlib.contextmanager
def _functions_named(layer: keras.Operation, scope: dict[str, Any]) -> Iterator[dict[int, Any]]:
    """Puts functions of unique names in place of a layer's own ones while it is written down.

    Args:
        layer: The layer.
        scope: Maps these names to the layer's own functions; is filled.

    Yields:
        Dict that maps the id of each function put in place to the layer's own.
    """
    own = [
        (vars(part), name, value)
        for part in parts_of(layer)
        if hasattr(part, "__dict__")
        for name, value in vars(part).items()
        if _is_own_function(value) and not hasattr(type(part), name)
    ]
    named: dict[int, Any] = {}
    placed = []
    for place, name, value in own:
        function = _named_function(f"tfrcp_function_{len(scope)}")
        scope[function.__name__] = value
        named[id(function)] = value
        placed.append(function)  # which keeps its id
        place[name] = function
    try:
        yield named
    finally:
        for place, name, value in own:
            place[name] = value


def _named_function(name: str) -> Any:
    def function(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a function that stands in for another while a layer is copied")

    function.__name__ = function.__qualname__ = name
    return function


def _is_own_function(value: Any) -> bool:
    """Whether something is a function, or is called like one, that is not Keras's."""
    if not callable(value) or isinstance(value, type | keras.Operation | keras.Variable):
        return False
    if hasattr(value, "get_config"):  # an object that Keras writes down
        return False
    return not str(getattr(value, "__module__", "")).startswith(("keras.", "inspect"))


def _stands_for(layer: keras.layers.Layer, scope: dict[str, Any]) -> dict[str, Any]:
    """A configuration from which Keras makes this very layer; `scope` gets the class for that."""
    name = f"tfrcp_layer_{len(scope)}"
    scope[name] = type(name, (), {"from_config": staticmethod(lambda config: layer)})
    return {"module": None, "class_name": name, "config": {}, "registered_name": name}


def _classes(layer: keras.Operation) -> dict[str, type]:
    """The classes outside of Keras among a layer's parts, by the names under which Keras looks."""
    found: dict[str, type] = {}
    for part in parts_of(layer):
        kind = type(part)
        if not kind.__module__.startswith("keras."):
            found[kind.__name__] = found[keras.saving.get_registered_name(kind)] = kind
    return found


def _replaced(config: Any, functions: dict[int, Any]) -> Any:
    """A configuration with the layer's own functions instead of those put in their place."""
    if isinstance(config, dict):
        return {name: _replaced(value, functions) for name, value in config.items()}
    if type(config) in (list, tuple):
        return type(config)(_replaced(value, functions) for value in config)
    return functions.get(id(config), config)


def _copy(config: Any) -> Any:
    """A configuration that `from_config` may change."""
    return _replaced(config, {})


def carry_over(old: keras.Operation, new: keras.Operation, sliced: Mapping[str, Any]) -> None:
    """Gives a layer that was built anew the state of the old one.

    That is quantization and low-rank adapters (LoRA) of layers inside, all weights and random
    states, vocabularies and other files, what is derived from weights, and what is trainable.

    Args:
        old: The layer.
        new: Its copy, built.
        sliced: Arrays by name, as in `named_variables`, for weights that have another shape.

    Raises:
        ValueError: If the copy has other layers or weights.
    """
    if not hasattr(old, "_flatten_layers"):
        return
    pairs = list(zip(old._flatten_layers(), new._flatten_layers(), strict=False))
    for source, copy in pairs:
        _adapt(source, copy)
    found, expected = named_variables(new), named_variables(old)
    names = [name for name, _ in expected]
    if len(set(names)) == len(names) and {name for name, _ in found} == set(names):
        variables = dict(found)
        found = [(name, variables[name]) for name in names]
    if len(found) != len(expected):
        raise ValueError(
            f"`{old.name}` ({type(old).__name__}), made again from its configuration, has "
            f"{len(found)} variables where the model's has {len(expected)}, so that its weights "
            "cannot be inherited: its `get_config` leaves out what made the others."
        )
    for (name, source), (_, copy) in zip(expected, found, strict=True):
        copy.assign(sliced.get(name, source))
    for source, copy in pairs:
        _carry_files(source, copy)
        if hasattr(copy, "finalize_state"):  # derives numbers from weights, as `Normalization`
            copy.finalize_state()
    for source, copy in pairs:  # the outer ones first: a layer sets those inside of it, too
        if copy.trainable != source.trainable:
            copy.trainable = source.trainable
    for (_, source), (_, copy) in zip(expected, found, strict=True):
        if copy.trainable != source.trainable:
            copy.trainable = source.trainable


def _adapt(source: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Quantizes the copy and adds low-rank adapters where the source has them."""
    if getattr(source, "quantization_mode", None) and not getattr(copy, "quantization_mode", None):
        config = getattr(source, "quantization_config", None)
        copy.quantize(source.quantization_mode, **({} if config is None else {"config": config}))
    if getattr(source, "lora_enabled", False) and not copy.lora_enabled:
        copy.enable_lora(source.lora_rank, lora_alpha=source.lora_alpha)


def _carry_files(source: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Hands over what a layer saves beside its variables, through its own methods."""
    kind = type(source)
    if hasattr(kind, "save_assets") and hasattr(kind, "load_assets"):
        with tempfile.TemporaryDirectory() as folder:
            source.save_assets(folder)
            copy.load_assets(folder)
    defines = inspect.getattr_static(kind, "load_own_variables")
    own = defines is not keras.layers.Layer.load_own_variables
    if own and not defines.__module__.startswith("keras."):
        store: dict[str, Any] = {}
        source.save_own_variables(store)
        copy.load_own_variables(store)
