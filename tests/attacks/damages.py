"""What can happen to a file: a flipped bit, a cut, nothing left."""

from __future__ import annotations

import os

import numpy as np


def flip(path, random):
    """One bit is another."""
    content = bytearray(path.read_bytes())
    if content:
        content[random.integers(len(content))] ^= 1 << int(random.integers(8))
    path.write_bytes(content)


def cut(path, random):
    """The end is missing."""
    os.truncate(path, int(random.integers(path.stat().st_size + 1)))


def empty(path, random):
    """Nothing is left."""
    path.write_bytes(b"")


DAMAGES = (flip, cut, empty)


def generator(seed, number):
    """The random numbers of a try."""
    return np.random.default_rng([seed, number])
