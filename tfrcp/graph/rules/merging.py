"""Operations that join several tensors: add and its kin position by position, and concatenation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.atoms import Atoms
from tfrcp.graph.calls import Call, Value
from tfrcp.graph.rules.base import Arrays, Keep, Labels, Rule

Shape = tuple[Any, ...]
_SCALES = ("Multiply", "Divide", "TrueDivide")


class MergeRule(Rule):
    """`Add`, `Subtract`, `Multiply`, `Average`, `Maximum`, `Minimum`; `+ - * /` between tensors.

    Channels at the same position become one channel. An operand of size 1 that is spread over all
    channels, as in spatial attention, is frozen instead.
    """

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Unites the operands' channels."""
        target = call.outputs[0]
        rank = len(target.shape)
        if any(
            v.batch is not None and v.batch + rank - len(v.shape) != target.batch
            for v in call.inputs
        ):
            atoms.give_up(call, "joins tensors of different rank")
            return
        if call.kind == "Add" and _taken_for_bias(call, atoms):
            atoms.give_up(call, "Keras may take what is added for a bias along another axis")
            return
        operands = self._operands(call, atoms)
        along = _labelled(operands)
        if any(self._spoils(x, call, along, atoms) for x in constants(call)):
            atoms.give_up(call, "has an array as operand, with numbers for each channel")
            return
        result, partly = None, False
        for shape, labels in operands:
            spread = [k for k in along if shape[k] == 1 != target.shape[k]]
            if spread:
                atoms.freeze(
                    labels, f"{call.path} ({call.kind}): spreads one channel over all others"
                )
                partly |= any(shape[k] > 1 for k in along)
            else:
                result = labels if result is None else atoms.unite(result, labels)
        if result is None:
            atoms.give_up(call, "spreads the channels of every operand over the others'")
            return
        if partly and sum(n > 1 for n in result.shape) > 1:
            atoms.freeze(result, f"{call.path} ({call.kind}): joins channels along several axes")
        atoms[target] = result
        held = atoms.held.get(call.inputs[0]) if call.kind in _SCALES else None
        numbers = len(call.inputs) == 1 and all(np.size(x) == 1 for x in constants(call))
        if held and numbers and atoms.reads.get(target, 1) == 1:
            atoms.held[target] = held  # a kernel times a number is one as well

    def _operands(self, call: Call, atoms: Atoms) -> list[tuple[Shape, np.ndarray]]:
        """Shapes and labels of the operands, with as many axes as the result.

        Of channels that lie along several axes, one is left along which the operands agree.
        """
        rank = len(call.outputs[0].shape)
        shapes = [_raised(v.shape, rank) for v in call.inputs]
        labels = [atoms.grid(v) for v in call.inputs]
        labels = [x.reshape(_raised(x.shape, rank)) for x in labels]
        if all(sum(n > 1 for n in x.shape) < 2 for x in labels):
            return list(zip(shapes, labels, strict=True))
        along = _labelled(list(zip(shapes, labels, strict=True)))
        outside = [s for s, x in zip(shapes, labels, strict=True) if x.max() < 0]
        outside += [_raised(np.shape(x), rank) for x in constants(call)]
        ours = [s for s, x in zip(shapes, labels, strict=True) if x.max() >= 0]
        for bad in (
            {k for k in along if any(s[k] == 1 != call.outputs[0].shape[k] for s in ours)},
            {k for k in along if any(s[k] > 1 for s in outside)},
        ):
            labels = [atoms.away(x, bad) for x in labels]
        return list(zip(shapes, labels, strict=True))

    def _spoils(self, x: Any, call: Call, along: list[int], atoms: Atoms) -> bool:
        """Whether an operand is an array that has numbers for each channel."""
        if not np.ndim(x):
            return False
        rank = len(call.outputs[0].shape)
        shape, sizes = _raised(np.shape(x), rank), call.outputs[0].shape
        full = [_raised(v.shape, rank) for v in call.inputs]
        return (
            any(shape[k] > 1 for k in along)
            or any(atoms[v].size == 1 and atoms[v].item() >= 0 for v in call.inputs)
            or any(n > 1 and all(f[k] != sizes[k] for f in full) for k, n in enumerate(shape))
        )


def _taken_for_bias(call: Call, atoms: Atoms) -> bool:
    """Whether `keras.ops.add` may add a vector along the last axis instead of its own.

    It does where that axis has as many channels as the vector has numbers, before or after pruning.
    """
    if len(call.args) < 2 or not isinstance(call.args[0], Value):
        return False
    x, y = call.args[:2]
    if atoms.grid(x).max() < 0 or (isinstance(y, Value) and y.batch is not None):
        return False
    shape = _raised(y.shape if isinstance(y, Value) else np.shape(y), len(x.shape))
    long = [k for k, n in enumerate(shape) if n != 1]
    size = x.shape[-1]
    return (
        len(long) == 1
        and long[0] != len(shape) - 1
        and None not in (size, shape[long[0]])
        and shape[long[0]] <= size
    )


def _labelled(operands: list[tuple[Shape, np.ndarray]]) -> list[int]:
    """The axes along which channels lie in any operand."""
    sizes = zip(*(labels.shape for _, labels in operands), strict=True)
    return [k for k, here in enumerate(sizes) if max(here) > 1]


def _raised(shape: Any, rank: int) -> Shape:
    """A shape with as many axes as what it is broadcast to."""
    return (1,) * (rank - len(shape)) + tuple(shape)


def constants(call: Call) -> list[Any]:
    """The arguments of a call that are numbers or arrays, not tensors of the graph."""
    leaves = keras.tree.flatten((call.args, dict(call.kwargs)))
    return [x for x in leaves if not isinstance(x, Value | str | bool | type(None))]


class ConcatenateRule(Rule):
    """`Concatenate`: side by side along the channel axis; along another axis they are united."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Joins the labels."""
        target = call.outputs[0]
        axis = call.operation.axis % len(target.shape)
        labels = [atoms.away(atoms.grid(value), [axis]) for value in call.inputs]
        elsewhere = any(x.shape[i] > 1 for x in labels for i in range(x.ndim) if i != axis)
        # A single channel, or none of ours, that takes several positions of an axis does not lie
        # along it.
        across = all(x.size == 1 and x.item() < 0 for x in labels) or any(
            v.shape[axis] is None or (x.size == 1 and x.item() >= 0 and _lies_elsewhere(v, axis))
            for x, v in zip(labels, call.inputs, strict=True)
        )
        if not (elsewhere or across):
            atoms[target] = np.concatenate(
                [
                    np.broadcast_to(x, [v.shape[i] if i == axis else 1 for i in range(x.ndim)])
                    for x, v in zip(labels, call.inputs, strict=True)
                ],
                axis=axis,
            )
        elif all(x.shape[axis] == 1 for x in labels):
            result = labels[0]
            for x in labels[1:]:
                result = atoms.unite(result, x)
            atoms[target] = result
        else:
            atoms.give_up(call, "joins tensors whose channels lie along different axes")


def _lies_elsewhere(value: Value, axis: int) -> bool:
    """Whether a single channel rather lies along another axis, one of length 1."""
    others = [n for i, n in enumerate(value.shape) if i not in (0, axis)]
    return value.shape[axis] != 1 and 1 in others


class StackRule(Rule):
    """`keras.ops.stack`: a new axis, along which the channels are the same."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Unites the operands' channels."""
        labels = [atoms.grid(value) for value in call.inputs]
        result = labels[0]
        for x in labels[1:]:
            result = atoms.unite(result, x)
        axis = call.operation.axis % len(call.outputs[0].shape)
        atoms[call.outputs[0]] = np.expand_dims(result, axis)


class UnstackRule(Rule):
    """`keras.ops.unstack` of another axis than the channels'."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """The same channels in every part."""
        axis = call.operation.axis
        labels = atoms.away(atoms.grid(call.inputs[0]), [axis])
        if labels.shape[axis] > 1:
            atoms.give_up(call, "takes the channels apart")
            return
        for target in call.outputs:
            atoms[target] = labels.squeeze(axis)

    def sizes(self, call: Call, labels: Labels, keep: Keep) -> dict[str, np.ndarray]:
        """The number of parts, which no tensor of the program tells."""
        return {"parts": np.array(len(call.outputs), dtype="int32")}

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Takes apart."""
        return ops.unstack(args[0], len(call.outputs), call.operation.axis)


class GluRule(Rule):
    """`keras.ops.glu`: one half of an axis times the sigmoid of the other."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Unites the halves where channels lie along the axis."""
        axis = call.operation.axis
        labels = atoms.away(atoms.grid(call.inputs[0]), [axis])
        if labels.shape[axis] > 1:
            labels = atoms.unite(*np.split(atoms.straight(labels, axis), 2, axis=axis))
        atoms[call.outputs[0]] = labels

    def sizes(self, call: Call, labels: Labels, keep: Keep) -> dict[str, np.ndarray]:
        """The number of channels in a half."""
        kept = keep(labels[call.outputs[0]])
        if kept.shape[call.operation.axis] == 1:
            return {}
        return {"half": np.array(kept.sum(), dtype="int32")}

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Splits at a place that is known at run time only."""
        before = [slice(None)] * (call.operation.axis % len(args[0].shape))
        half = arrays["half"]
        gate = ops.sigmoid(args[0][(*before, slice(half, None))])
        return args[0][(*before, slice(None, half))] * gate
