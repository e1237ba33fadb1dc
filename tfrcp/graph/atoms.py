"""Atoms: single channels, followed through the network while it is traced.

A *label* array says which channel each position of a tensor or of a weight axis holds. The labels
of a tensor have its rank; every axis is either 1 (all positions alike, always so for the batch) or
as long as the tensor's. Entries:

- an atom number >= 0: a channel that may turn out to be prunable;
- a negative number: no channel of ours (a model input, the output of something unknown). It
  stands for the reason why; whatever is joined with it cannot be pruned either.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tfrcp.graph.calls import Call, Value
from tfrcp.graph.cloning import holds_array
from tfrcp.graph.unions import Unions


@dataclasses.dataclass(frozen=True, eq=False)
class WeightAxis:
    """An axis of a weight along which channels live.

    Attributes:
        path: Path of the layer.
        weight: Name of the weight, such as "kernel".
        axis: Axis of the weight.
        role: "output" where the weight makes the channels, "input" where it mixes them into
            others, "channelwise" where it acts on each of them alone.
        labels: int array [length of the axis].
    """

    path: str
    weight: str
    axis: int
    role: str
    labels: np.ndarray


def along(line: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Lays labels [n] along one axis of a tensor of the given rank."""
    shape = [1] * rank
    shape[axis] = len(line)
    return line.reshape(shape)


def axis_labels(labels: np.ndarray, value: Value, axis: int) -> np.ndarray | None:
    """The labels of a tensor along one axis, int array [length of the axis].

    Returns `None` if channels lie along another axis.
    """
    if labels.size != labels.shape[axis]:
        return None
    return np.broadcast_to(labels.reshape(-1), (value.shape[axis],))


class Atoms:
    """What is known of the channels during a trace; what the rules of the layers talk to.

    Args:
        reads: How many calls read each tensor.
    """

    def __init__(self, reads: Mapping[Value, int] | None = None) -> None:
        self.reads = reads or {}
        self._unions = Unions()
        self._reasons: list[str] = []
        self._labels: dict[Value, np.ndarray] = {}
        self._places: dict[tuple[str, str, int], WeightAxis] = {}
        self._given_up: dict[str, str] = {}
        self._whole: dict[str, str] = {}
        self.unknown: dict[str, str] = {}
        self.proven: dict[str, str] = {}
        self.held: dict[Value, Call] = {}
        self.normalized: list[tuple[str, np.ndarray]] = []
        self.parts: list[np.ndarray] = []

    # Labels of tensors.

    def __getitem__(self, value: Value) -> np.ndarray:
        """Labels of a tensor along a single axis: of several, the longest is chosen for good."""
        labels = self.grid(value)
        if labels.size != max(labels.shape, default=1):
            self._labels[value] = labels = self.straight(labels)
        return labels

    def grid(self, value: Value) -> np.ndarray:
        """Labels of a tensor, perhaps along several axes, as where a reshape makes heads: along
        which of them channels are slices in the end is open until something asks for it."""
        labels = self._labels[value]
        several = [axis for axis, n in enumerate(labels.shape) if n > 1]
        if len(several) > 1:
            roots = np.where(labels < 0, labels, self._unions.roots(labels.clip(min=0)))
            varying = [k for k in several if (roots != roots.take([0], axis=k)).any()]
            kept = varying or [max(several, key=lambda k: labels.shape[k])]
            for axis in set(several) - set(kept):
                labels = labels.take([0], axis=axis)
            self._labels[value] = labels
        return labels

    def axis_labels(self, value: Value, axis: int) -> np.ndarray | None:
        """Labels of a tensor along one axis, int array [length of the axis].

        Returns `None` if channels lie along other axes only.
        """
        labels = self.grid(value)
        if labels.shape[axis] > 1 and labels.size != labels.shape[axis]:
            self._labels[value] = labels = self.straight(labels, axis)
        return axis_labels(labels, value, axis)

    def away(self, labels: np.ndarray, axes: Iterable[int]) -> np.ndarray:
        """Labels that do not differ along some axes, if channels lie along others as well: those at
        all positions along such an axis are one channel from now on."""
        several = {k for k, n in enumerate(labels.shape) if n > 1}
        over = several & {k % labels.ndim for k in axes}
        for axis in over if several - over else ():
            rows = np.moveaxis(labels, axis, 0)
            self.unite_rows(rows.reshape(len(rows), -1))
            labels = labels.take([0], axis=axis)
        return labels

    def straight(self, labels: np.ndarray, axis: int | None = None) -> np.ndarray:
        """Labels along a single axis. Defaults to the longest one, the last of several."""
        if axis is None:
            axis = max(range(labels.ndim), key=lambda k: (labels.shape[k], k))
        return self.away(labels, set(range(labels.ndim)) - {axis % labels.ndim})

    def __setitem__(self, value: Value, labels: np.ndarray) -> None:
        if labels.ndim != len(value.shape):
            raise ValueError(
                f"Labels must have the tensor's rank, {len(value.shape)}. Received: {labels.shape}"
            )
        if labels.size > 1 and labels.max() == labels.min() < 0:  # nothing lies along an axis
            labels = labels.ravel()[:1].reshape((1,) * labels.ndim)
        self._labels[value] = labels

    # Atoms.

    def new(self, count: int, *, constant: bool = False) -> np.ndarray:
        """New atoms, int array [count]; `constant` ones hold a fixed value, as padded zeros do."""
        return self._unions.new(count, constant=constant)

    def outside(self, rank: int, reason: str) -> np.ndarray:
        """Labels of a tensor of which no channel is ours, for the stated reason."""
        return np.full((1,) * rank, self._label(reason))

    def _label(self, reason: str) -> int:
        """A negative label that stands for a reason."""
        self._reasons.append(reason)
        return -len(self._reasons)

    def reason(self, label: int) -> str:
        """The reason that a negative label stands for."""
        return self._reasons[-label - 1]

    def unite(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """States that channels at the same position are the same channel.

        Args:
            first: Labels.
            second: Labels that broadcast against `first`.

        Returns:
            The labels of the result, broadcast.
        """
        first, second = np.broadcast_arrays(first, second)
        low, high = np.minimum(first, second).ravel(), np.maximum(first, second).ravel()
        ours, mixed = low >= 0, (low < 0) & (high >= 0)
        self._unions.unite(low[ours], high[ours])
        self._unions.freeze(high[mixed], -low[mixed])
        return np.where(second < 0, second, first)

    def unite_rows(self, rows: np.ndarray) -> None:
        """States that the channels in each column of labels [n, m] are the same channel."""
        for row in rows[1:]:
            self.unite(rows[0], row)

    def freeze(self, labels: np.ndarray, reason: str) -> None:
        """States that these channels must not be pruned."""
        self._unions.freeze(labels[labels >= 0], -self._label(reason))

    def give_up(self, call: Call, reason: str, *, reads: Sequence[Value] | None = None) -> None:
        """Freezes what a call reads and marks its outputs as no channels of ours.

        Args:
            call: The call.
            reason: Why.
            reads: The values concerned. Defaults to all inputs of the call.
        """
        reason = f"{call.path} ({call.kind}): {reason}"
        for value in call.inputs if reads is None else reads:
            self.freeze(self[value], reason)
        for value in call.outputs:
            self[value] = self.outside(len(value.shape), reason)
        # Another call of the same layer may have been followed: its weights stay whole now.
        self._given_up[call.path] = reason
        self._keep_whole(call.path, reason)

    def keep_whole(self, call: Call, reason: str) -> None:
        """States that a layer's weights are not sliced, whatever its other calls are.

        Args:
            call: The call.
            reason: Why.
        """
        self._keep_whole(call.path, f"{call.path} ({call.kind}): {reason}")

    def _keep_whole(self, path: str, reason: str) -> None:
        self._whole.setdefault(path, reason)
        for place in self.places:
            if place.path == path:
                self.freeze(place.labels, reason)

    def normalize(self, call: Call, labels: np.ndarray) -> None:
        """States that a call normalizes over these channels together: each depends on all."""
        self.normalized.append((call.path, labels))

    def separate(self, labels: np.ndarray) -> None:
        """States that these channels are taken on their own: some of them must always be left."""
        self.parts.append(labels)

    # Weights.

    def weight(self, call: Call, name: str, axes: Mapping[int, tuple[str, np.ndarray]]) -> None:
        """States which channels live along the axes of a weight.

        Args:
            call: The layer's call. A layer called several times has the same channels each time.
            name: Name of the weight.
            axes: Maps an axis to the role and the labels of the channels along it.
        """
        variable = call.variables.get(name)
        for keeper in ("regularizer", "constraint"):
            held = getattr(variable, keeper, None)
            if holds_array(held):
                reason = f"the {keeper} of '{name}' ({type(held).__name__}) holds an array"
                for _, labels in axes.values():
                    self.freeze(labels, f"{call.path} ({call.kind}): {reason}")
        for axis, (role, labels) in axes.items():
            if call.path in self._whole:
                self.freeze(labels, self._whole[call.path])
            key = (call.path, name, axis)
            if key in self._places:
                place = self._places[key]
                self.unite(place.labels, labels)
                if role == "output" != place.role:  # a weight that turns out to be a kernel
                    self._places[key] = dataclasses.replace(place, role=role)
            else:
                self._places[key] = WeightAxis(call.path, name, axis, role, labels)

    @property
    def given_up(self) -> frozenset[str]:
        """Paths of the calls that were given up."""
        return frozenset(self._given_up)

    @property
    def places(self) -> tuple[WeightAxis, ...]:
        """All weight axes with channels, in the order of the trace."""
        return tuple(self._places.values())

    @property
    def labels(self) -> dict[Value, np.ndarray]:
        """Labels of all tensors."""
        return self._labels

    def classes(self) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """The channels after everything was united.

        Returns:
            Tuple of two int arrays [atoms], the representative of each atom and the number of the
            reason why its channel is frozen, and the reasons; the first one is empty: prunable.
        """
        roots, numbers, constant = self._unions.sets()
        texts = ["", *self._reasons, "constant channels, made by no layer"]
        numbers[constant & (numbers == 0)] = len(texts) - 1
        reasons = list(dict.fromkeys(texts))
        known = {text: number for number, text in enumerate(reasons)}
        return roots, np.array([known[text] for text in texts])[numbers], reasons
