"""What a trace finds: the channel groups of a model, and where their channels live."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np

from tfrcp.graph.atoms import WeightAxis
from tfrcp.graph.calls import Calls, Value


@dataclasses.dataclass(frozen=True, eq=False)
class WeightSlice:
    """The part of a weight in which a group's channels live.

    Attributes:
        layer: Path of the layer: its name, preceded by those of the nested models it stands in.
        weight: Name of the weight, such as "kernel".
        axis: Axis of the weight.
        channel_of: int array [length of the axis]: the channel of the group at each position, -1
            where the position belongs to another group or to none.
        role: "output" where the weight makes the channels, "input" where it mixes them into
            others, "channelwise" where it acts on each of them alone.
    """

    layer: str
    weight: str
    axis: int
    channel_of: np.ndarray
    role: str


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that live in the same places, so that only their number is to be chosen.

    Attributes:
        name: Path of the first layer that makes the channels.
        size: Number of channels.
        prunable: Whether channels can be removed.
        reason: Why not; empty if prunable.
        slices: Tuple of `WeightSlice`, in the order of the forward pass.
        normalized: Paths of the layers that normalize over these channels together. Each channel
            then depends on the others, so that masking one is not the same as removing it.
    """

    name: str
    size: int
    prunable: bool
    reason: str
    slices: tuple[WeightSlice, ...]
    normalized: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelGraph:
    """A traced model. Made by `tfrcp.trace`.

    Attributes:
        name: The model's name.
        groups: All channel groups, in the order of the forward pass.
        calls: The model as a flat list of calls.
        labels: The atoms that each tensor holds.
        places: The weight axes with channels.
        unknown: Maps the path of every operation that no rule knows to its class name.
        proven: Maps the path of every layer of the user's that was shown to act on each channel
            alone to how.
        given_up: Paths of the operations that cannot be followed: they run as they are.
        group_of: int array [atoms]: index of the atom's group among `groups`.
        channel_of: int array [atoms]: the atom's channel inside its group.
    """

    name: str
    groups: tuple[ChannelGroup, ...]
    calls: Calls
    labels: Mapping[Value, np.ndarray]
    places: tuple[WeightAxis, ...]
    unknown: Mapping[str, str]
    proven: Mapping[str, str]
    given_up: frozenset[str]
    group_of: np.ndarray
    channel_of: np.ndarray

    @cached_property
    def prunable(self) -> tuple[ChannelGroup, ...]:
        """The groups that can be pruned: the columns of every channel vector."""
        return tuple(group for group in self.groups if group.prunable)

    @cached_property
    def full(self) -> np.ndarray:
        """Channels of the unpruned model, int64 array [prunable groups]."""
        return np.array([group.size for group in self.prunable], dtype="int64")

    def column(self, name: str) -> int:
        """Index of a prunable group among `prunable`.

        Raises:
            ValueError: If there is none of this name.
        """
        names = [group.name for group in self.prunable]
        if name not in names:
            raise ValueError(
                f"There is no prunable group of this name; there are {names}. Received: {name!r}"
            )
        return names.index(name)

    def counts(self, labels: np.ndarray) -> tuple[np.ndarray, int]:
        """The number of kept positions among labels, as a linear function of the channel vector.

        Args:
            labels: int array, any shape.

        Returns:
            Tuple of an int64 array [prunable groups], the positions that each channel of a group
            takes, and the number of positions that always stay.
        """
        groups, atoms = self._columns, labels[labels >= 0]
        columns = groups[atoms]
        positions = np.bincount(columns[columns >= 0], minlength=len(self.prunable))
        return positions // self.full, labels.size - int(positions.sum())

    def keep(self, masks: Mapping[str, np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        """Prepares to tell which positions are kept.

        Args:
            masks: Maps names of prunable groups to bool arrays [size], True where the channel is
                kept. Groups that are not named are kept whole.

        Returns:
            A function that maps labels to a bool array of the same shape.

        Raises:
            ValueError: If a name is unknown, a mask has the wrong length or keeps nothing.
        """
        kept = np.ones(len(self.group_of) + 1, dtype=bool)
        for name, mask in masks.items():
            group = self.prunable[self.column(name)]
            mask = np.asarray(mask)
            if mask.dtype != bool or mask.shape != (group.size,) or not mask.any():
                raise ValueError(
                    f"The mask of `{name}` must be a bool array of length {group.size} that keeps "
                    f"at least one channel. Received: {mask.dtype} {mask.shape}, keeps "
                    f"{int(mask.sum())}"
                )
            members = np.flatnonzero(self.group_of == self.groups.index(group))
            kept[members] = mask[self.channel_of[members]]
        return lambda labels: kept[np.where(labels < 0, -1, labels)]

    @cached_property
    def _columns(self) -> np.ndarray:
        """int array [atoms]: column of the atom's group among `prunable`, -1 if there is none."""
        column = np.full(len(self.groups), -1)
        column[[i for i, group in enumerate(self.groups) if group.prunable]] = range(
            len(self.prunable)
        )
        return column[self.group_of] if len(self.groups) else np.zeros(0, dtype=int)

    def explain(self) -> str:
        """What is coupled with what, what is frozen and why; text for a terminal."""
        from tfrcp.graph.explain import explain

        return explain(self)
