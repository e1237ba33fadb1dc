"""Data that a function of the user's brings: of any structure, for any job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfrcp.data.functions import load_function
from tfrcp.data.splits import Splits
from tfrcp.data.trees import TreeSplit

NAMES = ("train", "holdout", "test")


def load_from_factory(name: str, options: Mapping[str, Any]) -> Splits:
    """Calls a function that brings the three splits.

    Args:
        name: "package.module:function" or "path/to/file.py:function". The function returns a dict
            with the keys "train", "holdout" and "test" (disjoint, as the network takes them), each
            a tuple of arrays (x, y) or (x, y, sample_weight), x alone, a batched `tf.data.Dataset`
            or a `keras.utils.PyDataset`. x, y and the sample weights may be structures.
        options: Keyword arguments of the function.

    Returns:
        `Splits` in memory, whose `classes` is `None`: the network says what the targets mean.

    Raises:
        ValueError: The function cannot be found, fails on these options, or returns something else.
    """
    function, _ = load_function("`config.data.factory`", name)
    try:
        found = function(**options)
    except TypeError as error:
        raise ValueError(
            f"`config.data.factory` {name!r} cannot be called with "
            f"config.data.options={dict(options)}: {error}. --config.data.options=none removes "
            "those of the configuration"
        ) from error
    if not isinstance(found, Mapping) or set(found) != set(NAMES):
        received = sorted(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
        raise ValueError(
            f"`config.data.factory` {name!r} must return a dict with the keys {list(NAMES)}. "
            f"Received: {received}"
        )
    splits = {part: TreeSplit(_read(name, part, found[part])) for part in NAMES}
    shapes = keras.tree.map_structure(lambda a: list(a.shape[1:]), splits["train"].data[0])
    return Splits(name=name, classes=None, input_shape=shapes, **splits)


def _whole(data: Any) -> tuple[Any, Any, Any]:
    """All batches of a data set, joined."""
    batches = [keras.utils.unpack_x_y_sample_weight(batch) for batch in data]
    if not batches:
        raise ValueError("it is empty")
    return keras.tree.map_structure(lambda *leaves: np.concatenate(leaves), *batches)


def _read(name: str, part: str, data: Any) -> tuple[Any, ...]:
    """A split as a tuple of structures of arrays."""
    try:
        if isinstance(data, tuple):
            x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        else:
            x, y, weights = _whole(data)
        parts = (x,) if y is None else (x, y) if weights is None else (x, y, weights)
        arrays = keras.tree.map_structure(np.asarray, parts)
        sizes = {len(array) for array in keras.tree.flatten(arrays)}
        if len(sizes) != 1 or 0 in sizes:
            raise ValueError(f"it must hold equally many examples everywhere, not {sorted(sizes)}")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"What `config.data.factory` {name!r} returns as {part!r} cannot be used: {error}"
        ) from error
    return arrays
