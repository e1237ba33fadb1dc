"""Where channels have their scale: gates behind the layers whose weights scale all that passes."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from tfrcp.graph.calls import Call, Value
from tfrcp.graph.channels import ChannelGraph, WeightSlice

Piece = tuple[str, str, int, np.ndarray]
"""Layer, weight, axis, and the group's channel at each of its positions, -1 for others'."""


@dataclasses.dataclass(frozen=True, eq=False)
class Gate:
    """Where a gate stands: behind a layer whose output is scaled by some of its weights.

    Attributes:
        layer: Path of the layer.
        channel_of: int array [positions]: the group's channel at each of the layer's positions.
        weights: Names of these weights, each with the axis of the channels.
    """

    layer: str
    channel_of: np.ndarray
    weights: tuple[tuple[str, int], ...]

    def slope(self, products: Mapping[tuple[str, str], np.ndarray]) -> np.ndarray:
        """Sums weight times gradient, by layer and weight name, over each of the positions."""
        size = len(self.channel_of)
        return sum(
            np.moveaxis(products[self.layer, name], axis, 0).reshape(size, -1).sum(axis=1)
            for name, axis in self.weights
        )


def gates_of(graph: ChannelGraph) -> dict[str, list[Gate]]:
    """The gates of every prunable group: behind the normalizations that its channels pass.

    Behind layers that make the channels too, where some way leads past no normalization; an empty
    list where the channels are but factors of others, as in squeeze-and-excitation blocks.
    """
    norms = {place.path for place in graph.places if place.weight in ("gamma", "moving_mean")}
    bare = _bare(graph, norms)
    gates = {}
    for group in graph.prunable:
        pieces: dict[str, list[WeightSlice]] = defaultdict(list)
        for piece in group.slices:
            pieces[piece.layer].append(piece)
        behind, makers = [], []
        for layer, each in pieces.items():
            made = [piece for piece in each if piece.role == "output"]
            if layer in norms:
                beta = [("beta", 0)] if any(piece.weight == "beta" for piece in each) else []
                behind.append(Gate(layer, each[0].channel_of, (("gamma", 0), *beta)))
            elif made:
                biases = [piece for piece in each if piece.weight.endswith("bias")]
                weights = tuple((piece.weight, piece.axis) for piece in [*made, *biases])
                makers.append(Gate(layer, made[0].channel_of, weights))
        behind += [gate for gate in makers if gate.layer in bare]
        gates[group.name] = behind or makers
    return gates


def scales_of(graph: ChannelGraph) -> dict[str, list[Piece]]:
    """The weights that scale the channels of every prunable group: those of its gates."""
    found, gates = {}, gates_of(graph)
    for group in graph.prunable:
        places = {(p.layer, p.weight, p.axis): p.channel_of for p in group.slices}
        found[group.name] = [
            (gate.layer, name, axis, places.get((gate.layer, name, axis), gate.channel_of))
            for gate in gates[group.name]
            for name, axis in gate.weights
        ]
    return found


def _bare(graph: ChannelGraph, norms: set[str]) -> set[str]:
    """The layers from which some way leads past no normalization to the next layer with a kernel.

    A way ends where what it brings is but a factor of the channels.
    """
    kernels = {place.path for place in graph.places if place.role != "channelwise"}
    readers: dict[Value, list[Call]] = defaultdict(list)
    for call in graph.calls.calls:
        for value in call.inputs:
            readers[value].append(call)
    bare = set()
    for maker in graph.calls.calls:
        ahead, seen = list(maker.outputs), set(maker.outputs)
        while ahead and maker.path in kernels - bare:
            for call in readers[ahead.pop()]:
                sizes = [graph.labels[value].size for value in call.inputs]
                factor = call.kind == "Multiply" and len(sizes) > 1 == len(set(sizes))
                if call.path in kernels:
                    bare.add(maker.path)
                elif call.path not in norms and not factor:
                    ahead.extend(value for value in call.outputs if value not in seen)
                    seen.update(call.outputs)
    return bare
