"""MACs of operations that no rule knows, from TensorFlow's own graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfrcp.graph.calls import Call
from tfrcp.graph.program import trains

_CONVOLUTIONS = ("Conv2D", "Conv3D", "DepthwiseConv2dNative")
_TRANSPOSED = ("Conv2DBackpropInput", "Conv3DBackpropInputV2")
# What runs functions an unknown number of times, with the names of these.
_LOOPS = {
    "While": ("cond", "body"),
    "StatelessWhile": ("cond", "body"),
    "If": ("then_branch", "else_branch"),
    "StatelessIf": ("then_branch", "else_branch"),
}
_OPAQUE = ("PyFunc", "EagerPyFunc", "XlaLaunch")


def multiply_adds(call: Call) -> int | None:
    """MACs of a call for one image: of its convolutions, matrix products and einsums.

    Args:
        call: The call, of an operation of any kind.

    Returns:
        The number, or `None` if it cannot be told: sizes are open, there are loops over
        products, or the operation cannot be run by itself.
    """
    values = list(dict.fromkeys(call.inputs))
    shapes = [v.sizes for v in values]
    if any(None in shape for shape in shapes):
        return None
    specs = [tf.TensorSpec(s, v.dtype) for s, v in zip(shapes, values, strict=True)]

    def run(*tensors: Any) -> Any:
        args, kwargs = call.bind(dict(zip(values, tensors, strict=True)))
        if trains(call.operation):
            kwargs = {**kwargs, "training": False}
        return call.operation(*args, **kwargs)

    try:
        return multiply_adds_of(run, specs)
    except Exception:  # whatever a layer does outside of its model
        return None


def multiply_adds_of(function: Callable[..., Any], specs: Sequence[Any]) -> int | None:
    """Multiply-adds of a function of tensors.

    Returns:
        The number, or `None` if there are loops over products, or open sizes.
    """
    graph = tf.function(function, autograph=False).get_concrete_function(*specs).graph
    return _of_graph(graph)


def _of_graph(graph: Any) -> int | None:
    total = 0
    for operation in _read(graph):
        if operation.type in _OPAQUE:
            return None
        if operation.type in ("PartitionedCall", "StatefulPartitionedCall"):
            found = _of_function(graph, operation, "f")
        elif operation.type in _LOOPS:  # nothing, any number of times, is nothing
            inner = [_of_function(graph, operation, name) for name in _LOOPS[operation.type]]
            found = None if any(inner) or None in inner else 0
        else:
            found = _of_operation(operation)
        if found is None:
            return None
        total += found
    return total


def _read(graph: Any) -> list[Any]:
    """The operations that the outputs of a graph depend on.

    Those of constants alone are left out: TensorFlow runs them once, when it optimizes the graph.
    """
    waiting = [tensor.op for tensor in graph.outputs]
    found: dict[int, Any] = {}
    while waiting:
        operation = waiting.pop()
        if id(operation) not in found:
            found[id(operation)] = operation
            waiting += [x.op for x in operation.inputs] + list(operation.control_inputs)
    constant: set[int] = set()
    for operation in graph.get_operations():  # in the order in which they were made
        given = [id(x.op) in constant for x in operation.inputs]
        if operation.type == "Const" or (given and all(given) and not operation.op_def.is_stateful):
            constant.add(id(operation))
    return [x for key, x in found.items() if key not in constant]


def _of_function(graph: Any, operation: Any, attribute: str) -> int | None:
    """MACs of a function that an operation runs once."""
    inner = graph._get_function(operation.get_attr(attribute).name)
    return None if inner is None else _of_graph(inner.graph)


def _of_operation(operation: Any) -> int | None:
    """MACs of one operation; 0 for those that are none of ours."""
    kind = operation.type
    products = ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum")
    if kind not in (*_CONVOLUTIONS, *_TRANSPOSED, *products):
        return 0
    inputs = [_shape(tensor) for tensor in operation.inputs]
    output = _shape(operation.outputs[0])
    if output is None or any(shape is None for shape in inputs):
        return None
    if kind in _CONVOLUTIONS:
        kernel = inputs[1]
        if kind == "DepthwiseConv2dNative":
            return math.prod(kernel[:2]) * math.prod(output)
        return math.prod(kernel[:-1]) * math.prod(output)
    if kind in _TRANSPOSED:
        # Every input position meets the whole kernel once.
        return math.prod(inputs[1][:-1]) * math.prod(inputs[2])
    if kind == "Einsum":
        sizes: dict[str, int] = {}
        equation = operation.get_attr("equation").decode()
        for term, shape in zip(equation.split("->")[0].split(","), inputs, strict=True):
            term = _written_out(term, len(shape))
            sizes.update((x, n) for x, n in zip(term, shape, strict=True) if sizes.get(x, 1) == 1)
        return int(np.prod(list(sizes.values()), dtype="int64")) if "," in equation else 0
    flipped = operation.get_attr("transpose_a" if kind == "MatMul" else "adj_x")
    return math.prod(output) * inputs[0][-2 if flipped else -1]


def _written_out(term: str, rank: int) -> list[str | int]:
    """The axes of an operand of an einsum; numbers from the right stand for those of "..."."""
    before, dots, after = term.partition("...")
    count = rank - len(before) - len(after) if dots else 0
    return [*before, *range(-count, 0), *after]


def _shape(tensor: Any) -> tuple[int, ...] | None:
    if tensor.shape.rank is None or None in tensor.shape.as_list():
        return None
    return tuple(tensor.shape.as_list())
