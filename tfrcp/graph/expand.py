"""Opens composite layers: runs what their `call` does on symbolic tensors, and lists it."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfrcp.graph.inside import functional, own_variables, tree

#: Stands for the batch where a layer asks for its size: a prime that divides no usual size.
BATCH = 1009
#: Operations that run functions of the user's, which hold layers and weights that nobody sees.
_HIDING = frozenset(
    "AssociativeScan Cond CustomGradient ForiLoop Map Scan Switch VectorizedMap WhileLoop".split()
)

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


@dataclasses.dataclass(frozen=True, eq=False)
class Opened:
    """An opened layer.

    Attributes:
        given: The symbolic tensors that it was called on, in order.
        steps: What it calls, in order.
        outputs: What it returns.
        names: Maps id(layer) to the path of the layer below the opened one.
    """

    given: Sequence[Tensor]
    steps: Sequence[Step]
    outputs: Sequence[Tensor]
    names: Mapping[int, str]


def is_composite(operation: Any) -> bool:
    """Whether something is a layer that holds layers, other than a model with a graph."""
    return (
        isinstance(operation, keras.layers.Layer)
        and functional(operation) is None
        and bool(operation._layers)
    )


def unfold(layer: keras.layers.Layer, args: Any, kwargs: Mapping[str, Any]) -> Opened:
    """Lists what a composite layer calls, as in inference.

    Args:
        layer: A built layer.
        args: Positional arguments with symbolic tensors, the batch of which is open.
        kwargs: Keyword arguments, likewise.

    Returns:
        `Opened`. The layer, and all that it holds, are as they were before.

    Raises:
        Refused: If what it does is not told by the operations that it calls.
    """
    _check(layer, args, kwargs)
    first: Exception
    try:
        return _run(layer, args, kwargs)
    except Exception as error:  # whatever a user's code does with symbolic tensors
        first = error
    try:
        return _run(layer, *_with_batch((args, dict(kwargs))))
    except Refused:
        raise
    except Exception:  # likewise; the first error speaks of the sizes that the user knows
        if isinstance(first, Refused):
            raise first from None
        raise Refused(f"its `call` does not run on symbolic tensors: {_line(first)}") from first


def _check(layer: keras.layers.Layer, args: Any, kwargs: Mapping[str, Any]) -> None:
    """Refuses what can be told without calling the layer."""
    if not layer.built:
        raise Refused("it is not built")
    if own_variables(layer):
        raise Refused(f"it has a weight of its own, '{own_variables(layer)[0].name}'")
    if type(layer).__call__ not in (keras.layers.Layer.__call__, keras.Model.__call__):
        raise Refused("it has a `__call__` of its own")
    if layer.activity_regularizer is not None:
        raise Refused("it has an activity regularizer")
    if getattr(layer, "quantization_mode", None) is not None:
        raise Refused("it is quantized")
    tensors = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, Tensor)]
    if not tensors:
        raise Refused("it is given no tensor")
    if kwargs.get("training") is True:
        raise Refused("it is called with training=True")


def _with_batch(structure: Any) -> Any:
    """The same tensors with a number for the batch."""

    def sized(x: Any) -> Any:
        if isinstance(x, Tensor) and len(x.shape) and x.shape[0] is None:
            return Tensor((BATCH, *x.shape[1:]), dtype=x.dtype)
        return x

    return keras.tree.map_structure(sized, structure)


def _run(layer: keras.layers.Layer, args: Any, kwargs: Mapping[str, Any]) -> Opened:
    """Calls the layer once and lists what it did."""
    given = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, Tensor)]
    given = list({id(x): x for x in given}.values())
    names: dict[int, str] = {id(layer): ""}
    for path, x in tree(layer):
        names.setdefault(id(x), path)
    held = [x for _, x in tree(layer) if isinstance(x, keras.layers.Layer)]
    options = dict(kwargs)
    found = inspect.signature(layer.call).parameters.get("training")
    if "training" in options or (found is not None and found.default is not inspect._empty):
        options["training"] = None  # inference, where nobody says otherwise
    if found is None:
        options.pop("training", None)
    with _as_before([layer, *held]), _plain_errors(), _Reads() as reads:
        outputs = layer.call(*_cast(layer, tuple(args)), **_cast(layer, options))
        flat = [x for x in keras.tree.flatten(outputs) if x is not None]
        if not flat or not all(isinstance(x, Tensor) for x in flat):
            raise Refused("it returns something that does not depend on its inputs")
        nodes = _nodes(flat, given)
        if found is not None and _kinds(nodes) != _trained(layer, given, args, options):
            raise Refused("its `call` does something else in training")
    if reads.variables:
        variable = next(iter(reads.variables.values()))
        raise Refused(f"it computes with the weight '{variable.path}' outside of its layer")
    steps = [_step(node, names) for node in nodes]
    for x in [x for step in steps for x in step.outputs]:
        if any(n and n % BATCH == 0 for n in x.shape[1:]) or (
            x.shape and x.shape[0] and x.shape[0] % BATCH == 0 and x.shape[0] != BATCH
        ):
            raise Refused("it moves the batch to another axis, or joins it with one")
    return Opened(given, steps, flat, names)


def _trained(layer: keras.layers.Layer, given: list[Any], args: Any, options: Any) -> list[str]:
    """The kinds of operations that a layer calls in training."""
    try:
        options = {**options, "training": True}
        outputs = layer.call(*_cast(layer, tuple(args)), **_cast(layer, options))
        return _kinds(_nodes([x for x in keras.tree.flatten(outputs) if x is not None], given))
    except Exception:  # whatever a user's code does: it does not do what it does in inference
        return []


def _kinds(nodes: Iterable[Any]) -> list[str]:
    return sorted(type(node.operation).__name__ for node in nodes)


def _cast(layer: keras.layers.Layer, args: Any) -> Any:
    """What Keras does with the arguments before it hands them to `call`."""

    def cast(x: Any) -> Any:
        if isinstance(x, Tensor) and layer.autocast and "float" in x.dtype:
            return x if x.dtype == layer.compute_dtype else keras.ops.cast(x, layer.compute_dtype)
        return x

    return keras.tree.map_structure(cast, args)


class _Reads(keras.StatelessScope):
    """Notes which variables are read other than by a layer that is called."""

    def __init__(self) -> None:
        super().__init__()
        self.variables: dict[int, keras.Variable] = {}

    def get_current_value(self, variable: keras.Variable) -> Any:
        """The variable's value, noted."""
        self.variables[id(variable)] = variable
        return super().get_current_value(variable)


@contextlib.contextmanager
def _as_before(held: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """Takes away the nodes that layers get when they are called on symbolic tensors."""
    lists = [nodes for x in held for nodes in (x._inbound_nodes, x._outbound_nodes)]
    lengths = [len(nodes) for nodes in lists]
    try:
        yield
    finally:
        for nodes, length in zip(lists, lengths, strict=True):
            del nodes[length:]


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Keeps Keras from making other errors of those that pass."""
    filtered = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()
    try:
        yield
    finally:
        if filtered:
            keras.config.enable_traceback_filtering()


def _nodes(outputs: Sequence[Tensor], given: Sequence[Tensor]) -> list[Any]:
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


def _step(node: Any, names: Mapping[int, str]) -> Step:
    """One call, for a batch of any size."""
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
    else:
        operation = _open_batch(operation, node)
        if isinstance(operation, type(node.operation)) and operation is not node.operation:
            args, kwargs = (node.input_tensors[0],), {}
    leaves = keras.tree.flatten((args, kwargs))
    if any(isinstance(x, keras.Variable) for x in leaves):
        raise Refused(f"it calls `{kind}` on a weight of an inner layer")
    if any(_has_batch(x) for x in leaves):
        raise Refused(f"it calls `{kind}` with numbers that depend on the batch size")
    return Step(operation, args, kwargs, node.input_tensors, node.outputs)


def _open_batch(operation: keras.Operation, node: Any) -> keras.Operation:
    """The operation, or for a reshape to the size of the batch one to an open size."""
    own = [v for k, v in vars(operation).items() if not k.startswith("_")]
    open_sizes = any(isinstance(v, tuple | list) and None in v for v in own)
    if not open_sizes and not any(_has_batch(x) for x in keras.tree.flatten(own)):
        return operation
    kind, shape = type(operation).__name__, node.outputs[0].shape
    if kind != "Reshape" or None in shape[1:] or shape[0] not in (None, BATCH):
        raise Refused(f"it calls `{kind}` with numbers that depend on the batch size")
    return type(operation)((-1, *shape[1:]), name=operation.name)


def _has_batch(x: Any) -> bool:
    """Whether an argument holds a number that the batch size went into."""
    if isinstance(x, Tensor | bool | np.bool_):
        return False
    if isinstance(x, int | np.integer):
        return bool(x) and x % BATCH == 0
    if isinstance(x, slice):
        return any(_has_batch(n) for n in (x.start, x.stop, x.step))
    return any(n and n % BATCH == 0 for n in tuple(getattr(x, "shape", ()) or ()))


def _line(error: Exception) -> str:
    """What an error says, in one line, without what Keras adds."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    text = re.sub(r"^Exception encountered when calling [^\n]*\n+", "", text)
    text = text.split("\n\nArguments received by")[0].strip()
    first = text.splitlines()[0].strip() if text else ""
    return f"{type(error).__name__}: {first}"[:200]
