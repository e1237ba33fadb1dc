"""Dense layers: `Dense` and `EinsumDense`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.atoms import Atoms
from tfrcp.graph.calls import Call
from tfrcp.graph.rules.base import Arrays, Axes, Labels, Product, layer_like
from tfrcp.graph.rules.elementwise import is_elementwise
from tfrcp.graph.rules.kernel import KernelRule, Placement


class DenseRule(KernelRule):
    """`Dense`; kernel [in, out], applied to the last axis."""

    def axis(self, call: Call) -> int:
        """The last axis."""
        return -1

    def place(
        self, inputs: np.ndarray, atoms: Atoms, layer: Any
    ) -> tuple[dict[str, Placement], Any]:
        """Input channels on the first axis, new ones on the second."""
        outputs = atoms.new(layer.units)
        return {"kernel": {0: ("input", inputs), 1: ("output", outputs)}}, outputs

    def passes(self, call: Call, atoms: Atoms) -> bool:
        """Channels along another axis, where the layer mixes tokens: its kernel stays whole."""
        labels = atoms[call.inputs[0]]
        if labels.shape[-1] > 1 or not is_elementwise(call.operation.activation):
            return False
        atoms.keep_whole(call, "mixes another axis than the channels'")
        atoms[call.outputs[0]] = labels
        return True

    def products(self, call: Call, labels: Labels, axes: Axes) -> Sequence[Product]:
        """Positions x inputs x outputs."""
        found = labels[call.inputs[0]]
        if found.size > 1 and found.shape[-1] == 1:
            elements = self.output_positions(call) * call.outputs[0].shape[-1]
            inputs = call.inputs[0].shape[-1]
            return (Product(elements * inputs // found.size, (found.ravel(),)),)
        return (Product(self.output_positions(call), self.ends(call, labels)),)

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same layer with fewer units."""
        if "kernel" not in arrays:
            return layer_like(call.operation)
        return layer_like(call.operation, units=arrays["kernel"].shape[-1])

    def is_pointwise(self, call: Call) -> bool:
        """Always."""
        return True

    def linear(self, call: Call, x: Any, arrays: Arrays) -> Any:
        """Matrix product over the last axis."""
        return ops.matmul(x, arrays["kernel"])


class EinsumDenseRule(DenseRule):
    """`EinsumDense` that mixes the last axis into a new last axis, such as "abc,cd->abd"."""

    def has_bias(self, layer: Any) -> bool:
        """Whether the layer adds a bias."""
        return layer.bias_axes is not None

    def place(
        self, inputs: np.ndarray, atoms: Atoms, layer: Any
    ) -> tuple[dict[str, Placement], Any]:
        """Input channels on the first axis, new ones on the second."""
        outputs = atoms.new(layer.kernel.shape[-1])
        return {"kernel": {0: ("input", inputs), 1: ("output", outputs)}}, outputs

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same layer with a smaller last axis."""
        layer = call.operation
        shape = layer.get_config()["output_shape"]
        shape = list(shape) if isinstance(shape, list | tuple) else [shape]
        if "kernel" in arrays:
            shape[-1] = arrays["kernel"].shape[-1]
        return layer_like(layer, output_shape=tuple(shape))


def is_dense(layer: keras.layers.EinsumDense) -> bool:
    """Whether a layer mixes the last axis into a new last axis, as `Dense` does."""
    inputs, rest = layer.equation.replace(" ", "").replace("...", "").split(",")
    kernel, outputs = rest.split("->")
    same = inputs[:-1] == outputs[:-1] and kernel == inputs[-1:] + outputs[-1:]
    return same and layer.bias_axes in (None, outputs[-1:])
