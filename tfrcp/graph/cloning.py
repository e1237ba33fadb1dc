"""Makes a layer anew from its configuration, with what a configuration cannot hold.

A configuration names functions and classes, which works only for those that Keras can find by that
name. Here the object itself is at hand, so the copy gets the very functions and classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras.src.saving.serialization_lib import SafeModeScope


def clone(source: Any, /, **changes: Any) -> Any:
    """A new layer, metric or optimizer of the same configuration but for the changes.

    Its functions (of `Lambda`, activations, metrics and so on) are the very objects, with their
    globals and closures; classes need not be registered. Weights and other state are not copied.

    Args:
        source: Any object with Keras's `get_config` and `from_config`.
        **changes: Entries of the configuration. A layer as value becomes part of the copy.

    Raises:
        ValueError: If the class cannot be made from its own configuration.
        NotImplementedError: If the class has no configuration.
    """
    scope: dict[str, Any] = {}
    for name, value in changes.items():
        if isinstance(value, keras.layers.Layer):
            changes[name] = _stands_for(value, scope)
    with _functions_named(source, scope) as own:
        config = {**source.get_config(), **changes}

    def leaf(value: Any) -> Any:
        # A configuration that holds a layer or a weight itself would have two models share it.
        if isinstance(value, keras.Variable):
            return keras.ops.convert_to_numpy(value).tolist()
        return clone(value) if isinstance(value, keras.layers.Layer) else own(value)

    scope.update({name: x for name, x in classes_of(source).items() if name not in scope})
    reasons = []
    # Some classes take functions as they are, others as Keras writes them down.
    for form in (
        lambda: _mapped(leaf, config),
        lambda: keras.saving.serialize_keras_object(config),
    ):
        try:
            with keras.saving.CustomObjectScope(scope), SafeModeScope(safe_mode=False):
                return type(source).from_config(form())
        except Exception as error:  # whatever a class of the user's does
            reasons.append(str(error).strip()[:500] or type(error).__name__)
    raise ValueError(
        f"`{source.name}` ({type(source).__name__}) cannot be made again from its own "
        "configuration, so that no pruned model can hold it. Give the class a `get_config` that "
        f"its `__init__` takes, or leave it out of the model. Keras says: {reasons[0]}"
    )


def is_own_function(value: Any) -> bool:
    """Whether something is a function, or is called like one, that is not Keras's.

    An initializer, regularizer or constraint of the user's is one, too: it has no state.
    """
    stateful = type | keras.Operation | keras.Variable | keras.metrics.Metric
    if not callable(value) or isinstance(value, stateful):
        return False
    return not str(getattr(value, "__module__", "")).startswith(("keras.", "inspect"))


def is_plain(operation: keras.Operation) -> bool:
    """Whether something is a layer of no configuration but its name and type: Keras writes down
    none where such a layer was given a policy object."""
    plain = keras.layers.Layer.__init__, keras.layers.Identity.__init__
    return type(operation).__init__ in plain


def holds_array(value: Any) -> bool:
    """Whether an initializer, regularizer or constraint holds numbers that have some shape."""
    return any(_is_array(x) for x in getattr(value, "__dict__", {}).values())


def _is_array(value: Any) -> bool:
    if isinstance(value, list | tuple):  # one of ints may name axes
        return any(isinstance(x, float | list | tuple) for x in value)
    return len(getattr(value, "shape", None) or ()) > 0


def without_arrays(layer: keras.Operation) -> None:
    """Gives a layer zeros for initializers that may know the shape of a weight.

    Those that hold an array, and functions. The weights are inherited, so that only a shape that no
    longer fits would be noticed.

    Args:
        layer: A layer that is not built.
    """
    for part in _parts(layer):
        if isinstance(part, keras.layers.Layer):
            for name, value in list(vars(part).items()):
                if name.endswith("initializer") and (holds_array(value) or is_own_function(value)):
                    setattr(part, name, keras.initializers.Zeros())


def _parts(source: Any) -> list[Any]:
    """An object, the layers inside of it, and their initializers, regularizers and so on."""
    inner = getattr(source, "_flatten_layers", None)
    owners = [source] if inner is None else list(inner())
    parts = {id(owner): owner for owner in owners}
    for owner in owners:
        for value in vars(owner).values():
            if hasattr(value, "get_config") and not isinstance(value, type | keras.Operation):
                parts.setdefault(id(value), value)
    return [part for part in parts.values() if hasattr(part, "__dict__")]


@contextlib.contextmanager
def _functions_named(source: Any, scope: dict[str, Any]) -> Iterator[Callable[[Any], Any]]:
    """Puts functions of unique names in place of an object's own ones while it is written down.

    Args:
        source: The object.
        scope: Maps these names to the object's own functions; is filled.

    Yields:
        Function that gives an own function for what was put in its place, else what it is given.
    """
    named: dict[int, tuple[Any, Any]] = {}

    def replaced(value: Any) -> Any:
        if not is_own_function(value):
            return value
        function = _named_function(f"tfrcp_function_{len(scope)}")
        scope[function.__name__] = value
        named[id(function)] = function, value
        return function

    placed = []
    for part in _parts(source):
        for name, value in list(vars(part).items()):
            if callable(getattr(type(part), name, None)) or name.startswith("__"):
                continue  # a method that Keras has wrapped
            stand_in = _mapped(replaced, value)
            if stand_in is not value:
                placed.append((vars(part), name, value))
                vars(part)[name] = stand_in
    try:
        yield lambda value: named.get(id(value), (None, value))[1]
    finally:
        for place, name, value in placed:
            place[name] = value


def _named_function(name: str) -> Any:
    def function(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a function that stands in for another while a layer is copied")

    function.__name__ = function.__qualname__ = name
    return function


def _stands_for(layer: keras.layers.Layer, scope: dict[str, Any]) -> dict[str, Any]:
    """A configuration from which Keras makes this very layer; `scope` gets the class for that."""
    name = f"tfrcp_layer_{len(scope)}"
    scope[name] = type(name, (), {"from_config": staticmethod(lambda config: layer)})
    return {"module": None, "class_name": name, "config": {}, "registered_name": name}


def classes_of(source: Any) -> dict[str, type]:
    """The classes outside of Keras among an object's parts, by the names that Keras looks up."""
    found: dict[str, type] = {}
    for part in _parts(source):
        kind = type(part)
        if not kind.__module__.startswith("keras."):
            found[kind.__name__] = found[keras.saving.get_registered_name(kind)] = kind
    return found


def _mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """Plain dicts, lists and tuples with a function's values for their leaves.

    The very object where no leaf changes.
    """
    if isinstance(value, dict):
        new = {name: _mapped(function, x) for name, x in value.items()}
        return new if any(new[name] is not x for name, x in value.items()) else value
    if isinstance(value, list) or type(value) is tuple:
        kind = tuple if type(value) is tuple else list
        made = kind(_mapped(function, x) for x in value)
        return made if any(x is not y for x, y in zip(made, value, strict=True)) else value
    return function(value)
