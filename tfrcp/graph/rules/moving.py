"""Operations that only move positions about: flatten, reshape, permute, slice, pad.

How channels move is not written down here: the operation itself is run on an array of atom numbers
and the result is read. (Integer arrays: half-precision numbers would not hold them.)
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.atoms import Atoms
from tfrcp.graph.calls import Call
from tfrcp.graph.rules.base import Arrays, Keep, Labels, Rule, layer_like


def compress(full: np.ndarray) -> np.ndarray:
    """Reduces every axis along which all positions are alike to size 1."""
    for axis in range(full.ndim):
        first = full.take([0], axis=axis)
        if (full == first).all():
            full = first
    return full


class MovingRule(Rule):
    """`Flatten`, `Permute`, `transpose`, `x[key]`: nothing in them depends on channel counts.

    A slice must leave the channels whole.
    """

    def moved(self, call: Call, atoms: Atoms) -> np.ndarray:
        """Labels of the output, one for every position."""
        value = call.inputs[0]
        shape = [1 if n is None else n for n in value.shape]
        full = np.broadcast_to(atoms[value], shape).astype("int32")
        args, kwargs = call.bind({value: full})
        return ops.convert_to_numpy(call.operation(*args, **kwargs)).astype(int)

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Runs the operation on the labels."""
        labels, rank = atoms[call.inputs[0]], len(call.outputs[0].shape)
        if labels.size == 1 and labels.min() < 0:
            # Nothing to follow; a negative label tells its reason wherever it is moved.
            atoms[call.outputs[0]] = labels.reshape((1,) * rank)
            return
        moved = compress(self.moved(call, atoms))
        if moved.ndim != rank:
            atoms.give_up(call, "treats the batch like any other axis")
            return
        if sum(n > 1 for n in moved.shape) > 1:
            atoms.give_up(call, "spreads the channels over several axes")
            return
        if not np.isin(labels, moved).all():
            atoms.give_up(call, "takes some of the channels")
            return
        atoms[call.outputs[0]] = moved


class ReshapeRule(MovingRule):
    """`Reshape` and `keras.ops.reshape`: the channels' number is part of the target shape."""

    def sizes(self, call: Call, labels: Labels, keep: Keep) -> dict[str, np.ndarray]:
        """The target shape, without the batch, as it is after slicing."""
        target = call.outputs[0]
        shape = [-1 if n is None else n for n in target.shape[1:]]
        after = labels[target]
        for axis in range(1, after.ndim):
            if after.shape[axis] > 1:
                shape[axis - 1] = int(keep(after).sum())
        return {"target_shape": np.array(shape, dtype="int32")}

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same operation with the new target shape."""
        shape = tuple(int(n) for n in arrays["target_shape"])
        if isinstance(call.operation, keras.layers.Layer):
            return layer_like(call.operation, target_shape=shape)
        batch = call.operation.newshape[0]
        return type(call.operation)((batch, *shape), name=call.operation.name)

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Reshapes to sizes that are known at run time only."""
        x = ops.convert_to_tensor(args[0])
        batch = ops.convert_to_tensor([ops.shape(x)[0]], dtype="int32")
        return ops.reshape(x, ops.concatenate([batch, arrays["target_shape"]], axis=0))


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
        on_channels = [axis for axis, n in enumerate(labels.shape) if n > 1 and any(widths[axis])]
        on_one = labels.size == 1 and sum(any(w) for w in widths[-1:]) > 0
        if on_one or (on_channels and call.operation.mode != "constant"):
            atoms.give_up(call, f"pads the channels in mode {call.operation.mode}")
            return
        for axis in on_channels:
            before, after = widths[axis]
            rank = labels.ndim
            shape = [-1 if i == axis else 1 for i in range(rank)]
            labels = np.concatenate(
                [
                    atoms.new(before, constant=True).reshape(shape),
                    labels,
                    atoms.new(after, constant=True).reshape(shape),
                ],
                axis=axis,
            )
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
            return super().run(call, arrays, args, kwargs)
        return pad(args[0], arrays["pad_width"], *args[1:], **kwargs)


def pad(x: Any, widths: Any, constant_values: Any = None) -> Any:
    """Pads with widths [rank, 2] that may be a tensor, which `keras.ops.pad` does not take."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.pad(x, widths, constant_values=constant_values or 0)
    return ops.pad(x, np.asarray(widths), constant_values=constant_values)
