"""Files that are written in one step, how what they hold differs from what is now, and .npz files.

A file is made under a hidden name in its folder, and renamed when it is whole: whatever goes wrong,
the one before stands, and nothing else is left behind but, by a kill, the hidden file, which the
next process that writes there removes. File and folder are synchronised with the disk, so that this
also holds where the power fails.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import socket
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Writes a text file. Several processes may do so at a time, on several machines as well.

    Args:
        path: The file.
        text: Its content.
        durable: Whether it must survive a power failure; files of seconds of work need not.

    Raises:
        OSError: If it cannot be written.
    """
    with replacing(path, durable=durable) as unfinished:
        unfinished.write_text(text)


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Writes a file of bytes; as `write_text`."""
    with replacing(path, durable=durable) as unfinished:
        unfinished.write_bytes(content)


def save_model(path: Path, model: keras.Model) -> None:
    """Writes a .keras file; as `write_text`.

    Args:
        path: The file.
        model: What is saved.

    Raises:
        OSError: If it cannot be written.
    """
    with replacing(path) as unfinished:
        model.save(unfinished)


def _own_name(path: Path) -> str:
    """A hidden name that nothing else takes: no thread, no process, no machine of the same name.

    Process ids and host names repeat, as in containers; the random part does not. The file's own
    name stands last, because Keras goes by it.
    """
    return f".tmp.{_machine()}.{os.getpid()}.{secrets.token_hex(8)}.{path.name}"


def _machine() -> str:
    return socket.gethostname()[:40]


_UNFINISHED = re.compile(r"\.tmp\.(?P<machine>.+)\.\d+\.[0-9a-f]{16}\..+")
_DAY = 86400.0  # seconds after which what another machine left is held to be abandoned
#: Folders in which this process has looked for what others left.
_cleared: set[str] = set()


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yields where to write a file, which then gets its name.

    Args:
        path: The file.
        durable: Whether it is synchronised with the disk.
    """
    unfinished, lock = _begin(path, lambda new: os.open(new, os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield unfinished
        if durable:
            synchronise(unfinished)
        os.replace(unfinished, path)
        if durable:
            synchronise(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)
        os.close(lock)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Yields a hidden folder beside a path, which is removed in the end with all that it holds."""

    def make(new: Path) -> int:
        new.mkdir()
        return os.open(new, os.O_RDONLY)

    folder, lock = _begin(path, make)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _begin(path: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """Makes something unfinished, locked as long as this process lives.

    Args:
        path: What it is to become.
        make: Makes the file or folder of a path and opens it.

    Returns:
        Its path, and its file descriptor.
    """
    folder = os.path.abspath(path.parent)
    if folder not in _cleared:
        _cleared.add(folder)
        clear(Path(folder))
    while True:
        unfinished = path.with_name(_own_name(path))
        lock = make(unfinished)
        _locks(lock)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(unfinished), os.fstat(lock)):
                return unfinished, lock
        os.close(lock)  # another process cleared it before it was locked


def clear(folder: Path) -> None:
    """Removes what killed processes left unfinished in a folder.

    What a living process writes is locked, and stays. Locks do not reach all machines on all file
    systems: what another machine left goes after a day.
    """
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            found = _UNFINISHED.fullmatch(name)
            if found:
                with contextlib.suppress(OSError):
                    _clear(folder / name, own=found["machine"] == _machine())


def _clear(path: Path, own: bool) -> None:
    lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        old = time.time() - os.fstat(lock).st_mtime > _DAY
        if (own or old) and _locks(lock):
            remove(path)
    finally:
        os.close(lock)


def _locks(handle: int) -> bool:
    """Locks an open file, where it is not locked and the file system can."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def synchronise(path: Path) -> None:
    """Writes a file, or the names in a folder, through to the disk, where the system can."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF):
            raise  # such as a full disk, which some file systems tell only here
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def fingerprint(path: Path) -> dict[str, Any]:
    """What a file, or a folder of files, holds: `bytes`, its size, and `sha256`, hexadecimal."""
    whole, size = hashlib.sha256(), 0
    parts = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for part in parts:
        with open(part, "rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        if path.is_dir():
            whole.update(f"{part.relative_to(path).as_posix()}\0{digest.hexdigest()}\n".encode())
        else:
            whole = digest
        size += part.stat().st_size
    return {"bytes": size, "sha256": whole.hexdigest()}


def checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 of the entries of a JSON object, its own entry `checksum` left out."""
    counted = {name: value for name, value in content.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()


def is_as_written(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object has the checksum of its entries; one of an earlier version has none."""
    return content.get("checksum") in (None, checksum(content))


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Reads all arrays of an .npz file.

    Args:
        path: The file, which is there.

    Raises:
        ValueError: If it is none, holds other things than arrays, or more than the memory.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not an .npz file, or was cut short.")
    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # whatever a damaged archive leads to: zipfile's, zlib's, NumPy's
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path} is not a readable .npz file of arrays: {text}") from error


def _check_sizes(path: Path) -> None:
    """Refuses arrays that are not as large as their headers say, or larger than the memory."""
    whole = 0
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                if version not in ((1, 0), (2, 0)):
                    raise ValueError(f"'{member.filename}' is of format {version}")
                read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
                shape, _, dtype = read(file)
                size, held = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
                if not dtype.hasobject and size != held:
                    raise ValueError(
                        f"'{member.filename}' should hold {size:,} bytes, and holds {held:,}"
                    )
                whole += size
    if whole > memory() / 2:
        raise ValueError(
            f"its arrays take {whole / 1e9:,.0f} GB of this machine's {memory() / 1e9:,.0f} GB"
        )


def memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


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
