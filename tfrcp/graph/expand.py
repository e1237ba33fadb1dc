"""Opens composite layers: runs what their `call` does on symbolic tensors, and lists it.

The batch is a number that divides no other size, so that it is known again wherever a layer puts it:
in a target shape, in front of windows, on another axis. Weights that a layer reads itself stand as
symbolic tensors, too. The layer and all that it holds are afterwards as they were before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras.src.ops.node import Node

from tfrcp.graph.inside import functional, own_variables, parts, tree
from tfrcp.graph.opened import Constant, ForEachImage, Weight

_BATCHES = (1009, 1013, 1019, 1021, 1031)
#: Operations that run functions of the user's, which hold layers and weights that nobody sees.
_HIDING = frozenset(
    "AssociativeScan Cond CustomGradient ForiLoop Map Scan Switch VectorizedMap WhileLoop".split()
)
_BROADCASTING = frozenset(
    "Add Divide Equal Greater GreaterEqual Less LessEqual LogicalAnd LogicalOr Maximum Minimum "
    "Multiply NotEqual Subtract TrueDivide Where".split()
)

Tensor = keras.KerasTensor


class Refused(Exception):
    """A layer cannot be opened.

    Attributes:
        layer: The layer.
        reason: Why.
    """

    def __init__(self, layer: keras.layers.Layer, reason: str) -> None:
        super().__init__(reason)
        self.layer, self.reason = layer, reason


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """Something that an opened layer calls.

    Attributes:
        operation: What is called.
        path: Where it stands below the opened layer; empty for an operation without a name.
        scope: Where the layer stands that calls it.
        within: The opened layers around it, from the outside in.
        args: Positional arguments with symbolic tensors.
        kwargs: Keyword arguments, likewise.
        outputs: The symbolic tensors that it makes.
    """

    operation: keras.Operation
    path: str
    scope: str
    within: tuple[keras.layers.Layer, ...]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[Tensor, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Opened:
    """An opened layer.

    Attributes:
        records: What it calls, in order.
        outputs: What it returns: symbolic tensors.
        closed: Maps the paths of the inner layers that stay whole to the reasons.
    """

    records: tuple[Record, ...]
    outputs: tuple[Tensor, ...]
    closed: Mapping[str, str]


def batch_size(shapes: Sequence[Sequence[int | None]]) -> int:
    """A number for the batch that divides none of the sizes."""
    sizes = {n for shape in shapes for n in shape if n}
    return next((p for p in _BATCHES if all(n % p for n in sizes)), _BATCHES[0])


def locate(shape: Sequence[int | None], batch: int) -> tuple[int | None, int]:
    """The axis on which the batch lies, `None` if there is none, and its rows per image.

    Raises:
        ValueError: If it lies on several.
    """
    axes = [axis for axis, n in enumerate(shape) if n and n % batch == 0]
    if len(axes) > 1:
        raise ValueError("multiplies the images of a batch with each other")
    return (axes[0], shape[axes[0]] // batch) if axes else (None, 1)


def unfold(
    layer: keras.layers.Layer,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    opens: Callable[[keras.Operation], bool],
    batch: int,
) -> Opened:
    """Lists what a layer calls.

    Args:
        layer: A built layer.
        args: Positional arguments with symbolic tensors, the batch of which is `batch`.
        kwargs: Keyword arguments, likewise.
        opens: Whether an inner layer is to be opened as well.
        batch: The number that stands for the batch.

    Returns:
        `Opened`. Inner layers that cannot be opened are called whole.

    Raises:
        Refused: If the layer itself cannot be opened.
    """
    unfolding = _Unfolding(layer, opens, batch)
    while True:
        try:
            return unfolding.run(args, kwargs)
        except Refused as refused:
            if refused.layer is layer or id(refused.layer) in unfolding.closed:
                raise Refused(layer, refused.reason) from refused
            unfolding.closed[id(refused.layer)] = refused.reason


class _Reads(keras.StatelessScope):
    """Notes which variables are read while no tensor of TensorFlow's stands for them."""

    def __init__(self) -> None:
        super().__init__()
        self.variables: dict[int, keras.Variable] = {}

    def get_current_value(self, variable: keras.Variable) -> Any:
        """The variable's value, noted."""
        self.variables[id(variable)] = variable
        return super().get_current_value(variable)


class _Symbol(Tensor):
    """A weight as a symbolic tensor, which answers for the variable."""

    @property
    def value(self) -> _Symbol:
        """Itself."""
        return self


class _Unfolding:
    """What is known while a layer is opened.

    Args:
        layer: The layer.
        opens: Whether an inner layer is to be opened as well.
        batch: The number that stands for the batch.

    Attributes:
        closed: Reasons for the layers that stay whole, by id.
    """

    def __init__(
        self, layer: keras.layers.Layer, opens: Callable[[Any], bool], batch: int
    ) -> None:
        self.layer, self.batch = layer, batch
        self.paths: dict[int, str] = {id(layer): ""}
        self.held: dict[int, Any] = {id(layer): layer}
        for path, x in tree(layer):
            self.paths.setdefault(id(x), path)
            self.held.setdefault(id(x), x)
        self.owners = {
            id(x): owner
            for owner in self.layers
            if functional(owner) is None
            for x in parts(owner).values()
        }
        self.opens = {id(x) for x in self.layers if x is layer or opens(x)}
        self.closed: dict[int, str] = {}
        self.weights: dict[int, tuple[keras.Variable, keras.layers.Layer, Tensor]] = {}
        self.tensors: dict[int, tuple[Any, Tensor]] = {}

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The layer and all layers inside of it."""
        return [x for x in self.held.values() if isinstance(x, keras.layers.Layer)]

    def run(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Opened:
        """Calls the layer once, and lists what it did."""
        self.stack: list[keras.layers.Layer] = []
        self.made: dict[int, Node | None] = {}
        self.scopes: dict[int, tuple[tuple[keras.layers.Layer, ...], Node]] = {}
        self.weights, self.tensors, self.constants = {}, {}, {}
        self.failed: dict[int, str] = {}
        given = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, Tensor)]
        self.given = {id(x) for x in given}
        with self._transparent(), _plain_errors(), _Reads() as reads:
            outputs = keras.tree.flatten(self.layer(*args, **kwargs))
            nodes = self._nodes(outputs)
        outputs = [x for x in outputs if x is not None]
        records = self._records(nodes, given)
        self._check_variables(records, reads.variables)
        closed = {**self.closed, **self.failed}
        whole = {self.paths[i]: reason for i, reason in closed.items()}
        used = {record.path for record in records}
        return Opened(
            tuple(records), tuple(outputs), {p: r for p, r in whole.items() if p in used}
        )

    # Running.

    @contextlib.contextmanager
    def _transparent(self) -> Iterator[None]:
        """Lets all layers that are opened run their `call` on symbolic tensors."""
        lengths = [
            (nodes, len(nodes))
            for x in self.layers
            for nodes in (x._inbound_nodes, x._outbound_nodes)
        ]
        for layer in self.layers:
            state = vars(layer)  # set past Keras, which would track it
            if id(layer) in self.opens and id(layer) not in self.closed:
                run = functools.partial(self._inside, layer, layer.call)
                state["symbolic_call"] = run
                state["call"] = _on_numbers(layer.call, run)
            elif own_variables(layer) or functional(layer) is not None:
                on_constants = functools.partial(self._on_constants, layer)
                state["call"] = _on_numbers(layer.call, on_constants)
        try:
            yield
        finally:
            for layer in self.layers:
                vars(layer).pop("symbolic_call", None)
                vars(layer).pop("call", None)
            for nodes, length in lengths:
                del nodes[length:]

    def _inside(self, layer: keras.layers.Layer, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Runs an opened layer's `call`; one that fails is called whole, if it is not the first."""
        given = keras.tree.flatten((args, kwargs))
        if kwargs.get("training") is False and _default(call, "training") is False:
            kwargs["training"] = None  # nobody said so
            layer._get_call_context().set_value("training", None)
        if any(keras.src.backend.get_keras_mask(x) is not None for x in given):
            raise Refused(layer, "is given tensors with a mask")
        self.stack.append(layer)
        try:
            with self._symbols(layer):
                outputs = call(*args, **kwargs)
        except Refused:
            raise
        except Exception as error:  # whatever a user's code does with symbolic tensors
            reason = f"its `call` does not run on symbolic tensors: {_message(error)}"
            if layer is self.layer:
                raise Refused(layer, reason) from error
            self.failed[id(layer)] = reason
            return type(layer).symbolic_call(layer, *args, **kwargs)
        finally:
            self.stack.pop()
        flat = [x for x in keras.tree.flatten(outputs) if x is not None]
        if not all(isinstance(x, Tensor) for x in flat):
            raise Refused(layer, "returns something that does not depend on its inputs")
        here = (*self.stack, layer)
        for x in flat:
            self.made.setdefault(id(x), self._node(x))
        for node in self._nodes(flat, {id(x) for x in given}):
            self.scopes.setdefault(id(node), (here, node))
        return outputs

    @contextlib.contextmanager
    def _symbols(self, layer: keras.layers.Layer) -> Iterator[None]:
        """Puts symbolic tensors in the place of a layer's own weights."""
        symbols = {}
        for variable in own_variables(layer):
            if "float" in str(variable.dtype):
                symbols[id(variable)] = self._symbol(variable, layer)
        undo = list(_replaced(vars(layer), symbols))
        try:
            yield
        finally:
            for place, key, old in undo:
                _put(place, key, old)

    def _symbol(self, variable: keras.Variable, owner: keras.layers.Layer) -> Tensor:
        """The symbolic tensor that stands for a variable."""
        if id(variable) not in self.weights:
            layer = Weight.around(variable, owner, "weight")
            symbol = _Symbol(variable.shape, dtype=layer.given_dtype)
            self.weights[id(variable)] = variable, owner, symbol
            self.tensors[id(symbol)] = layer, symbol
        return self.weights[id(variable)][2]

    def _on_constants(self, layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        """Calls an inner layer on numbers as if they were tensors of the graph."""

        def tensor(x: Any) -> Any:
            if not _is_number_array(x):
                return x
            value = np.asarray(x)
            if any(n and n % self.batch == 0 for n in value.shape):
                raise Refused(self.stack[-1], "gives an inner layer an array as long as the batch")
            symbol = Tensor(value.shape, dtype=str(value.dtype))
            self.tensors[id(symbol)] = Constant(value, name="constant"), symbol
            return symbol

        args, kwargs = keras.tree.map_structure(tensor, (args, kwargs))
        outputs = type(layer).symbolic_call(layer, *args, **kwargs)
        Node(operation=layer, call_args=args, call_kwargs=kwargs, outputs=outputs)
        return outputs

    # Listing.

    def _node(self, x: Tensor) -> Node | None:
        """The call that made a tensor; `None` for what an opened layer is given."""
        if id(x) in self.given or id(x) in self.tensors:
            return None
        if id(x) in self.made:
            return self.made[id(x)]
        history = getattr(x, "_keras_history", None)
        if history is None or history.operation is None:
            raise Refused(self.stack[-1] if self.stack else self.layer, "reads a tensor from afar")
        return history.operation._inbound_nodes[history.node_index]

    def _nodes(self, outputs: Sequence[Any], ends: set[int] = frozenset()) -> list[Node]:
        """All calls that lead to some tensors, in order; none before `ends`."""
        ordered: dict[int, Node] = {}
        waiting: list[tuple[Any, bool]] = [(x, False) for x in reversed(outputs) if x is not None]
        seen: set[int] = set()
        while waiting:
            x, ready = waiting.pop()
            if ready:
                ordered.setdefault(id(x), x)
                continue
            node = None if id(x) in ends else self._node(x)
            if node is None or id(node) in seen:
                continue
            seen.add(id(node))
            waiting.append((node, True))
            waiting += [(y, False) for y in reversed(node.input_tensors)]
        return list(ordered.values())

    def _records(self, nodes: Sequence[Node], given: Sequence[Tensor]) -> list[Record]:
        records: list[Record] = []
        anchor = next((x for x in given if locate(x.shape, self.batch)[0] is not None), None)
        told: set[int] = set()
        if anchor is None:
            raise Refused(self.layer, "is given nothing with a batch")

        def source(x: Any, within: tuple[keras.layers.Layer, ...]) -> Any:
            """Lists what gives a weight or a constant, before its first use."""
            if isinstance(x, keras.Variable):
                owner = self.owners.get(id(x))
                if owner is None or id(owner) not in self.opens or id(owner) in self.closed:
                    raise Refused(within[-1], f"reads the weight '{x.path}' of an inner layer")
                x = self._symbol(x, owner)
            if id(x) in self.tensors and id(x) not in told:
                told.add(id(x))
                layer, symbol = self.tensors[id(x)]
                path = ""
                if isinstance(layer, Weight):
                    path = self.paths[id(layer.value)]
                records.append(
                    Record(layer, path, self._scope(within), within, (anchor,), {}, (symbol,))
                )
            return x

        for node in nodes:
            within = self.scopes[id(node)][0]
            fill = functools.partial(source, within=within)
            args, kwargs = keras.tree.map_structure(
                fill, (tuple(node.arguments.args), dict(node.arguments.kwargs))
            )
            kwargs = {k: v for k, v in kwargs.items() if not (k == "training" and v is None)}
            operation, args, kwargs = self._mended(node, args, kwargs, anchor, within[-1])
            for x in node.outputs:
                try:
                    axis, _ = locate(x.shape, self.batch)
                except ValueError as error:
                    raise Refused(within[-1], str(error)) from error
                if axis is None and any(
                    locate(y.shape, self.batch)[0] is not None for y in node.input_tensors
                ):
                    raise Refused(within[-1], "computes something of all images of a batch together")
            path = self.paths.get(id(operation), "")
            records.append(
                Record(
                    operation, path, self._scope(within), within, args, kwargs, tuple(node.outputs)
                )
            )
        return records

    def _scope(self, within: tuple[keras.layers.Layer, ...]) -> str:
        return self.paths[id(within[-1])]

    def _mended(
        self,
        node: Node,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        anchor: Tensor,
        owner: keras.layers.Layer,
    ) -> tuple[keras.Operation, tuple[Any, ...], dict[str, Any]]:
        """The call for a batch of any size."""
        operation, kind = node.operation, type(node.operation).__name__
        if kind in _HIDING:
            raise Refused(owner, f"calls `{kind}`, which runs a function out of sight")
        if kind in _BROADCASTING:
            args, kwargs = keras.tree.map_structure(self._one_row, (args, kwargs))
        leaves = keras.tree.flatten((args, kwargs))
        if not isinstance(operation, keras.layers.Layer):
            own = {k: v for k, v in vars(operation).items() if not k.startswith("_")}
            if any(self._has_batch(x) for x in keras.tree.flatten(own)):
                found = self._with_open_batch(node, anchor)
                if found is None:
                    raise Refused(owner, f"calls `{kind}` with the batch size in a way unknown")
                operation, args, kwargs = found
                leaves = ()
        if any(self._has_batch(x) for x in leaves):
            raise Refused(owner, f"calls `{kind}` with numbers that depend on the batch size")
        return operation, args, kwargs

    def _has_batch(self, x: Any) -> bool:
        if isinstance(x, Tensor):
            return False
        if isinstance(x, bool | np.bool_):
            return False
        if isinstance(x, int | np.integer):
            return bool(x) and x % self.batch == 0
        if isinstance(x, slice):
            return any(self._has_batch(n) for n in (x.start, x.stop, x.step))
        shape = getattr(x, "shape", ())
        return any(n and n % self.batch == 0 for n in tuple(shape))

    def _one_row(self, x: Any) -> Any:
        """An array with the same numbers for every image, once."""
        if not _is_number_array(x):
            return x
        value = np.asarray(x)
        if value.ndim and value.shape[0] == self.batch and (value == value[:1]).all():
            return keras.ops.convert_to_tensor(value[:1])
        return x

    def _with_open_batch(
        self, node: Node, anchor: Tensor
    ) -> tuple[keras.Operation, tuple[Any, ...], dict[str, Any]] | None:
        """A reshape or a repetition for a batch of any size; `None` for anything else."""
        operation, kind = node.operation, type(node.operation).__name__
        source, target = node.input_tensors[0], node.outputs[0]
        axis, rows = locate(target.shape, self.batch)
        if kind == "Reshape":
            sizes = list(target.shape)
            if None in sizes:
                return None
            sizes[axis] = -1
            again = type(operation)(tuple(sizes), name=operation.name)
            return again, (source,), {}
        repeats = kind in ("Tile", "BroadcastTo", "Repeat") and (axis, rows) == (0, 1)
        if repeats and source.shape == (1, *target.shape[1:]):
            return ForEachImage(name="for_each_image"), (source, anchor), {}
        return None

    def _check_variables(
        self, records: Sequence[Record], read: Mapping[int, keras.Variable]
    ) -> None:
        """Refuses a layer whose weights went into numbers that nothing shows."""
        held = {id(v) for record in records for v in getattr(record.operation, "variables", ())}
        for key, variable in read.items():
            if key not in held and "float" in str(variable.dtype) and math.prod(variable.shape):
                owner = self.owners.get(key)
                while owner is not None and id(owner) not in self.opens:
                    owner = self.owners.get(id(owner))
                raise Refused(
                    owner or self.layer, f"computes with the numbers in the weight '{variable.name}'"
                )


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


def _on_numbers(call: Any, instead: Any) -> Any:
    """A layer's `call` that does something else with arrays, outside of TensorFlow's graphs."""

    @functools.wraps(call)
    def chosen(*args: Any, **kwargs: Any) -> Any:
        tensors = [x for x in keras.tree.flatten((args, kwargs)) if hasattr(x, "shape")]
        numbers = bool(tensors) and all(_is_number_array(x) for x in tensors)
        return instead(*args, **kwargs) if numbers and not _in_graph() else call(*args, **kwargs)

    return chosen


def _in_graph() -> bool:
    """Whether TensorFlow is tracing a function, as it does to find the shape of an output."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return tf.inside_function()


def _is_number_array(x: Any) -> bool:
    """Whether something is an array with numbers in it, rather than a tensor yet to come."""
    return isinstance(x, np.ndarray) or (
        keras.ops.is_tensor(x) and hasattr(x, "numpy") and not isinstance(x, keras.Variable)
    )


def _default(call: Any, name: str) -> Any:
    found = inspect.signature(call).parameters.get(name)
    return None if found is None else found.default


def _replaced(state: Any, new: Mapping[int, Any]) -> Iterator[tuple[Any, Any, Any]]:
    """Replaces objects in attributes, lists and dicts; yields what undoes it."""
    keys = range(len(state)) if isinstance(state, list) else list(state)
    for key in keys:
        if isinstance(key, str) and key.startswith(("_self_", "_trainable_v", "_non_trainable_v")):
            continue
        value = state[key]
        if id(value) in new:
            _put(state, key, new[id(value)])
            yield state, key, value
        elif isinstance(value, list | dict) and key not in ("_layers", "_tracker"):
            yield from _replaced(value, new)


def _put(state: Any, key: Any, value: Any) -> None:
    """Sets an entry past a list or dict that tracks."""
    (list if isinstance(state, list) else dict).__setitem__(state, key, value)


def _message(error: Exception) -> str:
    """What an error says, in one line, without what Keras adds."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    text = re.sub(r"^Exception encountered when calling [^\n]*\n+", "", text)
    text = text.split("\n\nArguments received by")[0].strip()
    first = text.splitlines()[0].strip() if text else ""
    return f"{type(error).__name__}: {first}"[:200]
