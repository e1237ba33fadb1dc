"""Image-classification data as three disjoint splits, and any data as NumPy arrays.

`load` reads scikit-learn's digits, an .npz file or a TensorFlow Datasets folder into memory: train
to fit and calibrate, holdout to select, test to look at once. `as_arrays` is how the rest of the
package reads whatever data a user passes.
"""

from __future__ import annotations

import difflib
import itertools
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np

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
            _check_int("count", count, 1)
        images = self.images[:count].astype(np.float32) * self.scale + self.offset
        return images, self.labels[:count]

    def dataset(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        augment: str | None = None,
        seed: int = 0,
        epoch: int = 0,
    ):
        """Makes a finite `tf.data.Dataset` of batches (images, labels).

        Order and augmentation are a function of `seed` and the epoch alone. The first iteration
        over the data set is `epoch`, the next one `epoch + 1` and so on: training that stopped
        after E epochs goes on exactly with a data set made with `epoch=E` and
        `fit(initial_epoch=E)`. Under a `tf.distribute` strategy Keras looks at one batch before the
        first epoch of a `fit`, which counts as an iteration.

        Args:
            batch_size: Images in a batch; the last batch holds the rest.
            shuffle: A new order every epoch.
            augment: `None`, "cifar" (pad 4 pixels, crop at random, flip at random) or "shift"
                (pad 1 pixel, crop at random).
            seed: Non-negative int.
            epoch: Epoch of the first iteration.

        Returns:
            Batches of normalised images float32 [batch, height, width, channels] and labels
            int32 [batch].

        Raises:
            ValueError: An argument is out of range; an unknown `augment` lists those known.
        """
        import tensorflow as tf

        _check_int("batch_size", batch_size, 1)
        _check_int("seed", seed, 0)
        _check_int("epoch", epoch, 0)
        if augment is not None and augment not in AUGMENTATIONS:
            raise ValueError(
                f"`augment` must be None or one of {sorted(AUGMENTATIONS)}. "
                f"Received: augment={augment!r}"
            )
        epochs = itertools.count(epoch)

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
        train, test, classes = _read_digits()
    elif name.endswith(".npz"):
        train, test, classes = _read_npz(os.path.join(directory or "", os.path.expanduser(name)))
    else:
        train, test, classes = _read_tfds(name, directory, download)
    scale, offset = _affine(train[0], mean, std)
    rest, held = _stratified(train[1], holdout, seed)
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


def as_arrays(data, *, count: int | None = None, labels: bool = False):
    """Turns data into NumPy arrays, reading no further than needed.

    Args:
        data: A batched `tf.data.Dataset` or `keras.utils.PyDataset` of x, (x, y) or
            (x, y, weights); a tuple of arrays (x, y); or x alone. For a model of several inputs x
            is a dict of arrays, or a list inside a tuple.
        count: The most images to take, the first ones; all by default.
        labels: Whether labels are needed.

    Returns:
        (x, y): x in its own structure, dtypes unchanged, N images at most `count`; y an array of
        N labels, or `None` where `labels` is false.

    Raises:
        ValueError: `data` is of another kind, empty, endless without `count`, holds NaN or
            infinite values, or lacks labels that are needed.
    """
    import keras

    if count is not None:
        _check_int("count", count, 1)
    xs, ys, have = [], [], 0
    for x, y in _batches(data, count):
        size = _size(x, y if labels else None)
        take = size if count is None else min(size, count - have)
        xs.append(keras.tree.map_structure(lambda leaf, take=take: np.asarray(leaf[:take]), x))
        if labels:
            if y is None:
                raise ValueError(
                    "`data` must come with labels here: pass (x, y), or a data set of (x, y) "
                    "batches. Received: images alone"
                )
            ys.append(np.asarray(y[:take]))
        have += take
        if have == count:
            break
    if not have:
        raise ValueError("`data` must hold at least one image. Received: data without any")
    x = keras.tree.map_structure(lambda *leaves: np.concatenate(leaves), *xs)
    _check_finite(keras.tree.flatten(x), "`data`")
    return x, np.concatenate(ys) if labels else None


def check_labels(y, classes: int) -> None:
    """Checks labels against the number of classes.

    Args:
        y: Integer labels [N] or [N, 1] in [0, classes), or rows of class probabilities
            [N, classes], such as one-hot labels.
        classes: Number of classes.

    Raises:
        ValueError: `y` is neither; the message says the range found.
    """
    y = np.asarray(y)
    found = f"dtype {y.dtype}, shape {y.shape}"
    if y.size and y.ndim and y.dtype.kind in "iuf":
        found += f", values from {y.min()} to {y.max()}"
        if y.ndim == 2 and y.shape[1] == classes > 1:
            if (y >= 0).all() and np.allclose(y.sum(axis=1), 1, atol=1e-3):
                return
        elif y.dtype.kind in "iu" and (y.ndim == 1 or y.shape[1:] == (1,)):
            if 0 <= y.min() and y.max() < classes:
                return
    raise ValueError(
        f"Labels must be ints in [0, {classes}), one per image, or one-hot rows of {classes}. "
        f"Received: {found}"
    )


def _read_digits():
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images[..., None] / 16).astype(np.float32)
    rest, test = _stratified(digits.target, 0.2, seed=0)
    parts = [(images[part], digits.target[part]) for part in (rest, test)]
    return *parts, 10


def _read_npz(path: str):
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"There is no data file {os.path.abspath(path)}. Make one with "
            "numpy.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)."
        )
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not an .npz file, or was cut short.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a readable .npz file of arrays: {error}") from error
    missing = {"x_train", "y_train", "x_test", "y_test"} - arrays.keys()
    if missing:
        raise ValueError(
            f"{path} must hold x_train, y_train, x_test and y_test. Missing: {sorted(missing)}; "
            f"found: {sorted(arrays)}"
        )
    parts = []
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        x = x[..., None] if x.ndim == 3 else x
        if x.ndim != 4 or not len(x) or not (x.dtype == np.uint8 or x.dtype.kind == "f"):
            raise ValueError(
                f"x_{part} in {path} must be images [N, height, width, channels], uint8 or float. "
                f"Received: {x.dtype} of shape {x.shape}"
            )
        if y.dtype.kind not in "iu" or y.shape not in ((len(x),), (len(x), 1)):
            raise ValueError(
                f"y_{part} in {path} must be {len(x)} integer labels, one per image. "
                f"Received: {y.dtype} of shape {y.shape}"
            )
        _check_finite([x], f"x_{part} in {path}")
        parts.append((x if x.dtype == np.uint8 else x.astype(np.float32), y.reshape(-1)))
    classes = int(arrays["classes"]) if "classes" in arrays else int(parts[0][1].max()) + 1
    for part, (_, y) in zip(("train", "test"), parts, strict=True):
        try:
            check_labels(y, classes)
        except ValueError as error:
            raise ValueError(f"y_{part} in {path}: {error}") from error
    if parts[0][0].shape[1:] != parts[1][0].shape[1:] or parts[0][0].dtype != parts[1][0].dtype:
        raise ValueError(f"x_train and x_test in {path} must be alike in image shape and dtype.")
    return *parts, classes


def _read_tfds(name: str, directory: str | None, download: bool):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    builder = _tfds_builder(name, directory, download)
    features, keys = builder.info.features, builder.info.supervised_keys
    image, label = (features[key] for key in keys) if keys and len(keys) == 2 else (None, None)
    if (
        not isinstance(image, tfds.features.Image)
        or not isinstance(label, tfds.features.ClassLabel)
        or None in image.shape
    ):
        raise ValueError(
            f"Data set {name!r} must be an image classification, images of one size with a class "
            f"label each. Received: supervised_keys={keys}, {features}"
        )
    test_name = next((s for s in ("test", "validation") if s in builder.info.splits), None)
    if test_name is None or "train" not in builder.info.splits:
        raise ValueError(
            f"Data set {name!r} must have a split `train` and a split `test` or `validation`. "
            f"Received: {sorted(builder.info.splits)}"
        )

    @tfds.decode.make_decoder()
    def exact(encoded, feature):
        # The transform of other image libraries; by default TensorFlow takes a rougher, faster one.
        # The operation reads PNG as well.
        return tf.io.decode_jpeg(encoded, feature.shape[-1], dct_method="INTEGER_ACCURATE")

    plain = image.dtype == np.uint8 and image.shape[-1] in (1, 3)
    read = {
        "as_supervised": True,
        "batch_size": -1,
        "decoders": {keys[0]: exact()} if plain else None,
    }
    train, test = (
        tfds.as_numpy(builder.as_dataset(split=split, **read)) for split in ("train", test_name)
    )
    return train, test, label.num_classes


def _tfds_builder(name: str, directory: str | None, download: bool):
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
    recipe = (
        'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', data_dir='{directory}').download_and_prepare()\""
    )
    if not download:
        raise FileNotFoundError(
            f"Data set {name!r} is not prepared in {directory}. Let it be downloaded with "
            f"download=True (--config.data.download=true), or run `{recipe}`, or {elsewhere}."
        )
    builder = tfds.builder(name, data_dir=directory)
    try:
        builder.download_and_prepare()
    except (OSError, AssertionError) as error:
        raise ValueError(
            f"Data set {name!r} could not be prepared in {directory}: {error} Where there is a "
            f"network, run `{recipe}`, and copy the folder {plain}/ to {directory}."
        ) from error
    return builder


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


def _stratified(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
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


def _batches(data, count: int | None):
    """Yields (x, y or None) of a data set, or the arrays as one batch."""
    import keras
    import tensorflow as tf

    if isinstance(data, tf.data.Dataset):
        endless = data.cardinality() == tf.data.INFINITE_CARDINALITY
    elif isinstance(data, keras.utils.PyDataset):
        endless = data.num_batches is None
    elif isinstance(data, tuple | dict) or hasattr(data, "__array__"):
        data, endless = [data], False
    else:
        raise ValueError(
            "`data` must be a batched tf.data.Dataset, a keras.utils.PyDataset, a tuple of arrays "
            f"(x, y), or an array x. Received: {type(data).__name__}"
        )
    if endless and count is None:
        raise ValueError("`data` must end, or `count` must say how many images to take.")
    for batch in data:
        if isinstance(batch, tuple | list) and not 1 <= len(batch) <= 3:
            raise ValueError(
                f"`data` must give x, (x, y) or (x, y, weights). Received: {len(batch)} parts"
            )
        yield keras.utils.unpack_x_y_sample_weight(batch)[:2]


def _size(x, y) -> int:
    """Returns the number of images that all arrays of x, and the labels if there are, hold."""
    import keras

    leaves = keras.tree.flatten(x)
    shapes = [tuple(getattr(leaf, "shape", ())) for leaf in [*leaves, *([] if y is None else [y])]]
    if not leaves or not all(shapes) or len({shape[0] for shape in shapes}) > 1:
        raise ValueError(
            "`data` must hold arrays (or batches) with one entry per image along their first axis, "
            f"as many labels as images. Received: shapes {shapes}"
        )
    return shapes[0][0]


def _check_finite(arrays: list[np.ndarray], what: str) -> None:
    """Raises a ValueError that counts the images with NaN or infinite values."""
    for array in arrays:
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{what} must hold numbers. Received: dtype {array.dtype}")
        bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        if bad.any():
            raise ValueError(
                f"{what} must be finite. Received: {bad.sum()} of {len(bad)} images with NaN or "
                "infinite values"
            )


def _check_int(name: str, value, least: int) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"`{name}` must be an int of at least {least}. Received: {name}={value!r}")
