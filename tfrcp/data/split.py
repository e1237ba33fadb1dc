"""Images in memory, cut into splits, and handed out as arrays or as augmented batches."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from tfrcp.data.arrays import check_int

AUGMENTATIONS = {"cifar": (4, True), "shift": (1, False)}
"""Pixels of zero padding before a random crop to the old size, and whether images are flipped."""


@dataclass(frozen=True, eq=False)
class Split:
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
        """Returns the first `count` images, all by default.

        Returns:
            Normalised images float32 [N, height, width, channels] and labels int32 [N].

        Raises:
            ValueError: `count` is not an int of at least 1.
        """
        if count is not None:
            check_int("count", count, 1)
        images = self.images[:count].astype(np.float32) * self.scale + self.offset
        return images, self.labels[:count]

    def dataset(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        augment: str | None = None,
        seed: int = 0,
        epoch: int | None = None,
    ):
        """Makes a finite `tf.data.Dataset` of batches (images, labels).

        Order and augmentation are a function of `seed` and the epoch alone, so that training which
        was stopped can go on exactly.

        Args:
            batch_size: Images in a batch; the last batch holds the rest.
            shuffle: A new order every epoch.
            augment: `None`, "cifar" (pad 4 pixels, crop at random, flip at random) or "shift"
                (pad 1 pixel, crop at random).
            seed: Non-negative int.
            epoch: The epoch that every iteration over the data set gives. Without it the first
                iteration gives epoch 0, the next one epoch 1, and so on.

        Returns:
            Batches of normalised images float32 [batch, height, width, channels] and labels
            int32 [batch].

        Raises:
            ValueError: An argument is out of range; an unknown `augment` lists those known.
        """
        import tensorflow as tf

        check_int("batch_size", batch_size, 1)
        check_int("seed", seed, 0)
        if epoch is not None:
            check_int("epoch", epoch, 0)
        if augment is not None and augment not in AUGMENTATIONS:
            raise ValueError(
                f"`augment` must be None or one of {sorted(AUGMENTATIONS)}. "
                f"Received: augment={augment!r}"
            )
        epochs = itertools.count() if epoch is None else itertools.repeat(epoch)

        def stored_batches():
            rng = np.random.default_rng((seed, next(epochs)))
            order = rng.permutation(self.size) if shuffle else np.arange(self.size)
            for start in range(0, self.size, batch_size):
                index = order[start : start + batch_size]
                yield self.images[index], self.labels[index], rng.integers(2**31, size=2)

        def finish(images, labels, key):
            if augment is not None:
                images = _crop_and_flip(images, key, *AUGMENTATIONS[augment])
            return tf.cast(images, tf.float32) * self.scale + self.offset, labels

        signature = (
            tf.TensorSpec((None, *self.images.shape[1:]), self.images.dtype),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((2,), tf.int64),
        )
        batches = tf.data.Dataset.from_generator(stored_batches, output_signature=signature)
        batches = batches.map(finish, num_parallel_calls=tf.data.AUTOTUNE)
        batches = batches.apply(
            tf.data.experimental.assert_cardinality(-(-self.size // batch_size))
        )
        return batches.prefetch(tf.data.AUTOTUNE)


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set in three disjoint splits.

    Attributes:
        name: The name that it was loaded by.
        classes: Number of classes.
        input_shape: (height, width, channels) of an image.
        train: Images to fit and to calibrate on.
        holdout: Images to select by.
        test: Images to look at once, at the end.
    """

    name: str
    classes: int
    input_shape: tuple[int, int, int]
    train: Split
    holdout: Split
    test: Split


def stratified(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits indices in two, in random order; the second part holds `share` of every class."""
    order = np.random.default_rng(seed).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    count = round(share * len(labels))
    picked = ((np.arange(count) + 0.5) * len(labels) / max(count, 1)).astype(int)
    chosen = np.zeros(len(labels), bool)
    chosen[by_class[picked]] = True
    return order[~chosen[order]], order[chosen[order]]


def _crop_and_flip(images, key, padding: int, flip: bool):
    """Shifts images [N, height, width, channels] by up to `padding` pixels; flips half of them."""
    import tensorflow as tf

    count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    shift = tf.random.stateless_uniform([2, count, 1], key, 0, 2 * padding + 1, tf.int32)
    rows = shift[0] + tf.range(height)
    columns = shift[1] + tf.range(width)
    if flip:
        heads = tf.random.stateless_uniform([count, 1], seed=key + 1) < 0.5
        columns = tf.where(heads, columns[:, ::-1], columns)
    sides = [padding, padding]
    images = tf.pad(images, [[0, 0], sides, sides, [0, 0]])
    images = tf.gather(images, rows, axis=1, batch_dims=1)
    return tf.gather(images, columns, axis=2, batch_dims=1)
