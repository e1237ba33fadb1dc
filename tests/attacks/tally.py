"""What attacks are counted by: tries, survivals, and what went wrong."""

from __future__ import annotations

import dataclasses
import time
import traceback

_LONGEST = 1200  # characters of a message


@dataclasses.dataclass
class Tally:
    """Tries of one kind, until their number or the time is used up.

    Attributes:
        kind: What is tried.
        most: The number of tries.
        seconds: Their time.
        first: Number of the first: those before were tried by another process.
    """

    kind: str
    most: int = 0
    seconds: float = 0.0
    first: int = 0
    tries: int = 0
    survived: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self):
        self.start = time.monotonic()

    def __iter__(self):
        while self.tries < self.most and time.monotonic() - self.start < self.seconds:
            yield self.first + self.tries

    def add(self, later):
        """Adds the tries of another tally."""
        self.tries, self.survived = self.tries + later.tries, self.survived + later.survived
        self.wrong += later.wrong

    def count(self, what, examine):
        """Counts a try: survived if `examine` raises nothing, or refuses in a line."""
        self.tries += 1
        try:
            examine()
        except Exception as error:
            if not is_refusal(error):
                last = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{last.filename.rsplit('/', 1)[-1]}:{last.lineno}"
                self.wrong.append(f"{what}: {type(error).__name__} at {place}: {str(error)[:300]}")
                return
        self.survived += 1


def is_refusal(error):
    """Whether an error is told in one line, and not by a traceback."""
    text = str(error)
    return isinstance(error, ValueError | OSError) and "\n" not in text and len(text) < _LONGEST


def table(tallies):
    """The table as Markdown."""
    rows = ["| attack | tries | survived |", "|---|---:|---:|"]
    rows += [f"| {tally.kind} | {tally.tries} | {tally.survived} |" for tally in tallies]
    return "\n".join(rows)


def require(condition, message):
    """Fails a try; unlike `assert` also where Python optimizes."""
    if not condition:
        raise AssertionError(message)
