"""Calibration images: read and checked against the model."""

from __future__ import annotations

from typing import Any

import keras

from tfrcp.data import as_arrays
from tfrcp.graph.channels import ChannelGraph


def calibration_images(graph: ChannelGraph, data: Any, count: int | None = None) -> Any:
    """Reads calibration images and checks them before any work.

    Args:
        graph: The trace of the model.
        data: A batched `tf.data.Dataset`, a tuple of arrays (x, y), x alone, or a `PyDataset`;
            labels are not used.
        count: How many images to use. Defaults to all.

    Returns:
        Structure of arrays like the model's inputs, at least two images, in their own types.

    Raises:
        ValueError: If there are fewer than two images, or they are not finite numbers of the shape
            and kind that the model takes.
    """
    x, _ = as_arrays(data, count=count)
    values, arrays = keras.tree.flatten(graph.calls.inputs), keras.tree.flatten(x)
    if len(values) != len(arrays):
        raise ValueError(
            f"`data` must hold {len(values)} arrays of images, one for each input of "
            f"'{graph.name}'. Received: {len(arrays)}"
        )
    for value, array in zip(values, arrays, strict=True):
        wanted, shape = value.shape[1:], array.shape[1:]
        if len(wanted) != len(shape) or any(
            n not in (None, m) for n, m in zip(wanted, shape, strict=True)
        ):
            raise ValueError(
                f"`data` must hold images of the shape that '{graph.name}' takes, {wanted}. "
                f"Received: {shape}"
            )
        if len(array) < 2:
            raise ValueError(
                f"`data` must hold at least two images, to tell what varies. Received: {len(array)}"
            )
        if array.dtype.kind == "f" and value.dtype.startswith(("int", "uint")):
            raise ValueError(
                f"`data` must hold integers: '{graph.name}' takes {value.dtype}. Received: "
                f"{array.dtype}"
            )
    return keras.tree.pack_sequence_as(graph.calls.inputs, arrays)
