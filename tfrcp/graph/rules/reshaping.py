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
        shape = [1 if i == 0 else n or _OPEN for i, n in enumerate(value.shape)]
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
        if moved.ndim != rank or moved.shape[0] != 1:
            atoms.give_up(call, "treats the batch like any other axis")
            return
        moved = compress(moved)
        if not np.isin(labels, moved).all():
            atoms.give_up(call, "takes some of the channels")
        else:
            atoms[call.outputs[0]] = moved
            _keep_rectangular(moved, atoms)


def _keep_rectangular(labels: np.ndarray, atoms: Atoms) -> None:
    """Unites channels that a reshape has spread over several axes, as in a channel shuffle.

    What is kept must be whole slices along one axis, the longest; along the others channels stay or
    go together.
    """
    if sum(n > 1 for n in labels.shape) > 1:
        longest = max(range(labels.ndim), key=lambda axis: (labels.shape[axis], axis))
        atoms.unite_rows(np.moveaxis(labels, longest, -1).reshape(-1, labels.shape[longest]))


class ReshapeRule(MovingRule):
    """`Reshape` and `keras.ops.reshape`: the channels' number is part of the target shape."""

    def sizes(self, call: Call, labels: Labels, keep: Keep) -> dict[str, np.ndarray]:
        """The target shape, without the batch, as it is after slicing."""
        target = call.outputs[0]
        shape = [-1 if n is None else n for n in target.shape[1:]]
        kept = keep(labels[target])
        for axis in range(1, kept.ndim):
            if kept.shape[axis] > 1:
                others = tuple(i for i in range(kept.ndim) if i != axis)
                shape[axis - 1] = int(kept.any(axis=others).sum())
        return {"target_shape": np.array(shape, dtype="int32")}

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same operation with the new target shape."""
        shape = tuple(int(n) for n in arrays["target_shape"])
        if isinstance(call.operation, keras.layers.Layer):
            return layer_like(call.operation, target_shape=shape)
        return type(call.operation)((call.operation.newshape[0], *shape), name=call.operation.name)

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Reshapes to sizes that are known at run time only."""
        x = ops.convert_to_tensor(args[0])
        batch = ops.convert_to_tensor([ops.shape(x)[0]], dtype="int32")
        return ops.reshape(x, ops.concatenate([batch, arrays["target_shape"]], axis=0))
