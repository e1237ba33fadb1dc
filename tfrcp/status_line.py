"""One line that says how far long work is: in place on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time


class StatusLine:
    """Prints a line over itself on a terminal, and below each other elsewhere.

    Args:
        verbose: Whether to print at all.
        in_place: Least seconds between two lines on a terminal.
        every: Least seconds between two lines elsewhere.
        patience: Seconds until the first; by default as between two.
    """

    def __init__(
        self,
        *,
        verbose: bool,
        in_place: float = 0.0,
        every: float = 10.0,
        patience: float | None = None,
    ) -> None:
        self._verbose, self._in_place, self._every = verbose, in_place, every
        self._next = time.monotonic() + (self._interval if patience is None else patience)
        self.shown = False
        """Whether anything was printed."""

    @property
    def is_due(self) -> bool:
        """Whether a line may be printed now."""
        return self._verbose and time.monotonic() >= self._next

    def show(self, text: str, *, last: bool = False) -> None:
        """Prints a line, whether it is due or not; the last one stays.

        Args:
            text: The line.
            last: Whether what follows is printed below it.
        """
        if not self._verbose:
            return
        terminal = sys.stdout.isatty()
        end = "" if terminal and not last else "\n"
        print(f"\r\033[K{text}" if terminal else text, end=end, flush=True)
        self._next = time.monotonic() + self._interval
        self.shown = True

    @property
    def _interval(self) -> float:
        return self._in_place if sys.stdout.isatty() else self._every
