"""Layers that stand in an opened model for what a composite layer does outside of its inner layers.

A composite layer may read a weight of its own (a position embedding, a scale), hand a constant to an
inner layer, or repeat a weight for every image. In a Functional model each needs a layer.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("tfrcp")
class Weight(keras.layers.Layer):
    """Gives a weight of its own, whatever it is called on.

    Args:
        shape: Shape of the weight.
        weight_name: Name of the weight.
        weight_dtype: Its dtype; what the layer gives has the compute dtype.
        regularizer: See `keras.layers.Layer.add_weight`.
        constraint: See `keras.layers.Layer.add_weight`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        weight_name: str,
        weight_dtype: str = "float32",
        regularizer: Any = None,
        constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(autocast=False, **options)
        self.shape = tuple(int(n) for n in shape)
        self.weight_name, self.weight_dtype = weight_name, weight_dtype
        self.regularizer = keras.regularizers.get(regularizer)
        self.constraint = keras.constraints.get(constraint)

    @classmethod
    def around(cls, variable: keras.Variable, owner: keras.layers.Layer, name: str) -> Weight:
        """A layer that gives a variable of another layer: the very same variable.

        Args:
            variable: The variable.
            owner: The layer that has it.
            name: Name of the new layer.
        """
        layer = cls(
            variable.shape,
            variable.name,
            str(variable.dtype),
            variable.regularizer,
            variable.constraint,
            dtype=owner.dtype_policy,
            name=name,
        )
        layer.value, layer.built = variable, True
        return layer

    def build(self, input_shape: Any) -> None:
        """Makes the weight."""
        self.value = self.add_weight(
            shape=self.shape,
            initializer="zeros",
            dtype=self.weight_dtype,
            regularizer=self.regularizer,
            constraint=self.constraint,
            name=self.weight_name,
        )

    def call(self, x: Any) -> Any:
        """The weight."""
        return ops.cast(self.value, self.given_dtype)

    @property
    def given_dtype(self) -> str:
        """Dtype of what the layer gives."""
        return self.compute_dtype if "float" in self.weight_dtype else self.weight_dtype

    def compute_output_spec(self, x: Any) -> keras.KerasTensor:
        """The weight's shape."""
        return keras.KerasTensor(self.shape, dtype=self.given_dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {
            **super().get_config(),
            "shape": list(self.shape),
            "weight_name": self.weight_name,
            "weight_dtype": self.weight_dtype,
            "regularizer": keras.regularizers.serialize(self.regularizer),
            "constraint": keras.constraints.serialize(self.constraint),
        }


@keras.saving.register_keras_serializable("tfrcp")
class Constant(keras.layers.Layer):
    """Gives fixed numbers, whatever it is called on.

    Args:
        value: Array, or nested lists of numbers.
        value_dtype: Its dtype.
    """

    def __init__(self, value: Any, value_dtype: str | None = None, **options: Any) -> None:
        super().__init__(autocast=False, **options)
        self.value = np.asarray(value, value_dtype)

    def call(self, x: Any) -> Any:
        """The numbers."""
        return ops.convert_to_tensor(self.value)

    def compute_output_spec(self, x: Any) -> keras.KerasTensor:
        """Their shape."""
        return keras.KerasTensor(self.value.shape, dtype=str(self.value.dtype))

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        config = {"value": self.value.tolist(), "value_dtype": str(self.value.dtype)}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("tfrcp")
class ForEachImage(keras.layers.Layer):
    """Repeats a tensor [1, ...] for every image of a batch."""

    def __init__(self, **options: Any) -> None:
        super().__init__(autocast=False, **options)

    def call(self, x: Any, batch: Any) -> Any:
        """The tensor, as often as `batch` has images."""
        return ops.repeat(x, ops.shape(batch)[0], axis=0)

    def compute_output_spec(self, x: Any, batch: Any) -> keras.KerasTensor:
        """The tensor's shape, with the batch size of the other."""
        return keras.KerasTensor((batch.shape[0], *x.shape[1:]), dtype=x.dtype)
