"""Images in the structure, the types and the names that a model's inputs have."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfrcp.models.structure import input_structure, random_inputs


def model_inputs(model: Any) -> Any:
    """The structure of a model's inputs.

    Raises:
        ValueError: If the model is not built, or its batch size is fixed.
    """
    try:
        inputs = input_structure(model)
    except AttributeError:
        raise ValueError(
            "`model` must be a built Functional or Sequential keras.Model. "
            f"Received: {type(model).__name__}"
        ) from None
    if any(tensor.shape[0] is not None for tensor in keras.tree.flatten(inputs)):
        raise ValueError(
            "`model` must leave the batch size free: `keras.Input(shape)`, not `batch_size` or "
            f"`batch_shape`. Received input: {inputs}"
        )
    return inputs


def images_for(model: keras.Model, images: Any, name: str) -> Any:
    """Images in the structure, types and shapes that the model expects.

    Raises:
        ValueError: If they do not fit.
    """
    inputs = model_inputs(model)
    if images is None:
        for tensor in keras.tree.flatten(inputs):
            if None in tensor.shape[1:]:
                raise ValueError(
                    f"`sample` is needed to compare on: input {tensor.name!r} has no fixed shape. "
                    f"Received: sample=None, shape={tensor.shape}"
                )
        return random_inputs(model, 2)
    try:
        images = keras.tree.map_structure(_fit, inputs, images)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` does not fit the model's inputs: {error}") from error
    sizes = {len(array) for array in keras.tree.flatten(images)}
    if len(sizes) > 1 or 0 in sizes:
        raise ValueError(
            f"`{name}` must hold at least one image, and equally many for every input. "
            f"Received: {sorted(sizes)} images"
        )
    return images


def by_name(model: keras.Model, images: Any) -> dict[str, np.ndarray]:
    """Images by the names that the inputs have in every format."""
    inputs = keras.tree.flatten(model_inputs(model))
    return {t.name: a for t, a in zip(inputs, keras.tree.flatten(images), strict=True)}


def _fit(tensor: keras.KerasTensor, array: Any) -> np.ndarray:
    """`array` in the type of one input, after a check of its shape."""
    array = np.asarray(array, dtype=tensor.dtype)
    if array.ndim != len(tensor.shape) or any(
        size not in (None, got) for size, got in zip(tensor.shape, array.shape, strict=True)
    ):
        raise ValueError(f"{tensor.name!r} has shape {tensor.shape}. Received: {array.shape}")
    return array
