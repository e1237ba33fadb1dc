"""Operations on each channel alone, without weights: activations, dropout and their kin."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import activations, layers

from tfrcp.graph.atoms import Atoms
from tfrcp.graph.calls import Call
from tfrcp.graph.rules.base import Rule

ELEMENTWISE_LAYERS = (
    layers.ReLU,
    layers.LeakyReLU,
    layers.ELU,
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.AlphaDropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.ActivityRegularization,
    layers.Identity,
)
_ACTIVATIONS = frozenset(
    getattr(activations, name)
    for name in (
        "celu",
        "elu",
        "exponential",
        "gelu",
        "hard_shrink",
        "hard_sigmoid",
        "hard_silu",
        "hard_tanh",
        "leaky_relu",
        "linear",
        "log_sigmoid",
        "mish",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "soft_shrink",
        "softplus",
        "softsign",
        "tanh",
        "tanh_shrink",
        "threshold",
    )
)
ELEMENTWISE_OPERATIONS = (
    "Abs",
    "Celu",
    "Clip",
    "Elu",
    "Exp",
    "Gelu",
    "HardSigmoid",
    "HardSilu",
    "HardTanh",
    "Identity",
    "LeakyRelu",
    "LogSigmoid",
    "Negative",
    "Relu",
    "Relu6",
    "Selu",
    "Sigmoid",
    "Silu",
    "SoftShrink",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Square",
    "Tanh",
    "TanhShrink",
)


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
        """The output's labels are the input's."""
        atoms[call.outputs[0]] = atoms[call.inputs[0]]


class ActivationRule(ElementwiseRule):
    """`keras.layers.Activation`: passes if the function is known to act on each channel alone."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """The output's labels are the input's, if the function allows."""
        function = call.operation.activation
        if is_elementwise(function):
            super().trace(call, atoms)
        else:
            name = getattr(function, "__name__", function)
            atoms.give_up(call, f"the activation {name} may mix channels")


class RescalingRule(ElementwiseRule):
    """`keras.layers.Rescaling` with one number for all channels."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """The output's labels are the input's, if scale and offset are single numbers."""
        if np.ndim(call.operation.scale) or np.ndim(call.operation.offset):
            atoms.give_up(call, "has a scale or offset of its own for each channel")
        else:
            super().trace(call, atoms)
