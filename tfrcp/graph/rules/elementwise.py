"""Operations on each channel alone: activations, dropout and their kin; scales per channel."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import activations, layers, ops

from tfrcp.graph.atoms import Atoms
from tfrcp.graph.calls import Call
from tfrcp.graph.cloning import is_own_function
from tfrcp.graph.rules.base import Arrays, Rule, layer_like
from tfrcp.graph.rules.proving import acts_alone, channel_axis, stateless

ELEMENTWISE_LAYERS = (
    layers.ActivityRegularization,
    layers.AlphaDropout,
    layers.Dropout,
    layers.ELU,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.Identity,
    layers.LeakyReLU,
    layers.Masking,
    layers.ReLU,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
)
_ACTIVATIONS = frozenset(
    getattr(activations, name)
    for name in (
        "celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu linear "
        "log_sigmoid mish relu relu6 selu sigmoid silu soft_shrink softplus softsign sparse_plus "
        "sparse_sigmoid squareplus tanh tanh_shrink threshold"
    ).split()
)
#: Class names of the operations of `keras.ops` that act on each number alone.
ELEMENTWISE_OPERATIONS = (
    "Absolute Arccos Arccosh Arcsin Arcsinh Arctan Arctanh Cast Cbrt Ceil Celu Clip "
    "ConvertToTensor Copy Cos Cosh Deg2rad Elu Erf Erfinv Exp Exp2 Expm1 Floor Gelu HardShrink "
    "HardSigmoid HardSilu HardTanh Identity Isfinite Isinf Isnan LeakyRelu Log Log10 Log1p Log2 "
    "LogSigmoid LogicalNot NanToNum ReLU Negative Rad2deg Reciprocal Relu Relu6 Round Rsqrt Selu "
    "Sigmoid Sign Signbit Silu Sin Sinc Sinh SoftShrink Softplus Softsign SparsePlus "
    "SparseSigmoid Sqrt Square Squareplus StopGradient Tan Tanh TanhShrink Threshold Trunc"
).split()


def is_elementwise(activation: Any) -> bool:
    """Whether an activation acts on each channel alone (softmax, for one, does not)."""
    if activation is None:
        return True
    if isinstance(activation, keras.layers.Layer):
        return type(activation) in ELEMENTWISE_LAYERS
    return callable(activation) and activation in _ACTIVATIONS


class ElementwiseRule(Rule):
    """Channels pass unchanged."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """The output's labels are the input's, unless numbers for each channel come into it."""
        own = {} if isinstance(call.operation, keras.layers.Layer) else vars(call.operation)
        given = [x for name, x in own.items() if not name.startswith("_")]
        noise = getattr(call.operation, "noise_shape", None) or ()
        if any(n not in (None, 1) for n in tuple(noise)[1:]):
            atoms.give_up(call, "has a `noise_shape` with sizes in it")
        elif any(np.ndim(x) for x in (*given, *call.args[1:], *call.kwargs.values())):
            atoms.give_up(call, "is given an array, with numbers for each channel")
        else:
            atoms[call.outputs[0]] = atoms.grid(call.inputs[0])


class ActivationRule(ElementwiseRule):
    """`keras.layers.Activation`: passes if the function is known to act on each channel alone."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """The output's labels are the input's, if the function allows."""
        function = call.operation.activation
        if is_elementwise(function) or self._is_shown(call, atoms):
            super().trace(call, atoms)
        else:
            name = getattr(function, "__name__", function)
            atoms.give_up(call, f"the activation {name} may mix channels")

    def _is_shown(self, call: Call, atoms: Atoms) -> bool:
        """Whether running a function of the user's shows that it acts on each channel alone."""
        function, value = call.operation.activation, call.inputs[0]
        axis = channel_axis(atoms[value], value)
        if axis is None or not is_own_function(function):
            return False
        proof = acts_alone(stateless(function), value, axis)
        if proof:
            atoms.proven[call.path] = proof
        return bool(proof)


class FilledRule(ElementwiseRule):
    """`zeros_like`, `ones_like`: the channels of what it is like; of a single number none."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """The output's labels are the input's."""
        if all(n == 1 for n in call.outputs[0].sizes):
            rank = len(call.outputs[0].shape)
            atoms[call.outputs[0]] = atoms.outside(rank, f"{call.path}: a constant")
        else:
            super().trace(call, atoms)


class SoftmaxRule(ElementwiseRule):
    """Softmax over other axes than the channels': each channel has its own."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """The output's labels are the input's, if there is a single channel along the axes."""
        axes = np.atleast_1d(call.operation.axis).tolist()
        labels = atoms.away(atoms.grid(call.inputs[0]), axes)
        if len(call.inputs) > 1 or any(labels.shape[k] > 1 for k in axes):
            atoms.give_up(call, "is taken over the channels, so that each depends on all")
        else:
            super().trace(call, atoms)


class RollRule(Rule):
    """`keras.ops.roll` of other axes than the channels'."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """The output's labels are the input's."""
        labels, axis = atoms.grid(call.inputs[0]), call.operation.axis
        axes = range(labels.ndim) if axis is None else np.atleast_1d(axis).tolist()
        labels = atoms.away(labels, axes)
        if any(labels.shape[k] > 1 for k in axes):
            atoms.give_up(call, "rolls the channels")
        else:
            atoms[call.outputs[0]] = labels


class PreprocessingRule(Rule):
    """Augmentation and look-ups, which are meant for model inputs: anything else is frozen."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """What comes out are no channels of ours, as what goes in."""
        labels = np.concatenate([atoms[value].ravel() for value in call.inputs])
        if labels.max() >= 0:
            atoms.give_up(call, "is made for model inputs and may mix channels")
            return
        for value in call.outputs:
            atoms[value] = np.full((1,) * len(value.shape), labels.min())


class ConstantsRule(ElementwiseRule):
    """`Rescaling`, `Normalization`: numbers in the configuration, one for all channels.

    With numbers of its own for each channel such a layer passes model inputs only.
    """

    def trace(self, call: Call, atoms: Atoms) -> None:
        """The output's labels are the input's, if there is one number for all channels."""
        names = ("scale", "offset", "mean", "variance")
        numbers = [getattr(call.operation, name, 0) for name in names]
        if atoms[call.inputs[0]].max() >= 0 and any(np.size(n) > 1 for n in numbers):
            atoms.give_up(call, "has numbers of its own for each channel in its configuration")
        else:
            super().trace(call, atoms)


class ChannelScaleRule(ElementwiseRule):
    """A layer that multiplies channels by its only weight, [channels], as ConvNeXt's LayerScale."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Labels the weight."""
        value = call.inputs[0]
        channels = atoms.axis_labels(value, -1)
        if channels is None:
            atoms.give_up(call, "channels do not lie along the last axis")
            return
        for name in call.variables:
            atoms.weight(call, name, {0: ("channelwise", channels)})
        super().trace(call, atoms)

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same layer for fewer channels."""
        sizes = [len(array) for array in arrays.values()]
        return layer_like(call.operation, **({"projection_dim": sizes[-1]} if sizes else {}))

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Multiplies by the weight."""
        (scale,) = arrays.values()
        return args[0] * ops.cast(scale, args[0].dtype)


class PReLURule(ElementwiseRule):
    """`PReLU`: slopes for each position and channel, those of shared axes being one."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Labels the slopes along the channel axis."""
        labels = atoms[call.inputs[0]]
        for axis in range(1, labels.ndim):
            size = call.operation.alpha.shape[axis - 1]
            if labels.shape[axis] > 1 and size > 1:
                if labels.size != size:
                    atoms.give_up(call, "channels lie along several axes")
                    return
                atoms.weight(call, "alpha", {axis - 1: ("channelwise", labels.ravel())})
        super().trace(call, atoms)

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The negative part times the slopes."""
        x = args[0]
        return ops.relu(x) - ops.cast(arrays["alpha"], x.dtype) * ops.relu(-x)
