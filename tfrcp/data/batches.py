"""Batches as they are read, and what is then done to their images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True, eq=False)
class Batches:
    """A data set whose costly part is still to be done.

    Of several workers that share every batch, each reads all of them as they are stored, which
    costs little, and decodes and augments its own share only.

    Attributes:
        stored: Finite `tf.data.Dataset` of tuples of tensors [batch, ...].
        finish: Function from such tensors, or a part of their rows, to images float32
            [batch, height, width, channels] and labels int32 [batch].
    """

    stored: tf.data.Dataset
    finish: Callable[..., tuple[Any, Any]]

    def dataset(self) -> tf.data.Dataset:
        """Batches (images, labels)."""
        finished = self.stored.map(self.finish, num_parallel_calls=tf.data.AUTOTUNE)
        return finished.prefetch(tf.data.AUTOTUNE)


def as_dataset(batches: tf.data.Dataset | Batches) -> tf.data.Dataset:
    """The data set itself, or that of finished batches."""
    return batches.dataset() if isinstance(batches, Batches) else batches
