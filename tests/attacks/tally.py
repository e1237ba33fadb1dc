"""What attacks are counted by: tries, survivals, and what went wrong."""

from __future__ import annotations

import dataclasses
import json
import time
import traceback
from pathlib import Path

from tfrcp import files

_LONGEST = 1200  # characters of a message


@dataclasses.dataclass
class Tally:
    """Tries of one kind, until their number or the time is used up.

    Attributes:
        kind: What is tried.
        most: The number of tries.
        seconds: Their time.
        file: Where they are kept, so that another process goes on after them.
    """

    kind: str
    most: int = 0
    seconds: float = 0.0
    file: Path | None = None
    tries: int = 0
    survived: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self):
        self.start = time.monotonic()

    def __iter__(self):
        while self.tries < self.most and time.monotonic() - self.start < self.seconds:
            yield self.tries
            self.keep()

    @classmethod
    def of(cls, kind, file):
        """What a file holds of earlier tries, if it is there."""
        found = json.loads(file.read_text()) if file.exists() else {}
        return cls(kind, **found, file=file)

    def keep(self):
        """Writes what came out so far into the file."""
        if self.file:
            found = {"tries": self.tries, "survived": self.survived, "wrong": self.wrong}
            files.write_text(self.file, json.dumps(found, indent=1), durable=False)

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
