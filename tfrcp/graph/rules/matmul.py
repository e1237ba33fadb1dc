"""Matrix products of two tensors, as attention written by hand has them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tfrcp.graph.atoms import Atoms, along
from tfrcp.graph.calls import Call, Value
from tfrcp.graph.rules.base import Axes, Labels, Product, Rule, known_line


class MatmulRule(Rule):
    """`keras.ops.matmul`.

    Channels along the axis that is summed over are the same in both operands, and gone afterwards.
    Those along a row's, a column's or a leading axis (heads) are still there. A matrix that an
    opened layer holds as a weight is a kernel: it makes new channels.
    """

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Unites what is multiplied with each other."""
        first, second = call.args[:2]
        refusal = self._refusal(first, second, atoms)
        if refusal:
            atoms.give_up(call, refusal)
            return
        target = call.outputs[0]
        rank = len(target.shape)
        a, b = (_raised(atoms[value], rank) for value in (first, second))
        held = atoms.held.get(second)
        if held is not None and len(second.shape) == 2 and a.size == a.shape[-1]:
            atoms[target] = along(self._kernel(call, held, a.ravel(), atoms), -1, rank)
            return
        reason = f"{call.path} ({call.kind}): is multiplied with what no channel is of"
        for labels, other, axis, opposite in ((a, b, -1, -2), (b, a, -2, -1)):
            if labels.shape[axis] > 1 and other.shape[opposite] == 1:
                atoms.freeze(labels, reason)
        if a.shape[-1] > 1 and b.shape[-2] > 1:
            atoms.normalize(call, atoms.unite(a.reshape(-1), b.reshape(-1)))
        a = a if a.shape[-1] == 1 else None
        b = b if b.shape[-2] == 1 else None
        atoms[target] = self._joined(call, a, b, atoms)

    def _joined(
        self, call: Call, a: np.ndarray | None, b: np.ndarray | None, atoms: Atoms
    ) -> np.ndarray:
        """Labels of the product; `None` for an operand of which all channels are summed over."""
        rank = len(call.outputs[0].shape)
        reason = f"{call.path} ({call.kind})"
        spread = [x for x in (a, b) if x is not None and x.size > 1]
        if not spread:
            return atoms.outside(rank, f"{reason}: sums over the channels")
        if len(spread) == 2:
            axes = [int(np.argmax(x.shape)) for x in spread]
            if axes[0] == axes[1] < rank - 2:
                return atoms.unite(*spread)
            atoms.freeze(spread[0], f"{reason}: has channels on both sides")
            return spread[1]
        (labels,), axis = spread, int(np.argmax(spread[0].shape))
        other = call.args[1] if labels is a else call.args[0]
        shape = (1,) * (rank - len(other.shape)) + tuple(other.shape)
        if axis < rank - 2 and shape[axis] != 1:
            atoms.freeze(labels, f"{reason}: is multiplied with what no channel is of")
        return labels

    def _refusal(self, first: Value, second: Value, atoms: Atoms) -> str | None:
        if not (isinstance(first, Value) and isinstance(second, Value)):
            return "multiplies channels with an array"
        if min(len(first.shape), len(second.shape)) < 2:
            return "multiplies tensors of a single axis"
        if any(sum(n > 1 for n in atoms[value].shape) > 1 for value in (first, second)):
            return "multiplies tensors whose channels lie along several axes"
        single = [atoms[value] for value in (first, second) if atoms[value].size == 1]
        if any(x.item() >= 0 for x in single):
            return "multiplies a single channel with a tensor"
        return None

    def _kernel(self, call: Call, held: Call, inputs: np.ndarray, atoms: Atoms) -> np.ndarray:
        """A weight as kernel: its rows go with the inputs, its columns are new channels."""
        outputs = atoms.new(held.outputs[0].shape[1])
        name = held.operation.variable.name
        atoms.weight(held, name, {0: ("input", inputs), 1: ("output", outputs)})
        return outputs

    def products(self, call: Call, labels: Labels, axes: Axes) -> Sequence[Product]:
        """Elements of the product x the size that is summed over."""
        first, target = call.args[0], call.outputs[0]
        sizes, factors = list(target.sizes), []
        if not isinstance(first, Value):
            sizes.append(np.shape(first)[-1])
        elif labels[first].shape[-1] > 1:
            factors.append(known_line(labels, first, -1))
        else:
            sizes.append(first.shape[-1])
        found = labels[target]
        if found.size > 1 and found.size == max(found.shape):
            axis = int(np.argmax(found.shape))
            sizes[axis] = 1
            factors.append(known_line(labels, target, axis))
        if None in sizes:
            raise ValueError(
                f"The cost of `{call.path}` depends on a size that the model leaves open. Build "
                "the model with a fixed input shape."
            )
        return (Product(math.prod(sizes), tuple(factors)),)


def _raised(labels: np.ndarray, rank: int) -> np.ndarray:
    """Labels with as many axes as the product."""
    return labels.reshape((1,) * (rank - labels.ndim) + labels.shape)
