"""Operations on the spatial axes alone: pooling, padding, cropping, upsampling."""

from __future__ import annotations

from tfrcp.graph.atoms import Atoms, along, line
from tfrcp.graph.calls import Call
from tfrcp.graph.rules.base import Rule


class SpatialRule(Rule):
    """Channels pass; positions are pooled, padded, cropped or repeated, perhaps down to none."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """The same channels along the channel axis of the output."""
        source, target = call.inputs[0], call.outputs[0]
        axis = 1 if call.operation.data_format == "channels_first" else -1
        channels = line(atoms[source], source, axis)
        if channels is None:
            atoms.give_up(call, "acts on the axis along which channels lie")
            return
        # A global pooling that drops the spatial axes leaves [batch, channels].
        rank = len(target.shape)
        atoms[target] = along(channels, axis if rank == len(source.shape) else -1, rank)
