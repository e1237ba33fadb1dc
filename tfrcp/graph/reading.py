"""Reads a Keras model as a list of calls.

This file and `expand.py` are the only ones that look inside Keras's own graph.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
from keras.src.models.functional import Functional
from keras.src.utils.naming import to_snake_case

from tfrcp.graph.calls import Call, Calls, Nested, Value
from tfrcp.graph.expand import Refused, batch_size, locate, unfold
from tfrcp.graph.inside import functional
from tfrcp.graph.opened import Constant, Weight

# Operations after which the batch may lie elsewhere.
_MOVING = frozenset(
    "ExpandDims GetItem Moveaxis Reshape Squeeze Stack Swapaxes Take Transpose".split()
)


def read_calls(
    model: keras.Model,
    opens: Callable[[keras.Operation], bool] = lambda operation: False,
    input_shape: Any = None,
) -> Calls:
    """Reads a built Functional or Sequential model.

    Args:
        model: `keras.Model`. Nested Functional and Sequential models are read, too.
        opens: Whether a layer is to be opened: replaced by what it calls.
        input_shape: Sizes of the inputs, without the batch, where the model leaves them open: a
            tuple of ints, or tuples in the structure of the inputs.

    Returns:
        `Calls`.

    Raises:
        ValueError: If `model` is no Keras model, is subclassed or is not built, or `input_shape`
            does not fit it.
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
    shapes = _input_shapes(graph, input_shape)
    values = {
        id(x): Value(shape, str(x.dtype)) for x, shape in zip(graph.inputs, shapes, strict=True)
    }
    as_value = lambda x: values[id(x)]  # noqa: E731
    inputs = keras.tree.map_structure(as_value, graph._inputs_struct)
    reader = _Reader(opens)
    steps = tuple(reader.read(graph, values, scope=""))
    outputs = keras.tree.map_structure(as_value, graph._outputs_struct)
    changed = shapes != [tuple(x.shape) for x in graph.inputs]
    return Calls(steps, inputs, outputs, reader.closed, changed and reader.opened)


def output_structure(model: keras.Model) -> Any:
    """The outputs of a Functional or Sequential model in their structure (`Sequential` has no
    `output` of its own)."""
    return functional(model)._outputs_struct


def _input_shapes(graph: Functional, input_shape: Any) -> list[tuple[int | None, ...]]:
    """The shapes of a model's inputs, with the sizes that the user gives."""
    declared = [tuple(x.shape) for x in graph.inputs]
    if input_shape is None:
        return declared
    one = all(n is None or isinstance(n, int) for n in input_shape)
    if isinstance(input_shape, Mapping):
        names = {x.name for x in graph.inputs}
        given = [input_shape.get(x.name) for x in graph.inputs]
        given = given if names == set(input_shape) else []
    else:
        given = [input_shape] if one else list(input_shape)
    fits = len(given) == len(declared) and all(
        len(new) == len(old) - 1
        and all(n in (m, None) or m is None for n, m in zip(new, old[1:], strict=True))
        for new, old in zip(given, declared, strict=True)
    )
    if not fits:
        raise ValueError(
            "`input_shape` must be the sizes of the model's inputs without the batch, a tuple of "
            "ints or one for each input, and fit their shapes "
            f"{declared}. Received: input_shape={input_shape!r}"
        )
    return [
        (old[0], *(m if n is None else n for n, m in zip(new, old[1:], strict=True)))
        for new, old in zip(given, declared, strict=True)
    ]


class _Reader:
    """Reads one model.

    Args:
        opens: Whether a layer is to be opened.

    Attributes:
        closed: Maps the paths of layers that could not be opened to the reasons.
        opened: Whether a layer was.
    """

    def __init__(self, opens: Callable[[keras.Operation], bool]) -> None:
        self._opens = opens
        self._paths: dict[int, str] = {}
        self._counts: Counter[str] = Counter()
        self._names: Counter[str] = Counter()
        self._kept: list[Any] = []  # so that ids stay theirs
        self.closed: dict[str, str] = {}
        self.opened = False

    def read(
        self,
        graph: Functional,
        values: dict[int, Value],
        scope: str,
        within: tuple[keras.layers.Layer, ...] = (),
    ) -> Iterator[Call | Nested]:
        """Yields what one model calls.

        Args:
            graph: The model.
            values: Maps id(KerasTensor) to `Value`; is filled.
            scope: What precedes the names of its layers.
            within: The opened layers around the model.
        """
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[depth]:
                if node.is_input or any(id(x) not in values for x in node.input_tensors):
                    continue
                operation = node.operation
                path = self._paths.setdefault(id(operation), scope + operation.name)
                fill = lambda x: values.get(id(x), x)  # noqa: E731
                args, kwargs = keras.tree.map_structure(
                    fill, (tuple(node.arguments.args), dict(node.arguments.kwargs))
                )
                inputs = tuple(values[id(x)] for x in node.input_tensors)
                if functional(operation) is not None:
                    outputs = yield from self._nested(operation, path, inputs, kwargs, within)
                    values.update(zip(map(id, node.outputs), outputs, strict=True))
                    continue
                masked = any(
                    keras.src.backend.get_keras_mask(x) is not None for x in node.input_tensors
                )
                steps = self._open(operation, path, args, kwargs, within, masked)
                if steps is not None and len(steps[1]) == len(node.outputs):
                    yield from steps[0]
                    values.update(zip(map(id, node.outputs), steps[1], strict=True))
                    continue
                for x, value in zip(node.outputs, _outputs(node, values), strict=True):
                    values[id(x)] = value
                outputs = tuple(values[id(x)] for x in node.outputs)
                yield self._call(operation, path, args, kwargs, inputs, outputs, within)

    def _call(
        self,
        operation: keras.Operation,
        path: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        inputs: tuple[Value, ...],
        outputs: tuple[Value, ...],
        within: tuple[keras.layers.Layer, ...],
    ) -> Call:
        self._counts[path] += 1
        number = self._counts[path]
        key = path if number == 1 else f"{path}#{number}"
        return Call(path, key, operation, args, kwargs, inputs, outputs, within)

    def _nested(
        self,
        model: keras.Model,
        path: str,
        inputs: tuple[Value, ...],
        kwargs: Mapping[str, Any],
        within: tuple[keras.layers.Layer, ...],
    ) -> Iterator[Call | Nested]:
        """Yields a nested model's call, or its steps in an opened layer; returns its outputs."""
        graph = functional(model)
        # The same tensors stand inside a nested model at each of its calls: start afresh.
        inside = {id(x): value for x, value in zip(graph.inputs, inputs, strict=True)}
        as_value = lambda x: inside[id(x)]  # noqa: E731
        given = keras.tree.map_structure(as_value, graph._inputs_struct)
        steps = tuple(self.read(graph, inside, path + "/", within))
        told = kwargs.get("training")
        if within:
            yield from (step if told is None else _told(step, told) for step in steps)
        else:
            yield Nested(
                path=path,
                model=model,
                declared=tuple(tuple(x.shape) for x in graph.inputs),
                names=tuple(x.name for x in graph.inputs),
                inputs=given,
                outputs=keras.tree.map_structure(as_value, graph._outputs_struct),
                training=told,
                steps=steps,
            )
        return [inside[id(x)] for x in graph.outputs]

    def _open(
        self,
        layer: keras.Operation,
        path: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        within: tuple[keras.layers.Layer, ...],
        masked: bool,
    ) -> tuple[list[Call], list[Value]] | None:
        """What a composite layer calls, and what it returns; `None` if it stays whole."""
        if not self._opens(layer):
            return None
        if masked:
            self.closed[path] = "is given tensors with a mask"
            return None
        leaves = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, Value)]
        batch = batch_size([value.shape for value in leaves])
        tensors = {value: _tensor(value, batch) for value in leaves}
        symbols = lambda x: tensors[x] if isinstance(x, Value) else x  # noqa: E731
        given = keras.tree.map_structure(symbols, (args, dict(kwargs)))
        try:
            found = unfold(layer, *given, self._opens, batch)
        except Refused as refused:
            self.closed[path] = refused.reason
            return None
        self.opened = True
        self._kept.append(found)
        values = {id(tensor): value for value, tensor in tensors.items()}
        steps: list[Call] = []
        for inner, reason in found.closed.items():
            self.closed[f"{path}/{inner}"] = reason
        for record in found.records:
            fill = lambda x: values.get(id(x), x)  # noqa: E731
            inner_args, inner_kwargs = keras.tree.map_structure(
                fill, (record.args, dict(record.kwargs))
            )
            both = (inner_args, inner_kwargs)
            inputs = tuple(x for x in keras.tree.flatten(both) if isinstance(x, Value))
            around, operation = (*within, *record.within), record.operation
            here = self._path(record, path)
            if functional(operation) is not None:
                nested = _Returns(self._nested(operation, here, inputs, inner_kwargs, around))
                steps += nested
                values.update(zip(map(id, record.outputs), nested.result, strict=True))
                continue
            for x in record.outputs:
                values[id(x)] = _value(x.shape, str(x.dtype), batch)
            outputs = tuple(values[id(x)] for x in record.outputs)
            call = self._call(operation, here, inner_args, inner_kwargs, inputs, outputs, around)
            steps.append(call)
        return steps, [values[id(x)] for x in found.outputs]

    def _path(self, record: Any, path: str) -> str:
        """Where something that an opened layer calls stands."""
        if record.path:
            owner = getattr(record.operation, "value", record.operation)
            return self._paths.setdefault(id(owner), f"{path}/{record.path}")
        scope = f"{path}/{record.scope}" if record.scope else path
        name = f"{scope}/{to_snake_case(type(record.operation).__name__)}"
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}_{self._names[name]}"


class _Returns:
    """Iterates over a generator and keeps what it returns."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def __iter__(self) -> Iterator[Any]:
        self.result = yield from self._generator


def _told(call: Call, training: bool) -> Call:
    """A call that is told whether this is training, if it asks and is not told by itself."""
    asks = "training" in inspect.signature(call.operation.call).parameters
    if not asks or call.kwargs.get("training") is not None:
        return call
    return dataclasses.replace(call, kwargs={**call.kwargs, "training": training})


def _tensor(value: Value, batch: int) -> keras.KerasTensor:
    """A symbolic tensor with a number for the batch."""
    shape = [batch * value.rows if i == value.batch else n for i, n in enumerate(value.shape)]
    return keras.KerasTensor(shape, dtype=value.dtype)


def _value(shape: tuple[int | None, ...], dtype: str, batch: int) -> Value:
    """The value behind a symbolic tensor with a number for the batch."""
    axis, rows = locate(shape, batch)
    return Value(tuple(None if i == axis else n for i, n in enumerate(shape)), dtype, axis, rows)


def _outputs(node: Any, values: Mapping[int, Value]) -> list[Value]:
    """The values of a node's outputs.

    `EinsumDense` says `None` for sizes that it takes over from its input, so that all that follows
    would be unknown; these are filled in here and followed on.
    """
    outputs, operation = node.outputs, node.operation
    inputs = [values[id(x)] for x in node.input_tensors]
    plain = all(value.batch == 0 and value.rows == 1 for value in inputs)
    if not plain or type(operation).__name__ in _MOVING or isinstance(operation, Weight | Constant):
        found = _with_batch(node, values)
        if found is not None:
            return found
    if any(values[id(x)].shape != tuple(x.shape) for x in node.input_tensors):
        outputs = _spec(node, values, lambda v: keras.KerasTensor(v.shape, dtype=v.dtype))
    shapes = [list(x.shape) for x in outputs]
    if isinstance(operation, keras.layers.EinsumDense) and "..." not in operation.equation:
        letters, rest = operation.equation.replace(" ", "").split(",")
        known = dict(zip(letters, inputs[0].shape, strict=True))
        for i, letter in enumerate(rest.split("->")[1]):
            shapes[0][i] = known.get(letter) if shapes[0][i] is None else shapes[0][i]
    return [
        Value(tuple(shape), str(x.dtype)) for shape, x in zip(shapes, node.outputs, strict=True)
    ]


def _with_batch(node: Any, values: Mapping[int, Value]) -> list[Value] | None:
    """The values of a node's outputs, found with a number for the batch; `None` if that fails."""
    batch = batch_size([values[id(x)].shape for x in node.input_tensors])
    try:
        outputs = _spec(node, values, lambda v: _tensor(v, batch))
        found = [_value(tuple(x.shape), str(x.dtype), batch) for x in outputs]
    except Exception:  # whatever an operation does with a batch that is known
        return None
    lost = any(value.batch is None for value in found) and not isinstance(
        node.operation, Weight | Constant
    )
    if lost and any(values[id(x)].batch is not None for x in node.input_tensors):
        return None
    plain = all(value.batch == 0 and value.rows == 1 for value in found)
    return None if plain and any(x.shape[0] is not None for x in node.outputs) else found


def _spec(node: Any, values: Mapping[int, Value], tensor: Callable[[Value], Any]) -> list[Any]:
    """What a node's operation makes of other tensors."""
    known = lambda x: tensor(values[id(x)]) if id(x) in values else x  # noqa: E731
    args, kwargs = keras.tree.map_structure(
        known, (tuple(node.arguments.args), dict(node.arguments.kwargs))
    )
    return keras.tree.flatten(node.operation.compute_output_spec(*args, **kwargs))
