"""What a configuration names: a criterion or an allocation of tfrcp, or a function of the user's.

A function is named by its file: "path/to/file.py:function".
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tfrcp import criteria
from tfrcp.data.functions import load_function

CRITERIA = {n: k for n, k in criteria.CRITERIA.items() if n not in ("auto", "index")}
"""The criteria of tfrcp by name, which can be compared."""


@dataclasses.dataclass(frozen=True)
class Named:
    """Something that can be called, and its names.

    Attributes:
        call: The function, or an object that can be called.
        label: What it is called in tables.
        key: What it is called in names of files: of a user's function its file's checksum too, so
            that a changed function does not find the results of the old one.
    """

    call: Callable[..., Any]
    label: str
    key: str


def find_all(
    kind: str, names: Iterable[str], known: Mapping[str, Callable[..., Any]]
) -> dict[str, Named]:
    """What each of some names stands for, once; see `find`."""
    return {name: find(kind, name, known) for name in dict.fromkeys(names)}


def find(kind: str, name: str, known: Mapping[str, Callable[..., Any]]) -> Named:
    """Finds what a name stands for.

    Args:
        kind: "criterion" or "allocation", for errors.
        name: A key of `known`, of a criterion perhaps with arguments as in "l2:scope=group"; or
            "path/to/file.py:function".
        known: What tfrcp has.

    Returns:
        What was found.

    Raises:
        ValueError: If it is neither; the message says what there is.
    """
    if name in known:
        return Named(known[name], name, name)
    if kind == "criterion" and str(name).partition(":")[0] in known:
        return Named(criteria.get(name), name, re.sub(r"\W+", "_", name))
    path, colon, function = str(name).rpartition(":")
    if not colon or not path.endswith(".py"):
        raise ValueError(
            f"The {kind} must be one of {sorted(known)}, or a function of your own as "
            f"'path/to/file.py:function'. Received: {name!r}"
        )
    call, file = load_function(f"The {kind}", name)
    checksum = zlib.crc32(file.read_bytes())
    slug = re.sub(r"\W+", "_", f"{file.stem}_{function}")
    return Named(call, f"{function} ({file.name})", f"{slug}_{checksum:08x}")
