"""What a configuration names: a criterion or an allocation of tfrcp, or a function of the user's.

A function is named by its file: "path/to/file.py:function".
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tfrcp import criteria
from tfrcp.data.functions import load_function
from tfrcp.graph.channels import ChannelGraph
from tfrcp.studies.criteria import HRank, ThiNet
from tfrcp.studies.preparations import PREPARATIONS

CRITERIA = {n: k for n, k in criteria.CRITERIA.items() if n not in ("auto", "index")}
CRITERIA |= {"hrank": HRank, "thinet": ThiNet}
"""The criteria of tfrcp by name, which can be compared."""


@dataclasses.dataclass(frozen=True)
class Named:
    """Something that can be called, and its names.

    Attributes:
        call: The function, or an object that can be called.
        label: What it is called in tables.
        key: What it is called in names of files: of a user's function its file's checksum too, so
            that a changed function does not find the results of the old one.
        name: Of the criterion itself.
        preparation: How the base is trained on before it is scored, see
            `tfrcp.studies.preparations`; "" for not at all.
    """

    call: Callable[..., Any]
    label: str
    key: str
    name: str = ""
    preparation: str = ""


def find_all(
    kind: str, names: Iterable[str], known: Mapping[str, Callable[..., Any]]
) -> dict[str, Named]:
    """What each of some names stands for, once; see `find`."""
    return {name: find(kind, name, known) for name in dict.fromkeys(names)}


def as_lists(scores: Mapping[str, Any], graph: ChannelGraph) -> dict[str, list[float]]:
    """What a criterion gave, as JSON has it.

    Raises:
        ValueError: If these are not the scores of all channels, or not finite.
    """
    found = {}
    for group in graph.prunable:
        score = np.asarray(scores.get(group.name), dtype=float)
        if score.shape != (group.size,) or not np.isfinite(score).all():
            raise ValueError(
                f"The criterion must give {group.size} finite scores for the group "
                f"'{group.name}'. Received: {scores.get(group.name)!r}"
            )
        found[group.name] = score.tolist()
    return found


def find(kind: str, name: str, known: Mapping[str, Callable[..., Any]]) -> Named:
    """Finds what a name stands for.

    Args:
        kind: "criterion" or "allocation", for errors.
        name: A key of `known`, of a criterion perhaps with arguments as in "l2:scope=group"; or
            "path/to/file.py:function". A criterion may be followed by a preparation of the base, as
            in "batch_norm_scale+slimming".
        known: What tfrcp has.

    Returns:
        What was found.

    Raises:
        ValueError: If it is neither; the message says what there is.
    """
    name, plus, preparation = str(name).partition("+")
    if plus:
        if kind != "criterion" or preparation not in PREPARATIONS:
            raise ValueError(
                f"A criterion may be followed by a preparation, one of {PREPARATIONS}. Received: "
                f"{kind} '{name}+{preparation}'"
            )
        known = {**known, "index": criteria.Index}  # of use where a supernet's widths are nested
        found = find(kind, name, known)
        label, key = f"{found.label}, {preparation}", f"{found.key}_{preparation}"
        return Named(found.call, label, key, found.name, preparation)
    if name in known:
        return Named(known[name], name, name, name)
    if kind == "criterion" and str(name).partition(":")[0] in known:
        return Named(criteria.get(name), name, re.sub(r"\W+", "_", name), name)
    path, colon, function = str(name).rpartition(":")
    if not colon or not path.endswith(".py"):
        raise ValueError(
            f"The {kind} must be one of {sorted(known)}, or a function of your own as "
            f"'path/to/file.py:function'. Received: {name!r}"
        )
    call, file = load_function(f"The {kind}", name)
    checksum = zlib.crc32(file.read_bytes())
    slug = re.sub(r"\W+", "_", f"{file.stem}_{function}")
    label = f"{function} ({file.name})"
    return Named(call, label, f"{slug}_{checksum:08x}", label)
