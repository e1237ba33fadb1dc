"""The configurations: of a checkout those in its folder configs/, which setup.py installs here."""

from pathlib import Path

__path__ = [str(Path(__file__).parents[2] / "configs")]
