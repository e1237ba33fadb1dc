"""The structures of a model's inputs and outputs. `Sequential` has no `input` and `output`."""

from __future__ import annotations

from typing import Any

import keras


def input_structure(model: keras.Model) -> Any:
    """The inputs of a built Functional or Sequential model: tensors in a structure."""
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def output_structure(model: keras.Model) -> Any:
    """The outputs, likewise."""
    return model.outputs[0] if isinstance(model, keras.Sequential) else model.output
