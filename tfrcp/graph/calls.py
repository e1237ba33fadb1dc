"""Reads a Keras model as a list of calls.

This is the only file that looks inside Keras's own graph. Everything after it works on `Call` and
`Value`: the operations in the order in which they run, those of nested models in their place, and
each tensor replaced by a `Value` that knows its shape.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import keras
from keras.src.models.functional import Functional


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph.

    Attributes:
        shape: Tuple of ints and `None`s; the first entry is the batch.
        dtype: String.
    """

    shape: tuple[int | None, ...]
    dtype: str


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """One operation called once.

    Attributes:
        path: Name of the layer or operation, preceded by the names of the nested models that it
            stands in, joined by "/". A layer that is called several times, in whatever models,
            has the path of its first call.
        key: Name of this very call: the path, numbered from the second call on.
        operation: The `keras.Operation` (a layer, or an operation such as `keras.ops.pad`).
        args: Positional arguments, a `Value` standing for every tensor.
        kwargs: Keyword arguments, likewise.
        inputs: All the values among the arguments, in order.
        outputs: The values that the call produces.
    """

    path: str
    key: str
    operation: keras.Operation
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    @property
    def kind(self) -> str:
        """Class name of the operation."""
        return type(self.operation).__name__

    @property
    def variables(self) -> Mapping[str, keras.Variable]:
        """The operation's own variables by name, if it is a layer."""
        return dict(named_variables(self.operation))

    def bind(self, tensors: Mapping[Value, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments with every value replaced by the tensor that `tensors` holds for it."""
        fill = lambda x: tensors[x] if isinstance(x, Value) else x  # noqa: E731
        return keras.tree.map_structure(fill, (self.args, dict(self.kwargs)))


def named_variables(operation: keras.Operation) -> list[tuple[str, keras.Variable]]:
    """A layer's variables with their names.

    Where a layer of layers has several of one name, the inner layer's precedes it, as in
    "query/kernel".
    """
    variables = getattr(operation, "variables", ())
    repeated = {name for name, n in Counter(v.name for v in variables).items() if n > 1}
    return [
        ("/".join(v.path.split("/")[-2:]) if v.name in repeated else v.name, v) for v in variables
    ]


@dataclasses.dataclass(frozen=True, eq=False)
class Nested:
    """A nested model called once.

    Attributes:
        path: Its name, preceded as a `Call`'s; of the first call if there are several.
        model: The nested model.
        declared: The shapes that it takes, one for each of its inputs.
        names: The names of its inputs.
        inputs: Structure of `Value` like the nested model's inputs: what it is given here.
        outputs: Structure of `Value` like its outputs.
        training: Whether it is told to run as in training; `None` if it is not told.
        steps: Tuple of `Call` and `Nested`, in the order of execution.
    """

    path: str
    model: keras.Model
    declared: tuple[tuple[int | None, ...], ...]
    names: tuple[str, ...]
    inputs: Any
    outputs: Any
    training: bool | None
    steps: tuple[Call | Nested, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Calls:
    """A model as a list of calls.

    Attributes:
        steps: Tuple of `Call` and `Nested`, in the order of execution.
        inputs: Structure of `Value` like the model's inputs.
        outputs: Structure of `Value` like the model's outputs.
    """

    steps: tuple[Call | Nested, ...]
    inputs: Any
    outputs: Any

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """All calls in the order of execution, those inside nested models among them."""
        return tuple(flat_calls(self.steps))


def flat_calls(steps: Iterable[Call | Nested]) -> Iterator[Call]:
    """Yields the calls, those inside nested models among them."""
    for step in steps:
        if isinstance(step, Nested):
            yield from flat_calls(step.steps)
        else:
            yield step


def read_calls(model: keras.Model) -> Calls:
    """Reads a built Functional or Sequential model.

    Args:
        model: `keras.Model`. Nested Functional and Sequential models are read, too.

    Returns:
        `Calls`.

    Raises:
        ValueError: If `model` is no Keras model, is subclassed or is not built.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            "`model` must be a built Functional or Sequential keras.Model. Received: "
            f"model={model!r}"
        )
    functional = _functional(model)
    if functional is None:
        if isinstance(model, keras.Sequential) and not model.built:
            raise ValueError(
                f"The Sequential model '{model.name}' is not built, so its shapes are unknown. "
                "Give it a `keras.Input` as first layer, or call `model.build(input_shape)`."
            )
        raise ValueError(
            f"The model '{model.name}' is a subclassed model ({type(model).__name__}): its layers "
            "are called from Python code, so there is no graph to follow. Rebuild it as a "
            "Functional model: `keras.Model(inputs, outputs)`."
        )
    values = {id(x): Value(tuple(x.shape), str(x.dtype)) for x in functional.inputs}
    as_value = lambda x: values[id(x)]  # noqa: E731
    inputs = keras.tree.map_structure(as_value, functional._inputs_struct)
    steps = tuple(_read(functional, values, scope="", paths={}, counts=Counter()))
    outputs = keras.tree.map_structure(as_value, functional._outputs_struct)
    return Calls(steps, inputs, outputs)


def output_structure(model: keras.Model) -> Any:
    """The outputs of a Functional or Sequential model in their structure (`Sequential` has no
    `output` of its own)."""
    return _functional(model)._outputs_struct


def _functional(operation: keras.Operation) -> Functional | None:
    """The graph of a Functional or Sequential model; `None` for anything else."""
    if isinstance(operation, keras.Sequential):
        plain = type(operation).call is keras.Sequential.call
        return operation._functional if operation.built and plain else None
    if isinstance(operation, Functional) and type(operation).call is Functional.call:
        return operation
    return None


def _shapes(node: Any, values: dict[int, Value]) -> list[tuple[int | None, ...]]:
    """Shapes of a node's outputs.

    `EinsumDense` says `None` for sizes that it takes over from its input, so that all that follows
    would be unknown; these are filled in here and followed on.
    """
    outputs, operation = node.outputs, node.operation
    if any(values[id(x)].shape != tuple(x.shape) for x in node.input_tensors):
        known = lambda x: _tensor(values[id(x)]) if id(x) in values else x  # noqa: E731
        args, kwargs = keras.tree.map_structure(
            known, (tuple(node.arguments.args), dict(node.arguments.kwargs))
        )
        outputs = keras.tree.flatten(operation.compute_output_spec(*args, **kwargs))
    shapes = [list(x.shape) for x in outputs]
    if isinstance(operation, keras.layers.EinsumDense) and "..." not in operation.equation:
        letters, rest = operation.equation.replace(" ", "").split(",")
        known = dict(zip(letters, values[id(node.input_tensors[0])].shape, strict=True))
        for i, letter in enumerate(rest.split("->")[1]):
            shapes[0][i] = known.get(letter) if shapes[0][i] is None else shapes[0][i]
    return [tuple(shape) for shape in shapes]


def _tensor(value: Value) -> keras.KerasTensor:
    return keras.KerasTensor(value.shape, dtype=value.dtype)


def _read(
    functional: Functional,
    values: dict[int, Value],
    scope: str,
    paths: dict[int, str],
    counts: Counter[str],
) -> Iterator[Call | Nested]:
    """Yields what one model calls.

    Args:
        functional: The model.
        values: Maps id(KerasTensor) to `Value`; is filled.
        scope: What precedes the names of its layers.
        paths: Maps id(operation) to its path; is filled.
        counts: Number of calls by path; is filled.
    """
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        for node in functional._nodes_by_depth[depth]:
            if node.is_input or any(id(x) not in values for x in node.input_tensors):
                continue
            operation = node.operation
            path = paths.setdefault(id(operation), scope + operation.name)
            inner = _functional(operation)
            if inner is not None:
                # The same tensors stand inside a nested model at each of its calls: start afresh.
                inside = {
                    id(x): values[id(y)]
                    for x, y in zip(inner.inputs, node.input_tensors, strict=True)
                }
                as_value = lambda x, inside=inside: inside[id(x)]  # noqa: E731
                given = keras.tree.map_structure(as_value, inner._inputs_struct)
                steps = tuple(_read(inner, inside, path + "/", paths, counts))
                yield Nested(
                    path=path,
                    model=operation,
                    declared=tuple(tuple(x.shape) for x in inner.inputs),
                    names=tuple(x.name for x in inner.inputs),
                    inputs=given,
                    outputs=keras.tree.map_structure(as_value, inner._outputs_struct),
                    training=node.arguments.kwargs.get("training"),
                    steps=steps,
                )
                for x, y in zip(inner.outputs, node.outputs, strict=True):
                    values[id(y)] = inside[id(x)]
                continue
            for x, shape in zip(node.outputs, _shapes(node, values), strict=True):
                values[id(x)] = Value(shape, str(x.dtype))
            fill = lambda x: values.get(id(x), x)  # noqa: E731
            args, kwargs = keras.tree.map_structure(
                fill, (tuple(node.arguments.args), dict(node.arguments.kwargs))
            )
            counts[path] += 1
            yield Call(
                path=path,
                key=path if counts[path] == 1 else f"{path}#{counts[path]}",
                operation=operation,
                args=args,
                kwargs=kwargs,
                inputs=tuple(values[id(x)] for x in node.input_tensors),
                outputs=tuple(values[id(x)] for x in node.outputs),
            )
