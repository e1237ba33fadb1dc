"""Data sets that TensorFlow Datasets has prepared, or may prepare."""

from __future__ import annotations

import difflib
import os

import numpy as np
import tensorflow as tf

from tfrcp.data.decoding import resized
from tfrcp.data.prepare import prepare


class Prepared:
    """A prepared image classification.

    Args:
        name: Its name, such as "cifar10".
        directory: Where it is; by default where TensorFlow Datasets keeps its data.
        download: Whether it may be downloaded and prepared.

    Attributes:
        builder: The `tfds.core.DatasetBuilder`.
        keys: Names of the features: image and label.
        classes: Number of classes.
        channels: Of an image.

    Raises:
        FileNotFoundError: It is not prepared; the message says how to prepare it.
        ValueError: It is unknown, or no image classification with a test split.
    """

    def __init__(self, name: str, directory: str | None, download: bool) -> None:
        import tensorflow_datasets as tfds

        self._name = name
        self.builder = _builder(name, directory, download)
        features, keys = self.builder.info.features, self.builder.info.supervised_keys
        image, label = (features[key] for key in keys) if keys and len(keys) == 2 else (None, None)
        if not isinstance(image, tfds.features.Image) or not isinstance(
            label, tfds.features.ClassLabel
        ):
            raise ValueError(
                f"Data set {name!r} must be an image classification, images with a class label "
                f"each. Received: supervised_keys={keys}, {features}"
            )
        splits = self.builder.info.splits
        test = next((part for part in ("test", "validation") if part in splits), None)
        if test is None or "train" not in splits:
            raise ValueError(
                f"Data set {name!r} must have a split `train` and a split `test` or `validation`. "
                f"Received: {sorted(splits)}"
            )
        self.keys, self._test, self._image = keys, test, image
        self.classes, self.channels = label.num_classes, image.shape[-1] or 3

    @property
    def train_size(self) -> int:
        """Number of training images."""
        return self.builder.info.splits["train"].num_examples

    @property
    def size(self) -> int:
        """Number of images."""
        return self.train_size + self.builder.info.splits[self._test].num_examples

    def parts(self, holdout: int) -> tuple[str, str, str]:
        """Names of training, holdout and test split, with a number of training images held out."""
        return f"train[{holdout}:]", f"train[:{holdout}]", self._test

    def shape(self, image_size: int | None) -> tuple[int, ...]:
        """Shape of the images in memory.

        Raises:
            ValueError: They are of different sizes, and nothing says what to resize them to.
        """
        if image_size is not None:
            return image_size, image_size, self.channels
        if None in self._image.shape:
            raise ValueError(
                f"The images of {self._name!r} are of different sizes: `image_size` must say what "
                "they are resized to (--config.data.image_size=224)."
            )
        return self._image.shape

    def read(self, image_size: int | None):
        """Reads training and test part into memory: images uint8 and labels."""
        import tensorflow_datasets as tfds

        @tfds.decode.make_decoder()
        def exact(encoded, feature):
            # The transform of other image libraries; by default TensorFlow takes a rougher, faster
            # one. The operation reads PNG as well.
            return tf.io.decode_jpeg(encoded, feature.shape[-1], dct_method="INTEGER_ACCURATE")

        @tfds.decode.make_decoder(output_dtype=tf.uint8)
        def square(encoded, feature):
            key = tf.zeros([2], "int32")
            image = resized(encoded, key, image_size, self.channels)
            return tf.cast(tf.math.rint(tf.clip_by_value(image, 0, 255)), tf.uint8)

        plain = self._image.np_dtype == np.uint8 and self._image.shape[-1] in (1, 3)
        decoder = square() if image_size is not None else exact() if plain else None
        read = {"as_supervised": True, "decoders": decoder and {self.keys[0]: decoder}}
        parts = []
        for part in ("train", self._test):
            examples = self.builder.as_dataset(split=part, **read)
            count = self.builder.info.splits[part].num_examples
            images = np.empty((count, *self.shape(image_size)), self._image.np_dtype)
            labels, done = np.empty(count, "int64"), 0
            for batch, batch_labels in examples.batch(1000).as_numpy_iterator():
                images[done : done + len(batch)] = batch
                labels[done : done + len(batch)] = batch_labels
                done += len(batch)
            parts.append((images, labels))
        return parts


def _builder(name: str, directory: str | None, download: bool):
    """Finds the prepared files, without a look at the network; prepares them if told to."""
    import tensorflow_datasets as tfds

    directory = directory or tfds.core.constants.DATA_DIR
    try:
        return tfds.core.read_only_builder.builder_from_files(name, data_dir=directory)
    except (tfds.core.DatasetNotFoundError, ValueError):
        plain = name.split("/")[0].split(":")[0]
    known = tfds.list_builders(with_community_datasets=False)
    elsewhere = f"name the directory that holds {plain}/ with data_dir (--config.data.data_dir=DIR)"
    if plain not in known:
        prepared = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
        close = difflib.get_close_matches(plain, [*prepared, *known, "digits"], n=3)
        hint = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise ValueError(
            f"Unknown data set {name!r}. {hint}TensorFlow Datasets knows none of this name, and "
            f"{directory} holds {', '.join(prepared) or 'nothing'}; if it is prepared, {elsewhere}."
        )
    if not download:
        raise FileNotFoundError(
            f"Data set {name!r} is not prepared in {directory}. Let it be downloaded with "
            "download=True (--config.data.download=true), or run `tfrcp prepare-data "
            f"--name={name} --data_dir={directory}`, or {elsewhere}."
        )
    return prepare(name, directory)
