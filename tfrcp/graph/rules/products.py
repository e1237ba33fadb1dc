"""Products of two tensors, as attention written by hand has them: `matmul`, `einsum`, `Dot`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any

import numpy as np

from tfrcp.graph.atoms import Atoms, along
from tfrcp.graph.calls import Call, Value
from tfrcp.graph.rules.base import Axes, Labels, Product, Rule


class ProductRule(Rule):
    """A product whose axes have letters, as in `einsum`.

    Channels along a letter that is summed over are the same in both operands, and gone afterwards.
    Those along a letter that is left (rows, columns, heads) are still there. A matrix that an
    opened layer holds as a weight is a kernel: it makes new channels.
    """

    def terms(self, call: Call) -> tuple[str, str, str] | None:
        """The letters of both operands and of the result; `None` for products of another form."""
        raise NotImplementedError

    def operands(self, call: Call) -> list[Any]:
        """The two operands."""
        return list(call.args[:2])

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Unites what is multiplied with each other."""
        terms, operands = self.terms(call), self.operands(call)
        if terms is None:
            atoms.give_up(call, "is a product of another form than of two tensors")
            atoms.unknown[call.path] = call.kind
            return
        refusal = _refusal(terms, operands, call.outputs[0])
        if refusal:
            atoms.give_up(call, refusal)
            return
        if self._is_kernel(call, terms, operands, atoms):
            return
        reason = f"{call.path} ({call.kind})"
        for x in operands:
            if atoms.grid(x).size == 1:
                atoms.freeze(atoms.grid(x), f"{reason}: multiplies one channel with all others")
        labels = _by_letter(terms, operands, atoms)
        for mine, other, x, term in (
            (labels[0], labels[1], operands[1], terms[1]),
            (labels[1], labels[0], operands[0], terms[0]),
        ):
            for letter, line in mine.items():
                size = x.shape[term.index(letter)] if letter in term else 1
                if size != 1 and letter not in other:
                    atoms.freeze(line, f"{reason}: is multiplied with what no channel is of")
        result = {**labels[0], **labels[1]}
        for letter in labels[0].keys() & labels[1].keys():
            result[letter] = atoms.unite(labels[0][letter], labels[1][letter])
            if letter not in terms[2]:
                atoms.normalize(call, result[letter])
        left = [letter for letter in result if letter in terms[2]]
        for letter in left[:-1]:
            atoms.freeze(result[letter], f"{reason}: has channels on both sides")
        atoms[call.outputs[0]] = (
            along(result[left[-1]], terms[2].index(left[-1]), len(terms[2]))
            if left
            else atoms.outside(len(terms[2]), f"{reason}: sums over the channels")
        )

    def _is_kernel(
        self, call: Call, terms: Sequence[str], operands: Sequence[Value], atoms: Atoms
    ) -> bool:
        """Whether one operand is a weight that makes channels; then it is labelled so.

        Its axis that is summed over goes with the inputs, the other one has new channels.
        """
        for k in (1, 0):
            held, x, term = atoms.held.get(operands[k]), operands[1 - k], terms[1 - k]
            if held is None or len(terms[k]) != 2:
                continue
            summed = [letter for letter in terms[k] if letter in term and letter not in terms[2]]
            made = [letter for letter in terms[k] if letter in terms[2] and letter not in term]
            if len(summed) != 1 or len(made) != 1:
                continue
            inputs = atoms.axis_labels(x, term.index(summed[0]))
            if inputs is None:
                continue
            axis = terms[k].index(made[0])
            outputs = atoms.new(operands[k].shape[axis])
            axes = {1 - axis: ("input", inputs), axis: ("output", outputs)}
            atoms.weight(held, held.operation.variable.name, axes)
            target = call.outputs[0]
            atoms[target] = along(outputs, terms[2].index(made[0]), len(target.shape))
            return True
        return False

    def products(self, call: Call, labels: Labels, axes: Axes) -> Sequence[Product]:
        """The sizes of all letters."""
        terms = self.terms(call)
        tensors = [*self.operands(call), call.outputs[0]]
        return (product(call, terms, tensors, labels),)


class MatmulRule(ProductRule):
    """`keras.ops.matmul`."""

    def terms(self, call: Call) -> tuple[str, str, str] | None:
        """Leading axes, rows and columns."""
        ranks = [np.ndim(x) if not isinstance(x, Value) else len(x.shape) for x in call.args[:2]]
        lead = ascii_lowercase[: max(*ranks, 2) - 2]
        first = (lead[len(lead) - ranks[0] + 2 :] + "y" if ranks[0] > 1 else "") + "x"
        second = (
            (lead[len(lead) - ranks[1] + 2 :] if ranks[1] > 1 else "")
            + "x"
            + ("z" if ranks[1] > 1 else "")
        )
        return first, second, lead + "y" * (ranks[0] > 1) + "z" * (ranks[1] > 1)


class EinsumRule(ProductRule):
    """`keras.ops.einsum` of two operands with all their axes by name.

    Of more operands the MACs depend on the order in which they are multiplied.
    """

    def terms(self, call: Call) -> tuple[str, str, str] | None:
        """As they are written."""
        left, arrow, result = call.operation.subscripts.replace(" ", "").partition("->")
        terms = left.split(",")
        if not arrow or len(terms) != 2 or "." in left or any(len({*x}) < len(x) for x in terms):
            return None
        return terms[0], terms[1], result


class DotRule(ProductRule):
    """`keras.layers.Dot`, without normalization."""

    def terms(self, call: Call) -> tuple[str, str, str] | None:
        """The batch, and all that is not summed over."""
        axes, ranks = call.operation.axes, [len(x.shape) for x in call.inputs]
        axes = (axes, axes) if isinstance(axes, int) else axes
        if call.operation.normalize or sum(ranks) > len(ascii_lowercase):
            return None
        first = list("a" + ascii_lowercase[1 : ranks[0]])
        second = list("a" + ascii_lowercase[ranks[0] : sum(ranks) - 1])
        first[axes[0]] = second[axes[1]] = "z"
        rest = [x for x in (*first[1:], *second[1:]) if x != "z"]
        result = "".join(["a", *rest])
        return "".join(first), "".join(second), result + ("y" if not rest else "")

    def operands(self, call: Call) -> list[Any]:
        """The layer's list of two."""
        return list(call.inputs)


def product(call: Call, terms: Sequence[str], tensors: Sequence[Any], labels: Labels) -> Product:
    """MACs of a product: the sizes of all letters, those with channels as factors.

    Args:
        call: The call.
        terms: Letters of the operands and of the result.
        tensors: The operands and the result, `Value`s or arrays.
        labels: Labels of all tensors.

    Raises:
        ValueError: If a size is unknown.
    """
    sizes: dict[str, int | None] = {}
    factors: dict[str, np.ndarray] = {}
    for term, x in zip(terms, tensors, strict=True):
        shape = x.sizes if isinstance(x, Value) else np.shape(x)
        for axis, (letter, n) in enumerate(zip(term, shape, strict=True)):
            if sizes.get(letter) in (None, 1):
                sizes[letter] = n
            if isinstance(x, Value) and labels[x].shape[axis] > 1:
                factors[letter] = labels[x].ravel()
    coefficients = [n for letter, n in sizes.items() if letter not in factors]
    if None in coefficients or len(factors) > 2:
        raise ValueError(
            f"The cost of `{call.path}` depends on a size that the model leaves open. Give "
            "`tfrcp.trace` an `input_shape`."
        )
    return Product(math.prod(coefficients), tuple(factors.values()))


def _refusal(terms: Sequence[str], operands: Sequence[Any], target: Value) -> str | None:
    """Why channels cannot be followed through a product, if so."""
    if not all(isinstance(x, Value) for x in operands):
        return "multiplies channels with an array"
    if min(len(term) for term in terms[:2]) < 2:
        return "multiplies tensors of a single axis"
    for term, x in zip(terms, operands, strict=False):
        if x.batch is not None and term[x.batch] not in terms[2]:
            return "sums over the batch"
    if len(terms[2]) != len(target.shape):
        return "is a product of another form"
    return None


def _by_letter(
    terms: Sequence[str], operands: Sequence[Value], atoms: Atoms
) -> list[dict[str, np.ndarray]]:
    """The letter along which each operand has channels, if any, and their labels.

    Of several letters it is one along which the other operand has channels as well, or that it does
    not have; of several of these the longest.
    """
    labels = [atoms.grid(x) for x in operands]
    found: list[dict[str, np.ndarray]] = []
    for k, (term, mine) in enumerate(zip(terms, labels, strict=False)):
        other, theirs = terms[1 - k], labels[1 - k]

        def score(
            axis: int, term: str = term, other: str = other, theirs: Any = theirs, k: int = k
        ) -> tuple[bool, bool, int, int]:
            there = other.find(term[axis])
            labelled = there >= 0 and theirs.shape[there] > 1
            whole = there >= 0 and operands[1 - k].shape[there] != 1
            return labelled, not whole, operands[k].shape[axis], axis

        axes = [axis for axis, n in enumerate(mine.shape) if n > 1]
        if not axes:
            found.append({})
            continue
        axis = max(axes, key=score)
        labels[k] = atoms.straight(mine, axis)
        found.append({term[axis]: labels[k].ravel()})
    return found
