"""Shapes of the tensors of a graph, with the batch on whatever axis it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfrcp.graph.calls import Value
from tfrcp.graph.steps import BATCH, Step

Shape = tuple[int | None, ...]


def given_shapes(graph: Any, input_shape: Any) -> list[Shape | None]:
    """The shapes of all inputs with the sizes that were given, `None` if there are none."""
    if input_shape is None:
        return [None] * len(graph.inputs)
    single = len(graph.inputs) == 1 and all(isinstance(n, int) for n in input_shape)
    given: list[Any] = []
    keep = lambda shape: given.append(tuple(shape))  # noqa: E731
    if single:
        keep(input_shape)
    else:
        keras.tree.map_shape_structure(keep, input_shape)
    if len(given) != len(graph.inputs):
        raise ValueError(
            f"`input_shape` must have a shape for each of the {len(graph.inputs)} inputs. "
            f"Received: {input_shape}"
        )
    result = []
    for x, shape in zip(graph.inputs, given, strict=False):
        declared = tuple(x.shape[1:])
        if len(shape) != len(declared) or any(
            m not in (None, n) for n, m in zip(shape, declared, strict=True)
        ):
            raise ValueError(
                f"`input_shape` must fit the shape of input '{x.name}', {declared}, without the "
                f"batch. Received: {shape}"
            )
        result.append((x.shape[0], *(int(n) for n in shape)))
    return result


def value_of(
    shape: Shape, dtype: str, sources: Sequence[Value], numbered: bool, open_batch: bool
) -> Value:
    """The `Value` of a tensor.

    Args:
        shape: Its shape; multiples of `BATCH` stand for the batch.
        dtype: Its type.
        sources: What it is computed from.
        numbered: Whether the batch has a number in it.
        open_batch: Whether the batch size of the model is open.
    """
    for axis, n in enumerate(shape):
        if numbered and n and n % BATCH == 0:
            return Value((*shape[:axis], None, *shape[axis + 1 :]), dtype, axis, n // BATCH)
    if all(v.batch is None for v in sources):
        return Value(shape, dtype, None)
    if not open_batch or (shape and shape[0] is None):
        return Value(shape, dtype, fold=_entries(shape, sources))
    unknown = [axis for axis, n in enumerate(shape) if n is None]
    return Value(shape, dtype, unknown[0] if len(unknown) == 1 else None)


def _entries(shape: Shape, sources: Sequence[Value]) -> int:
    """How many entries every example has on the first axis, where the batch has a fixed size."""
    for source in sources:
        if source.batch == 0 and source.shape and source.shape[0] and shape and shape[0]:
            batch = max(source.shape[0] // source.fold, 1)
            return shape[0] // batch if shape[0] % batch == 0 else 1
    return 1


def shapes_of(step: Step, values: Mapping[int, Value]) -> list[Shape]:
    """Shapes of a step's outputs.

    `EinsumDense` says `None` for sizes that it takes over from its input, so that all that follows
    would be unknown; these are filled in here and followed on.
    """
    outputs, operation = step.outputs, step.operation
    sources = [values[id(x)] for x in step.input_tensors]
    pairs = zip(sources, step.input_tensors, strict=True)
    if numbers_batch(step, values) or any(v.shape != _opened(x.shape) for v, x in pairs):
        join = _is_reshape(operation)
        known = lambda x: tensor_of(values[id(x)], join) if id(x) in values else x  # noqa: E731
        args, kwargs = keras.tree.map_structure(known, (step.args, dict(step.kwargs)))
        try:
            outputs = keras.tree.flatten(operation.compute_output_spec(*args, **kwargs))
        except ValueError:
            if not join:
                raise
            # It takes one of the batch, as `x[:1]`.
    shapes = [list(x.shape) for x in outputs]
    if isinstance(operation, keras.layers.EinsumDense) and "..." not in operation.equation:
        letters, rest = operation.equation.replace(" ", "").split(",")
        known = dict(zip(letters, tensor_of(values[id(step.input_tensors[0])]).shape, strict=True))
        for i, letter in enumerate(rest.split("->")[1]):
            shapes[0][i] = known.get(letter) if shapes[0][i] is None else shapes[0][i]
    return [tuple(shape) for shape in shapes]


def known_shapes(step: Step, values: Mapping[int, Value]) -> list[tuple[Shape, int] | None]:
    """Shapes of outputs for inputs of given sizes, with what each example has in the batch.

    `None` where no sizes are given, or the step does not tell.
    """
    if all(values[id(x)].known is None for x in step.input_tensors):
        return [None] * len(step.outputs)

    def sized(x: Any) -> Any:
        value = values.get(id(x))
        if value is None:
            return x
        shape = list(value.known or value.shape)
        if value.batch is not None and shape[value.batch] is None:
            shape[value.batch] = value.fold * BATCH
        return keras.KerasTensor(tuple(shape), value.dtype)

    args, kwargs = keras.tree.map_structure(sized, (step.args, dict(step.kwargs)))
    try:
        outputs = keras.tree.flatten(step.operation.compute_output_spec(*args, **kwargs))
    except Exception:  # whatever an operation does with sizes that it was not built for
        return [None] * len(step.outputs)
    folds = [[n // BATCH for n in x.shape if n and n % BATCH == 0] for x in outputs]
    return [(_opened(x.shape), (*fold, 1)[0]) for x, fold in zip(outputs, folds, strict=True)]


def numbers_batch(step: Step, values: Mapping[int, Value]) -> bool:
    """Whether the shapes of a step's outputs tell how many entries each example has in the batch:
    where the step may join it with another axis, or something before has done so."""
    sources = [values[id(x)] for x in step.input_tensors]
    opens = any(v.batch == 0 and v.shape[0] is None for v in sources)
    return any(v.fold > 1 for v in sources) or (_is_reshape(step.operation) and opens)


def _is_reshape(operation: keras.Operation) -> bool:
    """Whether an operation is `keras.ops.reshape`; the layer leaves the batch alone."""
    return type(operation).__name__ == "Reshape" and not isinstance(operation, keras.layers.Layer)


def _opened(shape: Shape) -> Shape:
    """A shape with an open batch where a number stood for it."""
    return tuple(None if n and n % BATCH == 0 else n for n in shape)


def tensor_of(value: Value, numbered: bool = False) -> keras.KerasTensor:
    """A symbolic tensor like a value, the batch a number only where it is joined with an axis, or
    where that is asked for."""
    shape = list(value.shape)
    joined = value.fold > 1 or (numbered and value.batch == 0 and shape[0] is None)
    if value.batch is not None and joined:
        shape[value.batch] = value.fold * BATCH
    return keras.KerasTensor(tuple(shape), dtype=value.dtype)
