"""Rows of structures of arrays [N, ...]: their number, some of them, and parts joined."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import keras


def count_rows(tree: Any) -> int:
    """Number of rows of the first array."""
    return len(keras.tree.flatten(tree)[0])


def take(tree: Any, index: Any) -> Any:
    """The rows of a slice, or of an int or bool array; `None` stays `None`."""
    return None if tree is None else keras.tree.map_structure(operator.itemgetter(index), tree)


def join(parts: Sequence[Any]) -> Any:
    """Structures of arrays or tensors as one, joined along the first axis."""
    concatenate = lambda *leaves: keras.ops.concatenate(leaves)  # noqa: E731
    return keras.tree.map_structure(concatenate, *parts)
