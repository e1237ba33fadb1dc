"""Operations that join several tensors: add and its kin position by position, and concatenation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfrcp.graph.atoms import Atoms
from tfrcp.graph.calls import Call, Value
from tfrcp.graph.rules.base import Rule


class MergeRule(Rule):
    """`Add`, `Subtract`, `Multiply`, `Average`, `Maximum`, `Minimum`; `+ - * /` between tensors.

    Channels at the same position become one channel. An operand of size 1 that is spread over all
    channels, as in spatial attention, is frozen instead.
    """

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Unites the operands' channels."""
        target = call.outputs[0]
        if any(len(value.shape) != len(target.shape) for value in call.inputs):
            atoms.give_up(call, "joins tensors of different rank")
            return
        if any(np.ndim(x) for x in constants(call)):
            atoms.give_up(call, "has an array as operand, with numbers for each channel")
            return
        rank = len(target.shape)
        along = [k for k in range(rank) if any(atoms[v].shape[k] > 1 for v in call.inputs)]
        result = None
        for value in call.inputs:
            if any(value.shape[k] == 1 != target.shape[k] for k in along):
                atoms.freeze(
                    atoms[value], f"{call.path} ({call.kind}): spreads one channel over all others"
                )
            else:
                labels = atoms[value]
                result = labels if result is None else atoms.unite(result, labels)
        if result is None:
            atoms.give_up(call, "spreads the channels of every operand over the others'")
            return
        atoms[target] = result


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
        labels = [atoms[value] for value in call.inputs]
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
