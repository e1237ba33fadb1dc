"""What a search is given: data that fit the model, and what tells criteria and models apart."""

from __future__ import annotations

import warnings
import zlib
from typing import Any

import keras
import numpy as np

from tfrcp import criteria
from tfrcp.data import Examples, RowFile, check_labels, read_examples
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.weights import read_weights
from tfrcp.scoring import objectives


def read(
    name: str,
    data: Any,
    model: keras.Model,
    *,
    count: int | None = None,
    targets: bool = True,
    memory: int | None = None,
) -> Examples:
    """Data of an argument that fit the model's inputs.

    Args:
        name: Name of the argument, for errors.
        data: A batched `tf.data.Dataset`, a tuple of arrays (x, y) or (x, y, sample_weight), x
            alone, or a `PyDataset`; x, y and sample weights may be structures.
        model: The `keras.Model`.
        count: How many images at most; `None` for all.
        targets: Whether labels and sample weights are read as well.
        memory: Bytes of inputs that are held in memory; see `read_examples`.

    Raises:
        ValueError: If they are empty, not finite, or do not fit the model.
    """
    if getattr(model, "preprocessor", None) is not None:
        warnings.warn(
            f"`fit` of {type(model).__name__} may prepare data by its `preprocessor`, which tfrcp "
            f"does not call: pass `{name}` as the network takes it, and set `preprocessor` to None "
            "while it is pruned.",
            stacklevel=4,
        )
    if isinstance(data, list) and len(data) == len(model.inputs):
        data = (data,)  # the inputs of the model, without labels
    try:
        found = read_examples(data, count=count, targets=targets, memory=memory)
    except ValueError as error:
        raise ValueError(f"`{name}` cannot be used. {_of_it(error)}") from None
    arrays = keras.tree.flatten(found.x)
    expected = [tuple(tensor.shape) for tensor in model.inputs]
    fits = len(arrays) == len(expected) and all(
        array.ndim == len(shape)
        and all(n is None or n == m for n, m in zip(shape[1:], array.shape[1:], strict=True))
        for array, shape in zip(arrays, expected, strict=True)
    )
    if not fits:
        raise ValueError(
            f"`{name}` must hold arrays of shape {expected}, as the model's inputs. "
            f"Received: {[array.shape for array in arrays]}{_batching_hint(data, arrays, expected)}"
        )
    return found


def _batching_hint(data: Any, arrays: list[np.ndarray], expected: list[Any]) -> str:
    """What would do, where arrays lack the axis of the batch."""
    if [array.ndim + 1 for array in arrays] != [len(shape) for shape in expected]:
        return ""
    if hasattr(data, "batch"):
        return ". The data set gives single images: pass batches, such as data.batch(32)"
    return ". The first axis must count the images: a single one is x[None]"


def check_targets(
    name: str, found: Examples, model: keras.Model, objective: objectives.Objective
) -> None:
    """Checks that there are labels for an objective, and classes for a classifier's accuracy.

    Raises:
        ValueError: If not, with what would do for this model.
    """
    if found.y is None:
        raise ValueError(
            f"`{name}` must come with labels for the objective '{objective.name}': pass (x, y), or "
            "a data set of (x, y) batches; objective='agreement' needs none. Received: images alone"
        )
    classes = objective.classes
    if classes:
        try:
            (labels,) = keras.tree.flatten(found.y)
            check_labels(labels, classes)
        except ValueError as error:
            raise ValueError(
                f"`{name}` cannot be used for the objective '{objective.name}' of '{model.name}', "
                f"whose output is {tuple(model.outputs[0].shape)}. {error}"
            ) from None


HOLDOUT_SHARE = 0.2
"""Share of the data that selects where none is given for that."""


def hold_out(
    x: Any, y: Any, seed: int, *, memory: int | None = None, verbose: bool = True
) -> tuple[Any, Any]:
    """Cuts data in two, at random: for calibration, and for selection.

    Args:
        x: Data, as for `read_examples`.
        y: Labels, where `x` is an array.
        seed: Seed of the choice.
        memory: Bytes of inputs that are held in memory; see `read_examples`.
        verbose: Whether to say so.

    Returns:
        Two tuples of structures of arrays, (x,), (x, y) or (x, y, sample_weight); of `RowFile`s
        where inputs are too large for memory.

    Raises:
        ValueError: If the data cannot be used, or there are too few.
    """
    data = (x,) if y is None and isinstance(x, list) else x if y is None else (x, y)
    try:
        found = read_examples(data, memory=memory)
    except ValueError as error:
        raise ValueError(f"`x` cannot be used. {_of_it(error)}") from None
    count = round(HOLDOUT_SHARE * found.size)
    if count < 2:
        raise ValueError(
            "`validation_data` must be given, or `x` hold at least ten images, of which a fifth "
            f"selects. Received: {found.size} images"
        )
    order = np.random.default_rng(seed).permutation(found.size)
    parts = tuple(part for part in found[:3] if part is not None)
    if verbose:
        print(
            f"prune: holds {count:,} of {found.size:,} images back, which select the network",
            flush=True,
        )
    rest, held = (
        keras.tree.map_structure(lambda array, index=index: _rows(array, index), parts)
        for index in (order[count:], order[:count])
    )
    return rest, held


def _rows(array: Any, index: np.ndarray) -> Any:
    return array.rows(index) if isinstance(array, RowFile) else array[index]


def checksum(data: Any) -> str:
    """A checksum of what data hold."""
    total = 0
    for array in keras.tree.flatten(data):
        if array is not None:
            header = f"{array.shape}{array.dtype}".encode()
            total = zlib.crc32(header, total)
            for start in range(0, len(array), 256):  # copies no more than that at a time
                total = zlib.crc32(np.ascontiguousarray(array[start : start + 256]).data, total)
    return f"{total:08x}"


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


def _of_it(error: Exception) -> str:
    """What is wrong with data that have been named."""
    return str(error).replace("The labels of `data`", "Its labels").replace("`data`", "It")
