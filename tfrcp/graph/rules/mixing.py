"""Layers with a kernel: convolutions and dense layers, which mix channels, and depthwise ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.atoms import Atoms, along, line
from tfrcp.graph.calls import Call
from tfrcp.graph.rules.base import Arrays, Labels, Product, Rule, layer_like, positions
from tfrcp.graph.rules.elementwise import is_elementwise


class KernelRule(Rule):
    """What all layers with a kernel, an optional bias and an activation share."""

    def axis(self, call: Call) -> int:
        """The channel axis of input and output."""
        raise NotImplementedError

    def refusal(self, call: Call) -> str | None:
        """Why the layer cannot be pruned in the form in which it is used, if so."""
        layer = call.operation
        if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
            return "is quantized or carries LoRA weights; prune first"
        return None

    def kernel_axes(self, inputs: np.ndarray, atoms: Atoms, layer: Any) -> tuple[dict, np.ndarray]:
        """Channels along the kernel's axes, and the output's labels, int array [out]."""
        raise NotImplementedError

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Labels kernel, bias and output."""
        layer = call.operation
        refusal = self.refusal(call)
        if refusal:
            atoms.give_up(call, refusal)
            return
        inputs = line(atoms[call.inputs[0]], call.inputs[0], self.axis(call))
        if inputs is None:
            atoms.give_up(call, "channels lie along an axis that the layer does not mix")
            return
        axes, outputs = self.kernel_axes(inputs, atoms, layer)
        atoms.weight(call, "kernel", axes)
        if layer.use_bias:
            atoms.weight(call, "bias", {0: ("channelwise", outputs)})
        atoms[call.outputs[0]] = along(outputs, self.axis(call), len(call.outputs[0].shape))
        if not is_elementwise(layer.activation):
            name = getattr(layer.activation, "__name__", layer.activation)
            atoms.freeze(
                outputs, f"{call.path} ({call.kind}): the activation {name} may mix channels"
            )

    def linear(self, call: Call, x: Any, kernel: Any) -> Any:
        """The layer without bias and activation."""
        raise NotImplementedError

    def scaled(self, kernel: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """The kernel that makes every output `scale` [out] times as large."""
        return kernel * scale

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Kernel, bias (the layer's own or one of a folded batch norm), activation."""
        layer = call.operation
        x = ops.convert_to_tensor(args[0])
        y = self.linear(call, x, arrays["kernel"])
        if "bias" in arrays:
            shape = [1] * len(y.shape)
            shape[self.axis(call)] = -1
            y = y + ops.reshape(arrays["bias"], shape)
        return y if layer.activation is None else layer.activation(y)


class ConvolutionRule(KernelRule):
    """`Conv1D`, `Conv2D`, `Conv3D`; kernel [*window, in, out]."""

    def axis(self, call: Call) -> int:
        """The channel axis, from the layer's data format."""
        return 1 if call.operation.data_format == "channels_first" else -1

    def refusal(self, call: Call) -> str | None:
        """Refuses grouped and causal convolution."""
        if call.operation.groups != 1:
            return "grouped convolution is not supported yet"
        if call.operation.padding == "causal":
            return "causal padding is not supported yet"
        return super().refusal(call)

    def kernel_axes(self, inputs: np.ndarray, atoms: Atoms, layer: Any) -> tuple[dict, np.ndarray]:
        """Input channels on the last axis but one, new ones on the last."""
        outputs, rank = atoms.new(layer.filters), layer.rank
        return {rank: ("input", inputs), rank + 1: ("output", outputs)}, outputs

    def products(self, call: Call, labels: Labels) -> Sequence[Product]:
        """Window size x output positions x inputs x outputs."""
        axis = self.axis(call)
        inputs = line(labels[call.inputs[0]], call.inputs[0], axis)
        outputs = line(labels[call.outputs[0]], call.outputs[0], axis)
        window = math.prod(call.operation.kernel_size)
        return (Product(window * positions(call, axis), (inputs, outputs)),)

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same layer with fewer filters."""
        return layer_like(call.operation, filters=arrays["kernel"].shape[-1])

    def linear(self, call: Call, x: Any, kernel: Any) -> Any:
        """Convolution with the layer's own stride, padding and dilation."""
        layer = call.operation
        return ops.conv(
            x,
            kernel,
            strides=layer.strides,
            padding=layer.padding,
            data_format=layer.data_format,
            dilation_rate=layer.dilation_rate,
        )


class DepthwiseRule(ConvolutionRule):
    """`DepthwiseConv1D`, `DepthwiseConv2D`; kernel [*window, in, multiplier].

    The outputs of one input channel stand side by side and stay or go with it.
    """

    def refusal(self, call: Call) -> str | None:
        """Refuses what every layer with a kernel refuses."""
        return KernelRule.refusal(self, call)

    def kernel_axes(self, inputs: np.ndarray, atoms: Atoms, layer: Any) -> tuple[dict, np.ndarray]:
        """The same channels in and out, each output `depth_multiplier` times."""
        return {layer.rank: ("output", inputs)}, np.repeat(inputs, layer.depth_multiplier)

    def scaled(self, kernel: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """The kernel that makes every output `scale` [out] times as large."""
        return kernel * scale.reshape(kernel.shape[-2:])

    def products(self, call: Call, labels: Labels) -> Sequence[Product]:
        """Window size x output positions x outputs."""
        axis = self.axis(call)
        outputs = line(labels[call.outputs[0]], call.outputs[0], axis)
        return (Product(math.prod(call.operation.kernel_size) * positions(call, axis), (outputs,)),)

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same layer: its filters follow the input."""
        return layer_like(call.operation)

    def linear(self, call: Call, x: Any, kernel: Any) -> Any:
        """Depthwise convolution with the layer's own stride, padding and dilation."""
        layer = call.operation
        return ops.depthwise_conv(
            x,
            kernel,
            strides=layer.strides,
            padding=layer.padding,
            data_format=layer.data_format,
            dilation_rate=layer.dilation_rate,
        )


class DenseRule(KernelRule):
    """`Dense`; kernel [in, out], applied to the last axis."""

    def axis(self, call: Call) -> int:
        """The last axis."""
        return -1

    def kernel_axes(self, inputs: np.ndarray, atoms: Atoms, layer: Any) -> tuple[dict, np.ndarray]:
        """Input channels on the first axis, new ones on the second."""
        outputs = atoms.new(layer.units)
        return {0: ("input", inputs), 1: ("output", outputs)}, outputs

    def products(self, call: Call, labels: Labels) -> Sequence[Product]:
        """Positions x inputs x outputs."""
        inputs = line(labels[call.inputs[0]], call.inputs[0], -1)
        outputs = line(labels[call.outputs[0]], call.outputs[0], -1)
        return (Product(positions(call, -1), (inputs, outputs)),)

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same layer with fewer units."""
        return layer_like(call.operation, units=arrays["kernel"].shape[-1])

    def linear(self, call: Call, x: Any, kernel: Any) -> Any:
        """Matrix product over the last axis."""
        return ops.matmul(x, kernel)
