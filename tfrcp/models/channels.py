"""Checks the channel list of a builder against the groups of its unpruned network.

Groups may also be wider than those of the unpruned network, as a network is that is pruned from
scratch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral


def check_channels(channels: Sequence[int] | None, full: Mapping[str, int]) -> dict[str, int]:
    """Names and checks the widths that a builder was given.

    Args:
        channels: One int per channel group, in forward order; `None` keeps every channel.
        full: Width of every group of the unpruned network, in forward order.

    Returns:
        The width to build for every group, by group name.

    Raises:
        ValueError: The list has another length than the network has groups, or an entry is not
            an int of at least 1.
    """
    if channels is None:
        return dict(full)
    names = list(full)
    if isinstance(channels, str | Mapping) or not hasattr(channels, "__len__"):
        raise ValueError(
            f"`channels` must be a sequence of {len(names)} ints, one per channel group. "
            f"Received: channels={channels!r}"
        )
    channels = list(channels)
    if len(channels) != len(names):
        if len(channels) < len(names):
            place = f"there is none for group {names[len(channels)]!r} and those after it"
        else:
            place = f"there are entries after the last group, {names[-1]!r}"
        raise ValueError(
            f"`channels` must have {len(names)} entries, one per channel group in forward order. "
            f"Received: {len(channels)} entries; {place}."
        )
    for index, (name, count) in enumerate(zip(names, channels, strict=True)):
        if not isinstance(count, Integral) or isinstance(count, bool) or count < 1:
            raise ValueError(
                f"`channels[{index}]`, the width of group {name!r}, must be an int of at least 1. "
                f"Received: {count!r}"
            )
    return {name: int(count) for name, count in zip(names, channels, strict=True)}
