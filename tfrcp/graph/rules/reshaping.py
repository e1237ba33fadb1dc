"""Operations that only move positions about: flatten, reshape, permute, slice, split, pad.

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

_OPEN = 64  # positions that stand for an open size


def compress(full: np.ndarray) -> np.ndarray:
    """Reduces every axis along which all positions are alike to size 1."""
    for axis in range(full.ndim):
        first = full.take([0], axis=axis)
        if (full == first).all():
            full = first
    return full


def _fixed_batch(call: Call) -> int | None:
    """The number of examples, where it is fixed and an operation leaves it alone."""
    (value, *_), target = call.inputs, call.outputs[0]
    if value.batch != 0 or target.batch != 0 or (value.fold, target.fold) != (1, 1):
        return None
    return value.shape[0] if value.shape[0] == target.shape[0] else None


class MovingRule(Rule):
    """`Flatten`, `Permute`, `transpose`, `squeeze`, `flip`: nothing in them depends on sizes."""

    def moved(self, call: Call, atoms: Atoms, batch: int | None = None) -> np.ndarray:
        """Labels of the output, one for every position.

        Args:
            call: The call.
            atoms: Labels of its input.
            batch: Number of examples, first of the axes; one if left out.
        """
        value = call.inputs[0]
        shape = [n or _OPEN for n in value.sizes]
        if batch is not None:
            shape[0] = batch
        full = np.broadcast_to(atoms.grid(value), shape).astype("int32")
        args, kwargs = call.bind({value: full})
        return ops.convert_to_numpy(call.operation(*args, **kwargs)).astype(int)

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Runs the operation on the labels."""
        labels, target = atoms.grid(call.inputs[0]), call.outputs[0]
        rank = len(target.shape)
        if labels.size == 1 and labels.min() < 0:
            # Nothing to follow; a negative label tells its reason wherever it is moved.
            atoms[call.outputs[0]] = labels.reshape((1,) * rank)
            return
        found = self._found(call, atoms)
        if isinstance(found, str):
            atoms.give_up(call, found)
            return
        moved, batch = found, target.batch
        all_there, moved = np.isin(labels, moved).all(), compress(moved)
        if batch is not None:
            moved = atoms.away(moved, [batch])
        if batch is not None and moved.shape[batch] != 1:
            atoms.give_up(call, "lays channels along the batch")
        elif not all_there:
            atoms.give_up(call, "takes some of the channels")
        else:
            atoms[target] = moved

    def _found(self, call: Call, atoms: Atoms) -> np.ndarray | str:
        """Labels of the output, one for every position; a string if there are none: why not."""
        target, reason = call.outputs[0], "cannot be followed: its sizes hold those of the batch"
        # On one example; a batch of a fixed size may be part of what the operation is told.
        for count in dict.fromkeys((None, _fixed_batch(call))):
            try:
                moved = self.moved(call, atoms, count)
            except Exception:  # it takes its sizes from where labels have none: from the batch
                continue
            if moved.size == 0:
                return "may take nothing, depending on the image size"
            entries = target.fold if count is None else count
            if moved.ndim == len(target.shape) and (
                target.batch is None or moved.shape[target.batch] == entries
            ):
                return moved
            reason = "treats the batch like any other axis"
        return reason


class RepeatRule(MovingRule):
    """`keras.ops.repeat`: every channel as often as every other."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Moves the labels."""
        if np.size(call.operation.repeats) > 1 and atoms.grid(call.inputs[0]).max() >= 0:
            atoms.give_up(call, "has numbers of its own for each position")
        else:
            super().trace(call, atoms)


class ReshapeRule(MovingRule):
    """`Reshape` and `keras.ops.reshape`: the channels' number is part of the target shape."""

    def sizes(self, call: Call, labels: Labels, keep: Keep) -> dict[str, np.ndarray]:
        """The target shape as it is after slicing; -1 for the batch and for open sizes."""
        target = call.outputs[0]
        shape = [-1 if n is None else n for n in target.shape]
        if target.batch is not None:
            shape[target.batch] = -1
        kept = keep(labels[target])
        for axis in range(kept.ndim):
            if kept.shape[axis] > 1:
                others = tuple(i for i in range(kept.ndim) if i != axis)
                shape[axis] = int(kept.any(axis=others).sum())
        return {"target_shape": np.array(shape, dtype="int32")}

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same operation with the new target shape."""
        shape, batch = [int(n) for n in arrays["target_shape"]], call.outputs[0].batch
        if isinstance(call.operation, keras.layers.Layer):
            return layer_like(call.operation, target_shape=tuple(shape[1:]))
        if batch is not None:
            shape[batch] = call.operation.newshape[batch]
        return type(call.operation)(tuple(shape), name=call.operation.name)

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Reshapes to sizes that are known at run time only."""
        x, target = ops.convert_to_tensor(args[0]), call.outputs[0]
        shape, axis = arrays["target_shape"], target.batch
        if axis == 0 == call.inputs[0].batch and target.fold == call.inputs[0].fold:
            batch = ops.convert_to_tensor([ops.shape(x)[0]], dtype="int32")
            shape = ops.concatenate([batch, shape[1:]], axis=0)
        return ops.reshape(x, shape)
