"""Operations on the spatial axes alone: pooling, padding, cropping, upsampling, means."""

from __future__ import annotations

import numpy as np

from tfrcp.graph.atoms import Atoms, along
from tfrcp.graph.calls import Call
from tfrcp.graph.rules.base import Rule


class SpatialRule(Rule):
    """Channels pass; positions are pooled, padded, cropped or repeated, perhaps down to none."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """The same channels along the channel axis of the output."""
        source, target = call.inputs[0], call.outputs[0]
        # One-dimensional layers such as Cropping1D have no data format: channels come last.
        first = getattr(call.operation, "data_format", None) == "channels_first"
        axis = 1 if first else -1
        channels = atoms.axis_labels(source, axis)
        if channels is None:
            atoms.give_up(call, "acts on the axis along which channels lie")
            return
        # A global pooling that drops the spatial axes leaves [batch, channels].
        rank = len(target.shape)
        atoms[target] = along(channels, axis if rank == len(source.shape) else -1, rank)


class DepthToSpaceRule(Rule):
    """`depth_to_space`: a channel of the output is made of one from each run of the input's."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Unites the channels that become one."""
        target, block = call.outputs[0], call.operation.block_size
        channels = _along_last(call, atoms)
        if channels is None:
            return
        rows = channels.reshape(block**2, -1)
        atoms.unite_rows(rows)
        atoms[target] = along(rows[0], -1, len(target.shape))


class SpaceToDepthRule(Rule):
    """`space_to_depth`: the channels once for every position of a block."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Repeats the labels."""
        target, block = call.outputs[0], call.operation.block_size
        channels = _along_last(call, atoms)
        if channels is not None:
            atoms[target] = along(np.tile(channels, block**2), -1, len(target.shape))


def _along_last(call: Call, atoms: Atoms) -> np.ndarray | None:
    """Labels of the input's last axis; `None`, and given up, where channels lie along another."""
    channels = atoms.axis_labels(call.inputs[0], -1)
    if channels is None or call.operation.data_format == "channels_first":
        atoms.give_up(call, "channels do not lie along the last axis")
        return None
    return channels


class ReductionRule(Rule):
    """`keras.ops.mean`, `max`, `sum`, `moments`, ... over any axes but the batch's.

    Over the channels the result is one number, of no channel, that depends on all that are kept.
    """

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Drops the reduced axes."""
        target, value, operation = call.outputs[0], call.inputs[0], call.operation
        axis = operation.axes if hasattr(operation, "axes") else operation.axis
        labels = atoms.grid(value)
        axes = range(labels.ndim) if axis is None else np.atleast_1d(axis) % labels.ndim
        labels = atoms.away(labels, axes)
        keep = len(target.shape) == labels.ndim
        over = [k for k in axes if labels.shape[k] > 1]
        if value.batch in axes:
            atoms.give_up(call, "reduces over the batch")
        elif not over:
            labels = labels if keep else labels.squeeze(tuple(int(k) for k in axes))
            for output in call.outputs:
                atoms[output] = labels
        elif labels.size > labels.shape[over[0]]:
            atoms.give_up(call, "reduces over channels that lie along several axes")
        else:
            atoms.normalize(call, labels.ravel())
            reason = f"{call.path} ({call.kind}): is taken over all channels"
            for output in call.outputs:
                atoms[output] = atoms.outside(len(target.shape), reason)
