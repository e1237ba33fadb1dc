"""The progress line of a criterion that takes its time."""

from __future__ import annotations

import time

from tfrcp.status_line import StatusLine


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

    _PATIENCE, _IN_PLACE = 2.0, 0.2

    def __init__(self, name: str, total: int, unit: str, work: float, *, verbose: bool) -> None:
        self._name, self._total, self._unit = name, total, unit
        self._work, self._worked = work, 0.0
        self._done, self._start = 0, time.monotonic()
        self._line = StatusLine(verbose=verbose, in_place=self._IN_PLACE, patience=self._PATIENCE)

    def advance(self, count: int, work: float) -> None:
        """Tells that this many more are done, and what they cost."""
        self._done += count
        self._worked += work
        finished = self._done >= self._total
        if not (self._line.is_due or (finished and self._line.shown)):
            return
        passed = time.monotonic() - self._start
        rest = f"{passed:.0f} s"
        if not finished:
            left = passed / self._worked * (self._work - self._worked)
            rest = f"about {left:.0f} s left"
        done = f"{self._name}: {self._done:,}/{self._total:,} {self._unit}"
        self._line.show(f"{done}, {rest}", last=finished)
