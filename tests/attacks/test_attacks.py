"""A short version of the long run, and the long run itself."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.attacks.tally import Tally, is_refusal, table
from tests.small_run import REPOSITORY


def attacks(*arguments):
    """Runs the attacks in a process of their own, which forks."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.attacks.long_run", *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr[-2000:]
    return result.stdout


@pytest.mark.nightly
def test_a_few_attacks_of_every_quick_kind_are_survived():
    counts = {"kills": 2, "searches": 4, "jobs": 2, "disks": 20}
    counts |= {"strangers": 12, "folders": 6, "files": 45}
    tries = (f"--{name}={count}" for name, count in counts.items())
    out = attacks("--seed=1", f"--only={','.join(counts)}", *tries)
    assert "| stranger on the chief's port | 12 | 12 |" in out


@pytest.mark.nightly
def test_all_attacks_are_survived():
    attacks("--seconds=3600")


def test_tries_are_kept_and_gone_on_with(tmp_path):
    file = tmp_path / "kind.json"
    for most in (2, 5):
        tally = Tally.of("kind", file)
        tally.most, tally.seconds = most, 60.0
        for number in tally:
            tally.count(f"{number}", lambda number=number: 1 / (number % 3))
    found = Tally.of("kind", file)
    assert (found.tries, found.survived) == (5, 3)
    assert [line.split(":")[0] for line in found.wrong] == ["0", "3"]


def test_what_counts_as_survived():
    def fails(error):
        def attempt():
            raise error

        return attempt

    tally = Tally("kind", 10, 60.0)
    tally.count("fine", lambda: None)
    tally.count("refused", fails(ValueError("FILE is damaged")))
    tally.count("two lines", fails(ValueError("a\nb")))
    tally.count("traceback", fails(TypeError("no")))
    assert (tally.tries, tally.survived, len(tally.wrong)) == (4, 2, 2)
    assert table([tally]).splitlines()[-1] == "| kind | 4 | 2 |"
    assert not is_refusal(ValueError("x" * 5000)) and is_refusal(OSError("gone"))
