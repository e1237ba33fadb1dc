"""A walk through a network that stops at calls, some images at a time, and stays within a limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.data import rows
from tfrcp.graph.calls import Call
from tfrcp.graph.parts import Tensors
from tfrcp.graph.program import Program
from tfrcp.graph.weights import Weights, arrays_of

Advance = Callable[[int, int, Tensors], Tensors]


class Segments:
    """Takes all images through a network, up to one call after another, in blocks of images.

    What lies between the calls before and those behind a cut is kept for all images; from there the
    network is run up to the call that is asked for. The cut moves along with the calls where what
    would have to be kept fits the limit, else to the narrowest place on the way. Where no place
    fits it stays, and the calls behind it are run again: more work, with the same result.

    Args:
        load: Function of a slice to the inputs of these images, by value.
        advance: Function of the number of a call, that of a later one, and what there is before the
            first of them, to what there is before the second. It may change what it is given.
        widths: Bytes for each image before every call, see `live_bytes`.
        limit: Bytes that may be kept at the cut.
        count: Number of images.
        at_once: How many images run at a time, from each call on; or one number, whatever the call.
            Where the cut is behind the widest tensors, blocks are joined to larger ones.
        join: Function of a list of tensors to one, along the first axis.
    """

    def __init__(
        self,
        load: Callable[[slice], Tensors],
        advance: Advance,
        widths: Sequence[int],
        *,
        limit: int,
        count: int,
        at_once: Sequence[int],
        join: Callable[[list[Any]], Any] = rows.join,
    ) -> None:
        self._advance, self._join = advance, join
        self._widths, self._most = widths, limit // count
        self._at = 0
        self._load = load
        self._at_once, self._block = at_once, at_once[0]
        self._blocks = [slice(i, i + self._block) for i in range(0, count, self._block)]
        self._kept: list[Tensors] = [{} for _ in self._blocks]  # nothing before the first cut

    def stop_at(self, index: int, look: Callable[[Tensors], None]) -> None:
        """Runs all blocks up to a call.

        Args:
            index: The call's number, not before that of an earlier stop.
            look: Is handed what is there before the call, for one block after another.
        """
        places = range(self._at + 1, index + 1)
        best = min(reversed(places), key=self._widths.__getitem__, default=None)
        if best is not None and self._widths[index] <= self._most:
            best = index
        moves = best is not None and self._widths[best] <= self._most
        for number, kept in enumerate(self._kept):
            tensors = dict(kept) if self._at else self._load(self._blocks[number])
            if moves:
                self._kept[number] = kept = {}
                tensors = self._advance(self._at, best, tensors)
                self._kept[number] = dict(tensors)
            look(self._advance(best if moves else self._at, index, tensors))
        if moves:
            self._at = best
            self._join_blocks()

    def _join_blocks(self) -> None:
        """Makes larger blocks of what is kept, where the calls behind the cut allow it."""
        times = self._at_once[min(self._at, len(self._at_once) - 1)] // self._block
        kept = self._kept
        if times < 2 or len(kept) < 2 or any(value.batch != 0 for value in kept[0]):
            return
        self._kept, self._block = [], times * self._block
        while kept:
            some, kept = kept[:times], kept[times:]
            self._kept.append(
                {v: self._join([block.pop(v) for block in some]) for v in (*some[0],)}
            )


def inputs_of(program: Program, images: Any, part: slice) -> Tensors:
    """The inputs of some images, cast to the types that the model takes.

    Args:
        program: The program.
        images: Structure of arrays like the model's inputs.
        part: Which images.
    """
    values = keras.tree.flatten(program.graph.calls.inputs)
    arrays = (np.asarray(x[part]) for x in keras.tree.flatten(images))
    return {v: a.astype(v.dtype, copy=False) for v, a in zip(values, arrays, strict=True)}


def live_bytes(program: Program, arrays: Weights, images: Any) -> list[int]:
    """Bytes for each image of the tensors that are there before every call of `Program.interpret`.

    The network's inputs are not counted.

    Args:
        program: The program.
        arrays: Weights and sizes.
        images: Structure of arrays like the model's inputs; the first image runs through.

    Returns:
        One int for each call, in order.
    """
    inputs = keras.tree.flatten(program.graph.calls.inputs)
    tensors, found = inputs_of(program, images, slice(1)), []

    def step(call: Call, args: tuple, kwargs: dict) -> Any:
        return program.step(call, arrays_of(call, arrays), args, kwargs)

    for index in range(len(program.graph.calls.calls)):
        found.append(sum(as_numpy(x).nbytes for v, x in tensors.items() if v not in inputs))
        program.advance(index, tensors, step)
    return found


def as_numpy(x: Any) -> np.ndarray:
    """A tensor as an array, of the same memory where that can be; it is not to be changed."""
    return np.asarray(x) if keras.backend.backend() == "tensorflow" else ops.convert_to_numpy(x)
