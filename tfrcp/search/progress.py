"""The progress line of a search."""

from __future__ import annotations

import sys
import time
from typing import Any


class Progress:
    """Prints how far a search is: in place on a terminal, else a line now and then.

    Args:
        oracle: The search's oracle.
        verbose: Whether to print at all.
    """

    _EVERY = 10.0

    def __init__(self, oracle: Any, *, verbose: bool = True) -> None:
        self._oracle, self._verbose = oracle, verbose
        self._before = len(oracle.end_order)
        self._start = self._last = time.monotonic()

    def update(self) -> None:
        """Tells of one more finished trial."""
        if not self._verbose:
            return
        now, done, total = time.monotonic(), len(self._oracle.end_order), self._oracle.max_trials
        terminal = sys.stdout.isatty()
        if not (
            terminal or done == total or done == self._before + 1 or now - self._last > self._EVERY
        ):
            return
        self._last = now
        pace = (now - self._start) / (done - self._before)
        best = self._oracle.get_best_trials(1)[0].score
        line = (
            f"search: {done}/{total} candidates, best {self._oracle.objective.name} "
            f"{best if best is None else format(best, '.4f')}, {pace:.2f} s each, "
            f"{pace * (total - done):.0f} s left"
        )
        end = "\n" if done == total or not terminal else ""
        print(f"\r\033[K{line}" if terminal else line, end=end, flush=True)
