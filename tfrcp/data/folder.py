"""Folders of images: one folder for each part of the data, in it one for each class."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrcp.data.decoding import resized

_SUFFIXES = (".jpg", ".jpeg", ".png")
_TESTS = ("test", "validation", "val")
_NAMED = 5  # so many of several files are named in a message


def read_folder(folder: str):
    """Lists the images of FOLDER/train/CLASS/ and FOLDER/test/CLASS/ (or validation, val).

    Returns:
        The training and the test part, (paths as bytes [N], labels int64 [N]), and the number of
        classes, which are numbered in the order of their names.

    Raises:
        ValueError: A part or all its images are missing, or the test has a class of its own.
    """
    root = Path(folder)
    _tell_of_others(root)
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
    """Image files in a folder and the folders below it, sorted; hidden ones do not count.

    A link to a file that is gone counts: whoever reads the images says so.
    """
    return [path for path in _files(folder) if path.suffix.lower() in _SUFFIXES]


def _files(folder: Path) -> list[Path]:
    """All files in a folder and the folders below it, sorted, but for hidden ones.

    Pipes and devices, which may have no end, are none; a link to nothing is.
    """
    return sorted(
        path
        for path in folder.rglob("*")
        if (path.is_file() or (path.is_symlink() and not path.exists()))
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _tell_of_others(folder: Path) -> None:
    """Prints how many files are of formats that are not read, if there are any."""
    others = collections.Counter(
        path.suffix.lower() or "no suffix"
        for path in _files(folder)
        if path.suffix.lower() not in _SUFFIXES
    )
    if others:
        parts = ", ".join(f"{count:,} {suffix}" for suffix, count in others.most_common(_NAMED))
        more = ", ..." if len(others) > _NAMED else ""
        print(
            f"data: {others.total():,} files in {folder} are no JPEG or PNG images and are not "
            f"read ({parts}{more})",
            flush=True,
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
    images = np.empty((len(paths), image_size, image_size, 3), np.uint8)
    found = np.zeros(len(paths), bool)
    for index, image in _decoded(paths, image_size):
        images[index], found[index] = image, True
    if not found.all():
        raise ValueError(broken([path.decode() for path in paths[~found]]))
    return images


def readable(paths: np.ndarray) -> np.ndarray:
    """Which files can be decoded to their ends, bool [N]."""
    found = np.zeros(len(paths), bool)
    for index, _ in _decoded(paths, 1, "all"):
        found[index] = True
    return found


def without_unreadable(paths: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leaves out the files that cannot be decoded, and says how many and which.

    Raises:
        ValueError: If nothing is left of a class that had images.
    """
    found = readable(paths)
    if found.all():
        return paths, labels
    lost = set(labels.tolist()) - set(labels[found].tolist())
    if lost:
        first = paths[labels == min(lost)][0].decode()
        raise ValueError(
            f"No image of the class of {first} can be read, so that there is nothing to skip to."
        )
    names = ", ".join(path.decode() for path in paths[~found][:_NAMED])
    print(
        f"data: {(~found).sum():,} of {len(paths):,} images cannot be read and are skipped: "
        f"{names}{', ...' if (~found).sum() > _NAMED else ''}",
        flush=True,
    )
    return paths[found], labels[found]


def broken(paths: Sequence[str]) -> str:
    """The message of files that cannot be read, of which the first is named."""
    more = f" (and {len(paths) - 1:,} more)" if len(paths) > 1 else ""
    path = Path(paths[0])
    if path.is_symlink() and not path.exists():
        why = "is a link to a file that is missing"
    elif path.is_file() and not path.stat().st_size:
        why = "is empty, not a readable JPEG or PNG image"
    else:
        why = "is not a readable JPEG or PNG image"
    return (
        f"{path} {why}{more}: remove it, or leave such files out with on_error='skip' "
        "(--config.data.on_error=skip)"
    )


def _decoded(
    paths: np.ndarray, image_size: int, part: str = "middle"
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields number and image, uint8 [image_size, image_size, 3], of every file that is one."""

    def decode(index, path):
        encoded = tf.io.read_file(path)
        image = resized(encoded, tf.zeros([2], "int32"), image_size, 3, part)
        return index, tf.cast(tf.math.rint(tf.clip_by_value(image, 0, 255)), tf.uint8)

    decoded = tf.data.Dataset.from_tensor_slices((np.arange(len(paths)), paths))
    decoded = decoded.map(decode, tf.data.AUTOTUNE).ignore_errors()
    yield from decoded.as_numpy_iterator()
