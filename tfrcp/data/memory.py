"""Images in memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrcp.arguments import check_int
from tfrcp.data.augmentation import crop_and_flip, flip_at_random, random_box, resize_boxes
from tfrcp.data.batches import Batches
from tfrcp.data.splits import Split


@dataclass(frozen=True, eq=False)
class MemorySplit(Split):
    """Images and labels in memory.

    Attributes:
        images: Stored images [N, height, width, channels], uint8 or float32.
        labels: int32 [N].
        scale: float32 [channels]; a stored image times `scale` plus `offset` is a normalised one.
        offset: float32 [channels].
    """

    images: np.ndarray
    labels: np.ndarray
    scale: np.ndarray
    offset: np.ndarray

    @property
    def size(self) -> int:
        """Number of images."""
        return len(self.images)

    def arrays(self, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Returns the first `count` images; see `Split.arrays`."""
        if count is not None:
            check_int("count", count, 1)
        images = self.images[:count].astype(np.float32) * self.scale + self.offset
        return images, self.labels[:count]

    def _batches(self, batch_size, shuffle, augment, seed, epoch) -> Batches:
        size = self.images.shape[1:3]

        def finish(images, labels, keys):
            if augment == "imagenet":
                shape = tf.constant(self.images.shape[1:])
                boxes = tf.map_fn(lambda key: random_box(shape, key), keys)
                images = flip_at_random(resize_boxes(images, boxes, size), keys)
            elif augment is not None:
                images = crop_and_flip(images, keys, augment)
            return tf.cast(images, tf.float32) * self.scale + self.offset, labels

        stored = batches_of_rows(
            (self.images, self.labels), batch_size, shuffle=shuffle, seed=seed, epoch=epoch
        )
        return Batches(stored, finish)


def batches_of_rows(
    arrays: tuple[np.ndarray, ...],
    batch_size: int,
    *,
    shuffle: bool,
    seed: int,
    epoch: int | None,
):
    """Batches of the rows of arrays, with random keys.

    Args:
        arrays: Arrays [N, ...], in the order that an unshuffled epoch has.
        batch_size: Rows in a batch.
        shuffle: Whether they come in a random order.
        seed: Seed of order and keys.
        epoch: As for `Split.batches`.

    Returns:
        Finite `tf.data.Dataset` of the rows, and int32 keys [batch, 2], uniform and not negative.
    """
    count = len(arrays[0])
    epochs = itertools.count() if epoch is None else itertools.repeat(epoch)

    def batches() -> Iterator[tuple[np.ndarray, ...]]:
        rng = np.random.default_rng((seed, next(epochs)))
        order = rng.permutation(count) if shuffle else np.arange(count)
        for start in range(0, count, batch_size):
            index = order[start : start + batch_size]
            keys = rng.integers(2**31, size=(len(index), 2), dtype=np.int32)
            yield *(array[index] for array in arrays), keys

    def spec(array: np.ndarray) -> tf.TensorSpec:
        kind = tf.string if array.dtype.kind in "SO" else array.dtype
        return tf.TensorSpec((None, *array.shape[1:]), kind)

    signature = (*map(spec, arrays), tf.TensorSpec((None, 2), tf.int32))
    stored = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return stored.apply(tf.data.experimental.assert_cardinality(-(-count // batch_size)))
