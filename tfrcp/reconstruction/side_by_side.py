"""The original network and pruned ones, whose weights are still changing, side by side."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfrcp.data.rows import join
from tfrcp.graph.calls import Call
from tfrcp.graph.parts import Parts, Tensors
from tfrcp.graph.program import Program
from tfrcp.graph.weights import Weights, arrays_of
from tfrcp.reconstruction.blocked_statistics import AT_ONCE, widths
from tfrcp.reconstruction.segments import Segments, inputs_of, live_bytes


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """A tensor of the original network and its counterpart in a pruned one.

    In `SideBySide` and its walk `pruned` is a tuple of the counterparts in all pruned networks.
    """

    original: Any
    pruned: Any


def beside(tensors: Tensors, number: int) -> Tensors:
    """The tensors of the original network and of one of the pruned ones."""
    return {value: Pair(pair.original, pair.pruned[number]) for value, pair in tensors.items()}


class SideBySide:
    """Runs the original network and pruned ones on images, from one call to another.

    Args:
        program: The program of the unpruned network.
        original: Its weights and sizes.
        pruned: Those of the pruned networks. A layer runs with the weights that it has when it runs
            for the first time.
        parts: Runs parts of the program.
    """

    def __init__(
        self, program: Program, original: Weights, pruned: Sequence[Weights], parts: Parts
    ) -> None:
        self._program, self._original, self._pruned = program, original, pruned
        self._parts = parts
        self._arrays: dict[tuple[int, int], list[Any]] = {}
        self._entries: dict[Call, list[Any]] = {}
        self._called = Counter(call.path for call in program.graph.calls.calls)

    def segments(self, images: Any, limit: int) -> Segments:
        """A walk through all networks, whose tensors are of type `Pair`.

        Args:
            images: Structure of arrays like the model's inputs.
            limit: Bytes of the tensors that are kept for all images.
        """
        program, count = self._program, len(self._pruned)
        live = self.live_bytes(images)
        return Segments(
            lambda part: {
                v: Pair(x, (x,) * count) for v, x in inputs_of(program, images, part).items()
            },
            self._advance,
            live,
            limit=limit,
            count=len(keras.tree.flatten(images)[0]),
            at_once=self._at_once(images, live),
            join=lambda pairs: Pair(
                join([pair.original for pair in pairs]),
                tuple(join(list(some)) for some in zip(*(p.pruned for p in pairs), strict=True)),
            ),
        )

    def live_bytes(self, images: Any) -> list[int]:
        """Bytes for each image of what there is before every call, of all networks together.

        Args:
            images: Structure of arrays like the model's inputs.
        """
        networks = (self._original, *self._pruned)
        walks = (live_bytes(self._program, weights, images) for weights in networks)
        return [sum(bytes_) for bytes_ in zip(*walks, strict=True)]

    def _at_once(self, images: Any, live: Sequence[int]) -> list[int]:
        """How many images run at a time, from each call on.

        Args:
            images: Structure of arrays like the model's inputs.
            live: Bytes for each image of what there is before every call.
        """
        found, widest, networks = [], 1, 1 + len(self._pruned)
        made = widths(self._program, self._original, images)
        for width, kept in zip(reversed(made), reversed([0, *live[1:]]), strict=True):
            widest = max(widest, width)
            found.append(max(1, AT_ONCE // max(widest, kept // networks)))
        return found[::-1]

    def _advance(self, start: int, stop: int, tensors: Tensors) -> Tensors:
        """Runs consecutive calls."""
        calls = self._program.graph.calls.calls[start:stop]
        if any(self._called[call.path] > 1 for call in calls):  # whose weights change in between
            for place in range(start, stop):
                self._program.advance(place, tensors, self._step)
            return tensors
        if (start, stop) not in self._arrays:
            self._arrays[start, stop] = [
                self._parts.arrays(start, stop, arrays)
                for arrays in (self._original, *self._pruned)
            ]
        sides = (_original, *(_pruned(number) for number in range(len(self._pruned))))
        original, *pruned = (
            self._parts(start, stop, arrays, {v: side(x) for v, x in tensors.items()})
            for side, arrays in zip(sides, self._arrays[start, stop], strict=True)
        )
        return {v: Pair(x, tuple(network[v] for network in pruned)) for v, x in original.items()}

    def _step(self, call: Call, args: tuple, kwargs: dict) -> Any:
        """Runs a call, whenever it is with the weights of the first time."""
        if call not in self._entries:
            found = [arrays_of(call, pruned) for pruned in self._pruned]
            self._entries[call] = [None if entry is None else dict(entry) for entry in found]
        original = keras.tree.map_structure(_original, (args, kwargs))
        outputs = [
            self._program.step(
                call, entry, *keras.tree.map_structure(_pruned(number), (args, kwargs))
            )
            for number, entry in enumerate(self._entries[call])
        ]
        return keras.tree.map_structure(
            lambda x, *others: Pair(x, others),
            self._program.step(call, arrays_of(call, self._original), *original),
            *outputs,
        )


def _original(x: Any) -> Any:
    return x.original if isinstance(x, Pair) else x


def _pruned(number: int) -> Callable[[Any], Any]:
    return lambda x: x.pruned[number] if isinstance(x, Pair) else x
