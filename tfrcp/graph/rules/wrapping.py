"""Layers around a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfrcp.graph.atoms import Atoms
from tfrcp.graph.calls import Call, Value
from tfrcp.graph.rules.base import Arrays, Axes, Keep, Labels, Product, Rule, layer_like


class TimeDistributedRule(Rule):
    """`TimeDistributed`: the inner layer's own rule, on every step of axis 1.

    Args:
        find: Finds the rule of an operation.
    """

    def __init__(self, find: Any) -> None:
        self._find = find

    def _inner(self, call: Call) -> Call:
        """The inner layer's call, on a single step."""
        source, target = (
            Value((value.shape[0], *value.shape[2:]), value.dtype)
            for value in (call.inputs[0], call.outputs[0])
        )
        return Call(call.path, call.key, call.operation.layer, (source,), {}, (source,), (target,))

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Follows the inner layer."""
        labels = atoms[call.inputs[0]]
        if labels.shape[1] > 1 or len(call.inputs) > 1:
            atoms.give_up(call, "channels lie along the axis of the steps, or a mask is given")
            return
        inner = self._inner(call)
        atoms[inner.inputs[0]] = labels.squeeze(1)
        self._find(inner.operation).trace(inner, atoms)
        atoms[call.outputs[0]] = atoms[inner.outputs[0]][:, None]

    def _ends(self, call: Call, inner: Call, labels: Labels) -> Labels:
        """Labels of what the inner layer reads and makes."""
        pairs = zip((*inner.inputs, *inner.outputs), (call.inputs[0], call.outputs[0]), strict=True)
        return {
            # Where channels lie along the steps, the layer was given up: it stays as it is.
            step: labels[whole].squeeze(1)
            if labels[whole].shape[1] == 1
            else labels[whole][:, 0] * 0 - 1
            for step, whole in pairs
        }

    def products(self, call: Call, labels: Labels, axes: Axes) -> Sequence[Product]:
        """The inner layer's, once for each step."""
        inner = self._inner(call)
        steps = call.inputs[0].sizes[1]
        if steps is None:
            raise ValueError(
                f"The cost of `{call.path}` depends on the number of steps, which the model leaves "
                "open. Give `tfrcp.trace` an `input_shape`."
            )
        ends = self._ends(call, inner, labels)
        products = self._find(inner.operation).products(inner, ends, axes)
        return [Product(steps * product.coefficient, product.factors) for product in products]

    def sizes(self, call: Call, labels: Labels, keep: Keep) -> dict[str, Any]:
        """The inner layer's."""
        inner = self._inner(call)
        ends = self._ends(call, inner, labels)
        return self._find(inner.operation).sizes(inner, ends, keep)

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same wrapper around the rebuilt layer."""
        inner = self._inner(call)
        layer = self._find(inner.operation).rebuild(inner, arrays)
        return layer_like(call.operation, layer=layer)

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs the inner layer with the steps laid into the batch."""
        inner, x = self._inner(call), ops.convert_to_tensor(args[0])
        shape = list(ops.shape(x))
        flat = ops.reshape(x, [shape[0] * shape[1], *shape[2:]])
        y = self._find(inner.operation).run(inner, arrays, (flat,), {})
        return ops.reshape(y, [*shape[:2], *list(ops.shape(y))[1:]])
