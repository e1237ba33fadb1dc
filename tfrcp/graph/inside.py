"""What a layer holds: inner layers and weights of its own, under names that a copy has as well."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras
from keras.src.models.functional import Functional
from keras.src.utils.naming import to_snake_case

#: Where Keras keeps lists of its own.
BOOKS = frozenset(
    "_layers _metrics _losses _tracker _trainable_variables _non_trainable_variables "
    "_seed_generators _functional _inbound_nodes _outbound_nodes _called _loss_ids".split()
)


def functional(operation: Any) -> Functional | None:
    """The graph of a Functional or Sequential model; `None` for anything else."""
    if isinstance(operation, keras.Sequential):
        plain = type(operation).call is keras.Sequential.call
        return operation._functional if operation.built and plain else None
    if isinstance(operation, Functional) and type(operation).call is Functional.call:
        return operation
    return None


def own_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The variables that a layer has made itself, those of random generators left out."""
    found = [*layer._trainable_variables, *layer._non_trainable_variables]
    return [v for v in found if v.name != "seed_generator_state"]


def parts(layer: keras.layers.Layer) -> dict[str, Any]:
    """The layers and variables that a layer holds itself, by name.

    The name is that which they were given; the attribute that holds them where they were given
    none, or two of one name. So it is the same in every layer made from this configuration.
    """
    if functional(layer) is not None:
        return {inner.name: inner for inner in layer.layers}
    held = {id(x): x for x in (*layer._layers, *own_variables(layer))}
    by_attribute: dict[int, str] = {}
    for attribute, value in vars(layer).items():
        if attribute in BOOKS or attribute.startswith("_self_"):
            continue
        for place, x in _leaves(attribute.lstrip("_"), value):
            if id(x) in held:
                by_attribute.setdefault(id(x), place)
    for number, x in enumerate(held.values()):
        by_attribute.setdefault(id(x), f"layer_{number}")
    names = Counter(x.name for x in held.values())
    result: dict[str, Any] = {}
    for key, x in held.items():
        given = names[x.name] == 1 and not _is_automatic(x)
        name = x.name if given else by_attribute[key]
        result[name if name not in result else f"{name}_{len(result)}"] = x
    return result


def tree(layer: keras.layers.Layer, path: str = "") -> Iterator[tuple[str, Any]]:
    """All that a layer holds, with paths like "attention/query"; not what is inside of models that
    have a graph of their own."""
    for name, x in parts(layer).items():
        here = f"{path}{name}"
        yield here, x
        if isinstance(x, keras.layers.Layer) and functional(x) is None:
            yield from tree(x, here + "/")


def _leaves(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list | tuple):
        for number, x in enumerate(value):
            yield from _leaves(f"{place}_{number}", x)
    elif isinstance(value, dict):
        for key, x in value.items():
            yield from _leaves(f"{place}_{key}".replace("/", "_"), x)
    elif isinstance(value, keras.layers.Layer | keras.Variable):
        yield place, value


def _is_automatic(x: Any) -> bool:
    """Whether Keras chose the name: the class in snake case, perhaps numbered."""
    kind = "variable" if isinstance(x, keras.Variable) else to_snake_case(type(x).__name__)
    return re.fullmatch(re.escape(kind) + r"(_\d+)?", x.name) is not None
