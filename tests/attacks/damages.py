"""What can happen to a file: a flipped bit, a cut, absurd values, something else in its place."""

from __future__ import annotations

import json
import os

import numpy as np

from tfrcp import files


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
_ABSURD = (
    *("null", "true", "NaN", "-Infinity", "1e999", "-1", "10" * 9, "9" * 400, "9" * 5000),
    *('""', '"\\u202e\\u0000"', '"\\ud800"', '"../../x"', "[]", "{}", "[[]]", "[" * 5000),
)


def absurd(path, random):
    """A value of a JSON file is one that nobody writes, or an entry stands there twice."""
    content = json.loads(path.read_text())
    places = list(_places(content)) or [([content], 0)]
    holder, key = places[random.integers(len(places))]
    value = _ABSURD[random.integers(len(_ABSURD))]
    if isinstance(holder, dict) and not random.integers(4):
        before = json.dumps(holder[key])
        holder[key] = "MARK"
        value = f"{value}, {json.dumps(key)}: {before}"
    else:
        holder[key] = "MARK"
    path.write_text(json.dumps(content, indent=1).replace('"MARK"', value))


def _places(content):
    """Every (dict or list, key or index) within."""
    if not isinstance(content, dict | list):
        return
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in list(pairs):
        yield content, key
        yield from _places(value)


def _made(make):
    def replaced(path, random):
        aside = path.with_name("aside")
        os.rename(path, aside)
        make(path, aside)
        files.remove(aside)

    return replaced


REPLACEMENTS = {
    "a link to nothing": _made(lambda path, _: path.symlink_to("gone")),
    "a link to itself": _made(lambda path, _: path.symlink_to(path)),
    "a pipe": _made(lambda path, _: os.mkfifo(path)),
    "an endless device": _made(lambda path, _: path.symlink_to("/dev/zero")),
    "the other kind": _made(
        lambda path, old: path.write_text("x") if old.is_dir() else path.mkdir()
    ),
}


def generator(seed, number):
    """The random numbers of a try."""
    return np.random.default_rng([seed, number])
