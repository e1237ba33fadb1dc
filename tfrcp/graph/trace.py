"""Finds the channel groups of a model."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import keras
import numpy as np

from tfrcp.graph.atoms import Atoms, WeightAxis
from tfrcp.graph.channels import ChannelGraph, ChannelGroup, WeightSlice
from tfrcp.graph.reading import read_calls
from tfrcp.graph.rules import find_rule, knows, opens

#: The places of a channel: pairs of an index and a number of positions, in order.
Lives = tuple[tuple[int, int], ...]


def trace(model: keras.Model, expand: bool = True, *, input_shape: Any = None) -> ChannelGraph:
    """Finds the channel groups of a model: which channels must be pruned together.

    Every channel is followed from the layer that makes it through all that it is added to,
    normalized by, concatenated with and moved by, to the layers that consume it. Whatever no rule
    knows freezes the channels that it touches.

    Args:
        model: A built Functional or Sequential `keras.Model`, nested ones included.
        expand: Whether composite layers are opened: a layer that no rule knows and that holds
            layers is followed through what its `call` does with them in inference. A sliced model
            has these layers in its place, named "block_conv" for "conv" inside of "block". A layer
            that cannot be opened stays whole; `explain` says why.
        input_shape: For a model that leaves the size of its images open, the one at which its cost
            is counted, such as (224, 224, 3); of several inputs a structure of such shapes. The
            size stays open in sliced models.

    Raises:
        ValueError: If `model` is subclassed or not built, or `input_shape` does not fit it.
    """
    calls = read_calls(model, opens if expand else lambda operation: False, knows, input_shape)
    atoms = Atoms(Counter(value for call in calls.calls for value in set(call.inputs)))
    for value in keras.tree.flatten(calls.inputs):
        atoms[value] = atoms.outside(len(value.shape), "joined with a model input")
    for call in calls.calls:
        try:
            find_rule(call.operation).trace(call, atoms)
        except Exception as error:  # whatever a rule does with what it was not made for
            atoms.give_up(call, f"its rule failed: {str(error).strip()[:200]}")
    for value in keras.tree.flatten(calls.outputs):
        atoms.freeze(atoms.grid(value), "model output")
    for value in atoms.labels:
        atoms[value]  # along a single axis from now on

    roots, frozen = atoms.classes()
    lives = _lives(atoms.places, roots)
    groups: dict[tuple, list[int]] = defaultdict(list)
    parts = _membership(atoms.parts, roots)
    for root in np.unique(roots).tolist():
        groups[lives.get(root, ()), frozen.get(root, ""), parts[root]].append(root)
    ordered = sorted(groups, key=lambda key: _order(key[0], atoms.places, groups[key]))

    group_of = np.full(len(roots), -1)
    channel_of = np.full(len(roots), -1)
    for index, key in enumerate(ordered):
        members = _in_place_order(groups[key], key[0], atoms.places, roots)
        group_of[members], channel_of[members] = index, np.arange(len(members))
    group_of, channel_of = group_of[roots], channel_of[roots]
    names: set[str] = set()
    result = []
    for index, (places, reason, part) in enumerate(ordered):
        slices = []
        for spot in (atoms.places[i] for i, _ in sorted(places)):
            here = (spot.labels >= 0) & (group_of[spot.labels] == index)
            of = np.where(here, channel_of[spot.labels], -1)
            slices.append(WeightSlice(spot.path, spot.weight, spot.axis, of, spot.role))
        name = _name(slices, names)
        names.add(name)
        size = len(groups[places, reason, part])
        norms = tuple(
            path
            for path, labels in atoms.normalized
            if (group_of[labels[labels >= 0]] == index).any()
        )
        result.append(ChannelGroup(name, size, not reason, reason, tuple(slices), norms))
    return ChannelGraph(
        name=model.name,
        groups=tuple(result),
        calls=calls,
        labels=atoms.labels,
        places=atoms.places,
        unknown=atoms.unknown,
        proven=atoms.proven,
        given_up=atoms.given_up,
        group_of=group_of,
        channel_of=channel_of,
    )


def _membership(parts: list[np.ndarray], roots: np.ndarray) -> dict[int, tuple[int, ...]]:
    """The numbers of the parts to which each channel belongs, by representative."""
    membership: dict[int, tuple[int, ...]] = defaultdict(tuple)
    for number, labels in enumerate(parts):
        for root in np.unique(roots[labels[labels >= 0]]).tolist():
            membership[root] += (number,)
    return membership


def _lives(places: tuple[WeightAxis, ...], roots: np.ndarray) -> dict[int, Lives]:
    """Where each channel lives: (index of the place, number of positions) by representative."""
    found = [np.unique(roots[x.labels[x.labels >= 0]], return_counts=True) for x in places]
    if not found:
        return {}
    channels = np.concatenate([here for here, _ in found])
    where = np.repeat(np.arange(len(found)), [len(here) for here, _ in found])
    pairs = np.stack([where, np.concatenate([counts for _, counts in found])], axis=1)
    order = np.argsort(channels, kind="stable")
    pairs = pairs[order]
    here, starts = np.unique(channels[order], return_index=True)
    bounds = [*starts.tolist(), len(pairs)]
    known: dict[bytes, Lives] = {}  # many channels live in the same places
    lives = {}
    for root, start, end in zip(here.tolist(), bounds, bounds[1:], strict=False):
        rows = pairs[start:end]
        key = rows.tobytes()
        if key not in known:
            known[key] = tuple(map(tuple, rows.tolist()))
        lives[root] = known[key]
    return lives


def _order(lives: tuple, places: tuple[WeightAxis, ...], roots: list[int]) -> tuple[int, int]:
    """Sorts groups by the first weight that makes their channels."""
    makers = [index for index, _ in lives if places[index].role == "output"]
    return min(makers or [index for index, _ in lives] or [len(places)]), min(roots)


def _in_place_order(
    members: list[int], lives: tuple, places: tuple[WeightAxis, ...], roots: np.ndarray
) -> list[int]:
    """Sorts the channels of a group by their position in its first weight."""
    first = _order(lives, places, members)[0]
    if first == len(places):
        return members
    labels = places[first].labels
    here, first_position = np.unique(np.where(labels < 0, -1, roots[labels]), return_index=True)
    position = dict(zip(here.tolist(), first_position.tolist(), strict=True))
    return sorted(members, key=position.__getitem__)


def _name(slices: list[WeightSlice], taken: set[str]) -> str:
    """The first layer that makes the channels; numbered if it makes those of several groups."""
    makers = [s.layer for s in slices if s.role == "output"]
    base = makers[0] if makers else "constant"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}:{number}", number + 1
    return name
