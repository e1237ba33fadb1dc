"""Finds the channel groups of a model."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import keras
import numpy as np

from tfrcp.graph.atoms import Atoms, WeightAxis
from tfrcp.graph.channels import ChannelGraph, ChannelGroup, WeightSlice
from tfrcp.graph.reading import read_calls
from tfrcp.graph.rules import acts_on_each_alone, find_rule, knows, opens

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
    opened = opens if expand else lambda operation: False
    calls = read_calls(model, opened, knows, input_shape, acts_on_each_alone)
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

    roots, frozen, reasons = atoms.classes()
    places = atoms.places
    kinds, lives = _kinds(roots, frozen, atoms.parts, places)
    groups = sorted(_members(roots, kinds), key=lambda x: _order(lives[kinds[x[0]]], places, x))

    group_of = np.full(len(roots), -1)
    channel_of = np.full(len(roots), -1)
    for index, members in enumerate(groups):
        members = _in_place_order(members, lives[kinds[members[0]]], places, roots)
        group_of[members], channel_of[members] = index, np.arange(len(members))
    group_of, channel_of = group_of[roots], channel_of[roots]
    names: set[str] = set()
    norms = defaultdict(list)
    for path, labels in atoms.normalized:
        for index in np.unique(group_of[labels[labels >= 0]]).tolist():
            norms[index].append(path)
    result = []
    for index, members in enumerate(groups):
        slices = []
        for spot in (places[i] for i, _ in lives[kinds[members[0]]]):
            here = (spot.labels >= 0) & (group_of[spot.labels] == index)
            of = np.where(here, channel_of[spot.labels], -1)
            slices.append(WeightSlice(spot.path, spot.weight, spot.axis, of, spot.role))
        name = _name(slices, names)
        names.add(name)
        reason = reasons[frozen[members[0]]]
        norm = tuple(norms[index])
        result.append(ChannelGroup(name, len(members), not reason, reason, tuple(slices), norm))
    return ChannelGraph(
        name=model.name,
        groups=tuple(result),
        calls=calls,
        labels=atoms.labels,
        places=places,
        unknown=atoms.unknown,
        proven=atoms.proven,
        given_up=atoms.given_up,
        group_of=group_of,
        channel_of=channel_of,
    )


def _kinds(
    roots: np.ndarray,
    frozen: np.ndarray,
    parts: list[np.ndarray],
    places: tuple[WeightAxis, ...],
) -> tuple[np.ndarray, list[Lives]]:
    """Sorts channels: of one kind are those that must stay for the same reason, if for any, belong
    to the same parts, and live in the same places. Every part and place splits the kinds so far.

    Returns:
        Tuple of an int array [atoms], the kind of each representative, and where each kind lives.
    """
    kinds, lives = frozen.copy(), [()] * (frozen.max(initial=0) + 1)
    parted = ((labels, None) for labels in parts)
    for labels, place in (*parted, *((x.labels, i) for i, x in enumerate(places))):
        here, positions = np.unique(roots[labels[labels >= 0]], return_counts=True)
        base = labels.size + 1
        often = positions if place is not None else 1
        keys, split = np.unique(kinds[here] * base + often, return_inverse=True)
        kinds[here] = len(lives) + split
        for kind, count in (divmod(key, base) for key in keys.tolist()):
            lives.append(lives[kind] if place is None else (*lives[kind], (place, count)))
    return kinds, lives


def _members(roots: np.ndarray, kinds: np.ndarray) -> list[np.ndarray]:
    """The representatives of each kind, ascending."""
    distinct = np.flatnonzero(roots == np.arange(len(roots)))
    ordered = distinct[np.argsort(kinds[distinct], kind="stable")]
    return np.split(ordered, np.flatnonzero(np.diff(kinds[ordered])) + 1) if len(ordered) else []


def _order(lives: Lives, places: tuple[WeightAxis, ...], members: np.ndarray) -> tuple[int, int]:
    """Sorts groups by the first weight that makes their channels."""
    makers = [index for index, _ in lives if places[index].role == "output"]
    return min(makers or [index for index, _ in lives] or [len(places)]), int(members[0])


def _in_place_order(
    members: np.ndarray, lives: Lives, places: tuple[WeightAxis, ...], roots: np.ndarray
) -> np.ndarray:
    """Sorts the channels of a group by their position in its first weight."""
    first = _order(lives, places, members)[0]
    if first == len(places):
        return members
    labels = places[first].labels
    here, positions = np.unique(np.where(labels < 0, -1, roots[labels]), return_index=True)
    return members[np.argsort(positions[np.searchsorted(here, members)])]


def _name(slices: list[WeightSlice], taken: set[str]) -> str:
    """The first layer that makes the channels; numbered if it makes those of several groups."""
    makers = [s.layer for s in slices if s.role == "output"]
    base = makers[0] if makers else "constant"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}:{number}", number + 1
    return name
