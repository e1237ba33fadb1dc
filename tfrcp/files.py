"""Files that are written in one step, how what they hold differs from what is now, and .npz files.

A file is made under a hidden name in its folder, and renamed when it is whole: whatever goes wrong,
the one before stands, and nothing else is left behind.
"""

from __future__ import annotations

import os
import socket
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras


def write_text(path: Path, text: str) -> None:
    """Writes a text file. Several processes may do so at a time, on several machines as well.

    Args:
        path: The file.
        text: Its content.

    Raises:
        OSError: If it cannot be written.
    """
    with replacing(path, _own_name(path)) as unfinished:
        unfinished.write_text(text)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file of bytes; as `write_text`."""
    with replacing(path, _own_name(path)) as unfinished:
        unfinished.write_bytes(content)


def save_model(path: Path, model: keras.Model) -> None:
    """Writes a .keras file. One process at a time: what a killed one left is overwritten.

    Args:
        path: The file.
        model: What is saved.

    Raises:
        OSError: If it cannot be written.
    """
    with replacing(path, f".tmp.{path.name}") as unfinished:
        model.save(unfinished)


def _own_name(path: Path) -> str:
    """A hidden name that no other process takes."""
    return f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp"


@contextmanager
def replacing(path: Path, name: str) -> Iterator[Path]:
    """Yields where to write a file, which then gets its name.

    Args:
        path: The file.
        name: What it is called until it is whole.
    """
    unfinished = path.with_name(name)
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Reads all arrays of an .npz file.

    Args:
        path: The file, which is there.

    Raises:
        ValueError: If it is none, or holds other things than arrays.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not an .npz file, or was cut short.")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a readable .npz file of arrays: {error}") from error


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The entries in which two nested dicts differ.

    Args:
        old: A dict, or any other value.
        new: What it is compared with.
        path: Where they stand: names joined by dots.

    Yields:
        Path, old and new value; `None` for one that is missing.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))
    elif old != new:
        yield path, old, new
