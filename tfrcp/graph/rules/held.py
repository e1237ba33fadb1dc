"""Weights that an opened layer holds itself: a scale for each channel, a class token, positions."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.atoms import Atoms, along
from tfrcp.graph.calls import Call
from tfrcp.graph.rules.base import Arrays, Rule


class HeldWeightRule(Rule):
    """A weight of any shape; channels lie along its last axis that is longer than 1.

    It makes no channels: it goes with those that it is added to, multiplied with or joined with.
    One that is read once may turn out to be a kernel; `Atoms.held` has these.
    In a sliced model it is the table of an `Embedding` that is read as a whole.
    """

    def trace(self, call: Call, atoms: Atoms) -> None:
        """New labels along the axis."""
        (variable,) = call.operation.variables
        shape = tuple(variable.shape)
        if atoms.reads.get(call.outputs[0], 1) == 1:
            atoms.held[call.outputs[0]] = call
        axes = [axis for axis, n in enumerate(shape) if n > 1]
        if not axes:
            atoms[call.outputs[0]] = atoms.outside(len(shape), f"{call.path}: a single number")
            return
        labels = atoms.new(shape[axes[-1]], constant=True)
        atoms.weight(call, variable.name, {axes[-1]: ("channelwise", labels)})
        atoms[call.outputs[0]] = along(labels, axes[-1], len(shape))

    def rebuild(self, call: Call, arrays: Arrays) -> Any:
        """A table of the sliced weight's size."""
        operation, variable = call.operation, call.operation.variable
        shape = tuple(arrays.get(variable.name, variable).shape)
        keepers = {
            "embeddings_regularizer": variable.regularizer,
            "embeddings_constraint": variable.constraint,
        }
        return Table(shape, operation.dtype, str(variable.dtype), **keepers)

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The sliced weight."""
        (array,) = arrays.values()
        return ops.cast(array, call.operation.dtype)


class Table:
    """A weight in a sliced model, made of Keras's own layers so that it loads anywhere.

    Args:
        shape: The weight's shape.
        dtype: The type in which it is read.
        stored: The type in which it is stored.
        **keepers: Its regularizer and constraint, as arguments of an `Embedding`.

    Attributes:
        operation: The `Embedding` that holds it.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str, stored: str, **keepers: Any) -> None:
        self._shape, self._rows = shape, math.prod(shape[:-1])
        policy = dtype if dtype == stored else f"mixed_{dtype}"
        self.operation = keras.layers.Embedding(
            *(self._rows, (shape or (1,))[-1]),
            dtype=policy,
            embeddings_initializer="zeros",
            **keepers,
        )

    def __call__(self, x: Any) -> Any:
        """The weight; of `x` nothing is taken but that it is there."""
        first = x[tuple([slice(0, 1)] * len(x.shape))]
        one = len(self._shape) < 2
        rows = ops.zeros_like(ops.reshape(first, () if one else (1,)), dtype="int32")
        if self._rows > 1:
            rows = ops.add(rows, np.arange(self._rows, dtype="int32"))
        table = self.operation(rows)
        return table if tuple(table.shape) == self._shape else ops.reshape(table, self._shape)

    def carry(self, source: Any, arrays: Arrays) -> None:
        """Takes over values and whether they are trained.

        Args:
            source: The `HeldWeight` of the model.
            arrays: The sliced weight, if it was sliced.
        """
        value = ops.convert_to_numpy(arrays.get(source.variable.name, source.variable))
        self.operation.embeddings.assign(np.reshape(value, self.operation.embeddings.shape))
        self.operation.trainable = source.trainable


class AcrossBatchRule(Rule):
    """Repeats over the batch: the channels are the same for every example."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """The labels of what is repeated."""
        atoms[call.outputs[0]] = atoms.grid(call.inputs[0])

    def rebuild(self, call: Call, arrays: Arrays) -> Any:
        """A product with ones."""
        return _across_batch


def _across_batch(one: Any, x: Any) -> Any:
    """What is to be repeated, [1, ...], times a one for every example of `x`.

    Not plus zeros: `keras.ops.add` takes [batch, 1, 1] for a bias where batch and channels agree.
    """
    ones = ops.ones_like(x[(slice(None), *[slice(0, 1)] * (len(x.shape) - 1))], dtype=one.dtype)
    return ops.multiply(one, ops.reshape(ones, (-1, *[1] * (len(one.shape) - 1))))
