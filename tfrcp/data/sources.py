"""Loads a named data set into three disjoint splits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfrcp.arguments import check_choice, check_int, check_number
from tfrcp.data.encoded import FileSplit, StreamedSplit
from tfrcp.data.folder import decode_files, read_folder, without_unreadable
from tfrcp.data.memory import MemorySplit
from tfrcp.data.readers import read_digits, read_npz
from tfrcp.data.splits import Splits, stratified
from tfrcp.data.tensorflow_datasets import Prepared
from tfrcp.files import memory


def load(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    holdout: float = 0.1,
    seed: int = 0,
    download: bool = False,
    image_size: int | None = None,
    stream: bool = False,
    scale: float | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    on_error: str = "raise",
) -> Splits:
    """Loads an image-classification data set, into memory or as a stream.

    Integer images are scaled to [0, 1] when they are handed out, then normalised by `mean` and
    `std`, or multiplied by `scale`. The holdout split is a seeded share of the training split,
    stratified by class where the data is not a streamed TensorFlow data set (of which it is the
    first part, whatever the seed); the test split is the same for every seed.

    Args:
        name: "digits" (scikit-learn's 1,797 digits of 8x8 pixels, a fifth of them for the test);
            a path that ends in ".npz", relative to `data_dir`, with the arrays x_train, y_train,
            x_test, y_test (images uint8, or floats already scaled) and perhaps `classes`; a folder
            with train/CLASS/ and test/CLASS/ (or validation, val) that hold JPEG or PNG images;
            else the name of a TensorFlow Datasets image-classification data set, such as "cifar10".
        data_dir: Directory of the data; by default that of TensorFlow Datasets.
        holdout: Share of the training images to hold out, in (0, 1).
        seed: Seed of the choice and order of training and holdout images.
        download: Lets TensorFlow Datasets download and prepare what `data_dir` lacks.
        image_size: Height and width that images are resized to: the square in their middle, 0.875
            of the shorter side. For folders, and TensorFlow data sets whose images are of
            different sizes.
        stream: Leaves the images encoded where they are until a batch needs them, which the
            augmentation "imagenet" then crops from the original; else all are decoded at once. For
            folders and TensorFlow data sets, with `image_size`.
        scale: What pixels in [0, 1] are multiplied by: 255 for a network that has its own Rescaling
            layer. Not with `mean` and `std`. Defaults to 1.
        mean: Mean per channel of the scaled images; 0 by default.
        std: Standard deviation per channel of the scaled images; 1 by default.
        on_error: What becomes of image files in a folder that cannot be read: "raise" ends in an
            error that names one, "skip" decodes all of them first and leaves these out.

    Returns:
        The three splits.

    Raises:
        FileNotFoundError: The data is not there; the message says where it was looked for and how
            to prepare it.
        ValueError: The name is unknown, the data is no image classification or does not add up
            (NaN pixels, labels outside the classes), does not fit into memory, or an argument is
            out of range.
    """
    check_number("holdout", holdout, "(0, 1)")
    if image_size is not None:
        check_int("image_size", image_size, 1)
    if stream and image_size is None:
        raise ValueError("`stream=True` needs `image_size`. Received: image_size=None")
    check_choice("on_error", on_error, ("raise", "skip"))
    mean, std = _normalization(scale, mean, std)
    directory = None if data_dir is None else os.path.expanduser(data_dir)
    path = os.path.join(directory or "", os.path.expanduser(name))
    holding = _Holding(name, holdout, seed)
    if on_error == "skip" and not _is_folder(name, path):
        raise ValueError(f"`on_error='skip'` is for folders of images. Received: {name!r}")
    if name == "digits" or name.endswith(".npz"):
        if image_size is not None:
            raise ValueError(
                "`image_size` and `stream` are for folders and TensorFlow data sets. "
                f"Received: image_size={image_size} for {name!r}"
            )
        train, test, classes = read_digits() if name == "digits" else read_npz(path)
        return holding.in_memory(train, test, classes, mean, std)
    if _is_folder(name, path):
        train, test, classes = read_folder(path)
        if on_error == "skip":
            train, test = (without_unreadable(*part) for part in (train, test))
        if image_size is None:
            raise ValueError(
                f"`image_size` must say what the images of the folder {path} are resized to "
                "(--config.data.image_size=224)."
            )
        if stream:
            scale, offset = _affine(np.uint8, 3, mean, std)
            same = {"image_size": image_size, "scale": scale, "offset": offset}

            def split(paths, labels):
                return FileSplit(paths=paths, labels=labels.astype(np.int32), **same)

            rest, held = holding.rows(train[1])
            train = [split(train[0][part], train[1][part]) for part in (rest, held)]
            return Splits(name, classes, (image_size, image_size, 3), *train, split(*test))
        _check_memory(name, len(train[0]) + len(test[0]), (image_size, image_size, 3))
        train, test = ((decode_files(x, image_size), y) for x, y in (train, test))
        return holding.in_memory(train, test, classes, mean, std)
    prepared = Prepared(name, directory, download)
    if not stream:
        _check_memory(name, prepared.size, prepared.shape(image_size))
        return holding.in_memory(*prepared.read(image_size), prepared.classes, mean, std)
    channels = prepared.channels
    scale, offset = _affine(np.uint8, channels, mean, std)
    same = {"image_size": image_size, "channels": channels, "scale": scale, "offset": offset}
    parts = [
        StreamedSplit(builder=prepared.builder, part=part, keys=prepared.keys, **same)
        for part in prepared.parts(holding.count(prepared.train_size))
    ]
    return Splits(name, prepared.classes, (image_size, image_size, channels), *parts)


def _normalization(scale: float | None, mean: Any, std: Any) -> tuple[Any, Any]:
    """`mean` and `std`, of which a scale is the short form."""
    if scale is None:
        return mean, std
    check_number("scale", scale, "(0, inf)")
    if mean is not None or std is not None:
        raise ValueError(
            "`scale` and `mean`, `std` exclude each other: they normalise images in [0, 1]. "
            f"Received: scale={scale!r}, mean={mean!r}, std={std!r}"
        )
    return None, 1 / scale


class _Holding:
    """Cuts the holdout split off the training split."""

    def __init__(self, name: str, share: float, seed: int) -> None:
        self._name, self._share, self._seed = name, share, seed

    def count(self, images: int) -> int:
        """How many of the training images are held out."""
        count = round(self._share * images)
        if not 0 < count < images:
            raise ValueError(
                f"`holdout` must leave images in both splits of the {images} training images of "
                f"{self._name!r}. Received: holdout={self._share!r}"
            )
        return count

    def rows(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the rest and of the holdout, stratified."""
        self.count(len(labels))
        return stratified(labels, self._share, self._seed)

    def in_memory(self, train, test, classes: int, mean, std) -> Splits:
        """Splits of images and labels."""
        scale, offset = _affine(train[0].dtype, train[0].shape[-1], mean, std)

        def split(images, labels):
            return MemorySplit(images, labels.astype(np.int32), scale, offset)

        rest, held = self.rows(train[1])
        return Splits(
            name=self._name,
            classes=classes,
            input_shape=train[0].shape[1:],
            train=split(train[0][rest], train[1][rest]),
            holdout=split(train[0][held], train[1][held]),
            test=split(*test),
        )


def _is_folder(name: str, path: str) -> bool:
    """Whether a name means a folder of images, not a TensorFlow data set."""
    return os.path.isdir(os.path.join(path, "train")) or (
        name.startswith((".", "~", os.sep)) and os.path.isdir(path)
    )


def _check_memory(name: str, images: int, shape: tuple[int, ...]) -> None:
    """Refuses more images, of one byte per pixel and channel, than half of the memory holds."""
    needed = images * int(np.prod(shape))
    if needed > memory() / 2:
        raise ValueError(
            f"The {images:,} images of {name!r} would take {needed / 1e9:.0f} GB of this machine's "
            f"{memory() / 1e9:.0f} GB. Leave them where they are with stream=True "
            "(--config.data.stream=true) and an image_size."
        )


def _affine(dtype, channels: int, mean, std) -> tuple[np.ndarray, np.ndarray]:
    """Returns scale and offset per channel: from stored images to normalised ones."""
    unit = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 1
    values = {}
    for name, given, default in (("mean", mean, 0.0), ("std", std, 1.0)):
        value = np.asarray([default] * channels if given is None else given, dtype=np.float64)
        if value.ndim == 0:  # the same for all channels
            value = np.repeat(value, channels)
        if value.shape != (channels,) or not np.isfinite(value).all():
            raise ValueError(
                f"`{name}` must hold {channels} finite numbers, one per channel. "
                f"Received: {name}={given!r}"
            )
        values[name] = value
    if (values["std"] <= 0).any():
        raise ValueError(f"`std` must be above 0 in every channel. Received: std={std!r}")
    scale = 1 / (unit * values["std"])
    offset = -values["mean"] / values["std"]
    return scale.astype(np.float32), offset.astype(np.float32)
