"""Whatever data a user passes, as NumPy arrays that were looked at."""

from __future__ import annotations

import functools
import hashlib
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrcp.arguments import check_int
from tfrcp.data.row_file import RowFile
from tfrcp.data.rows import count_rows

IN_MEMORY = 2**28
"""Bytes of inputs up to which a data set is held in memory by those who read it again and again."""

KERAS_BATCH = 32
"""Examples in a batch of `model.evaluate` on arrays."""

_ROWS = 256  # that are looked at together


class Examples(NamedTuple):
    """Data that can be read again and again.

    Attributes:
        x: Inputs, a structure of arrays [N, ...], dtypes unchanged; of `RowFile`s where they are
            too large for memory.
        y: Targets, likewise; `None` if there are none.
        sample_weight: Sample weights, likewise, or `None`.
        batches: Sizes of the batches that they came in; empty for arrays.
    """

    x: Any
    y: Any
    sample_weight: Any
    batches: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of examples."""
        return count_rows(self.x)

    @property
    def evaluated_batches(self) -> list[int]:
        """Sizes of the batches that `model.evaluate` takes: as they came, or 32 of arrays."""
        whole, rest = divmod(self.size, KERAS_BATCH)
        return list(self.batches) or [KERAS_BATCH] * whole + [rest] * bool(rest)


def read_examples(
    data, *, count: int | None = None, targets: bool = True, memory: int | None = None
) -> Examples:
    """Reads data of any structure, no further than needed.

    Args:
        data: A batched `tf.data.Dataset` or `keras.utils.PyDataset` of x, (x, y) or
            (x, y, sample_weight); a tuple of arrays of these; or x alone. x, y and sample weights
            may be structures: dicts, tuples, or lists inside of the tuple.
        count: The most examples to take, the first ones; all by default.
        targets: Whether y and sample weights are read as well.
        memory: Bytes of inputs that are held in memory. Inputs of batches that are more are written
            to a temporary file. Defaults to no limit.

    Raises:
        ValueError: `data` is of another kind, empty, endless without `count`, or holds NaN or
            infinite values.
    """
    if count is not None:
        check_int("count", count, 1)
    parts, sizes, held, files = [], [], 0, None
    is_array = isinstance(data, tuple | dict) or hasattr(data, "__array__")
    for part in _batches(data, count):
        part = tuple(tree for tree in part if tree is not None)[: None if targets else 1]
        size = _size(part)
        take = size if count is None else min(size, count - sum(sizes))
        if parts and len(part) != len(parts[0]):
            raise ValueError("`data` must have as many parts in every batch.")
        some = functools.partial(_first, count=take, files=memory is not None)
        parts.append(keras.tree.map_structure(some, part))
        sizes.append(take)
        if memory is not None and not is_array:
            held += sum(leaf.nbytes for leaf in keras.tree.flatten(parts[-1][0]))
            files = _written(parts, files) if held > memory else None
        if sum(sizes) == count:
            break
    if not sum(sizes):
        raise ValueError("`data` must hold at least one image. Received: data without any")
    whole = _joined(parts) if files is None else (files, *_joined(parts)[1:])
    for name, tree in zip(("`data`", "The labels of `data`"), whole, strict=False):
        check_finite(keras.tree.flatten(tree), name)
    return Examples(*whole, *[None] * (3 - len(whole)), () if is_array else tuple(sizes))


def as_arrays(data, *, count: int | None = None, labels: bool = False):
    """Turns data into NumPy arrays, reading no further than needed.

    Args:
        data: As for `read_examples`.
        count: The most images to take, the first ones; all by default.
        labels: Whether labels are needed.

    Returns:
        (x, y): x in its own structure, dtypes unchanged, N images at most `count`; y the N labels
        in theirs, or `None` where `labels` is false.

    Raises:
        ValueError: As `read_examples`, or `data` lacks labels that are needed.
    """
    found = read_examples(data, count=count, targets=labels)
    if labels and found.y is None:
        raise ValueError(
            "`data` must come with labels here: pass (x, y), or a data set of (x, y) "
            "batches. Received: images alone"
        )
    return found.x, found.y if labels else None


def check_labels(y, classes: int) -> None:
    """Checks labels against the number of classes.

    Args:
        y: Whole numbers [N] or [N, 1] in [0, classes), ints or floats, or rows of class
            probabilities [N, classes], such as one-hot labels.
        classes: Number of classes.

    Raises:
        ValueError: `y` is neither; the message says the range found.
    """
    y = np.asarray(y)
    found = f"dtype {y.dtype}, shape {y.shape}"
    if y.size and y.ndim and y.dtype.kind in "iuf":
        found += f", values from {y.min()} to {y.max()}"
        if y.ndim == 2 and y.shape[1] == classes > 1:
            if (y >= 0).all() and np.allclose(y.sum(axis=1), 1, atol=1e-3):
                return
        elif y.ndim == 1 or y.shape[1:] == (1,):
            whole = y.dtype.kind in "iu" or (y == np.floor(y)).all()
            if whole and 0 <= y.min() and y.max() < classes:
                return
    raise ValueError(
        f"Labels must be ints in [0, {classes}), one per image, or one-hot rows of {classes}. "
        f"Received: {found}"
    )


def check_finite(arrays: list[np.ndarray], what: str) -> None:
    """Raises a ValueError that counts the images with NaN or infinite values."""
    for array in arrays:
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{what} must hold numbers. Received: dtype {array.dtype}")
        bad = 0
        for start in range(0, len(array) if array.dtype.kind == "f" else 0, _ROWS):
            part = array[start : start + _ROWS]
            bad += (~np.isfinite(part.reshape(len(part), -1)).all(axis=1)).sum()
        if bad:
            raise ValueError(
                f"{what} must be finite. Received: {bad} of {len(array)} images with NaN or "
                "infinite values"
            )


def check_disjoint(first, second, names: tuple[str, str]) -> None:
    """Checks that two sets of images are not the same ones.

    Copies of single images occur in published data sets, so that only a larger overlap is a leak:
    more than one in twenty of the smaller set.

    Args:
        first: Structure of arrays [N, ...].
        second: Structure of arrays [M, ...], likewise.
        names: What the two are called.

    Raises:
        ValueError: If they overlap so far.
    """
    images = [
        [_digest(parts) for parts in zip(*x, strict=True)]
        for x in map(keras.tree.flatten, (first, second))
    ]
    smaller, larger = sorted(images, key=len)
    shared = len(set(larger) & set(smaller))
    if shared > len(set(smaller)) / 20:
        raise ValueError(
            f"{names[0]} and {names[1]} must be disjoint: images that calibrate or train a network "
            f"cannot tell how good it is. Received: {shared} images that are in both"
        )


def _batches(data, count: int | None):
    """Yields (x, y, sample_weight) of a data set, or the arrays as one batch; `None` for none."""

    if isinstance(data, tf.data.Dataset):
        endless = data.cardinality() == tf.data.INFINITE_CARDINALITY
    elif isinstance(data, keras.utils.PyDataset):
        endless = data.num_batches is None
    elif isinstance(data, tuple | dict) or hasattr(data, "__array__"):
        data, endless = [data], False
    else:
        raise ValueError(
            "`data` must be a batched tf.data.Dataset, a keras.utils.PyDataset, a tuple of arrays "
            f"(x, y), or an array x. Received: {type(data).__name__}"
        )
    if endless and count is None:
        raise ValueError("`data` must end, or `count` must say how many images to take.")
    for batch in data:
        if isinstance(batch, tuple | list) and not 1 <= len(batch) <= 3:
            raise ValueError(
                f"`data` must give x, (x, y) or (x, y, weights). Received: {len(batch)} parts"
            )
        yield keras.utils.unpack_x_y_sample_weight(batch)


def _first(leaf, *, count: int, files: bool):
    """The first rows, as an array, or the file that they are where such are wanted."""
    if files and isinstance(leaf, RowFile) and len(leaf) == count:
        return leaf
    return np.asarray(leaf[:count])


def _written(parts: list, files):
    """Moves the inputs of batches to temporary files, a structure of `RowFile`s like them."""
    for index, (x, *others) in enumerate(parts):
        if not count_rows(x):
            continue  # has been written
        files = keras.tree.map_structure(RowFile, x) if files is None else files
        keras.tree.assert_same_structure(files, x)
        keras.tree.map_structure(lambda file, leaf: file.append(leaf), files, x)
        empty = keras.tree.map_structure(lambda leaf: np.empty((0, *leaf.shape[1:]), leaf.dtype), x)
        parts[index] = (empty, *others)
    return files


def _joined(parts: list):
    """Joins batches, of which each is dropped as soon as it is copied; empties the list."""
    if len(parts) == 1:
        return parts[0]
    structure, rows = parts[0], [keras.tree.flatten(part) for part in parts]
    for part in parts[1:]:
        keras.tree.assert_same_structure(structure, part)
    parts.clear()
    joined = []
    for place in range(len(rows[0])):
        leaves = [row[place] for row in rows]
        for row in rows:
            row[place] = None
        if len({(leaf.shape[1:], leaf.dtype) for leaf in leaves}) > 1:
            joined.append(np.concatenate(leaves))  # tells what does not fit, or widens
            continue
        count = sum(len(leaf) for leaf in leaves)
        array, start = np.empty((count, *leaves[0].shape[1:]), leaves[0].dtype), 0
        leaves.reverse()
        while leaves:
            leaf = leaves.pop()
            array[start : start + len(leaf)] = leaf
            start += len(leaf)
        joined.append(array)
    return keras.tree.pack_sequence_as(structure, joined)


def _digest(arrays) -> bytes:
    """A hash of what arrays hold."""
    found = hashlib.blake2b(digest_size=16)
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.digest()


def _size(parts) -> int:
    """Returns the number of examples that all arrays of inputs, labels and weights hold."""
    leaves = keras.tree.flatten(parts[0]) if parts else []
    shapes = [tuple(getattr(leaf, "shape", ())) for leaf in keras.tree.flatten(parts)]
    if not leaves or not all(shapes) or len({shape[0] for shape in shapes}) > 1:
        hint = ""
        if any(isinstance(part, list) and part and np.ndim(part[0]) == 0 for part in parts):
            hint = ". A list means several inputs or outputs: give labels as numpy.array(y)"
        elif leaves and () in shapes:
            hint = ". It looks like single examples: pass batches, such as data.batch(32)"
        raise ValueError(
            "`data` must hold arrays (or batches) with one entry per image along their first axis, "
            f"as many labels as images. Received: shapes {shapes[:8]}{hint}"
        )
    return shapes[0][0]
