"""What a search is given: data that fit the model, and what tells criteria and models apart."""

from __future__ import annotations

import zlib
from typing import Any

import keras
import numpy as np

from tfrcp import criteria
from tfrcp.data import as_arrays, check_labels
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.weights import read_weights


def read(
    name: str,
    data: Any,
    model: keras.Model,
    *,
    count: int | None = None,
    labels: bool = False,
    classes: bool = False,
) -> tuple[Any, Any]:
    """Data of an argument as arrays that fit the model.

    Args:
        name: Name of the argument, for errors.
        data: A batched `tf.data.Dataset`, a tuple of arrays (x, y), x alone, or a `PyDataset`.
        model: The `keras.Model`.
        count: How many images at most; `None` for all.
        labels: Whether labels are needed.
        classes: Whether these must be classes of the model, whatever their type.

    Returns:
        Tuple of images and labels, arrays [N, ...].

    Raises:
        ValueError: If they are empty, not finite, or do not fit the model.
    """
    try:
        x, y = as_arrays(data, count=count, labels=labels)
        if labels and (classes or y.dtype.kind in "iu"):
            check_labels(y, model.outputs[0].shape[-1])
    except ValueError as error:
        raise ValueError(f"`{name}` cannot be used. {str(error).replace('`data`', 'It')}") from None
    arrays = keras.tree.flatten(x)
    expected = [tuple(tensor.shape) for tensor in model.inputs]
    fits = len(arrays) == len(expected) and all(
        array.ndim == len(shape)
        and all(n is None or n == m for n, m in zip(shape[1:], array.shape[1:], strict=True))
        for array, shape in zip(arrays, expected, strict=True)
    )
    if not fits:
        raise ValueError(
            f"`{name}` must hold arrays of shape {expected}, as the model's inputs. "
            f"Received: {[array.shape for array in arrays]}"
        )
    return x, y


def identity(criterion: Any) -> Any:
    """What tells a criterion from others: its config, or the name of a function."""
    try:
        return criteria.serialize(criterion)
    except ValueError:
        return getattr(criterion, "__qualname__", type(criterion).__qualname__)


def fingerprint(graph: ChannelGraph, model: keras.Model) -> str:
    """A checksum of a model's weights with channels."""
    checksum = 0
    for entry in read_weights(graph, model).values():
        for array in entry.values():
            checksum = zlib.crc32(np.ascontiguousarray(array).tobytes(), checksum)
    return f"{checksum:08x}"
