"""What an opened layer has called, one step for each call, for a batch of any size."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfrcp.graph.held import AcrossBatch

#: Stands for the batch where a layer asks for its size: a prime that divides no usual size.
BATCH = 7919
#: Operations that run functions of the user's, which hold layers and weights that nobody sees.
_HIDING = frozenset(
    "AssociativeScan Cond CustomGradient ForiLoop Map Scan Switch VectorizedMap WhileLoop".split()
)
#: Operations that may do nothing but repeat a tensor for every example of the batch.
_REPEATING = ("BroadcastTo", "Repeat", "Tile")

Tensor = keras.KerasTensor


class Refused(Exception):
    """A layer cannot be opened; the message says why."""


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """Something that an opened layer calls, told as a node of Keras's graph is.

    Attributes:
        operation: What is called.
        args: Positional arguments with symbolic tensors.
        kwargs: Keyword arguments, likewise.
        input_tensors: The symbolic tensors among them.
        outputs: The symbolic tensors that it makes.
    """

    operation: keras.Operation
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    input_tensors: Sequence[Tensor]
    outputs: Sequence[Tensor]


def maker(x: Tensor) -> keras.Operation | None:
    """The operation that made a symbolic tensor, if any."""
    return getattr(getattr(x, "_keras_history", None), "operation", None)


def nodes_between(given: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Any]:
    """All calls that lead from the given tensors to the outputs, in order."""
    ends = {id(x) for x in given}
    ordered: dict[int, Any] = {}
    seen: set[int] = set()
    waiting: list[tuple[Any, bool]] = [(x, False) for x in reversed(outputs)]
    while waiting:
        x, ready = waiting.pop()
        if ready:
            ordered[id(x)] = x
            continue
        if id(x) in ends:
            continue
        history = getattr(x, "_keras_history", None)
        if history is None or history.operation is None:
            raise Refused("it reads a tensor that it is not given")
        node = history.operation._inbound_nodes[history.node_index]
        if node.is_input:
            raise Refused("it reads a tensor that it is not given")
        if id(node) not in seen:
            seen.add(id(node))
            waiting.append((node, True))
            waiting += [(y, False) for y in reversed(node.input_tensors)]
    return list(ordered.values())


def described(ends: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[str]:
    """What is called, one line for each call and output: which layer or kind of operation, on what.

    Args:
        ends: The tensors that are given.
        outputs: What is made of them.

    Raises:
        Refused: If they are made of something else.
    """
    nodes = nodes_between(ends, outputs)
    places = {id(x): f"given {k}" for k, x in enumerate(ends)}
    for k, node in enumerate(nodes):
        places.update((id(x), f"{k}.{j}") for j, x in enumerate(node.outputs))
    lines = []
    for node in nodes:
        options = {k: x for k, x in node.arguments.kwargs.items() if k != "training"}
        read = (_identity(node.operation), node.arguments.args, options)
        lines.append(str([places.get(id(x), _told(x)) for x in keras.tree.flatten(read)]))
    return [*lines, str([places[id(x)] for x in outputs])]


def _identity(operation: keras.Operation) -> list[Any]:
    """What makes an operation the same: a layer itself, or what it is told where it has no state,
    as it may be made anew at every call."""
    kind = type(operation).__name__
    if getattr(operation, "variables", ()):
        return [kind, id(operation)]
    try:
        told = operation.get_config() if isinstance(operation, keras.layers.Layer) else None
    except Exception:  # whatever a layer of the user's does
        return [kind, id(operation)]
    told = {k: v for k, v in vars(operation).items() if k[0] != "_"} if told is None else told
    return [kind, {k: v for k, v in told.items() if k != "name"}]


def _told(x: Any) -> str:
    """A number, text or array of a call; other objects by their class."""
    if isinstance(x, int | float | str | np.ndarray | np.generic) or keras.ops.is_tensor(x):
        return f"{np.shape(x)} {np.asarray(x).tolist()}"
    return type(x).__name__


def step_of(node: Any, names: Mapping[int, str], given: Sequence[Tensor]) -> Step:
    """One call, for a batch of any size.

    Args:
        node: Keras's node.
        names: Maps id(layer) to a path, for all layers that the opened one holds.
        given: The tensors that the opened layer was called on.

    Raises:
        Refused: If what it does depends on the batch size, or is not all that it does.
    """
    operation, kind = node.operation, type(node.operation).__name__
    args, kwargs = tuple(node.arguments.args), dict(node.arguments.kwargs)
    if kind in _HIDING:
        raise Refused(f"it calls `{kind}`, which runs a function out of sight")
    if isinstance(operation, keras.layers.Layer):
        if id(operation) not in names and operation.variables:
            raise Refused(f"it calls the layer '{operation.name}', which it does not hold")
        told = kwargs.get("training")
        if told is not None:
            parameter = inspect.signature(operation.call).parameters.get("training")
            if parameter is None or parameter.default is not told:
                raise Refused(f"it calls '{operation.name}' with training={told}")
            del kwargs["training"]
    elif kind in _REPEATING and _repeats(node):
        source = next((x for x in given if x.shape and _is_batch(x.shape[0])), None)
        if source is not None:
            pair = (node.input_tensors[0], source)
            return Step(AcrossBatch(), pair, {}, pair, node.outputs)
    else:
        operation = _open_batch(operation, node)
        if operation is not node.operation:
            args, kwargs = (node.input_tensors[0],), {}
    leaves = keras.tree.flatten((args, kwargs))
    if any(isinstance(x, keras.Variable) for x in leaves):
        raise Refused(f"it calls `{kind}` on a weight of an inner layer")
    if any(_has_batch(x) for x in leaves):
        raise Refused(f"it calls `{kind}` with numbers that depend on the batch size")
    for x in node.outputs:
        if sum(_is_batch(n) for n in x.shape if n is not None) > 1:
            raise Refused("it has the batch on two axes at once")
    return Step(operation, args, kwargs, node.input_tensors, node.outputs)


def _is_batch(n: int | None) -> bool:
    """Whether a size is that of the batch, or of the batch joined with another axis."""
    return n is None or (n > 0 and n % BATCH == 0)


def _repeats(node: Any) -> bool:
    """Whether a call repeats one thing for every example and does nothing else."""
    (before,), (after,) = ([x.shape for x in xs] for xs in (node.input_tensors, node.outputs))
    return len(before) == len(after) and before[0] == 1 and after == (BATCH, *before[1:])


def _open_batch(operation: keras.Operation, node: Any) -> keras.Operation:
    """The operation, or for a reshape to the size of the batch one to an open size."""
    own = [v for k, v in vars(operation).items() if not k.startswith("_")]
    open_sizes = any(isinstance(v, tuple | list) and None in v for v in own)
    if not open_sizes and not any(_has_batch(x) for x in keras.tree.flatten(own)):
        return operation
    kind, shape = type(operation).__name__, node.outputs[0].shape
    if kind != "Reshape" or sum(_is_batch(n) for n in shape) != 1:
        raise Refused(f"it calls `{kind}` with numbers that depend on the batch size")
    return type(operation)(tuple(-1 if _is_batch(n) else n for n in shape), name=operation.name)


def _has_batch(x: Any) -> bool:
    """Whether an argument holds a number that the batch size went into."""
    if isinstance(x, Tensor | bool | np.bool_):
        return False
    if isinstance(x, int | np.integer):
        return bool(x) and x % BATCH == 0
    if isinstance(x, slice):
        return any(_has_batch(n) for n in (x.start, x.stop, x.step))
    return any(n and n % BATCH == 0 for n in tuple(getattr(x, "shape", ()) or ()))
