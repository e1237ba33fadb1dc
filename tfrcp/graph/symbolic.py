"""What holds while the `call` of an opened layer runs on symbolic tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
from keras.src.layers import layer as layer_module

from tfrcp.graph.held import HeldWeight
from tfrcp.graph.inside import BOOKS, functional, own_variables
from tfrcp.graph.steps import Tensor


class Reads(keras.StatelessScope):
    """Notes which variables are read other than by a layer that is called."""

    def __init__(self) -> None:
        super().__init__()
        self.variables: dict[int, keras.Variable] = {}

    def get_current_value(self, variable: keras.Variable) -> Any:
        """The variable's value, noted."""
        self.variables[id(variable)] = variable
        return super().get_current_value(variable)


class _Weight(Tensor):
    """Stands for a weight, which can be read as `x[None]`, unlike other symbolic tensors."""

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__((key,) if key is None or key is Ellipsis else key)


@contextlib.contextmanager
def run_inside(held: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """Has inner layers of layers run as they are where Keras cannot tell what they return."""

    def call(layer: keras.layers.Layer) -> Any:
        symbolic = layer.symbolic_call

        def run(*args: Any, **kwargs: Any) -> Any:
            try:
                outputs = symbolic(*args, **kwargs)
                if all(isinstance(x, Tensor) for x in keras.tree.flatten(outputs)):
                    return outputs
            except Exception:  # such as one output that is `None`
                pass
            return layer.call(*args, **kwargs)

        return run

    def node(operation: Any, outputs: Any, **given: Any) -> Any:
        if all(isinstance(x, Tensor) for x in keras.tree.flatten(outputs)):
            return kind(operation=operation, outputs=outputs, **given)
        return None  # what such a layer calls has nodes of its own

    some = [x for x in held if x._layers and functional(x) is None]
    kind = getattr(layer_module, "Node", None)  # newer versions of Keras make it there
    try:
        for x in some:
            vars(x)["symbolic_call"] = call(x)
        if kind is not None:
            layer_module.Node = node
        yield
    finally:
        if kind is not None:
            layer_module.Node = kind
        for x in some:
            vars(x).pop("symbolic_call", None)


@contextlib.contextmanager
def weights_of(layers: Sequence[keras.layers.Layer]) -> Iterator[dict[Tensor, HeldWeight]]:
    """Puts symbolic tensors in place of the weights that layers hold themselves.

    Those that are whole numbers, such as indices of positions, become constants.

    Yields:
        Dict that maps each of them to the operation that stands for it.
    """
    tensors: dict[int, Any] = {}
    found: dict[Tensor, HeldWeight] = {}
    for owner, v in [(x, v) for x in layers for v in own_variables(x)]:
        if "float" in str(v.dtype):
            cast = owner.autocast and getattr(v, "_autocast", True)
            operation = HeldWeight(v, owner.compute_dtype if cast else str(v.dtype))
            tensors[id(v)] = _Weight(v.shape, dtype=operation.dtype)
            found[tensors[id(v)]] = operation
        elif not v.trainable:
            tensors[id(v)] = keras.ops.convert_to_numpy(v)

    with instead(layers, tensors):
        yield found


@contextlib.contextmanager
def instead(layers: Sequence[keras.layers.Layer], tensors: Mapping[int, Any]) -> Iterator[None]:
    """Puts tensors in place of variables in the attributes of layers.

    Args:
        layers: The layers.
        tensors: Maps id(variable) to the tensor.
    """

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
        yield
    finally:
        for place, name, value in before:
            place[name] = value


@contextlib.contextmanager
def as_before(held: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """Takes away the nodes that layers get when they are called on symbolic tensors."""
    lists = [nodes for x in held for nodes in (x._inbound_nodes, x._outbound_nodes)]
    lengths = [len(nodes) for nodes in lists]
    try:
        yield
    finally:
        for nodes, length in zip(lists, lengths, strict=True):
            del nodes[length:]


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Keeps Keras from making other errors of those that pass."""
    filtered = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()
    try:
        yield
    finally:
        if filtered:
            keras.config.enable_traceback_filtering()
