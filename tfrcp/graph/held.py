"""Weights that a layer of layers holds itself, as operations of the traced graph."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

#: Regularizers and constraints that look at each number of a weight alone.
_BY_NUMBER = (
    *(keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2),
    keras.constraints.NonNeg,
)


def depends_on_shape(variable: keras.Variable) -> str:
    """The class of a weight's regularizer or constraint that may ask for its shape, if any: in a
    sliced model the weight is a table of rows."""
    for keeper in (variable.regularizer, variable.constraint):
        if keeper is not None and type(keeper) not in _BY_NUMBER and len(variable.shape) != 2:
            return type(keeper).__name__
    return ""


class HeldWeight(keras.Operation):
    """Gives a weight that an opened layer holds itself and computes with, whatever it is called on.

    Args:
        variable: The weight.
        dtype: The type in which the layer reads it.
    """

    def __init__(self, variable: keras.Variable, dtype: str | None = None) -> None:
        super().__init__(name="held_weight")
        self.variable, self.dtype = variable, dtype or str(variable.dtype)

    @property
    def variables(self) -> list[keras.Variable]:
        """The weight alone."""
        return [self.variable]

    weights = variables

    @property
    def trainable(self) -> bool:
        """Whether the weight is trained."""
        return self.variable.trainable

    def call(self, x: Any) -> Any:
        """The weight."""
        return ops.cast(self.variable, self.dtype)

    def compute_output_spec(self, x: Any) -> keras.KerasTensor:
        """The weight's shape: there is no batch in it."""
        return keras.KerasTensor(self.variable.shape, dtype=self.dtype)


class AcrossBatch(keras.Operation):
    """Repeats something of length 1 once for every example of a tensor."""

    def __init__(self) -> None:
        super().__init__(name="across_batch")

    def call(self, one: Any, x: Any) -> Any:
        """Repeats [1, ...] to [batch, ...]."""
        batch = ops.shape(x)[0]
        return ops.broadcast_to(one, (batch, *ops.shape(one)[1:]))

    def compute_output_spec(self, one: Any, x: Any) -> keras.KerasTensor:
        """The shape with the batch of `x`."""
        return keras.KerasTensor((x.shape[0], *one.shape[1:]), dtype=one.dtype)
