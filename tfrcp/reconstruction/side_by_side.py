"""The original network and a pruned one, whose weights are still changing, side by side."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
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
    """A tensor of the original network and its counterpart in the pruned one."""

    original: Any
    pruned: Any


class SideBySide:
    """Runs both networks on images, from one call to another.

    Args:
        program: The program of the unpruned network.
        original: Its weights and sizes.
        pruned: Those of the pruned network. A layer runs with the weights that it has when it runs
            for the first time.
        parts: Runs parts of the program.
    """

    def __init__(self, program: Program, original: Weights, pruned: Weights, parts: Parts) -> None:
        self._program, self._original, self._pruned = program, original, pruned
        self._parts = parts
        self._arrays: dict[tuple[int, int], tuple[Any, Any]] = {}
        self._entries: dict[Call, Any] = {}
        self._called = Counter(call.path for call in program.graph.calls.calls)

    def segments(self, images: Any, limit: int) -> Segments:
        """A walk through both networks, whose tensors are of type `Pair`.

        Args:
            images: Structure of arrays like the model's inputs.
            limit: Bytes of the tensors that are kept for all images.
        """
        program = self._program
        walks = (live_bytes(program, w, images) for w in (self._original, self._pruned))
        live = [sum(pair) for pair in zip(*walks, strict=True)]
        return Segments(
            lambda part: {v: Pair(x, x) for v, x in inputs_of(program, images, part).items()},
            self._advance,
            live,
            limit=limit,
            count=len(keras.tree.flatten(images)[0]),
            at_once=self._at_once(images, live),
            join=lambda pairs: Pair(*(join([*map(side, pairs)]) for side in (_original, _pruned))),
        )

    def _at_once(self, images: Any, live: Sequence[int]) -> list[int]:
        """How many images run at a time, from each call on.

        Args:
            images: Structure of arrays like the model's inputs.
            live: Bytes for each image of what there is before every call.
        """
        found, widest = [], 1
        made = widths(self._program, self._original, images)
        for width, kept in zip(reversed(made), reversed([0, *live[1:]]), strict=True):
            widest = max(widest, width)
            found.append(max(1, AT_ONCE // max(widest, kept // 2)))
        return found[::-1]

    def _advance(self, start: int, stop: int, tensors: Tensors) -> Tensors:
        """Runs consecutive calls."""
        calls = self._program.graph.calls.calls[start:stop]
        if any(self._called[call.path] > 1 for call in calls):  # whose weights change in between
            for place in range(start, stop):
                self._program.advance(place, tensors, self._step)
            return tensors
        if (start, stop) not in self._arrays:
            self._arrays[start, stop] = tuple(
                self._parts.arrays(start, stop, arrays) for arrays in (self._original, self._pruned)
            )
        original, pruned = (
            self._parts(start, stop, arrays, {v: side(x) for v, x in tensors.items()})
            for side, arrays in zip((_original, _pruned), self._arrays[start, stop], strict=True)
        )
        return {value: Pair(x, pruned[value]) for value, x in original.items()}

    def _step(self, call: Call, args: tuple, kwargs: dict) -> Any:
        """Runs a call, whenever it is with the weights of the first time."""
        if call not in self._entries:
            entry = arrays_of(call, self._pruned)
            self._entries[call] = None if entry is None else dict(entry)
        original = keras.tree.map_structure(_original, (args, kwargs))
        pruned = keras.tree.map_structure(_pruned, (args, kwargs))
        return keras.tree.map_structure(
            Pair,
            self._program.step(call, arrays_of(call, self._original), *original),
            self._program.step(call, self._entries[call], *pruned),
        )


def _original(x: Any) -> Any:
    return x.original if isinstance(x, Pair) else x


def _pruned(x: Any) -> Any:
    return x.pruned if isinstance(x, Pair) else x
