"""Makes a model anew of a class that builds its graph itself, around nested models that changed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from tfrcp.graph.calls import Call, Nested, Value
from tfrcp.graph.cloning import clone, is_plain
from tfrcp.graph.reading import read_calls


def remade(model: keras.Model, plain: keras.Model) -> tuple[keras.Model | None, Mapping[str, int]]:
    """A model of the class and configuration of another, around the nested models of a third.

    So a classifier of a library that is configured by its backbone and its number of classes is
    one again around the pruned backbone, and can be saved and loaded. Numbers of channels that the
    configuration names, such as those of a hidden layer, are those of `plain`.

    Args:
        model: The model.
        plain: A Functional model: its graph with other numbers of channels. Nested models have the
            same names in it.

    Returns:
        Tuple of the new model and the numbers of its configuration that are not those of `model`.
        Nested models that its configuration holds are those of `plain`; its other layers are its
        own, without the weights of `plain`. `None` and none if it holds no nested model.

    Raises:
        ValueError: If the class makes another graph than `plain`'s of them.
    """
    inside = {id(x): x.name for x in model.layers if isinstance(x, keras.Model)}
    names = model.get_config()
    held = {name: getattr(model, name, None) for name in names}
    changes = {name: plain.get_layer(inside[id(x)]) for name, x in held.items() if id(x) in inside}
    if not changes:
        return None, {}
    difference, sizes = "", _sizes(model, plain, names)
    for numbers in (sizes, {}) if sizes else ({},):
        made = clone(model, **changes, **numbers)
        if type(made) is not type(model) or not isinstance(made, keras.Model):
            raise ValueError(f"its configuration makes a {type(made).__name__}")
        difference = _difference(made, plain)
        if not difference:
            return made, numbers
    raise ValueError(f"its configuration cannot say how it was pruned: {difference}")


def _sizes(model: keras.Model, plain: keras.Model, config: Mapping[str, Any]) -> dict[str, int]:
    """Numbers of a model's configuration that stand in those of its own layers, as they are there
    after pruning. They are tried: whether they were meant, the graph that is made of them tells."""
    found: dict[int, set[int]] = {}
    for new in plain.layers:
        try:
            pair = [_settings(_config(x)) for x in (model.get_layer(new.name), new)]
        except Exception:  # a name of Keras's own, or a layer without configuration
            continue
        for name, old in pair[0].items() if not isinstance(new, keras.Model) else ():
            size = pair[1].get(name)
            if type(old) is type(size) is int:
                found.setdefault(old, set()).add(size)
    chosen = {name: found.get(n, {n}) for name, n in config.items() if type(n) is int}
    return {
        name: size for name, (size, *more) in chosen.items() if not more and size != config[name]
    }


def twins(made: keras.Model, plain: keras.Model) -> dict[int, keras.Operation]:
    """Maps the id of an operation to the one that stands in its place in an equal graph, which is
    given its name: Keras numbers those that a class does not name."""
    pairs = list(zip(read_calls(plain).calls, read_calls(made).calls, strict=True))
    for old, new in pairs:
        if new.operation.name != old.operation.name:
            new.operation.name = old.operation.name
    return {id(old.operation): new.operation for old, new in pairs}


def _difference(made: keras.Model, plain: keras.Model) -> str:
    """What is not the same in two graphs, in words; nothing if they are the same."""
    first, second = read_calls(made), read_calls(plain)
    pairs = list(itertools.zip_longest(first.calls, second.calls))
    numbers: list[dict[Value, int]] = [{}, {}]
    for graph, found in zip((first, second), numbers, strict=True):
        for value in keras.tree.flatten((graph.inputs, *(call.outputs for call in graph.calls))):
            found.setdefault(value, len(found))
    for x, y in pairs:
        if x is None or y is None:
            return "it calls other layers"
        if x.operation is not y.operation and not _same_operation(x.operation, y.operation):
            return f"`{y.path}` is another"
        given = [(call.args, dict(call.kwargs)) for call in (x, y)]
        if not _equal(*map(_numbered, given, numbers)):
            return f"`{y.path}` is called in another way"
    ends = [
        _numbered((z.inputs, z.outputs, _trained(z.steps)), n)
        for z, n in zip((first, second), numbers, strict=True)
    ]
    return "" if _equal(*ends) else "it has other inputs or outputs"


def _same_operation(first: keras.Operation, second: keras.Operation) -> bool:
    """Whether two operations do the same, of weights only the shapes compared."""
    if type(first) is not type(second):
        return False
    weights = [[tuple(v.shape) for v in getattr(x, "variables", ())] for x in (first, second)]
    if weights[0] != weights[1]:
        return False
    return _equal(*(_settings(_config(x)) for x in (first, second)))


def _config(operation: keras.Operation) -> Any:
    """The configuration of an operation."""
    if is_plain(operation):
        return {"dtype": operation.dtype_policy.name}
    return keras.saving.serialize_keras_object(operation)["config"]


def _settings(config: Any) -> Any:
    """A configuration without what does not matter where weights are inherited."""
    if not isinstance(config, dict):
        return config
    return {
        name: _settings(x)
        for name, x in config.items()
        if name not in ("name", "trainable", "build_config") and not name.endswith("initializer")
    }


def _trained(steps: Iterable[Call | Nested]) -> list[Any]:
    """What nested models are told of training."""
    found = []
    for step in steps:
        if isinstance(step, Nested):
            found += [str(step.training), *_trained(step.steps)]
    return found


def _numbered(structure: Any, numbers: Mapping[Value, int]) -> Any:
    """A structure with a number, a shape and a type for every value."""

    def numbered(x: Any) -> Any:
        return ("value", numbers[x], x.shape, x.dtype) if isinstance(x, Value) else x

    return keras.tree.map_structure(numbered, structure)


def _equal(first: Any, second: Any) -> bool:
    try:
        return bool(first == second)
    except ValueError:  # arrays
        return False
