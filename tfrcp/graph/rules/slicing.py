"""Operations that take or add runs of channels: slices, splits, padding."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.atoms import Atoms
from tfrcp.graph.calls import Call
from tfrcp.graph.rules.base import Arrays, Keep, Labels, Rule
from tfrcp.graph.rules.reshaping import MovingRule


class GetItemRule(MovingRule):
    """`x[key]`: slices of the spatial axes, and one run of channels, such as `x[..., :16]`."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Reads a run of channels itself; everything else is moving positions."""
        labels = atoms.away(atoms.grid(call.inputs[0]), _cut(call))
        found = _run_of_channels(call, labels)
        if found is None:
            if any(labels.shape[axis] > 1 for axis in _cut(call)):
                atoms.give_up(call, "takes channels otherwise than in one run")
            else:
                super().trace(call, atoms)
            return
        axis, start, stop = found
        place, rank = _place(call, axis), len(call.outputs[0].shape)
        part = labels.ravel()[start:stop]
        atoms.separate(part)
        atoms.separate(np.delete(labels.ravel(), range(start, stop)))
        atoms[call.outputs[0]] = part.reshape([-1 if i == place else 1 for i in range(rank)])

    def sizes(self, call: Call, labels: Labels, keep: Keep) -> dict[str, np.ndarray]:
        """Start and stop of the run among the channels that are kept."""
        found = _run_of_channels(call, labels[call.inputs[0]])
        if found is None:
            return {}
        kept = keep(labels[call.inputs[0]]).ravel()
        axis, start, stop = found
        return {f"run:{axis}": np.array([kept[:start].sum(), kept[:stop].sum()], dtype="int32")}

    def rebuild(self, call: Call, arrays: Arrays) -> Any:
        """The same slice with the new run."""
        operation = super().rebuild(call, arrays)
        for name, run in arrays.items():
            start, stop = (int(n) for n in run)
            key = _with_run(call, _axis(name), slice(start, stop))
            return Rekeyed(operation, key)
        return operation

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Takes a run that is known at run time only."""
        for name, run in arrays.items():
            return args[0][_with_run(call, _axis(name), slice(run[0], run[1]))]
        return call.operation(*args, **kwargs)


class Rekeyed:
    """`x[key]` with another key."""

    def __init__(self, operation: keras.Operation, key: tuple[Any, ...]) -> None:
        self.operation, self.key = operation, key

    def __call__(self, x: Any, key: Any) -> Any:
        """Takes by its own key, whatever it is given."""
        return self.operation(x, self.key)


def _axis(name: str) -> int:
    """The axis in the name of a run."""
    return int(name.removeprefix("run:"))


def _key(call: Call) -> list[Any]:
    """The key of `x[key]` with its ellipsis written out; `None` stands for a new axis."""
    key = call.args[1] if len(call.args) > 1 else call.kwargs["key"]
    key = list(key) if isinstance(key, tuple | list) else [key]
    if Ellipsis not in key:
        key.append(Ellipsis)
    here = key.index(Ellipsis)
    missing = len(call.inputs[0].shape) - sum(k is not None for k in key) + 1
    return [*key[:here], *[slice(None)] * missing, *key[here + 1 :]]


def _cut(call: Call) -> list[int]:
    """The axes of which the key does not take all positions."""
    whole = ((0, 2, 1), (1, -1, -1))
    keys = [k for k in _key(call) if k is not None]
    return [i for i, k in enumerate(keys) if not (isinstance(k, slice) and k.indices(2) in whole)]


def _run_of_channels(call: Call, labels: np.ndarray) -> tuple[int, int, int] | None:
    """Axis, start and stop, if the key takes a run of the channels but not all of them."""
    axes = [i for i, n in enumerate(labels.shape) if n > 1]
    if len(axes) != 1:
        return None
    key, size = [k for k in _key(call) if k is not None][axes[0]], labels.size
    if not isinstance(key, slice) or key.step not in (None, 1):
        return None
    start, stop, _ = key.indices(size)
    return (axes[0], start, stop) if start < stop and (start, stop) != (0, size) else None


def _place(call: Call, axis: int) -> int:
    """Where an axis of `x` stands in `x[key]`."""
    old = new = 0
    for k in _key(call):
        if k is not None and old == axis:
            return new
        old += k is not None
        new += not isinstance(k, int)
    raise IndexError(axis)


def _with_run(call: Call, axis: int, channels: slice) -> tuple[Any, ...]:
    """The key with another run of channels along an axis of `x`."""
    old, result = 0, []
    for k in _key(call):
        result.append(channels if k is not None and old == axis else k)
        old += k is not None
    return tuple(result)


class SplitRule(Rule):
    """`keras.ops.split`."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Along the channels every part takes its run; along another axis all have all of them."""
        value = call.inputs[0]
        axis = call.operation.axis % len(value.shape)
        labels = atoms.away(atoms.grid(value), [axis])
        if labels.shape[axis] == 1 and (labels.size > 1 or labels.min() < 0):
            for target in call.outputs:
                atoms[target] = labels
        elif labels.size == labels.shape[axis] == value.shape[axis] and axis > 0:
            start = 0
            for target in call.outputs:
                stop = start + target.shape[axis]
                atoms[target] = labels.take(range(start, stop), axis=axis)
                atoms.separate(atoms[target])
                start = stop
        else:
            atoms.give_up(call, "splits an axis that cannot be followed")

    def sizes(self, call: Call, labels: Labels, keep: Keep) -> dict[str, np.ndarray]:
        """Number of kept channels in every part."""
        axis = call.operation.axis % len(call.inputs[0].shape)
        before = labels[call.inputs[0]]
        if before.shape[axis] == 1:
            return {}
        places = np.cumsum([target.shape[axis] for target in call.outputs])[:-1]
        parts = [part.sum() for part in np.split(keep(before).ravel(), places)]
        return {"parts": np.array(parts, dtype="int32")}

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same operation with the new places to split at."""
        if "parts" not in arrays:
            return super().rebuild(call, arrays)
        places = [int(n) for n in np.cumsum(arrays["parts"])[:-1]]
        return type(call.operation)(places, axis=call.operation.axis, name=call.operation.name)

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Splits at places that are known at run time only."""
        if "parts" not in arrays:
            return call.operation(*args, **kwargs)
        axis = call.operation.axis % len(call.inputs[0].shape)
        result, start = [], 0
        for i in range(len(call.outputs)):
            stop = start + arrays["parts"][i]
            result.append(args[0][(*[slice(None)] * axis, slice(start, stop))])
            start = stop
        return result


class TakeRule(MovingRule):
    """`keras.ops.take` of rows by fixed numbers, along another axis than the channels'."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Moves the labels."""
        axis, labels = call.operation.axis, atoms.grid(call.inputs[0])
        labels = labels if axis is None else atoms.away(labels, [axis])
        if len(call.inputs) > 1 or axis is None or labels.shape[axis] > 1:
            atoms.give_up(call, "takes by numbers of the network's, or takes channels")
        else:
            super().trace(call, atoms)


class PadRule(MovingRule):
    """`keras.ops.pad`: on the channel axis it adds constant channels, as option A shortcuts do."""

    def _widths(self, call: Call) -> list[tuple[int, int]]:
        widths, rank = call.operation.pad_width, len(call.outputs[0].shape)
        widths = [tuple(w) if len(w) == 2 else (w[0], w[0]) for w in widths]
        return widths * rank if len(widths) == 1 else widths

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Adds new constant channels; padded positions change nothing."""
        value, widths = call.inputs[0], self._widths(call)
        labels = atoms[value]
        padded = [axis for axis, width in enumerate(widths) if any(width)]
        on_channels = [axis for axis in padded if labels.shape[axis] > 1]
        unclear = False
        if labels.size == 1 and labels.item() >= 0:
            on_channels = [axis for axis in padded if value.shape[axis] == 1]
            unclear = len(on_channels) > 1
        elif labels.size == 1:
            unclear = any(widths[-1])
        if 0 in padded or unclear or (on_channels and call.operation.mode != "constant"):
            atoms.give_up(call, f"pads the batch or the channels in mode {call.operation.mode}")
            return
        for axis in on_channels:
            ends = [
                atoms.new(count, constant=True).reshape(
                    [-1 if i == axis else 1 for i in range(labels.ndim)]
                )
                for count in widths[axis]
            ]
            labels = np.concatenate([ends[0], labels, ends[1]], axis=axis)
        atoms[call.outputs[0]] = labels

    def sizes(self, call: Call, labels: Labels, keep: Keep) -> dict[str, np.ndarray]:
        """The padding that is left around the kept channels."""
        widths = np.array(self._widths(call), dtype="int32")
        before, after = labels[call.inputs[0]], labels[call.outputs[0]]
        for axis in range(after.ndim):
            if after.shape[axis] > before.shape[axis]:
                kept, front = keep(after).ravel(), widths[axis][0]
                widths[axis] = kept[:front].sum(), kept[front + before.shape[axis] :].sum()
        return {"pad_width": widths}

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same operation with the new padding."""
        widths = [[int(n) for n in pair] for pair in arrays["pad_width"]]
        operation = call.operation
        return type(operation)(widths, mode=operation.mode, name=operation.name)

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Pads by widths that are known at run time only, with a constant."""
        if call.operation.mode != "constant":
            return call.operation(*args, **kwargs)
        return _pad(args[0], arrays["pad_width"], *args[1:], **kwargs)


def _pad(x: Any, widths: Any, constant_values: Any = None) -> Any:
    """Pads with widths [rank, 2] that may be a tensor, which `keras.ops.pad` does not take."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.pad(x, widths, constant_values=constant_values or 0)
    return ops.pad(x, np.asarray(widths), constant_values=constant_values)
