"""Builds the Keras model that holds sliced weights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import keras

from tfrcp.graph.calls import Call, Nested, Value, flat_calls
from tfrcp.graph.carrying import carry_over, freeze_like
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.classes import model_like
from tfrcp.graph.cloning import without_arrays
from tfrcp.graph.compiling import compile_like
from tfrcp.graph.loading import warn_of_lost_layers
from tfrcp.graph.rules import Rule, find_rule
from tfrcp.graph.rules.held import Table
from tfrcp.graph.weights import Weights, arrays_of, layer_at

Steps = Iterable[Call | Nested]


def build_model(model: keras.Model, graph: ChannelGraph, arrays: Weights) -> keras.Model:
    """Builds the model that holds sliced weights, as `slice_model` does.

    Args:
        model: The model that was traced, or one with equally named layers.
        graph: Its trace.
        arrays: Sliced weights and sizes, as `tfrcp.graph.weights.slice_weights` returns them.
    """
    calls = graph.calls
    tensors = {
        value: _input_like(source, source.shape)
        for value, source in zip(keras.tree.flatten(calls.inputs), model.inputs, strict=True)
    }
    inputs = keras.tree.map_structure(tensors.__getitem__, calls.inputs)
    builder = _Builder(graph, arrays)
    builder.scope(calls.steps, tensors)
    outputs = keras.tree.map_structure(tensors.__getitem__, calls.outputs)
    kept = model_like(model, inputs, outputs)
    pruned = kept.model
    traced = {call.path: call.operation for call in calls.calls}
    for (path, _), made in builder.rebuilt.items():
        new = kept.twins.get(id(made), made)
        if isinstance(new, keras.layers.Layer):
            carry_over(_source(model, path, traced[path]), new, arrays.get(path, {}))
        elif isinstance(new, Table):
            new.carry(layer_at(model, path), arrays.get(path, {}))
    freeze_like(pruned, model)
    if kept.scored:
        compile_like(pruned, model)
    warn_of_lost_layers(pruned)
    return pruned


def _source(model: keras.Model, path: str, traced: keras.Operation) -> keras.Operation:
    """The model's layer at a path; the traced one if it has another name and no weights."""
    try:
        return layer_at(model, path)
    except ValueError:
        if traced.variables:
            raise
        return traced


def pruned_path(graph: ChannelGraph, path: str) -> str:
    """Where a layer of the traced model stands in the sliced one: in most models, where it was."""
    return _paths(graph.calls.steps)[path]


class _Builder:
    """Calls new layers as the old ones were called.

    Args:
        graph: The trace.
        arrays: Sliced weights and sizes.

    Attributes:
        rebuilt: The new layers by the old one's path and, for those without weights, their sizes.
    """

    def __init__(self, graph: ChannelGraph, arrays: Weights) -> None:
        self._graph, self._arrays = graph, arrays
        self._paths = _paths(graph.calls.steps)
        self._models: dict[tuple[str, str], keras.Model] = {}
        self.rebuilt: dict[tuple[str, str], Any] = {}

    def scope(self, steps: Steps, tensors: dict[Value, Any]) -> None:
        """Runs one model's steps, adding what they make to `tensors`."""
        steps = list(_laid_out(steps))
        taken = {_last(self._paths[step.path]) for step in steps}
        for step in steps:
            operation = self._nested if isinstance(step, Nested) else self._layer
            outputs = operation(step, tensors, taken)
            new = zip(keras.tree.flatten(step.outputs), keras.tree.flatten(outputs), strict=True)
            tensors.update(new)

    def _layer(self, call: Call, tensors: Mapping[Value, Any], taken: set[str]) -> Any:
        key = call.path, self._sizes(call)
        if key not in self.rebuilt:
            rule = Rule() if call.path in self._graph.given_up else find_rule(call.operation)
            again = any(path == call.path for path, _ in self.rebuilt)
            arrays = arrays_of(call, self._arrays) or {}
            new = rule.rebuild(call, arrays)
            variables = call.variables.items()
            if any(name in arrays and arrays[name].shape != x.shape for name, x in variables):
                without_arrays(new)
            _rename(new, self._name(call.path, taken, again))
            self.rebuilt[key] = new
        args, kwargs = call.bind(tensors)
        return self.rebuilt[key](*args, **kwargs)

    def _nested(self, nested: Nested, tensors: Mapping[Value, Any], taken: set[str]) -> Any:
        values = keras.tree.flatten(nested.inputs)
        shapes = [
            tuple(n if m is not None else None for n, m in zip(tensors[v].shape, old, strict=True))
            for v, old in zip(values, nested.declared, strict=True)
        ]
        key = nested.path, f"{shapes} {[self._sizes(call) for call in flat_calls(nested.steps)]}"
        if key not in self._models:
            inside = {
                v: _input_like(source, shape)
                for v, shape, source in zip(values, shapes, nested.model.inputs, strict=True)
            }
            starts = keras.tree.map_structure(inside.__getitem__, nested.inputs)
            again = any(path == nested.path for path, _ in self._models)
            self.scope(nested.steps, inside)
            ends = keras.tree.map_structure(inside.__getitem__, nested.outputs)
            name = self._name(nested.path, taken, again)
            self._models[key] = keras.Model(starts, ends, name=name)
            freeze_like(self._models[key], nested.model)
        given = keras.tree.map_structure(tensors.__getitem__, nested.inputs)
        options = {} if nested.training is None else {"training": nested.training}
        return self._models[key](given, **options)

    def _sizes(self, call: Call) -> str:
        """What a layer without weights that is called on different channels needs for this call."""
        if call.variables:
            return ""
        return str({name: x.tolist() for name, x in self._arrays.get(call.key, {}).items()})

    def _name(self, path: str, taken: set[str], again: bool) -> str:
        name = _last(self._paths[path])
        if again:
            name = _free_name(name, taken)
            taken.add(name)
        return name


def _laid_out(steps: Steps) -> Iterator[Call | Nested]:
    """Steps in which nested models that cannot stay so are replaced by their own steps."""
    for step in steps:
        if isinstance(step, Nested) and not _distinct(step):
            yield from _laid_out(step.steps)
        else:
            yield step


def _distinct(nested: Nested) -> bool:
    """Whether a nested model is given another tensor for each of its inputs."""
    values = keras.tree.flatten(nested.inputs)
    return len(set(values)) == len(values)


def _paths(steps: Steps, scope: str = "") -> dict[str, str]:
    """Where every layer and nested model will stand, by the path at which it stood."""
    paths: dict[str, str] = {}
    steps = list(_laid_out(steps))
    owners: dict[str, set[str]] = {}
    for step in steps:
        owners.setdefault(step.name, set()).add(step.path)
    names = {path: last for last, (path, *others) in owners.items() if not others}
    for step in steps:
        if step.path not in names:
            names[step.path] = _free_name(step.path.replace("/", "_"), names.values())
        paths.setdefault(step.path, scope + names[step.path])
        if isinstance(step, Nested):
            for path, place in _paths(step.steps, paths[step.path] + "/").items():
                paths.setdefault(path, place)
    return paths


def _last(path: str) -> str:
    return path.split("/")[-1]


def _rename(operation: Any, name: str) -> None:
    """Names a new layer or operation, which has no weights yet."""
    inner = getattr(operation, "operation", operation)
    if getattr(inner, "name", name) != name:
        inner.name = name


def _free_name(name: str, taken: Collection[str]) -> str:
    """The name, numbered if it is taken."""
    free, number = name, 2
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def _input_like(source: keras.KerasTensor, shape: tuple[int | None, ...]) -> keras.KerasTensor:
    """An input of a model like another, of a shape that includes the batch size."""
    options = {name: True for name in ("sparse", "ragged") if getattr(source, name, False)}
    if getattr(source._keras_history.operation, "optional", False):
        options["optional"] = True
    return keras.Input(batch_shape=shape, dtype=source.dtype, name=source.name, **options)
