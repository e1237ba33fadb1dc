"""`EinsumDense` with several axes in place of one: heads, as attention written by hand has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.atoms import Atoms, along
from tfrcp.graph.calls import Call
from tfrcp.graph.rules.base import Arrays, Axes, Labels, Product, Rule, layer_like
from tfrcp.graph.rules.elementwise import is_elementwise
from tfrcp.graph.rules.products import product


@dataclasses.dataclass(frozen=True)
class Equation:
    """The axes of an `EinsumDense` by letter.

    Attributes:
        terms: Letters of input, kernel and output, with those that "..." stands for.
        bias: Letters of the bias's axes.
    """

    terms: tuple[str, str, str]
    bias: str

    @property
    def summed(self) -> str:
        """Letters that are summed over."""
        inputs, kernel, outputs = self.terms
        return "".join(x for x in kernel if x in inputs and x not in outputs)

    @property
    def made(self) -> str:
        """Letters of new axes, in the order of the output."""
        inputs, kernel, outputs = self.terms
        return "".join(x for x in outputs if x in kernel and x not in inputs)


def equation_of(layer: keras.layers.EinsumDense, rank: int) -> Equation:
    """Reads the equation of a layer.

    Args:
        layer: The layer.
        rank: Rank of its input.
    """
    inputs, rest = layer.equation.replace(" ", "").split(",")
    kernel, outputs = rest.split("->")
    left_out = ascii_uppercase[: rank - len(inputs.replace("...", ""))]
    terms = [x.replace("...", left_out) for x in (inputs, kernel, outputs)]
    bias = ""
    if layer.bias_axes:
        last = terms[2][min(terms[2].find(x) for x in layer.bias_axes) :]
        bias = "".join(x if x in layer.bias_axes else "-" for x in last)
    return Equation((terms[0], terms[1], terms[2]), bias)


class EinsumHeadsRule(Rule):
    """`EinsumDense` of another form than a `Dense`, such as "abc,cde->abde".

    Of several new axes the first has the channels: the heads.
    """

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Labels the kernel, the bias and the output."""
        layer, value, target = call.operation, call.inputs[0], call.outputs[0]
        refusal = self._refusal(call)
        if refusal:
            atoms.give_up(call, refusal)
            return
        found = equation_of(layer, len(value.shape))
        inputs, kernel, outputs = found.terms
        labels = atoms.grid(value)
        along_it = [x for x in found.summed if labels.shape[inputs.index(x)] > 1]
        letter = (along_it or found.summed)[0]
        line = atoms.axis_labels(value, inputs.index(letter))
        if line is None:
            atoms.give_up(call, "channels lie along an axis that the layer does not mix")
            return
        head = found.made[0]
        channels = atoms.new(layer.kernel.shape[kernel.index(head)])
        places = {
            kernel.index(letter): ("input", line),
            kernel.index(head): ("output", channels),
        }
        atoms.weight(call, "kernel", places)
        if head in found.bias:
            atoms.weight(call, "bias", {found.bias.index(head): ("channelwise", channels)})
        atoms[target] = along(channels, outputs.index(head), len(outputs))
        if not is_elementwise(layer.activation):
            name = getattr(layer.activation, "__name__", layer.activation)
            atoms.freeze(
                channels, f"{call.path} ({call.kind}): the activation {name} may mix channels"
            )

    def _refusal(self, call: Call) -> str | None:
        layer = call.operation
        if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
            return "is quantized or carries LoRA weights; prune first"
        found = equation_of(layer, len(call.inputs[0].shape))
        inputs, kernel, outputs = found.terms
        both = [x for x in kernel if x in inputs and x in outputs]
        twice = any(len({*x}) < len(x) for x in found.terms)
        right = any(x.endswith("...") for x in layer.equation.replace("->", ",").split(","))
        gone = any(x not in outputs and x not in kernel for x in inputs)
        if both or twice or right or gone or not found.summed or not found.made:
            return f"the equation {layer.equation} is not supported"
        last, head = outputs[-1], found.made[0]
        whole = last in found.bias and call.outputs[0].shape[-1] != 1
        if found.bias not in ("", last) and (head == last or not whole):
            # `keras.ops.add` may take what is left of such a bias for one along another axis.
            return f"the bias along the axes {layer.bias_axes} is not supported"
        return None

    def products(self, call: Call, labels: Labels, axes: Axes) -> Sequence[Product]:
        """The sizes of all letters."""
        layer, value, target = call.operation, call.inputs[0], call.outputs[0]
        terms = equation_of(layer, len(value.shape)).terms
        order = (terms[0], terms[2], terms[1])
        kernel = np.broadcast_to(0, layer.kernel.shape)
        return (product(call, order, (value, target, kernel), labels),)

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same layer with fewer heads."""
        layer = call.operation
        if "kernel" not in arrays:
            return layer_like(layer)
        found = equation_of(layer, len(call.inputs[0].shape))
        shape = layer.get_config()["output_shape"]
        shape = list(shape) if isinstance(shape, list | tuple) else [shape]
        _, kernel, outputs = found.terms
        for letter in found.made:
            place = outputs.index(letter) - len(outputs)
            shape[place] = arrays["kernel"].shape[kernel.index(letter)]
        return layer_like(layer, output_shape=tuple(shape))

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The einsum, the bias, the activation."""
        layer = call.operation
        arrays = {name: ops.cast(x, layer.compute_dtype) for name, x in arrays.items()}
        y = ops.einsum(layer.equation, ops.cast(args[0], layer.compute_dtype), arrays["kernel"])
        if "bias" in arrays:
            y = y + arrays["bias"]
        return y if layer.activation is None else layer.activation(y)
