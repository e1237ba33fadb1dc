"""Which groups are meant by groups, layers, names and patterns that a user gives."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from typing import Any

import numpy as np

from tfrcp.graph.calls import Call, Nested, flat_calls
from tfrcp.graph.channels import ChannelGraph, ChannelGroup

_INPUTS = "inputs"


def fits(name: str, pattern: str) -> bool:
    """Whether a name is meant by a name or pattern, as `fnmatch` has them."""
    return name == pattern or fnmatch.fnmatchcase(name, pattern)


def meant_by(graph: ChannelGraph, entry: Any) -> list[int]:
    """Columns of the prunable groups that an entry of `fixed` means.

    Args:
        graph: The trace.
        entry: A group; a layer of the traced model, or a nested model for all layers inside; or the
            name or pattern of groups or layers. Of a layer those channels are meant that it gives
            on; with `(entry, "inputs")` or "NAME:inputs" those that it takes.

    Returns:
        Ascending list of columns of a channel vector.

    Raises:
        ValueError: If it means none.
    """
    name, inputs = entry, False
    if isinstance(entry, tuple) and len(entry) == 2 and entry[1] == _INPUTS:
        name, inputs = entry[0], True
    elif isinstance(entry, str) and entry.endswith(f":{_INPUTS}"):
        name, inputs = entry.removesuffix(f":{_INPUTS}"), True
    columns: set[int] = set()
    if isinstance(name, ChannelGroup):
        name = name.name
    if isinstance(name, str) and not inputs:
        columns |= {i for i, group in enumerate(graph.prunable) if fits(group.name, name)}
    calls = list(_calls(graph, name))
    for call in calls:
        for value in call.inputs if inputs else call.outputs:
            columns |= _held(graph, graph.labels.get(value))
    if not columns:
        names = [group.name for group in graph.prunable]
        why = "it names no group and no layer"
        if calls:
            why = (
                f"no channel that '{calls[0].path}' {'takes' if inputs else 'gives'} can be pruned"
            )
        raise ValueError(
            "There is no prunable group of this name, or with channels of such a layer: "
            f"{why}. The groups are {names}. Received: {entry!r}"
        )
    return sorted(columns)


def _calls(graph: ChannelGraph, wanted: Any) -> Iterable[Call]:
    """The calls of layers that an object, a name or a pattern means."""
    if isinstance(wanted, str):
        for call in graph.calls.calls:
            parts = call.path.split("/")
            paths = ("/".join(parts[: end + 1]) for end in range(len(parts)))
            if any(fits(path, wanted) for path in paths) or fits(parts[-1], wanted):
                yield call
        return
    steps = list(graph.calls.steps)
    while steps:
        step = steps.pop(0)
        if isinstance(step, Nested):
            if step.model is wanted:
                yield from flat_calls(step.steps)
            else:
                steps += step.steps
        elif step.operation is wanted:
            yield step


def _held(graph: ChannelGraph, labels: np.ndarray | None) -> set[int]:
    """Columns of the prunable groups whose channels are among labels."""
    if labels is None:
        return set()
    found = {graph.groups[i].name for i in np.unique(graph.group_of[labels[labels >= 0]])}
    return {i for i, group in enumerate(graph.prunable) if group.name in found}
