"""Images that stay encoded, as files or in a TensorFlow data set, until a batch needs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfrcp.data.augmentation import crop_and_flip, flip_at_random
from tfrcp.data.batches import Batches
from tfrcp.data.decoding import resized
from tfrcp.data.folder import broken, readable
from tfrcp.data.memory import batches_of_rows
from tfrcp.data.splits import Split

_PART = 4096  # files that are decoded at a time to find one that cannot be
_BUFFER = 8192  # encoded images among which a stream is shuffled, beside the order of its files


@dataclass(frozen=True, eq=False, kw_only=True)
class EncodedSplit(Split):
    """Encoded images, resized when they are needed.

    Without a random crop an image is the square in its middle, `CENTRE` of its shorter side,
    resized with antialiasing.

    Attributes:
        image_size: Height and width of the images that are handed out.
        channels: 1 or 3.
        scale: float32 [channels]; a decoded image, 0 to 255, times `scale` plus `offset` is a
            normalised one.
        offset: float32 [channels].
    """

    image_size: int
    channels: int
    scale: np.ndarray
    offset: np.ndarray

    def _finish(self, augment: str | None) -> Any:
        """The function that finishes a batch (encoded images, labels, keys)."""

        def decoded(pair):
            part = "random" if augment == "imagenet" else "middle"
            return resized(*pair, self.image_size, self.channels, part)

        def finish(encoded, labels, keys):
            shape = (self.image_size, self.image_size, self.channels)
            result = tf.TensorSpec(shape, "float32")
            images = tf.map_fn(decoded, (encoded, keys), fn_output_signature=result)
            if augment == "imagenet":
                images = flip_at_random(images, keys)
            elif augment is not None:
                images = crop_and_flip(images, keys, augment)
            return images * self.scale + self.offset, labels

        return finish


@dataclass(frozen=True, eq=False, kw_only=True)
class FileSplit(EncodedSplit):
    """Files of images.

    Attributes:
        paths: bytes [N].
        labels: int32 [N].
    """

    channels: int = 3
    paths: np.ndarray
    labels: np.ndarray

    @property
    def size(self) -> int:
        """Number of images."""
        return len(self.paths)

    def arrays(self, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """See `Split.arrays`; a ValueError names the file that cannot be decoded."""
        try:
            return super().arrays(count)
        except tf.errors.OpError as error:
            if found := unreadable_file(self):
                raise ValueError(broken([found])) from error
            raise

    def _batches(self, batch_size, shuffle, augment, seed, epoch) -> Batches:
        stored = batches_of_rows(
            (self.paths, self.labels), batch_size, shuffle=shuffle, seed=seed, epoch=epoch
        )
        finish = self._finish(augment)

        def read_and_finish(paths, labels, keys):
            encoded = tf.map_fn(tf.io.read_file, paths)
            return finish(encoded, labels, keys)

        return Batches(stored, read_and_finish)


@dataclass(frozen=True, eq=False, kw_only=True)
class StreamedSplit(EncodedSplit):
    """A part of a prepared TensorFlow data set, too large for memory.

    It is read file after file; a new epoch shuffles the files, and images within a buffer. Every
    worker of a distributed training reads all of it and decodes its share.

    Attributes:
        builder: The `tfds.core.DatasetBuilder`.
        part: Its split, such as "train[1000:]".
        keys: Names of its features: image and label.
    """

    builder: Any
    part: str
    keys: tuple[str, str]

    @property
    def size(self) -> int:
        """Number of images."""
        return self.builder.info.splits[self.part].num_examples

    def _batches(self, batch_size, shuffle, augment, seed, epoch) -> Batches:
        import tensorflow_datasets as tfds

        first, second = np.random.SeedSequence((seed, epoch or 0)).generate_state(2) // 2
        examples = self.builder.as_dataset(
            split=self.part,
            as_supervised=True,
            shuffle_files=shuffle,
            decoders={self.keys[0]: tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(shuffle_seed=int(first), try_autocache=False),
        )
        if shuffle:
            examples = examples.shuffle(min(_BUFFER, self.size), seed=int(first))

        def with_keys(step, batch):
            encoded, labels = batch
            size = [tf.shape(labels)[0], 2]
            seed = [tf.constant(int(second), "int64"), step]
            keys = tf.random.stateless_uniform(size, seed, 0, 2**31 - 1, tf.int32)
            return encoded, tf.cast(labels, tf.int32), keys

        stored = examples.batch(batch_size).enumerate().map(with_keys)
        options = tf.data.Options()
        options.deterministic = True
        return Batches(stored.with_options(options), self._finish(augment))


def unreadable_file(split: Split) -> str | None:
    """The first image file of a split that cannot be decoded; `None` if there is none.

    Args:
        split: Any split; only one of files is looked through.
    """
    if not isinstance(split, FileSplit):
        return None
    for start in range(0, split.size, _PART):
        paths = split.paths[start : start + _PART]
        found = readable(paths)
        if not found.all():
            return paths[~found][0].decode()
    return None
