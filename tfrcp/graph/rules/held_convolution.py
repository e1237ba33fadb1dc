"""`keras.ops.conv` with a weight that an opened layer holds itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras

from tfrcp.graph.atoms import Atoms, along
from tfrcp.graph.calls import Call, Value
from tfrcp.graph.rules.base import Axes, Labels, Product, Rule, known_line, positions


class HeldConvolutionRule(Rule):
    """A convolution whose kernel [*window, in, out] is such a weight, perhaps times a number.

    With any other kernel, such as one that is standardized before, it is frozen.
    """

    def _axis(self, call: Call) -> int:
        """The channel axis."""
        form = call.operation.data_format or keras.config.image_data_format()
        return 1 if form == "channels_first" else -1

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Labels the weight as a kernel; new channels come out."""
        x, kernel = (*call.args, None, None)[:2]
        tensors = isinstance(x, Value) and isinstance(kernel, Value)
        held = atoms.held.get(kernel) if tensors else None
        inputs = None if held is None else atoms.axis_labels(x, self._axis(call))
        if inputs is None or kernel.shape[-2] != len(inputs):
            atoms.give_up(call, "convolves with something else than a weight, or in groups")
            atoms.unknown[call.path] = call.kind
            return
        rank, target, outputs = len(kernel.shape), call.outputs[0], atoms.new(kernel.shape[-1])
        axes = {rank - 2: ("input", inputs), rank - 1: ("output", outputs)}
        atoms.weight(held, held.operation.variable.name, axes)
        atoms[target] = along(outputs, self._axis(call), len(target.shape))

    def products(self, call: Call, labels: Labels, axes: Axes) -> Sequence[Product]:
        """Window size x output positions x inputs x outputs."""
        x, kernel = call.args[:2]
        window = math.prod(kernel.shape[:-2]) * positions(call, self._axis(call))
        ends = (known_line(labels, v, self._axis(call)) for v in (x, call.outputs[0]))
        return (Product(window, tuple(ends)),)
