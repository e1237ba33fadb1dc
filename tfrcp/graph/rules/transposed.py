"""Transposed convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.atoms import Atoms
from tfrcp.graph.calls import Call
from tfrcp.graph.rules.base import Arrays, Axes, Labels, Product, layer_like, positions
from tfrcp.graph.rules.convolution import ConvolutionRule
from tfrcp.graph.rules.kernel import Placement


class TransposedRule(ConvolutionRule):
    """`Conv1DTranspose`, `Conv2DTranspose`, `Conv3DTranspose`; kernel [*window, out, in]."""

    def place(
        self, inputs: np.ndarray, atoms: Atoms, layer: Any
    ) -> tuple[dict[str, Placement], Any]:
        """Input channels on the last axis, new ones on the last but one."""
        outputs, rank = atoms.new(layer.filters), layer.rank
        return {"kernel": {rank + 1: ("input", inputs), rank: ("output", outputs)}}, outputs

    def products(self, call: Call, labels: Labels, axes: Axes) -> Sequence[Product]:
        """Window size x input positions x inputs x outputs."""
        count = positions(call, self.axis(call), call.inputs[0])
        window = math.prod(call.operation.kernel_size)
        return (Product(window * count, self.ends(call, labels)),)

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same layer with fewer filters."""
        if "kernel" not in arrays:
            return layer_like(call.operation)
        return layer_like(call.operation, filters=arrays["kernel"].shape[-2])

    def is_pointwise(self, call: Call) -> bool:
        """Never: the kernel is laid out otherwise."""
        return False

    def linear(self, call: Call, x: Any, arrays: Arrays) -> Any:
        """Transposed convolution with the layer's own stride, padding and dilation."""
        layer, kernel = call.operation, arrays["kernel"]
        if kernel.shape[-2] is None:
            return self._dynamic(call, x, kernel)
        return ops.conv_transpose(
            x,
            kernel,
            strides=list(layer.strides),
            padding=layer.padding,
            output_padding=layer.output_padding,
            dilation_rate=layer.dilation_rate,
            data_format=layer.data_format,
        )

    def _dynamic(self, call: Call, x: Any, kernel: Any) -> Any:
        """The same in TensorFlow, for a number of outputs that is known at run time only."""
        import tensorflow as tf

        layer, target = call.operation, call.outputs[0]
        axis, rank = self.axis(call) % len(target.shape), layer.rank
        positions(call, axis)  # Refuses an open image size.
        shape = [tf.shape(x)[0], *target.shape[1:]]
        shape[axis] = tf.shape(kernel)[-2]
        return tf.nn.conv_transpose(
            x,
            kernel,
            tf.stack(shape),
            list(layer.strides),
            padding=layer.padding.upper(),
            data_format=("NWC", "NHWC", "NDHWC")[rank - 1]
            if axis == rank + 1
            else ("NCW", "NCHW", "NCDHW")[rank - 1],
            dilations=list(layer.dilation_rate),
        )

    def split(self, call: Call, shape: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
        """One block, inputs last."""
        return (math.prod(shape[:-2]), shape[-2], 1, shape[-1]), (2, 0, 3, 1)

    def _one_channel(self, window: Sequence[int]) -> Sequence[int]:
        return *window, math.prod(window), 1

    def scaled(self, kernel: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """The kernel that makes every output `scale` [out] times as large."""
        return kernel * scale[:, None]
