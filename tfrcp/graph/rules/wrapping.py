"""Layers around a layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfrcp.graph.atoms import Atoms
from tfrcp.graph.calls import Call, Value
from tfrcp.graph.rules.base import Arrays, Axes, Keep, Labels, Product, Rule, layer_like
from tfrcp.graph.rules.kernel import KernelRule


class _WrapperRule(Rule):
    """What wrappers share: the wrapped layer has a rule of its own.

    Args:
        find: Finds the rule of an operation.
    """

    def __init__(self, find: Any) -> None:
        self._find = find

    def _inner(self, call: Call) -> Call:
        """The wrapped layer's call."""
        raise NotImplementedError

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same wrapper around the rebuilt layer."""
        inner = self._inner(call)
        layer = self._find(inner.operation).rebuild(inner, arrays)
        return layer_like(call.operation, layer=layer)


class TimeDistributedRule(_WrapperRule):
    """`TimeDistributed`: the inner layer's own rule, on every step of axis 1."""

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

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs the inner layer with the steps laid into the batch."""
        inner, x = self._inner(call), ops.convert_to_tensor(args[0])
        shape = list(ops.shape(x))
        flat = ops.reshape(x, [shape[0] * shape[1], *shape[2:]])
        y = self._find(inner.operation).run(inner, arrays, (flat,), {})
        return ops.reshape(y, [*shape[:2], *list(ops.shape(y))[1:]])


class SpectralNormalizationRule(_WrapperRule):
    """`SpectralNormalization`: in inference the wrapped layer, whose kernel it has divided.

    In training it divides the sliced kernel by the largest singular value of that. The vector from
    which it estimates this one, [1, last axis of the kernel], is sliced with the kernel.
    """

    def _inner(self, call: Call) -> Call:
        return dataclasses.replace(
            call, operation=call.operation.layer, args=call.inputs[:1], kwargs={}
        )

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Follows the wrapped layer."""
        inner = self._inner(call)
        rule = self._find(inner.operation)
        if not isinstance(rule, KernelRule) or call.kwargs.get("training"):
            atoms.give_up(call, "is around no convolution or dense layer, or trains in inference")
            atoms.unknown[call.path] = call.kind
            return
        rule.trace(inner, atoms)
        last = len(call.operation.kernel.shape) - 1
        for place in atoms.places:
            if (place.path, place.weight, place.axis) == (call.path, rule.kernel, last):
                atoms.weight(call, "vector_u", {1: ("channelwise", place.labels)})

    def products(self, call: Call, labels: Labels, axes: Axes) -> Sequence[Product]:
        """The wrapped layer's."""
        inner = self._inner(call)
        return self._find(inner.operation).products(inner, labels, axes)

    def sizes(self, call: Call, labels: Labels, keep: Keep) -> dict[str, Any]:
        """The wrapped layer's."""
        inner = self._inner(call)
        return self._find(inner.operation).sizes(inner, labels, keep)

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs the wrapped layer."""
        inner = self._inner(call)
        weights = {name: array for name, array in arrays.items() if name != "vector_u"}
        y = self._find(inner.operation).run(inner, weights, args[:1], {})
        return ops.cast(y, args[0].dtype)
