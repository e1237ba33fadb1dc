"""Readers of the sources that `tfrcp.data.load` knows.

Each returns the training and the test part, (images, labels) as they are stored, and the number of
classes.
"""

from __future__ import annotations

import difflib
import os
import zipfile

import numpy as np

from tfrcp.data.arrays import check_finite, check_labels
from tfrcp.data.split import stratified


def read_digits():
    """Reads scikit-learn's digits: float images in [0, 1], a fifth of every class for the test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images[..., None] / 16).astype(np.float32)
    rest, test = stratified(digits.target, 0.2, seed=0)
    parts = [(images[part], digits.target[part]) for part in (rest, test)]
    return *parts, 10


def read_npz(path: str):
    """Reads x_train, y_train, x_test, y_test and perhaps `classes` from an .npz file."""
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
        check_finite([x], f"x_{part} in {path}")
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


def read_tfds(name: str, directory: str | None, download: bool):
    """Reads an image classification that TensorFlow Datasets has prepared, or may prepare."""
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
