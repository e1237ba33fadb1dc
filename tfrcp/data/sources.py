"""Loads a named data set into three disjoint splits."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from tfrcp.data.readers import read_digits, read_npz, read_tfds
from tfrcp.data.split import Split, Splits, stratified


def load(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    holdout: float = 0.1,
    seed: int = 0,
    download: bool = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Splits:
    """Loads an image-classification data set into memory, integer images as they are stored.

    Integer images are scaled to [0, 1] when they are handed out, then normalised by `mean` and
    `std`. The holdout split is a stratified, seeded share of the training split; the test split is
    the same for every seed.

    Args:
        name: "digits" (scikit-learn's 1,797 digits of 8x8 pixels, a fifth of them for the test);
            a path that ends in ".npz", relative to `data_dir`, with the arrays x_train, y_train,
            x_test, y_test (images uint8, or floats already scaled) and perhaps `classes`; else the
            name of a TensorFlow Datasets image-classification data set, such as "cifar10".
        data_dir: Directory of the data; by default that of TensorFlow Datasets.
        holdout: Share of the training images to hold out, in (0, 1).
        seed: Seed of the choice and order of training and holdout images.
        download: Lets TensorFlow Datasets download and prepare what `data_dir` lacks.
        mean: Mean per channel of the scaled images; 0 by default.
        std: Standard deviation per channel of the scaled images; 1 by default.

    Returns:
        The three splits.

    Raises:
        FileNotFoundError: The data is not there; the message says where it was looked for and how
            to prepare it.
        ValueError: The name is unknown, the data is no image classification or does not add up
            (NaN pixels, labels outside the classes), or an argument is out of range.
    """
    if not 0 < holdout < 1:
        raise ValueError(f"`holdout` must be a share in (0, 1). Received: holdout={holdout!r}")
    directory = None if data_dir is None else os.path.expanduser(data_dir)
    if name == "digits":
        train, test, classes = read_digits()
    elif name.endswith(".npz"):
        train, test, classes = read_npz(os.path.join(directory or "", os.path.expanduser(name)))
    else:
        train, test, classes = read_tfds(name, directory, download)
    scale, offset = _affine(train[0], mean, std)
    rest, held = stratified(train[1], holdout, seed)
    if not len(held) or not len(rest):
        raise ValueError(
            f"`holdout` must leave images in both splits of the {len(train[1])} training images of "
            f"{name!r}. Received: holdout={holdout!r}"
        )

    def split(images, labels):
        return Split(images, labels.astype(np.int32), scale, offset)

    return Splits(
        name=name,
        classes=classes,
        input_shape=train[0].shape[1:],
        train=split(train[0][rest], train[1][rest]),
        holdout=split(train[0][held], train[1][held]),
        test=split(*test),
    )


def _affine(images: np.ndarray, mean, std) -> tuple[np.ndarray, np.ndarray]:
    """Returns scale and offset per channel: from stored images to normalised ones."""
    channels = images.shape[-1]
    unit = np.iinfo(images.dtype).max if images.dtype.kind in "iu" else 1
    values = {}
    for name, given, default in (("mean", mean, 0.0), ("std", std, 1.0)):
        value = np.asarray([default] * channels if given is None else given, dtype=np.float64)
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
