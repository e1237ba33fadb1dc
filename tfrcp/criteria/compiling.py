"""Compiles a function of weights and images once, for images in batches of any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tfrcp.graph.calls import Value
from tfrcp.graph.compiled import Compiled


def compiled(function: Callable[..., Any], arrays: Any, inputs: Any) -> Callable[..., Any]:
    """Compiles a function of weights and of tensors.

    `Program.compile` leaves the channel counts open; here they are as they are, which runs faster.

    Args:
        function: Function of `arrays` and `inputs`.
        arrays: Structure of tensors, of which shapes and dtypes are read.
        inputs: Structure of `Value`, of which the batch is left open.

    Returns:
        The compiled function. Under a backend other than TensorFlow the function itself.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    def spec(value: Value) -> tf.TensorSpec:
        return tf.TensorSpec((None, *value.shape[1:]), value.dtype)

    signature = (
        keras.tree.map_structure(tf.TensorSpec.from_tensor, arrays),
        keras.tree.map_structure(spec, inputs),
    )
    return Compiled(function, signature)
