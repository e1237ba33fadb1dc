"""The layers that make a group's channels, as methods of the literature count them."""

from __future__ import annotations

import numpy as np

from tfrcp.graph.channels import ChannelGraph


def producers(graph: ChannelGraph) -> list[tuple[str, str]]:
    """Layer path and weight name of every kernel that makes channels, in forward order.

    Layers that make channels of no prunable group, such as the last one, count as well.
    """
    found: dict[tuple[str, str], None] = {}
    for path, weight in _order(graph):
        found[path, weight] = None
    return list(found)


def producers_of_groups(graph: ChannelGraph) -> list[list[int]]:
    """For each prunable group the indices among `producers` of the kernels that make it."""
    index = {layer: i for i, layer in enumerate(producers(graph))}
    return [
        sorted({index[piece.layer, piece.weight] for piece in group.slices if _makes(piece)})
        for group in graph.prunable
    ]


def _makes(piece) -> bool:
    return piece.role == "output" and "kernel" in piece.weight


def _order(graph: ChannelGraph) -> list[tuple[str, str]]:
    rank = {}
    for number, call in enumerate(graph.calls.calls):
        rank.setdefault(call.path, number)
    layers = {
        (piece.layer, piece.weight)
        for group in graph.groups
        for piece in group.slices
        if _makes(piece)
    }
    return sorted(layers, key=lambda layer: (rank[layer[0]], layer[1]))


def group_means(graph: ChannelGraph, values: np.ndarray) -> np.ndarray:
    """The mean over the kernels that make a group, float array [prunable groups].

    Args:
        graph: The trace.
        values: Float array [producers], one value per kernel.
    """
    return np.array([np.mean(values[own]) for own in producers_of_groups(graph)])
