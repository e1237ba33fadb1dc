"""Convolutions of every channel alone: depthwise, and separable with a pointwise one after it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.atoms import Atoms
from tfrcp.graph.calls import Call
from tfrcp.graph.rules.base import Arrays, Axes, Labels, Product, layer_like
from tfrcp.graph.rules.convolution import ConvolutionRule
from tfrcp.graph.rules.kernel import KernelRule, Placement


class DepthwiseRule(ConvolutionRule):
    """`DepthwiseConv1D`, `DepthwiseConv2D`; kernel [*window, in, multiplier].

    The outputs of one input channel stand side by side and stay or go with it.
    """

    def place(
        self, inputs: np.ndarray, atoms: Atoms, layer: Any
    ) -> tuple[dict[str, Placement], Any]:
        """The same channels in and out, each output `depth_multiplier` times."""
        outputs = np.repeat(inputs, layer.depth_multiplier)
        return {"kernel": {layer.rank: ("output", inputs)}}, outputs

    def products(self, call: Call, labels: Labels, axes: Axes) -> Sequence[Product]:
        """Window size x output positions x outputs."""
        _, outputs = self.ends(call, labels)
        window = math.prod(call.operation.kernel_size)
        return (Product(window * self.output_positions(call), (outputs,)),)

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same layer: its filters follow the input."""
        return layer_like(call.operation)

    def is_pointwise(self, call: Call) -> bool:
        """Never: the kernel is laid out otherwise."""
        return False

    def linear(self, call: Call, x: Any, arrays: Arrays) -> Any:
        """Depthwise convolution with the layer's own stride, padding and dilation."""
        return _depthwise(call.operation, x, arrays["kernel"])

    def split(self, call: Call, shape: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
        """One block for each channel."""
        return (math.prod(shape[:-2]), shape[-2], 1, shape[-1]), (1, 0, 2, 3)

    def scaled(self, kernel: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """The kernel that makes every output `scale` [out] times as large."""
        return kernel * scale.reshape(kernel.shape[-2:])


class SeparableRule(ConvolutionRule):
    """`SeparableConv1D`, `SeparableConv2D`; kernels [*window, in, m] and [*1, in m, out]."""

    kernel = "pointwise_kernel"

    def place(
        self, inputs: np.ndarray, atoms: Atoms, layer: Any
    ) -> tuple[dict[str, Placement], Any]:
        """Input channels on both kernels, new ones on the pointwise one's last axis."""
        outputs, rank = atoms.new(layer.filters), layer.rank
        between = np.repeat(inputs, layer.depth_multiplier)
        return {
            "depthwise_kernel": {rank: ("channelwise", inputs)},
            "pointwise_kernel": {rank: ("input", between), rank + 1: ("output", outputs)},
        }, outputs

    def products(self, call: Call, labels: Labels, axes: Axes) -> Sequence[Product]:
        """Depthwise: window x positions x inputs m. Pointwise: positions x inputs m x outputs."""
        layer, count = call.operation, self.output_positions(call)
        inputs, outputs = self.ends(call, labels)
        between = np.repeat(inputs, layer.depth_multiplier)
        window = math.prod(layer.kernel_size)
        return Product(window * count, (between,)), Product(count, (between, outputs))

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same layer with fewer filters."""
        if self.kernel not in arrays:
            return layer_like(call.operation)
        return layer_like(call.operation, filters=arrays[self.kernel].shape[-1])

    def is_pointwise(self, call: Call) -> bool:
        """Never: the kernel is laid out otherwise."""
        return False

    def linear(self, call: Call, x: Any, arrays: Arrays) -> Any:
        """A depthwise convolution as the layer has it, then a pointwise one."""
        return ops.conv(
            self.mixed(call, x, arrays),
            arrays["pointwise_kernel"],
            strides=1,
            padding="valid",
            data_format=call.operation.data_format,
        )

    def mixed(self, call: Call, x: Any, arrays: Arrays) -> Any:
        """The depthwise convolution."""
        return _depthwise(call.operation, x, arrays["depthwise_kernel"])

    def split(self, call: Call, shape: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
        """One block: the pointwise kernel mixes all channels."""
        return KernelRule.split(self, call, shape)

    def windows(self, call: Call, sizes: Sequence[int]) -> np.ndarray:
        """The pointwise kernel sees one position."""
        return KernelRule.windows(self, call, sizes)


def _depthwise(layer: Any, x: Any, kernel: Any) -> Any:
    return ops.depthwise_conv(
        x,
        kernel,
        strides=layer.strides,
        padding=layer.padding,
        data_format=layer.data_format,
        dilation_rate=layer.dilation_rate,
    )
