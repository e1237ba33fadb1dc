"""Folders of images: one folder for each part of the data, in it one for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_SUFFIXES = (".jpg", ".jpeg", ".png")
_TESTS = ("test", "validation", "val")


def read_folder(folder: str):
    """Lists the images of FOLDER/train/CLASS/ and FOLDER/test/CLASS/ (or validation, val).

    Returns:
        The training and the test part, (paths as bytes [N], labels int64 [N]), and the number of
        classes, which are numbered in the order of their names.

    Raises:
        ValueError: A part or all its images are missing, or the test has a class of its own.
    """
    root = Path(folder)
    test = next((root / name for name in _TESTS if (root / name).is_dir()), None)
    if not (root / "train").is_dir() or test is None:
        found = sorted(path.name for path in root.iterdir() if path.is_dir())
        raise ValueError(
            f"The folder {folder} must hold the folders train and test (or {', '.join(_TESTS[1:])})"
            f", in each a folder of images per class. Received: folders {found[:5]}. If it holds "
            "one folder per class, bin/prepare_data.py splits it"
        )
    classes = class_names(root / "train")
    unknown = sorted(set(class_names(test)) - set(classes))
    if unknown:
        raise ValueError(f"{test} has classes that {root / 'train'} lacks: {unknown[:5]}")
    return *(_list(part, classes) for part in (root / "train", test)), len(classes)


def class_names(folder: Path) -> list[str]:
    """Names of the folders of a folder that hold images, sorted; hidden ones do not count.

    Raises:
        ValueError: If they are fewer than two.
    """
    folders = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    names = sorted(path.name for path in folders if images_of(path))
    if len(names) < 2:
        raise ValueError(
            f"{folder} must hold at least two folders of images, one per class. Received: {names}"
        )
    return names


def images_of(folder: Path) -> list[Path]:
    """Image files in a folder and the folders below it, sorted; hidden ones do not count."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _list(folder: Path, classes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    paths, labels = [], []
    for label, name in enumerate(classes):
        found = images_of(folder / name)
        paths += [str(path).encode() for path in found]
        labels += [label] * len(found)
    if not paths:
        raise ValueError(f"{folder} must hold images that end in {', '.join(_SUFFIXES)}.")
    return np.array(paths), np.array(labels)


def decode_files(paths: np.ndarray, image_size: int) -> np.ndarray:
    """Decodes image files to squares of one size, uint8 [N, image_size, image_size, 3].

    Raises:
        ValueError: A file is no image; the message names it.
    """
    import tensorflow as tf

    from tfrcp.data.encoded import resized

    def decode(path):
        encoded = tf.io.read_file(path)
        image = resized(encoded, tf.zeros([2], "int32"), image_size, 3, crop=False)
        return tf.cast(tf.math.rint(tf.clip_by_value(image, 0, 255)), tf.uint8)

    images = np.empty((len(paths), image_size, image_size, 3), np.uint8)
    decoded = tf.data.Dataset.from_tensor_slices(paths).map(decode, tf.data.AUTOTUNE)
    done = 0
    try:
        for image in decoded.as_numpy_iterator():
            images[done] = image
            done += 1
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"{paths[done].decode()} is not a readable JPEG or PNG image: {error.message[:100]}"
        ) from None
    return images
