"""What all layers with a kernel, an optional bias and an activation share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.atoms import Atoms, along
from tfrcp.graph.calls import Call
from tfrcp.graph.rules.base import Arrays, Labels, Rule, known_line, positions
from tfrcp.graph.rules.elementwise import is_elementwise

Placement = Mapping[int, tuple[str, np.ndarray]]


class KernelRule(Rule):
    """A layer that computes activation(linear(x) + bias), with one channel axis.

    Attributes:
        kernel: Name of the weight whose scale scales the outputs.
    """

    kernel = "kernel"

    def axis(self, call: Call) -> int:
        """The channel axis of input and output."""
        raise NotImplementedError

    def refusal(self, call: Call) -> str | None:
        """Why the layer cannot be pruned in the form in which it is used, if so."""
        layer = call.operation
        if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
            return "is quantized or carries LoRA weights; prune first"
        return None

    def place(
        self, inputs: np.ndarray, atoms: Atoms, layer: Any
    ) -> tuple[dict[str, Placement], Any]:
        """Where channels live in the kernels.

        Args:
            inputs: Labels of the input, int array [in].
            atoms: Makes new channels.
            layer: The layer.

        Returns:
            Tuple of a dict from a weight's name to the role and labels along its axes, and the
            labels of the output, int array [out].
        """
        raise NotImplementedError

    def has_bias(self, layer: Any) -> bool:
        """Whether the layer adds a bias."""
        return layer.use_bias

    def linear(self, call: Call, x: Any, arrays: Arrays) -> Any:
        """The layer without bias and activation."""
        raise NotImplementedError

    def scaled(self, kernel: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """The kernel that makes every output `scale` [out] times as large."""
        return kernel * scale

    def is_pointwise(self, call: Call) -> bool:
        """Whether outputs are `x @ kernel` at every position, with channels last."""
        return False

    # The layer as linear equations: `linear` gives, at every output position and in every block of
    # channels, `unfold` @ `matrix`.

    def split(self, call: Call, shape: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
        """How a kernel of this shape becomes matrices.

        Returns:
            Tuple of four sizes that the kernel is reshaped to, and their order as (blocks, window,
            inputs of a block, outputs of a block).
        """
        return (math.prod(shape[:-2]), shape[-2], 1, shape[-1]), (2, 0, 1, 3)

    def matrix(self, call: Call, kernel: np.ndarray) -> np.ndarray:
        """The kernel as matrices [blocks, window x inputs of a block, outputs of a block]."""
        sizes, order = self.split(call, kernel.shape)
        matrix = kernel.reshape(sizes).transpose(order)
        return matrix.reshape(matrix.shape[0], -1, matrix.shape[-1])

    def from_matrix(self, call: Call, matrix: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The kernel of this shape that `matrix` turned into matrices."""
        sizes, order = self.split(call, shape)
        kernel = matrix.reshape([sizes[i] for i in order]).transpose(np.argsort(order))
        return kernel.reshape(shape)

    def mixed(self, call: Call, x: Any, arrays: Arrays) -> Any:
        """What the kernel is applied to, given the layer's input: for most layers the same."""
        return x

    def windows(self, call: Call, sizes: Sequence[int]) -> np.ndarray:
        """What every output position sees.

        Args:
            call: The call.
            sizes: Sizes of what the kernel is applied to, without images and channels.

        Returns:
            int array [output positions, window] of positions, numbered from 0 row by row; -1 stands
            for padding.
        """
        return np.arange(math.prod(sizes))[:, None]

    def unfold(self, call: Call, x: np.ndarray, windows: np.ndarray, blocks: int) -> np.ndarray:
        """What the kernel is applied to, laid out as the rows of linear equations.

        Args:
            call: The call.
            x: Array [images, ...], with the channels where the layer has them.
            windows: Some of the rows that `windows` returns.
            blocks: Number of blocks, as `matrix` has them.

        Returns:
            Array [blocks, images x windows, window x inputs of a block].
        """
        x = np.moveaxis(x, self.axis(call), -1)
        images, channels = len(x), x.shape[-1]
        x = x.reshape(images, -1, channels)
        if (windows < 0).any():
            x = np.concatenate([x, np.zeros_like(x, shape=(images, 1, channels))], axis=1)
        seen = windows.ravel()
        all_in_order = len(seen) == x.shape[1] and (seen == np.arange(len(seen))).all()
        rows = x if all_in_order else np.take(x, seen, axis=1)
        return self.laid_out(rows, len(windows), blocks)

    def seen(self, call: Call, x: Any, windows: np.ndarray) -> Any:
        """The first half of `unfold`, by operations of the backend.

        Returns:
            Tensor [images, windows x window, channels].
        """
        x = ops.moveaxis(x, self.axis(call), -1)
        x = ops.reshape(x, [ops.shape(x)[0], -1, ops.shape(x)[-1]])
        if (windows < 0).any():
            x = ops.pad(x, [[0, 0], [1, 0], [0, 0]])
            windows = windows + 1
        return ops.take(x, windows.ravel(), axis=1)

    def laid_out(self, rows: np.ndarray, windows: int, blocks: int) -> np.ndarray:
        """The second half of `unfold`.

        Args:
            rows: Array [images, windows x window, channels].
            windows: Number of windows of an image.
            blocks: Number of blocks.
        """
        rows = rows.reshape(len(rows) * windows, -1, blocks, rows.shape[-1] // blocks)
        return rows.transpose(2, 0, 1, 3).reshape(blocks, len(rows), -1)

    def output_positions(self, call: Call) -> int:
        """Number of output positions, per image."""
        return positions(call, self.axis(call))

    def ends(self, call: Call, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
        """Labels of input and output along the channel axis, int arrays [in] and [out]."""
        source, target, axis = call.inputs[0], call.outputs[0], self.axis(call)
        return known_line(labels, source, axis), known_line(labels, target, axis)

    def passes(self, call: Call, atoms: Atoms) -> bool:
        """Lets channels pass that lie along an axis on which the layer does nothing, if it can."""
        return False

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Labels kernels, bias and output."""
        layer, axis = call.operation, self.axis(call)
        refusal = self.refusal(call)
        inputs = atoms.axis_labels(call.inputs[0], axis)
        if not refusal and inputs is None and self.passes(call, atoms):
            return
        if refusal or inputs is None:
            atoms.give_up(call, refusal or "channels lie along an axis that the layer does not mix")
            return
        weights, outputs = self.place(inputs, atoms, layer)
        for name, axes in weights.items():
            atoms.weight(call, name, axes)
        if self.has_bias(layer):
            atoms.weight(call, "bias", {0: ("channelwise", outputs)})
        atoms[call.outputs[0]] = along(outputs, axis, len(call.outputs[0].shape))
        if not is_elementwise(layer.activation):
            name = getattr(layer.activation, "__name__", layer.activation)
            atoms.freeze(
                outputs, f"{call.path} ({call.kind}): the activation {name} may mix channels"
            )

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Kernel, bias (the layer's own or one of a folded batch norm), activation."""
        dtype = call.operation.compute_dtype
        arrays = {name: ops.cast(array, dtype) for name, array in arrays.items()}
        return self.finish(call, self.linear(call, ops.cast(args[0], dtype), arrays), arrays)

    def finish(self, call: Call, y: Any, arrays: Arrays) -> Any:
        """What the layer makes of `linear`: adds the bias, if there is one, and activates."""
        if "bias" in arrays:
            y = _add_bias(y, arrays["bias"], self.axis(call))
        activation = call.operation.activation
        return y if activation is None else activation(y)


def _add_bias(y: Any, bias: Any, axis: int) -> Any:
    """Adds a bias along an axis."""
    rank = len(y.shape)
    if keras.backend.backend() == "tensorflow" and axis % rank == rank - 1:
        import tensorflow as tf

        return tf.nn.bias_add(y, bias)  # one kernel with the convolution and the ReLU around it
    shape = [1] * rank
    shape[axis] = -1
    return y + ops.reshape(bias, shape)
