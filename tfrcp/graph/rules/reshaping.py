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


class MovingRule(Rule):
    """`Flatten`, `Permute`, `transpose`, `squeeze`, `flip`: nothing in them depends on sizes."""

    def moved(self, call: Call, atoms: Atoms) -> np.ndarray:
        """Labels of the output, one for every position."""
        value = call.inputs[0]
        shape = [_OPEN if n is None else n for n in value.single]
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
        try:
            moved = self.moved(call, atoms)
        except Exception as error:
            # The operation takes its sizes from where labels have none: from the batch.
            atoms.give_up(call, f"cannot be followed: {str(error).splitlines()[0]}")
            return
        if moved.size == 0:
            atoms.give_up(call, "may take nothing, depending on the image size")
            return
        target = call.outputs[0]
        images = 1 if target.batch is None else target.rows
        if moved.ndim != rank or moved.shape[target.batch or 0] not in (images, labels.shape[0]):
            atoms.give_up(call, "treats the batch like any other axis")
            return
        moved = compress(moved)
        if not (np.isin(labels, moved).all() or self.takes(call)):
            atoms.give_up(call, "takes some of the channels")
        else:
            atoms[target] = moved

    def takes(self, call: Call) -> bool:
        """Whether the operation may leave channels out."""
        return False


class ReshapeRule(MovingRule):
    """`Reshape` and `keras.ops.reshape`: the channels' number is part of the target shape."""

    def sizes(self, call: Call, labels: Labels, keep: Keep) -> dict[str, np.ndarray]:
        """The target shape, without the batch, as it is after slicing."""
        target = call.outputs[0]
        shape = [-1 if n is None else n for n in target.shape]
        kept = keep(labels[target])
        for axis in range(kept.ndim):
            if kept.shape[axis] > 1 and axis != target.batch:
                others = tuple(i for i in range(kept.ndim) if i != axis)
                shape[axis] = int(kept.any(axis=others).sum())
        if target.batch == 0:
            shape = shape[1:]
        return {"target_shape": np.array(shape, dtype="int32")}

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same operation with the new target shape."""
        shape = tuple(int(n) for n in arrays["target_shape"])
        if isinstance(call.operation, keras.layers.Layer):
            return layer_like(call.operation, target_shape=shape)
        if call.outputs[0].batch == 0:
            shape = (call.operation.newshape[0], *shape)
        return type(call.operation)(shape, name=call.operation.name)

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Reshapes to sizes that are known at run time only."""
        x, target, shape = ops.convert_to_tensor(args[0]), call.outputs[0], arrays["target_shape"]
        if target.batch == 0:
            first: Any = [-1]
            if None in target.shape[1:]:  # the one size that may be left open is taken
                first = [ops.shape(x)[0]]
            batch = ops.convert_to_tensor(first, dtype="int32")
            shape = ops.concatenate([batch, shape], axis=0)
        return ops.reshape(x, shape)
