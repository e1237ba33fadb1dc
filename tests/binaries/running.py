"""Where the binaries are, and what becomes of a mistake."""

from __future__ import annotations

import re

from tests.small_run import REPOSITORY, STAGES

BINARIES = REPOSITORY / "bin"
NAMES = ("prune", *STAGES)
DIGITS = f"--config={REPOSITORY / 'configs' / 'digits_resnet20.py'}"
BENCHMARK = f"--config={REPOSITORY / 'configs' / 'benchmark_digits.py'}"


def assert_one_clear_line(status, err, *parts):
    assert status in (1, 2)
    lines = err.strip().splitlines()
    assert len(lines) == 1 and len(lines[0]) < 600, err
    assert lines[0].startswith("error: ")
    for part in parts:
        assert re.search(part, lines[0]), lines[0]
