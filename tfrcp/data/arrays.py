"""Whatever data a user passes, as NumPy arrays that were looked at."""

from __future__ import annotations

from numbers import Integral

import numpy as np


def as_arrays(data, *, count: int | None = None, labels: bool = False):
    """Turns data into NumPy arrays, reading no further than needed.

    Args:
        data: A batched `tf.data.Dataset` or `keras.utils.PyDataset` of x, (x, y) or
            (x, y, weights); a tuple of arrays (x, y); or x alone. For a model of several inputs x
            is a dict of arrays, or a list inside a tuple.
        count: The most images to take, the first ones; all by default.
        labels: Whether labels are needed.

    Returns:
        (x, y): x in its own structure, dtypes unchanged, N images at most `count`; y an array of
        N labels, or `None` where `labels` is false.

    Raises:
        ValueError: `data` is of another kind, empty, endless without `count`, holds NaN or
            infinite values, or lacks labels that are needed.
    """
    import keras

    if count is not None:
        check_int("count", count, 1)
    xs, ys, have = [], [], 0
    for x, y in _batches(data, count):
        size = _size(x, y if labels else None)
        take = size if count is None else min(size, count - have)
        xs.append(keras.tree.map_structure(lambda leaf, take=take: np.asarray(leaf[:take]), x))
        if labels:
            if y is None:
                raise ValueError(
                    "`data` must come with labels here: pass (x, y), or a data set of (x, y) "
                    "batches. Received: images alone"
                )
            ys.append(np.asarray(y[:take]))
        have += take
        if have == count:
            break
    if not have:
        raise ValueError("`data` must hold at least one image. Received: data without any")
    x = keras.tree.map_structure(lambda *leaves: np.concatenate(leaves), *xs)
    check_finite(keras.tree.flatten(x), "`data`")
    return x, np.concatenate(ys) if labels else None


def check_labels(y, classes: int) -> None:
    """Checks labels against the number of classes.

    Args:
        y: Integer labels [N] or [N, 1] in [0, classes), or rows of class probabilities
            [N, classes], such as one-hot labels.
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
        elif y.dtype.kind in "iu" and (y.ndim == 1 or y.shape[1:] == (1,)):
            if 0 <= y.min() and y.max() < classes:
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
        bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        if bad.any():
            raise ValueError(
                f"{what} must be finite. Received: {bad.sum()} of {len(bad)} images with NaN or "
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
    import keras

    images = [
        [b"".join(parts) for parts in zip(*(map(np.ndarray.tobytes, a) for a in x), strict=True)]
        for x in map(keras.tree.flatten, (first, second))
    ]
    smaller, larger = sorted(images, key=len)
    shared = len(set(larger) & set(smaller))
    if shared > len(set(smaller)) / 20:
        raise ValueError(
            f"{names[0]} and {names[1]} must be disjoint: images that repair or train a network "
            f"cannot tell how good it is. Received: {shared} images that are in both"
        )


def check_int(name: str, value, least: int) -> None:
    """Raises a ValueError unless `value` is an int of at least `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"`{name}` must be an int of at least {least}. Received: {name}={value!r}")


def _batches(data, count: int | None):
    """Yields (x, y or None) of a data set, or the arrays as one batch."""
    import keras
    import tensorflow as tf

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
        yield keras.utils.unpack_x_y_sample_weight(batch)[:2]


def _size(x, y) -> int:
    """Returns the number of images that all arrays of x, and the labels if there are, hold."""
    import keras

    leaves = keras.tree.flatten(x)
    shapes = [tuple(getattr(leaf, "shape", ())) for leaf in [*leaves, *([] if y is None else [y])]]
    if not leaves or not all(shapes) or len({shape[0] for shape in shapes}) > 1:
        raise ValueError(
            "`data` must hold arrays (or batches) with one entry per image along their first axis, "
            f"as many labels as images. Received: shapes {shapes}"
        )
    return shapes[0][0]
