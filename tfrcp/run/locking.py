"""What a working folder needs, and its lock: one process at a time reads and writes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class BusyError(ValueError):
    """Another process is active in the folder."""


def check_place(path: Path) -> None:
    """Refuses a path at which no working folder can be made, and a clock with which none can.

    Raises:
        ValueError: If it is not UTF-8, as the files in the folder are, or leads to something else;
            or if the year is none of 1980 to 2107.
    """
    year = time.localtime().tm_year
    if not 1980 <= year <= 2107:
        raise ValueError(
            f"This machine's clock tells the year {year}, and .keras files, which are zip archives,"
            " hold dates of 1980 to 2107 only. Set the clock."
        )
    what = ""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        what = f"{os.fsencode(path)!r} is no path in UTF-8"
    if not what and os.path.lexists(path) and not path.is_dir():
        kind = "a link that leads to no folder" if path.is_symlink() else "no folder"
        what = f"{path} is {kind}"
    if what:
        raise ValueError(
            f"The working folder cannot be written: {what}. Choose another one with --workdir."
        )
    _check_files(path)


def _check_files(folder: Path) -> None:
    """Refuses a folder that holds what may have no end, and nobody would come back from reading."""
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # such as a link to nothing
                if not stat.S_ISREG(os.stat(os.path.join(root, name)).st_mode):
                    raise ValueError(
                        f"{os.path.join(root, name)} is no file but a pipe, a socket or a device. "
                        "Remove it, or choose another --workdir."
                    )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes out of a folder; the system lets go of the lock if this one is killed.

    Args:
        folder: The folder; the file `.lock` in it says who has the lock.

    Raises:
        BusyError: If another process is active here.
        ValueError: If the file system has no locks.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW  # what a link leads to is not overwritten
    with open(os.open(folder / ".lock", flags, 0o666), "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = " ".join(lock.read(200).split())
            raise BusyError(
                f"Another run is active in {folder}{f' ({holder})' if holder else ''}. Wait for "
                "it, or choose another --workdir."
            ) from None
        except OSError as error:
            raise ValueError(
                f"The working folder {folder} cannot be locked: {error.strerror}. Choose one on "
                "another file system with --workdir."
            ) from None
        lock.truncate()
        lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        lock.flush()
        yield
