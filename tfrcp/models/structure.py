"""The structures of a model's inputs and outputs. `Sequential` has no `input` and `output`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def input_structure(model: keras.Model) -> Any:
    """The inputs of a built Functional or Sequential model: tensors in a structure."""
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def output_structure(model: keras.Model) -> Any:
    """The outputs, likewise."""
    return model.outputs[0] if isinstance(model, keras.Sequential) else model.output


def random_inputs(model: keras.Model, count: int = 1, seed: int = 0) -> Any:
    """Seeded inputs `[count, ...]`: floats uniform in [0, 1), integers 0 and 1."""
    random = np.random.default_rng(seed)

    def array(tensor: keras.KerasTensor) -> np.ndarray:
        shape = (count, *tensor.shape[1:])
        is_float = keras.backend.is_float_dtype(tensor.dtype)
        found = random.random(shape) if is_float else random.integers(0, 2, shape)
        return found.astype(tensor.dtype)

    return keras.tree.map_structure(array, input_structure(model))
