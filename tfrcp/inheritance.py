"""Which channels stay, and the pruned model that inherits their weights."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfrcp.graph.calls import named_variables
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.program import Weights, arrays_of, layer_at, read_weights, slice_weights
from tfrcp.graph.rules import Rule, find_rule


def select(
    graph: ChannelGraph, scores: Mapping[str, np.ndarray], channels: Sequence[int] | np.ndarray
) -> dict[str, np.ndarray]:
    """Keeps the channels with the highest scores.

    Args:
        graph: The trace of the model.
        scores: Maps the name of every prunable group to a float array [size]; higher means keep.
            Of equal scores the channel that comes first is kept.
        channels: int array [prunable groups]: how many channels each group keeps, in the order of
            `graph.prunable`.

    Returns:
        Dict that maps the name of every prunable group to a bool array [size].

    Raises:
        ValueError: If a count is out of range, or scores are missing, of the wrong length or NaN.
    """
    counts = check_channels(graph, channels)
    masks = {}
    for group, count in zip(graph.prunable, counts.tolist(), strict=True):
        score = np.asarray(scores.get(group.name, ()), dtype=float)
        if score.shape != (group.size,) or np.isnan(score).any():
            raise ValueError(
                f"`scores['{group.name}']` must be {group.size} numbers, none of them NaN. "
                f"Received: {scores.get(group.name)}"
            )
        masks[group.name] = np.zeros(group.size, dtype=bool)
        masks[group.name][np.argsort(-score, kind="stable")[:count]] = True
    return masks


def check_channels(graph: ChannelGraph, channels: Any) -> np.ndarray:
    """Checks a channel vector.

    Args:
        graph: The trace of the model.
        channels: int array [prunable groups].

    Returns:
        int64 array [prunable groups].

    Raises:
        ValueError: If there is not one int per prunable group, from 1 to the group's size.
    """
    counts = np.asarray(channels)
    if counts.shape != (len(graph.prunable),) or counts.dtype.kind not in "iu":
        raise ValueError(
            f"`channels` must be {len(graph.prunable)} ints, one for each prunable group of "
            f"'{graph.name}'. Received: channels={channels!r}"
        )
    for group, count in zip(graph.prunable, counts.tolist(), strict=True):
        if not 1 <= count <= group.size:
            raise ValueError(
                f"`channels` must be from 1 to {group.size} for group '{group.name}'. Received: "
                f"{count}"
            )
    return counts.astype("int64")


def slice_model(
    model: keras.Model, graph: ChannelGraph, masks: Mapping[str, np.ndarray]
) -> keras.Model:
    """Builds the pruned model: only the kept channels, with the weights that they had.

    Args:
        model: The model that was traced, or one with equally named layers. It is not changed.
        graph: The trace of the model.
        masks: Maps names of prunable groups to bool arrays [size], True where the channel is kept.
            Groups that are not named are kept whole.

    Returns:
        A plain Functional `keras.Model` with the same layer names, compiled as `model` is, with a
        new optimizer. Nested models are inlined; where two of their layers have the same name, the
        nested model's name precedes it.

    Raises:
        ValueError: If a mask is unknown or has the wrong length, or `model` is not what was traced.
    """
    return build_model(model, graph, slice_weights(graph, read_weights(graph, model), masks))


def build_model(model: keras.Model, graph: ChannelGraph, arrays: Weights) -> keras.Model:
    """Builds the model that holds sliced weights, as `slice_model` does.

    Args:
        model: The model that was traced, or one with equally named layers.
        graph: Its trace.
        arrays: Sliced weights and sizes, as `tfrcp.graph.program.slice_weights` returns them.
    """
    calls = graph.calls
    names = _layer_names([call.path for call in calls.calls])
    tensors = {
        value: keras.Input(batch_shape=source.shape, dtype=source.dtype, name=source.name)
        for value, source in zip(keras.tree.flatten(calls.inputs), model.inputs, strict=True)
    }
    inputs = keras.tree.map_structure(tensors.__getitem__, calls.inputs)
    rebuilt: dict[tuple[str, str], Any] = {}
    taken = set(names.values())
    for call in calls.calls:
        entry = arrays_of(call, arrays) or {}
        # A layer without weights that is called on different channels may need different sizes.
        sizes = str({name: array.tolist() for name, array in arrays.get(call.key, {}).items()})
        key = call.path, sizes if not call.variables else ""
        if key not in rebuilt:
            again = any(path == call.path for path, _ in rebuilt)
            name = _free_name(names[call.path], taken) if again else names[call.path]
            taken.add(name)
            rule = Rule() if call.path in graph.given_up else find_rule(call.operation)
            rebuilt[key] = rule.rebuild(call, entry)
            _rename(rebuilt[key], name)
        args, kwargs = call.bind(tensors)
        outputs = rebuilt[key](*args, **kwargs)
        tensors.update(zip(call.outputs, keras.tree.flatten(outputs), strict=True))
    outputs = keras.tree.map_structure(tensors.__getitem__, calls.outputs)
    pruned = keras.Model(inputs, outputs, name=model.name)
    for call in calls.calls:
        if call.variables:
            sliced = arrays.get(call.path, {})
            old_variables = named_variables(layer_at(model, call.path))
            new_variables = rebuilt[call.path, ""].variables
            for (name, old), new in zip(old_variables, new_variables, strict=True):
                new.assign(sliced.get(name, old))
            # What a layer derives from its weights, as `Normalization` does.
            getattr(rebuilt[call.path, ""], "finalize_state", lambda: None)()
    if model.compiled and model.get_compile_config():
        # A loss that Keras cannot write down cannot be carried over.
        with contextlib.suppress(TypeError, ValueError):
            pruned.compile_from_config(model.get_compile_config())
    return pruned


def _rename(operation: Any, name: str) -> None:
    """Names a new layer or operation, which has no weights yet."""
    inner = getattr(operation, "operation", operation)
    if inner.name != name:
        inner.name = name


def _layer_names(paths: list[str]) -> dict[str, str]:
    """A name for every path, unique in one model: the last part, or else all parts joined."""
    owners: dict[str, set[str]] = {}
    for path in paths:
        owners.setdefault(path.split("/")[-1], set()).add(path)
    names = {path: last for last, (path, *others) in owners.items() if not others}
    for path in paths:
        if path not in names:
            names[path] = _free_name(path.replace("/", "_"), names.values())
    return names


def _free_name(name: str, taken: Collection[str]) -> str:
    """The name, numbered if it is taken."""
    free, number = name, 2
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free
