"""Opens composite layers: runs what their `call` does on symbolic tensors, and lists it."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from tfrcp.graph.held import HeldWeight
from tfrcp.graph.inside import BOOKS, functional, own_variables, tree
from tfrcp.graph.steps import BATCH, Refused, Step, Tensor, kinds_of, nodes_between, step_of


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


def can_be_opened(operation: Any) -> bool:
    """Whether something is a layer that may be made of others, other than a model with a graph.

    Keras's own layers that hold no layers are not: they call what Keras does not show.
    """
    return (
        isinstance(operation, keras.layers.Layer)
        and functional(operation) is None
        and (bool(operation._layers) or not type(operation).__module__.startswith("keras."))
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
    try:  # with a number for the batch, so that it can be told wherever it goes
        return _run(layer, *_with_batch((args, dict(kwargs))))
    except Exception as error:  # whatever a user's code does with symbolic tensors
        first = error
    try:
        return _run(layer, args, kwargs)
    except Refused as refused:
        raise (first if isinstance(first, Refused) else refused) from None
    except Exception as error:  # likewise; this one speaks of the sizes that the user knows
        if isinstance(first, Refused):
            raise first from None
        raise Refused(f"its `call` does not run on symbolic tensors: {_line(error)}") from error


def _check(layer: keras.layers.Layer, args: Any, kwargs: Mapping[str, Any]) -> None:
    """Refuses what can be told without calling the layer."""
    if not layer.built:
        raise Refused("it is not built")
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
    made: dict[int, Tensor] = {}

    def sized(x: Any) -> Any:
        if isinstance(x, Tensor) and len(x.shape) and x.shape[0] is None:
            if id(x) not in made:
                made[id(x)] = Tensor((BATCH, *x.shape[1:]), dtype=x.dtype)
            return made[id(x)]
        return x

    return keras.tree.map_structure(sized, structure)


def _run(
    layer: keras.layers.Layer,
    args: Any,
    kwargs: Mapping[str, Any],
    read_from: Sequence[keras.layers.Layer] = (),
) -> Opened:
    """Calls the layer once and lists what it did.

    Args:
        layer: The layer.
        args: Positional arguments.
        kwargs: Keyword arguments.
        read_from: Inner layers of which it reads the weights without calling them on its inputs.
    """
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
    with (
        _as_before([layer, *held]),
        _plain_errors(),
        _weights_of([layer, *read_from]) as own,
        _run_inside(held),
        _Reads() as reads,
    ):
        ends = [*given, *own]
        outputs = layer.call(*_cast(layer, tuple(args)), **_cast(layer, options))
        flat = [x for x in keras.tree.flatten(outputs) if x is not None]
        if not flat or not all(isinstance(x, Tensor) for x in flat):
            raise Refused("it returns something that does not depend on its inputs")
        nodes = nodes_between(ends, flat)
        if found is not None and kinds_of(nodes) != _trained(layer, ends, args, options):
            raise Refused("its `call` does something else in training")
    if reads.variables:
        owners = [x for x in held if any(id(v) in reads.variables for v in own_variables(x))]
        if owners and not set(owners) & set(read_from):
            return _run(layer, args, kwargs, (*read_from, *owners))
        variable = next(iter(reads.variables.values()))
        raise Refused(f"it computes with the weight '{variable.path}' outside of its layer")
    called = {id(node.operation) for node in nodes}
    if any(id(x) in called for x in read_from):
        raise Refused("it both calls an inner layer and computes with its weights")
    read = {id(x) for node in nodes for x in node.input_tensors}
    steps = []
    for x, operation in own.items():
        if id(x) in read:
            names[id(operation)] = names[id(operation.variable)]
            steps.append(Step(operation, (), {}, (), [x]))
    steps += [step_of(node, names, given) for node in nodes]
    return Opened(given, steps, flat, names)


def _trained(layer: keras.layers.Layer, ends: list[Any], args: Any, options: Any) -> list[str]:
    """The kinds of operations that a layer calls in training."""
    try:
        options = {**options, "training": True}
        outputs = layer.call(*_cast(layer, tuple(args)), **_cast(layer, options))
        return kinds_of(
            nodes_between(ends, [x for x in keras.tree.flatten(outputs) if x is not None])
        )
    except Exception:  # whatever a user's code does: it does not do what it does in inference
        return []


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
def _run_inside(held: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """Has inner layers of layers run as they are where Keras cannot tell what they return."""

    def call(layer: keras.layers.Layer) -> Any:
        symbolic = layer.symbolic_call

        def run(*args: Any, **kwargs: Any) -> Any:
            try:
                return symbolic(*args, **kwargs)
            except Exception:  # such as one output that is `None`
                return layer.call(*args, **kwargs)

        return run

    some = [x for x in held if x._layers and functional(x) is None]
    try:
        for x in some:
            vars(x)["symbolic_call"] = call(x)
        yield
    finally:
        for x in some:
            vars(x).pop("symbolic_call", None)


@contextlib.contextmanager
def _weights_of(layers: Sequence[keras.layers.Layer]) -> Iterator[dict[Tensor, HeldWeight]]:
    """Puts symbolic tensors in place of the weights that layers hold themselves.

    Yields:
        Dict that maps each of them to the operation that stands for it.
    """
    tensors: dict[int, Tensor] = {}
    found: dict[Tensor, HeldWeight] = {}
    for owner, v in [(x, v) for x in layers for v in own_variables(x)]:
        if "float" in str(v.dtype):
            cast = owner.autocast and getattr(v, "_autocast", True)
            operation = HeldWeight(v, owner.compute_dtype if cast else str(v.dtype))
            tensors[id(v)] = Tensor(v.shape, dtype=operation.dtype)
            found[tensors[id(v)]] = operation

    def stand_in(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [stand_in(x) for x in value]
        if isinstance(value, dict):
            return {name: stand_in(x) for name, x in value.items()}
        return tensors.get(id(value), value)

    before = [
        (vars(layer), name, value)
        for layer in layers
        for name, value in vars(layer).items()
        if name not in BOOKS and any(id(x) in tensors for x in keras.tree.flatten(value))
    ]
    try:
        for place, name, value in before:
            place[name] = stand_in(value)
        yield found
    finally:
        for place, name, value in before:
            place[name] = value


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


def _line(error: Exception) -> str:
    """What an error says, in one line, without what Keras adds."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    text = re.sub(r"^Exception encountered when calling [^\n]*\n+", "", text)
    text = text.split("\n\nArguments received by")[0].strip()
    first = text.splitlines()[0].strip() if text else ""
    return f"{type(error).__name__}: {first}"[:200]
