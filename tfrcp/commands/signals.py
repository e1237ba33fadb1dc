"""SIGTERM and Ctrl-C: the process ends with a line, wherever it is."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

_WORDS = {signal.SIGTERM: "terminated", signal.SIGINT: "interrupted"}
_LINE = "\n{}; run the same command to resume\n"
_received: list[int] = []


class Asked(KeyboardInterrupt):
    """The process is asked to end."""


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """Raises `Asked` on SIGTERM, and on SIGINT where that is not ignored."""
    _received.clear()
    before = {number: signal.getsignal(number) for number in _WORDS}
    for number in _WORDS:
        if number == signal.SIGTERM or before[number] is not signal.SIG_IGN:
            signal.signal(number, _hear)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_if_asked() -> None:
    """Ends the process if it was asked to: an error that comes after is of no interest.

    TensorFlow makes another error of what is raised in its callbacks.
    """
    if _received:
        leave(_received[0])


def leave(number: int) -> NoReturn:
    """Ends the process as after a signal."""
    print(_LINE.format(_WORDS[signal.Signals(number)]), end="", file=sys.stderr)
    sys.exit(128 + number)


def _hear(number: int, frame: FrameType | None) -> None:
    """Raises `Asked`; in the midst of TensorFlow ends the process at once.

    An exception in a callback of its C++ would end it by SIGABRT, or be swallowed. What is on the
    disk is whole at any moment, and unfinished files are cleared by the next process.
    """
    _received.append(number)
    while frame is not None:
        if f"{os.sep}tensorflow{os.sep}" in frame.f_code.co_filename:
            with contextlib.suppress(Exception):  # such as one that is printing now
                sys.stdout.flush()
            with contextlib.suppress(OSError):
                os.write(2, _LINE.format(_WORDS[signal.Signals(number)]).encode())
            os._exit(128 + number)
        frame = frame.f_back
    raise Asked
