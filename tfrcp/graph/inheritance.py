"""Which channels stay, and the pruned model that inherits their weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfrcp.graph.channels import ChannelGraph, ChannelGroup
from tfrcp.graph.rebuilding import build_model
from tfrcp.graph.weights import read_weights, slice_weights


def select(
    graph: ChannelGraph, scores: Mapping[str, np.ndarray], channels: Sequence[int] | np.ndarray
) -> dict[str, np.ndarray]:
    """Keeps the channels with the highest scores.

    Args:
        graph: The trace of the model.
        scores: Maps the name of every prunable group to a float array [size]; higher means keep.
            Of equal scores the channel that comes first is kept.
        channels: int array [prunable groups]: how many channels each group keeps, in the order of
            `graph.prunable`.

    Returns:
        Dict that maps the name of every prunable group to a bool array [size].

    Raises:
        ValueError: If a count is out of range, or scores are missing, of the wrong length or NaN.
    """
    counts = check_channels(graph, channels)
    masks = {}
    for group, count in zip(graph.prunable, counts.tolist(), strict=True):
        score = np.asarray(scores.get(group.name, ()), dtype=float)
        if score.shape != (group.size,) or np.isnan(score).any():
            raise ValueError(
                f"`scores['{group.name}']` must be {group.size} numbers, none of them NaN. "
                f"Received: {scores.get(group.name)}"
            )
        masks[group.name] = np.zeros(group.size, dtype=bool)
        masks[group.name][np.argsort(-score, kind="stable")[:count]] = True
    return masks


def first_channels(groups: Iterable[ChannelGroup], counts: Iterable[int]) -> dict[str, np.ndarray]:
    """Keeps the first channels of groups, so many of each: bool arrays [size] by name."""
    pairs = zip(groups, counts, strict=True)
    return {group.name: np.arange(group.size) < count for group, count in pairs}


def check_channels(graph: ChannelGraph, channels: Any) -> np.ndarray:
    """Checks a channel vector.

    Args:
        graph: The trace of the model.
        channels: int array [prunable groups].

    Returns:
        int64 array [prunable groups].

    Raises:
        ValueError: If there is not one int per prunable group, from 1 to the group's size.
    """
    counts = np.asarray(channels)
    if counts.shape != (len(graph.prunable),) or counts.dtype.kind not in "iu":
        raise ValueError(
            f"`channels` must be {len(graph.prunable)} ints, one for each prunable group of "
            f"'{graph.name}'. Received: channels={channels!r}"
        )
    for group, count in zip(graph.prunable, counts.tolist(), strict=True):
        if not 1 <= count <= group.size:
            raise ValueError(
                f"`channels` must be from 1 to {group.size} for group '{group.name}'. Received: "
                f"{count}"
            )
    return counts.astype("int64")


def slice_model(
    model: keras.Model, graph: ChannelGraph, masks: Mapping[str, np.ndarray]
) -> keras.Model:
    """Builds the pruned model: only the kept channels, with the weights that they had.

    Args:
        model: The model that was traced, or one with equally named layers. It is not changed.
        graph: The trace of the model.
        masks: Maps names of prunable groups to bool arrays [size], True where the channel is kept.
            Groups that are not named are kept whole.

    Returns:
        A plain Functional `keras.Model` with the same layer names, compiled as `model` is, with a
        new optimizer. Nested models stay nested, under their names; a nested Sequential model
        becomes a Functional one with the same layers. Two exceptions, both rare: a nested model
        that is given one tensor for two of its inputs is inlined, its name preceding those of its
        layers; one that is called on tensors of different numbers of channels, as only one without
        weights can be, is there once for each, numbered.

    Raises:
        ValueError: If a mask is unknown or has the wrong length, or `model` is not what was traced.
    """
    return build_model(model, graph, slice_weights(graph, read_weights(graph, model), masks))
