"""Shapes of the tensors of a graph, with the batch on whatever axis it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras

from tfrcp.graph.calls import Value
from tfrcp.graph.steps import BATCH, Step

Shape = tuple[int | None, ...]


def value_of(
    shape: Shape, dtype: str, sources: Sequence[Value], inside: bool, open_batch: bool
) -> Value:
    """The `Value` of a tensor.

    Args:
        shape: Its shape; multiples of `BATCH` stand for the batch.
        dtype: Its type.
        sources: What it is computed from.
        inside: Whether an opened layer computes it.
        open_batch: Whether the batch size of the model is open.
    """
    for axis, n in enumerate(shape):
        if (inside or any(v.fold > 1 for v in sources)) and n and n % BATCH == 0:
            return Value((*shape[:axis], None, *shape[axis + 1 :]), dtype, axis, n // BATCH)
    if all(v.batch is None for v in sources):
        return Value(shape, dtype, None)
    if not open_batch or (shape and shape[0] is None):
        return Value(shape, dtype)
    unknown = [axis for axis, n in enumerate(shape) if n is None]
    return Value(shape, dtype, unknown[0] if len(unknown) == 1 else None)


def shapes_of(step: Step, values: Mapping[int, Value]) -> list[Shape]:
    """Shapes of a step's outputs.

    `EinsumDense` says `None` for sizes that it takes over from its input, so that all that follows
    would be unknown; these are filled in here and followed on.
    """
    outputs, operation = step.outputs, step.operation
    if any(values[id(x)].shape != _opened(x.shape) for x in step.input_tensors):
        known = lambda x: tensor_of(values[id(x)]) if id(x) in values else x  # noqa: E731
        args, kwargs = keras.tree.map_structure(known, (step.args, dict(step.kwargs)))
        outputs = keras.tree.flatten(operation.compute_output_spec(*args, **kwargs))
    shapes = [list(x.shape) for x in outputs]
    if isinstance(operation, keras.layers.EinsumDense) and "..." not in operation.equation:
        letters, rest = operation.equation.replace(" ", "").split(",")
        known = dict(zip(letters, tensor_of(values[id(step.input_tensors[0])]).shape, strict=True))
        for i, letter in enumerate(rest.split("->")[1]):
            shapes[0][i] = known.get(letter) if shapes[0][i] is None else shapes[0][i]
    return [tuple(shape) for shape in shapes]


def _opened(shape: Shape) -> Shape:
    """A shape with an open batch where a number stood for it."""
    return tuple(None if n and n % BATCH == 0 else n for n in shape)


def tensor_of(value: Value) -> keras.KerasTensor:
    """A symbolic tensor like a value, the batch a number only where it is joined with an axis."""
    shape = list(value.shape)
    if value.batch is not None and value.fold > 1:
        shape[value.batch] = value.fold * BATCH
    return keras.KerasTensor(tuple(shape), dtype=value.dtype)
