"""What a training prints: a line per epoch, and how far it is within one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from tfrcp.status_line import StatusLine
from tfrcp.units import duration

_IN_PLACE = 1.0  # seconds between lines within an epoch on a terminal
_EVERY = 60.0  # and where they cannot be overwritten


class Progress:
    """Prints how a training goes."""

    def __init__(self, epochs: int, steps: int, *, verbose: bool) -> None:
        self._epochs, self._steps, self._verbose = epochs, steps, verbose

    def begin_epoch(self, epoch: int) -> None:
        """Starts the clock of an epoch, counted from 0."""
        self._epoch, self._start = epoch, time.perf_counter()
        self._line = StatusLine(verbose=self._verbose, in_place=_IN_PLACE, every=_EVERY)

    def step(self, step: int, means: Callable[[], dict[str, float]]) -> None:
        """Tells of a step, counted from 0: in place on a terminal, else now and then."""
        if not self._line.is_due:
            return
        done = step + 1
        left = (time.perf_counter() - self._start) / done * (self._steps - done)
        self._line.show(
            f"epoch {self._epoch + 1}/{self._epochs}: step {done}/{self._steps}, "
            f"loss {means()['loss']:.4f}, {duration(left)} left in this epoch"
        )

    def end_epoch(self, history: dict[str, list[float]]) -> None:
        """Tells of a finished epoch."""
        last = {name: values[-1] for name, values in history.items()}
        done = len(history["loss"])
        line = f"epoch {done}/{self._epochs}: loss {last['loss']:.4f}"
        for name, value in last.items():
            figure = name.removeprefix("val_")
            if name in ("loss", "seconds") or ("val_accuracy" in last and name == "val_loss"):
                continue
            text = f"{value:.2%}" if figure == "accuracy" else f"{value:.4f}"
            label = figure.replace("_", " ")
            line += f", holdout {label} {text}" if name != figure else f", {label} {text}"
        line += f", {duration(last['seconds'])}"
        left = (self._epochs - done) * statistics.median(history["seconds"])
        line += f", {duration(left)} left" if left else ""
        self._line.show(line, last=True)
