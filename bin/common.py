"""Runs a command of tfrcp, from a checkout that need not be installed."""

import sys
from pathlib import Path

# The repository's root instead of this folder: tfrcp stands there, and the profile.py that stands
# here must not hide Python's own.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tfrcp import cli  # noqa: E402


def run(name: str) -> None:
    """Runs a command by its name; see `tfrcp.cli`."""
    cli.run(name, f"python bin/{Path(sys.argv[0]).name}")
