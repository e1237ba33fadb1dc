"""The images that a criterion looks at: read and checked before any work."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tfrcp.data import as_arrays
from tfrcp.graph.channels import ChannelGraph


def read_images(
    graph: ChannelGraph, data: Any, *, images: int, labels: bool = False
) -> tuple[Any, np.ndarray | None]:
    """Reads the first images of data and checks them against the model's inputs.

    Args:
        graph: The trace of the model.
        data: A batched `tf.data.Dataset`, a tuple of arrays (x, y), x alone, or a `PyDataset`.
        images: The most images to take.
        labels: Whether labels are needed.

    Returns:
        Tuple of the images, float arrays in the dtypes and the structure of the model's inputs, and
        the labels, `None` where they are not needed.

    Raises:
        ValueError: If there are no data or only one image, images are not finite or do not fit the
            model's inputs, or labels are missing.
    """
    if data is None:
        raise ValueError(
            f"This criterion looks at {'labelled ' if labels else ''}images. Pass `data`: a "
            "batched tf.data.Dataset, a tuple of arrays (x, y), or a keras.utils.PyDataset."
        )
    x, y = as_arrays(data, count=images, labels=labels)
    arrays, inputs = keras.tree.flatten(x), keras.tree.flatten(graph.calls.inputs)
    fits = len(arrays) == len(inputs) and all(
        array.ndim == len(value.shape)
        and all(n in (None, m) for n, m in zip(value.shape[1:], array.shape[1:], strict=True))
        and np.can_cast(array.dtype, value.dtype, "same_kind")
        for array, value in zip(arrays, inputs, strict=True)
    )
    if not fits:
        raise ValueError(
            "`data` must hold arrays like the model's inputs, "
            f"{[(value.dtype, value.shape) for value in inputs]}. "
            f"Received: {[(str(array.dtype), array.shape) for array in arrays]}"
        )
    if len(arrays[0]) < 2:
        raise ValueError(
            "`data` must hold at least 2 images: scores from one say nothing of the others. "
            "Received: 1 image"
        )
    arrays = [a.astype(value.dtype) for a, value in zip(arrays, inputs, strict=True)]
    return keras.tree.pack_sequence_as(graph.calls.inputs, arrays), y


def batches(x: Any, size: int) -> Iterator[Any]:
    """Yields images in batches of `size`, the last one smaller."""
    for start in range(0, len(keras.tree.flatten(x)[0]), size):
        yield keras.tree.map_structure(operator.itemgetter(slice(start, start + size)), x)


def check_finite(values: np.ndarray) -> np.ndarray:
    """Checks what a model gave on images, and returns it.

    Raises:
        ValueError: If not all are finite numbers.
    """
    if not np.isfinite(values).all():
        raise ValueError(
            "The model does not give finite numbers on `data`. Check its weights, and that the "
            "images are scaled as it was trained."
        )
    return values
