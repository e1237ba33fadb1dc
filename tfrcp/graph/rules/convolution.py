"""Convolutions, plain and grouped."""

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
from tfrcp.graph.rules.kernel import KernelRule, Placement


class ConvolutionRule(KernelRule):
    """`Conv1D`, `Conv2D`, `Conv3D`; kernel [*window, in / groups, out].

    In a grouped convolution either whole groups are pruned or the same channels of every group,
    whichever leaves the finer choice.
    """

    def axis(self, call: Call) -> int:
        """The channel axis, from the layer's data format."""
        return 1 if call.operation.data_format == "channels_first" else -1

    def refusal(self, call: Call) -> str | None:
        """Refuses grouped convolution with channels first."""
        layer = call.operation
        if getattr(layer, "groups", 1) > 1 and layer.data_format == "channels_first":
            return "grouped convolution with channels first is not supported"
        return super().refusal(call)

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Labels as every layer with a kernel does.

        `keras.ops.add` (Keras 3.15 on TensorFlow) takes a bias [1, n, 1, 1] for one along the last
        axis where that has length n. A number of channels that runs into this is not chosen.
        """
        super().trace(call, atoms)
        width = call.outputs[0].shape[-1]
        astray = (
            self.axis(call) == 1
            and self.has_bias(call.operation)
            and keras.backend.backend() == "tensorflow"
        )
        channels = atoms.axis_labels(call.outputs[0], 1) if astray else None
        if channels is not None and (width is None or width <= len(channels)):
            atoms.freeze(
                channels,
                f"{call.path} ({call.kind}): Keras adds a bias with channels first along the width "
                "where there are as many channels; leave the bias out or put channels last",
            )

    def place(
        self, inputs: np.ndarray, atoms: Atoms, layer: Any
    ) -> tuple[dict[str, Placement], Any]:
        """Input channels on the kernel's last axis but one, new ones on the last."""
        outputs, rank, groups = atoms.new(layer.filters), layer.rank, layer.groups
        if groups == 1:
            axes = {rank: ("input", inputs), rank + 1: ("output", outputs)}
        elif _whole_groups(layer, len(inputs)):
            atoms.unite_rows(
                np.concatenate([_rows(inputs, groups), _rows(outputs, groups)], axis=1).T
            )
            axes = {rank + 1: ("output", outputs)}
        else:
            atoms.unite_rows(_rows(inputs, groups))
            atoms.unite_rows(_rows(outputs, groups))
            axes = {
                rank: ("input", inputs[: len(inputs) // groups]),
                rank + 1: ("output", outputs),
            }
        return {"kernel": axes}, outputs

    def products(self, call: Call, labels: Labels, axes: Axes) -> Sequence[Product]:
        """Window size x output positions x inputs of a group x outputs."""
        layer = call.operation
        inputs, outputs = self.ends(call, labels)
        window = math.prod(layer.kernel_size) * self.output_positions(call)
        share = len(inputs) // layer.groups
        if layer.groups > 1 and _whole_groups(layer, len(inputs)):
            return (Product(window * share, (outputs,)),)
        return (Product(window, (inputs[:share], outputs)),)

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same layer with fewer filters, and fewer groups where whole ones are pruned."""
        layer = call.operation
        if "kernel" not in arrays:
            return layer_like(layer)
        filters, groups = arrays["kernel"].shape[-1], layer.groups
        if groups > 1 and _whole_groups(layer, call.inputs[0].shape[-1]):
            groups = filters // (layer.filters // groups)
        return layer_like(layer, filters=filters, groups=groups)

    def linear(self, call: Call, x: Any, arrays: Arrays) -> Any:
        """Convolution with the layer's own stride, padding and dilation."""
        layer, kernel = call.operation, arrays["kernel"]
        options = {
            "strides": layer.strides,
            "padding": layer.padding,
            "data_format": layer.data_format,
            "dilation_rate": layer.dilation_rate,
        }
        if layer.padding == "causal":
            before = layer.dilation_rate[0] * (layer.kernel_size[0] - 1)
            time = 2 if layer.data_format == "channels_first" else 1
            x = ops.pad(x, [(before, 0) if axis == time else (0, 0) for axis in range(3)])
            options["padding"] = "valid"
        if layer.groups == 1:
            return ops.conv(x, kernel, **options)
        return _grouped(x, kernel, layer, options)

    def is_pointwise(self, call: Call) -> bool:
        """A window and a stride of 1, one group."""
        layer = call.operation
        sizes = {*layer.kernel_size, *layer.strides, layer.groups}
        return sizes == {1} and layer.data_format == "channels_last"

    def split(self, call: Call, shape: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
        """One block for each group that is left."""
        layer, groups = call.operation, call.operation.groups
        if groups > 1 and _whole_groups(layer, call.inputs[0].shape[-1]):
            groups = shape[-1] // (layer.filters // groups)
        return (math.prod(shape[:-2]), shape[-2], groups, shape[-1] // groups), (2, 0, 1, 3)

    def windows(self, call: Call, sizes: Sequence[int]) -> np.ndarray:
        """Read off a run of the layer itself, on position numbers, with a kernel of unit taps."""
        window = call.operation.kernel_size
        taps = ops.eye(math.prod(window), dtype="float64")
        numbers = np.arange(1.0, math.prod(sizes) + 1).reshape(1, *sizes, 1)
        numbers = ops.convert_to_tensor(np.moveaxis(numbers, -1, self.axis(call)))
        seen = self.linear(call, numbers, {"kernel": ops.reshape(taps, self._one_channel(window))})
        seen = np.moveaxis(ops.convert_to_numpy(seen), self.axis(call), -1)
        return np.rint(seen).astype(int).reshape(-1, math.prod(window)) - 1

    def _one_channel(self, window: Sequence[int]) -> Sequence[int]:
        """Shape of a kernel that has one input channel and an output channel for each tap."""
        return *window, 1, math.prod(window)


def _whole_groups(layer: Any, inputs: int) -> bool:
    """Whether a grouped convolution loses whole groups: where they are more than their channels."""
    return layer.groups > inputs // layer.groups


def _rows(labels: np.ndarray, groups: int) -> np.ndarray:
    """Labels [channels] as [groups, channels of a group]."""
    return labels.reshape(groups, -1)


def _grouped(x: Any, kernel: Any, layer: Any, options: dict[str, Any]) -> Any:
    """Grouped convolution by one convolution a group, for sizes known at run time only.

    TensorFlow's own needs static sizes on CPUs.
    """
    *positions, channels = list(ops.shape(x))
    share = kernel.shape[-2] if kernel.shape[-2] is not None else ops.shape(kernel)[-2]
    groups = channels // share
    rank = len(positions)
    x = ops.reshape(x, [*positions, groups, share])
    x = ops.transpose(x, [rank, *range(rank), rank + 1])
    *window, _, filters = list(ops.shape(kernel))
    kernel = ops.reshape(kernel, [*window, share, groups, filters // groups])
    window = len(window)
    kernel = ops.transpose(kernel, [window + 1, *range(window), window, window + 2])
    y = ops.map(lambda pair: ops.conv(*pair, **options), (x, kernel))
    y = ops.transpose(y, [*range(1, rank + 1), 0, rank + 1])
    *positions, groups, share = list(ops.shape(y))
    return ops.reshape(y, [*positions, groups * share])
