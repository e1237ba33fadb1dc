"""Normalization: over the batch, which leaves channels apart, and over channels, which does not."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.atoms import Atoms
from tfrcp.graph.calls import Call
from tfrcp.graph.rules.base import Arrays, Rule, layer_like


class BatchNormalizationRule(Rule):
    """`BatchNormalization`: acts on each channel alone, with statistics of its own for each."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Labels gamma, beta and the moving statistics."""
        layer = call.operation
        channels = atoms.axis_labels(call.inputs[0], layer.axis)
        if channels is None:
            atoms.give_up(call, "normalizes along an axis that is not the channels'")
            return
        if getattr(layer, "renorm", False):
            atoms.give_up(call, "batch renormalization is not supported")
            return
        for name in call.variables:
            atoms.weight(call, name, {0: ("channelwise", channels)})
        atoms[call.outputs[0]] = atoms[call.inputs[0]]

    def statistics(self, call: Call, x: Any) -> tuple[Any, Any]:
        """Mean and (biased) variance of every channel of an input, tensors [channels]."""
        axis = call.operation.axis % len(x.shape)
        shape = [-1 if i == axis else 1 for i in range(len(x.shape))]
        others = [i for i, size in enumerate(shape) if size == 1]
        x = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))

        def mean(z: Any) -> Any:
            # Over the images first: long runs of memory are added up faster than channels apart.
            return ops.mean(ops.mean(z, axis=0, keepdims=True), others)

        center = mean(x)
        return center, mean(ops.square(x - ops.reshape(center, shape)))

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Normalizes with the statistics among `arrays`, in float32 at least, as Keras does."""
        layer, x = call.operation, args[0]
        x = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
        arrays = {name: ops.cast(array, x.dtype) for name, array in arrays.items()}
        scale = arrays.get("gamma", 1.0) * ops.rsqrt(arrays["moving_variance"] + layer.epsilon)
        shift = arrays.get("beta", 0.0) - arrays["moving_mean"] * scale
        y = _affine(x, {"scale": scale, "beta": shift}, layer.axis % len(x.shape))
        return ops.cast(y, layer.compute_dtype)


class ChannelNormalizationRule(Rule):
    """`LayerNormalization` and `RMSNormalization` over the channel axis.

    Every channel depends on all others, so that masking a channel is not the same as removing it.
    """

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Labels scale and offset."""
        value = call.inputs[0]
        axes = np.atleast_1d(call.operation.axis) % len(value.shape)
        channels = atoms.axis_labels(value, int(axes[0])) if len(axes) == 1 else None
        if channels is None or getattr(call.operation, "rms_scaling", False):
            atoms.give_up(call, "normalizes over other axes than the channels', or in an old form")
            return
        for name in call.variables:
            atoms.weight(call, name, {0: ("channelwise", channels)})
        atoms.normalize(call, channels)
        atoms[call.outputs[0]] = atoms[value]

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Normalizes over the channels that are left."""
        layer, x = call.operation, args[0]
        axis = int(np.atleast_1d(layer.axis)[0]) % len(x.shape)
        x = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
        if isinstance(layer, keras.layers.RMSNormalization):
            y = x * ops.rsqrt(ops.mean(x * x, axis, keepdims=True) + layer.epsilon)
        else:
            mean, variance = ops.moments(x, axes=[axis], keepdims=True)
            y = (x - mean) * ops.rsqrt(variance + layer.epsilon)
        return ops.cast(_affine(y, arrays, axis), layer.compute_dtype)


class NormalizeRule(Rule):
    """`keras.ops.normalize`: over the channels, those that are left."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """The output's labels are the input's."""
        value, axis = call.inputs[0], call.operation.axis
        axes = range(len(value.shape)) if axis is None else np.atleast_1d(axis) % len(value.shape)
        if value.batch in axes:
            atoms.give_up(call, "normalizes over the batch")
            return
        labels = atoms.away(atoms.grid(value), axes)
        if any(labels.shape[k] > 1 for k in axes):
            labels = atoms.straight(labels)
            atoms.normalize(call, labels.ravel())
        atoms[call.outputs[0]] = labels


class GroupNormalizationRule(Rule):
    """`GroupNormalization`: the same number of channels is kept in every group.

    With a group for each channel (instance normalization) channels stay apart.
    """

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Labels scale and offset; unites the channels at the same position of every group."""
        layer, value = call.operation, call.inputs[0]
        channels = atoms.axis_labels(value, layer.axis)
        if channels is None:
            atoms.give_up(call, "normalizes along an axis that is not the channels'")
            return
        if not self._apart(call):
            atoms.unite_rows(channels.reshape(layer.groups, -1))
            atoms.normalize(call, channels)
        for name in call.variables:
            atoms.weight(call, name, {0: ("channelwise", channels)})
        atoms[call.outputs[0]] = atoms[value]

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same layer, still with a group for each channel if it had one."""
        return layer_like(call.operation, **({"groups": -1} if self._apart(call) else {}))

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Normalizes every group over its channels that are left and over all positions."""
        layer, x = call.operation, args[0]
        axis = layer.axis % len(x.shape)
        x = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
        shape = list(ops.shape(x))
        groups = shape[axis] if self._apart(call) else layer.groups
        split = [*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :]]
        z = ops.reshape(x, split)
        axes = [i for i in range(1, len(split)) if i != axis]
        mean, variance = ops.moments(z, axes=axes, keepdims=True)
        y = ops.reshape((z - mean) * ops.rsqrt(variance + layer.epsilon), shape)
        return ops.cast(_affine(y, arrays, axis), layer.compute_dtype)

    @staticmethod
    def _apart(call: Call) -> bool:
        return call.operation.groups == call.inputs[0].shape[call.operation.axis]


def _affine(y: Any, arrays: Arrays, axis: int) -> Any:
    """Applies scale and offset, where there are any, along an axis."""
    shape = [-1 if i == axis else 1 for i in range(len(y.shape))]
    for name in ("gamma", "scale"):
        if name in arrays:
            y = y * ops.reshape(ops.cast(arrays[name], y.dtype), shape)
    if "beta" in arrays:
        y = y + ops.reshape(ops.cast(arrays["beta"], y.dtype), shape)
    return y
