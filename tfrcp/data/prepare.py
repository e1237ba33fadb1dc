"""Prepares data sets for TensorFlow Datasets: downloaded, from files at hand, or from a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfrcp.arguments import check_number
from tfrcp.data.folder import class_names, decode_files, images_of, read_folder
from tfrcp.data.splits import stratified


def prepare(name: str, data_dir: str | None = None, *, manual_dir: str | None = None) -> Any:
    """Prepares a data set that TensorFlow Datasets knows.

    Args:
        name: Its name, such as "cifar10", "fashion_mnist" or "imagenet2012".
        data_dir: Where it is to stand; by default where TensorFlow Datasets keeps its data.
        manual_dir: Folder of files that were got by hand. What the data set would download is
            taken from here if a file of that name is here, whatever its checksum: other packages
            compress the same data anew. Data sets that cannot be downloaded look here, too.

    Returns:
        The `tfds.core.DatasetBuilder`. What is prepared already is left as it is.

    Raises:
        ValueError: The name is unknown, or the data cannot be had; the message says what lacks.
    """
    import tensorflow_datasets as tfds

    if manual_dir is not None and not os.path.isdir(manual_dir):
        raise ValueError(f"`manual_dir` must be a folder. Received: {manual_dir!r}")
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        raise ValueError(f"Unknown data set {name!r}: {str(error).splitlines()[0]}") from None
    if manual_dir is None or not hasattr(builder, "_split_generators"):
        return _prepared(builder, None)
    with tfds.core.registered.skip_registration():
        kind = type(type(builder).__name__, (_FromFiles, type(builder)), {"folder": manual_dir})
        builder = kind(
            data_dir=data_dir, config=builder.builder_config, version=str(builder.version)
        )
    return _prepared(builder, manual_dir)


class _FromFiles:
    """Mixed into a builder: takes from a folder what the builder would download."""

    folder: str

    def _split_generators(self, dl_manager: Any, *arguments: Any) -> Any:
        return super()._split_generators(_Files(dl_manager, self.folder), *arguments)


class _Files:
    """A download manager that looks in a folder first."""

    def __init__(self, manager: Any, folder: str) -> None:
        self._manager, self._folder = manager, folder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)

    def download(self, urls: Any) -> Any:
        """Paths of the files, in the structure of the URLs."""
        return keras.tree.map_structure(self._file, urls)

    def download_and_extract(self, urls: Any) -> Any:
        """Paths of the extracted files, in the structure of the URLs."""
        return self._manager.extract(self.download(urls))

    def _file(self, url: Any) -> Any:
        name = str(getattr(url, "url", url)).rsplit("/", 1)[-1]
        path = Path(self._folder) / name
        if not path.is_file():
            raise FileNotFoundError(f"{self._folder} lacks {name}, which is to come from {url}.")
        return path


def prepare_folder(
    folder: str,
    data_dir: str | None = None,
    *,
    name: str | None = None,
    test_share: float = 0.1,
    seed: int = 0,
) -> Any:
    """Prepares a folder of images as a data set that `tfds.load(name, data_dir=...)` reads.

    Every image is decoded once, so that a broken file is found now.

    Args:
        folder: Holds train/CLASS/ and test/CLASS/ (or validation, val), or CLASS/ alone; in these
            JPEG or PNG images.
        data_dir: Where the data set is to stand; by default where TensorFlow Datasets keeps its
            data.
        name: Its name, in lower case with underscores; by default made from that of the folder.
        test_share: Share of the images of every class, in (0, 1), that become the test split where
            the folder holds classes alone.
        seed: Of that choice.

    Returns:
        The `tfds.core.DatasetBuilder`.

    Raises:
        ValueError: An argument is wrong, there are no images, or one cannot be read.
    """
    import tensorflow_datasets as tfds

    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"`folder` must be a folder of images. Received: {folder!r}")
    check_number("test_share", test_share, "(0, 1)")
    name = name or re.sub(r"\W+", "_", root.resolve().name.lower())
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise ValueError(f"`name` must be like my_images. Received: name={name!r}")
    if (root / "train").is_dir():
        train, test, _ = read_folder(folder)
        names = class_names(root / "train")
    else:
        names = class_names(root)
        files = [(path, label) for label, n in enumerate(names) for path in images_of(root / n)]
        if not files:
            raise ValueError(f"{folder} holds no images that end in .jpg, .jpeg or .png.")
        paths = np.array([str(path).encode() for path, _ in files])
        labels = np.array([label for _, label in files])
        parts = stratified(labels, test_share, seed)
        train, test = ((paths[part], labels[part]) for part in parts)
    if not len(train[0]) or not len(test[0]):
        raise ValueError(
            f"`test_share` must leave images in both parts. Received: {test_share!r} of "
            f"{len(train[0]) + len(test[0])} images"
        )
    for paths, _ in (train, test):
        for start in range(0, len(paths), 1000):
            decode_files(paths[start : start + 1000], 8)

    def examples(part: tuple[np.ndarray, np.ndarray]) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, (path, label) in enumerate(zip(*part, strict=True)):
            yield index, {"image": path.decode(), "label": int(label)}

    def info(self: Any) -> Any:
        image = tfds.features.Image(shape=(None, None, 3))
        features = {"image": image, "label": tfds.features.ClassLabel(names=names)}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    with tfds.core.registered.skip_registration():
        kind = type(
            "".join(part.capitalize() for part in name.split("_")),
            (tfds.core.GeneratorBasedBuilder,),
            {
                "VERSION": tfds.core.Version("1.0.0"),
                "name": name,
                "_info": info,
                "_split_generators": lambda self, manager: {
                    "train": examples(train),
                    "test": examples(test),
                },
                "_generate_examples": None,
            },
        )
        return _prepared(kind(data_dir=data_dir), None)


def _prepared(builder: Any, manual_dir: str | None) -> Any:
    """Downloads and prepares, in a folder that gets its name when it is whole."""
    import tensorflow_datasets as tfds

    options = tfds.download.DownloadConfig(manual_dir=manual_dir)
    try:
        builder.download_and_prepare(download_config=options)
    except (OSError, AssertionError, tfds.download.DownloadError) as error:
        by_hand = "" if manual_dir else " Get its files by hand and name their folder (manual_dir)."
        raise ValueError(
            f"Data set {builder.name!r} could not be prepared in {builder.data_dir}: "
            f"{' '.join(str(error).split())}{by_hand}"
        ) from None
    return builder
