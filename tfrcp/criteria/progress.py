"""The progress line of a criterion that takes its time."""

from __future__ import annotations

import sys
import time


class Progress:
    """Says how far a criterion is: in place on a terminal, else a line now and then.

    Nothing is printed within the first seconds.

    Args:
        name: Name of the criterion.
        total: How many things there are to do.
        unit: What they are, plural.
        work: What they cost in all, in any unit, for the time that is left.
        verbose: Whether to print at all.
    """

    _PATIENCE, _EVERY = 2.0, 10.0

    def __init__(self, name: str, total: int, unit: str, work: float, *, verbose: bool) -> None:
        self._name, self._total, self._unit, self._verbose = name, total, unit, verbose
        self._work, self._worked = work, 0.0
        self._done, self._start = 0, time.monotonic()
        self._next = self._start + self._PATIENCE
        self._shown = False

    def advance(self, count: int, work: float) -> None:
        """Tells that this many more are done, and what they cost."""
        self._done += count
        self._worked += work
        now, terminal = time.monotonic(), sys.stdout.isatty()
        finished = self._done >= self._total
        if not self._verbose or not (now >= self._next or (finished and self._shown)):
            return
        self._next, self._shown = now + (0.2 if terminal else self._EVERY), True
        passed = now - self._start
        rest = f"{passed:.0f} s"
        if not finished:
            left = passed / self._worked * (self._work - self._worked)
            rest = f"about {left:.0f} s left"
        line = f"{self._name}: {self._done:,}/{self._total:,} {self._unit}, {rest}"
        end = "" if terminal and not finished else "\n"
        print(f"\r\033[K{line}" if terminal else line, end=end, flush=True)
