"""Reads a Keras model as a list of calls.

This file, `expand.py`, `symbolic.py` and `inside.py` alone look inside Keras's own graph.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any

import keras
from keras.src.utils.naming import to_snake_case

from tfrcp.graph.calls import Call, Calls, Nested, Value
from tfrcp.graph.expand import Opened, unfold
from tfrcp.graph.held import HeldWeight
from tfrcp.graph.inside import functional, own_variables
from tfrcp.graph.shapes import (
    given_shapes,
    known_shapes,
    numbers_batch,
    shapes_of,
    tensor_of,
    value_of,
)
from tfrcp.graph.steps import Refused, Step


def read_calls(
    model: keras.Model,
    opens: Callable[[keras.Operation], bool] = lambda operation: False,
    knows: Callable[[keras.Operation], bool] = lambda operation: True,
    input_shape: Any = None,
    alone: Callable[[Call], bool] = lambda call: True,
) -> Calls:
    """Reads a built Functional or Sequential model.

    Args:
        model: `keras.Model`. Nested Functional and Sequential models are read, too.
        opens: Whether a layer is to be opened: replaced by what it calls.
        knows: Whether there is a rule for an operation; a layer without layers inside is opened
            only if there is one for all that it calls.
        input_shape: Sizes of the inputs that the model leaves open, as `trace` takes them.
        alone: Whether a layer without weights acts on each position of the last axis alone.

    Raises:
        ValueError: If `model` is no Keras model, is subclassed or is not built.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            "`model` must be a built Functional or Sequential keras.Model. Received: "
            f"model={model!r}"
        )
    graph = functional(model)
    if graph is None:
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
    values = {
        id(x): Value(tuple(x.shape), str(x.dtype), known=known)
        for x, known in zip(graph.inputs, given_shapes(graph, input_shape), strict=True)
    }
    as_value = lambda x: values[id(x)]  # noqa: E731
    inputs = keras.tree.map_structure(as_value, graph._inputs_struct)
    reader = _Reader(opens, knows, alone, all(x.shape and x.shape[0] is None for x in graph.inputs))
    first = next(iter(values.values()))
    steps = tuple(reader.read(_steps(graph), values, _Scope(first), graph.outputs))
    outputs = keras.tree.map_structure(as_value, graph._outputs_struct)
    return Calls(tuple(_used(steps, outputs, Counter())), inputs, outputs, reader.closed)


def _used(
    steps: Iterable[Call | Nested], outputs: Any, counts: Counter[str]
) -> Iterator[Call | Nested]:
    """Leaves out what nobody reads, as where a model uses one of two outputs of an opened layer.

    Args:
        steps: The steps of one model, in order.
        outputs: Structure of `Value`: what is read of them.
        counts: How often each path was met before; is updated.
    """
    read, kept = set(keras.tree.flatten(outputs)), []
    for step in reversed(list(steps)):
        if not read.isdisjoint(keras.tree.flatten(step.outputs)):
            kept.append(step)
            read.update(keras.tree.flatten(step.inputs))
    for step in reversed(kept):
        if isinstance(step, Nested):
            inside = tuple(_used(step.steps, step.outputs, counts))
            yield dataclasses.replace(step, steps=inside)
            continue
        counts[step.path] += 1
        number = counts[step.path]
        yield dataclasses.replace(step, key=step.path if number == 1 else f"{step.path}#{number}")


def _steps(graph: Any) -> Iterator[Step]:
    """What a model with a graph calls, in order."""
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if not node.is_input:
                args, kwargs = tuple(node.arguments.args), dict(node.arguments.kwargs)
                yield Step(node.operation, args, kwargs, node.input_tensors, node.outputs)


class _Scope:
    """Where calls stand: in a model, or in an opened layer.

    Args:
        source: The first input of the model.
        path: Path of the model or layer; empty for the whole model.
        prefix: What precedes names in a sliced model, which has no opened layers.
        names: Maps id(layer) to the path below an opened layer; `None` in a model.
    """

    def __init__(
        self,
        source: Value,
        path: str = "",
        prefix: str = "",
        names: Mapping[int, str] | None = None,
    ) -> None:
        self.source = source
        self._path, self._prefix, self._names = path, prefix, names
        self._counts: Counter[str] = Counter()

    @property
    def inside(self) -> bool:
        """Whether these are the calls of an opened layer."""
        return self._names is not None

    def place(self, operation: keras.Operation) -> tuple[str, str]:
        """Path and name of an operation that is met for the first time."""
        below = operation.name
        if self._names is not None:
            below = self._names.get(id(operation), "")
        if not below:  # Keras numbers operations through all models
            below = to_snake_case(type(operation).__name__)
            self._counts[below] += 1
            below += f"_{self._counts[below]}" if self._counts[below] > 1 else ""
        path = f"{self._path}/{below}" if self._path else below
        return path, self._prefix + below.replace("/", "_")


class _Reader:
    """Reads one model.

    Args:
        opens, knows, alone: As for `read_calls`.
        open_batch: Whether the batch size of the model is open.

    Attributes:
        closed: Maps the paths of layers that could not be opened to the reasons.
    """

    def __init__(
        self,
        opens: Callable[[keras.Operation], bool],
        knows: Callable[[keras.Operation], bool],
        alone: Callable[[Call], bool],
        open_batch: bool,
    ) -> None:
        self._opens, self._knows, self._alone = opens, knows, alone
        self._open_batch = open_batch
        self._places: dict[int, tuple[str, str]] = {}
        self._kept: list[Opened] = []  # so that ids stay theirs
        self.closed: dict[str, str] = {}

    def read(
        self,
        steps: Iterable[Step],
        values: dict[int, Value],
        scope: _Scope,
        outputs: Iterable[Any],
    ) -> Iterator[Call | Nested]:
        """Yields what one model, or one opened layer, calls.

        Args:
            steps: What it calls, on symbolic tensors.
            values: Maps id(KerasTensor) to `Value`; is filled.
            scope: Where it stands.
            outputs: The symbolic tensors that it returns.
        """
        steps = list(steps)
        read = {id(x) for x in (*outputs, *(x for step in steps for x in step.input_tensors))}
        for step in steps:
            if any(id(x) not in values for x in step.input_tensors):
                continue
            operation = step.operation
            if id(operation) not in self._places:
                self._places[id(operation)] = scope.place(operation)
            path, name = self._places[id(operation)]
            if functional(operation) is not None:
                yield self._nested(step, path, name, values)
                continue
            fill = lambda x: values.get(id(x), x)  # noqa: E731
            args, kwargs = keras.tree.map_structure(fill, (step.args, dict(step.kwargs)))
            if isinstance(operation, HeldWeight):
                args = (scope.source,)
            found = self._open(step, path, args, kwargs, scope.inside, read)
            if found is not None:
                sources = dict.fromkeys(
                    x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, Value)
                )
                inside = {id(x): value for x, value in zip(found.given, sources, strict=True)}
                below = _Scope(scope.source, path, name + "_", found.names)
                made = [x for x in found.outputs if x is not None]
                yield from self.read(found.steps, inside, below, made)
                for x, y in zip(found.outputs, step.outputs, strict=True):
                    if x is not None:
                        values[id(y)] = inside[id(x)]
                continue
            sources = [values[id(x)] for x in step.input_tensors]
            numbered = scope.inside or numbers_batch(step, values)
            shapes = zip(shapes_of(step, values), known_shapes(step, values), strict=True)
            for x, (shape, known) in zip(step.outputs, shapes, strict=True):
                value = value_of(shape, str(x.dtype), sources, numbered, self._open_batch)
                if known is not None:
                    value = dataclasses.replace(value, known=known[0], fold=known[1])
                values[id(x)] = value
            yield Call(
                path=path,
                key=path,
                operation=operation,
                args=args,
                kwargs=kwargs,
                inputs=args if isinstance(operation, HeldWeight) else tuple(sources),
                outputs=tuple(values[id(x)] for x in step.outputs),
                name=name,
            )

    def _nested(self, step: Step, path: str, name: str, values: dict[int, Value]) -> Nested:
        """A nested model's call."""
        graph = functional(step.operation)
        # The same tensors stand inside a nested model at each of its calls: start afresh.
        inside = {
            id(x): values[id(y)] for x, y in zip(graph.inputs, step.input_tensors, strict=True)
        }
        as_value = lambda x: inside[id(x)]  # noqa: E731
        given = keras.tree.map_structure(as_value, graph._inputs_struct)
        scope = _Scope(next(iter(inside.values())), path)
        steps = tuple(self.read(_steps(graph), inside, scope, graph.outputs))
        for x, y in zip(graph.outputs, step.outputs, strict=True):
            values[id(y)] = inside[id(x)]
        return Nested(
            path=path,
            model=step.operation,
            declared=tuple(tuple(x.shape) for x in graph.inputs),
            names=tuple(x.name for x in graph.inputs),
            inputs=given,
            outputs=keras.tree.map_structure(as_value, graph._outputs_struct),
            training=step.kwargs.get("training"),
            steps=steps,
            name=name,
        )

    def _open(
        self, step: Step, path: str, args: Any, kwargs: Any, inside: bool, read: Container[int]
    ) -> Opened | None:
        """What a composite layer does; `None` if it stays whole."""
        if not self._opens(step.operation) or path in self.closed:
            return None
        leaf = isinstance(step.operation, keras.layers.Layer) and not step.operation._layers
        alike = [x.shape for x in step.input_tensors] == [x.shape for x in step.outputs]
        if leaf and not inside and alike and not own_variables(step.operation):
            given = tuple(x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, Value))
            if self._alone(Call(path, path, step.operation, args, kwargs, given, given)):
                return None
        tensors: dict[Value, keras.KerasTensor] = {}

        def tensor(x: Any) -> Any:
            return tensors.setdefault(x, tensor_of(x)) if isinstance(x, Value) else x

        try:
            if any(keras.src.backend.get_keras_mask(x) is not None for x in step.input_tensors):
                raise Refused("it is given tensors with a mask")
            found = unfold(step.operation, *keras.tree.map_structure(tensor, (args, kwargs)))
            pairs = list(itertools.zip_longest(found.outputs, step.outputs))
            if any(x is None and y is not None and id(y) in read for x, y in pairs):
                raise Refused("it returns something that does not depend on its inputs")
            if any(y is None or x is not None and x.dtype != y.dtype for x, y in pairs):
                raise Refused("its `call` returns something else on symbolic tensors")
            strange = [s.operation for s in found.steps if not self._knows(s.operation)]
            if leaf and strange:
                raise Refused(f"it calls `{type(strange[0]).__name__}`, which has no rule")
        except Refused as refused:
            self.closed[path] = str(refused)
            return None
        self._kept.append(found)
        return found
