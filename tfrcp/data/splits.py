"""A split of a data set: examples that are handed out as arrays, or as augmented batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfrcp.arguments import check_int
from tfrcp.data.augmentation import check_augmentation
from tfrcp.data.batches import Batches


class Split(ABC):
    """Images with labels, wherever they are.

    A subclass says how batches are read and how their images are finished.

    Attributes:
        size: Number of images.
    """

    size: int

    def arrays(self, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Returns the first `count` images, all by default.

        Returns:
            Normalised images float32 [N, height, width, channels] and labels int32 [N].

        Raises:
            ValueError: `count` is not an int of at least 1.
        """
        if count is not None:
            check_int("count", count, 1)
        count = self.size if count is None else min(count, self.size)
        parts = self.dataset(min(count, 250)).unbatch().take(count).batch(250)
        images, labels = zip(*parts.as_numpy_iterator(), strict=True)
        return np.concatenate(images), np.concatenate(labels)

    def dataset(self, batch_size: int, **options) -> tf.data.Dataset:
        """Batches of normalised images float32 [batch, height, width, channels] and labels."""
        return self.batches(batch_size, **options).dataset()

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        augment: str | None = None,
        seed: int = 0,
        epoch: int | None = None,
    ) -> Batches:
        """Makes finite batches whose images are finished later; see `Batches`.

        Order and augmentation are a function of `seed` and the epoch alone, so that training which
        was stopped can go on exactly.

        Args:
            batch_size: Images in a batch; the last batch holds the rest.
            shuffle: A new order every epoch.
            augment: `None`, "cifar" (pad 4 pixels, crop at random, flip at random), "shift" (pad 1
                pixel, crop at random) or "imagenet" (resize a random part, flip at random).
            seed: Non-negative int.
            epoch: The epoch that every iteration over the data set gives. Without it the first
                iteration gives epoch 0, the next one epoch 1, and so on; but every iteration over
                a streamed TensorFlow data set gives epoch 0.

        Raises:
            ValueError: An argument is out of range; an unknown `augment` lists those known.
        """
        check_int("batch_size", batch_size, 1)
        check_int("seed", seed, 0)
        if epoch is not None:
            check_int("epoch", epoch, 0)
        check_augmentation(augment)
        return self._batches(batch_size, shuffle, augment, seed, epoch)

    @abstractmethod
    def _batches(
        self, batch_size: int, shuffle: bool, augment: str | None, seed: int, epoch: int | None
    ) -> Batches:
        """What `batches` gives, from arguments that were looked at."""


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set in three disjoint splits.

    Attributes:
        name: The name that it was loaded by.
        classes: Number of classes; `None` where the network says what the targets mean.
        input_shape: (height, width, channels) of an image; a structure of shapes where the network
            takes several inputs.
        train: Images to fit and to calibrate on.
        holdout: Images to select by.
        test: Images to look at once, at the end.
    """

    name: str
    classes: int | None
    input_shape: Any
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
