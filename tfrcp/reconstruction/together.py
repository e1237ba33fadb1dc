"""Fits of several pruned networks of one original, layer by layer, side by side with it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from tfrcp.data.rows import count_rows
from tfrcp.graph.calls import Call
from tfrcp.graph.parts import Parts, Tensors
from tfrcp.graph.program import Program
from tfrcp.graph.weights import Weights
from tfrcp.reconstruction.side_by_side import SideBySide, beside

Look = Callable[[Tensors, dict[Call, Any]], None]
"""Sees what there is before a call, `Pair`s, and what others have computed of it."""


class Fit(Protocol):
    """A fit of one pruned network.

    Attributes:
        program: The program of the original.
        original: Its weights and sizes.
        fitted: Those of the pruned network, changed by the steps.
    """

    program: Program
    original: Weights
    fitted: Weights

    def steps(self, index: int, call: Call, images: int) -> Iterable[Look]:
        """Fits what a call has, in steps.

        Args:
            index: The call's number.
            call: The call.
            images: Number of images.

        Yields:
            Functions that are to be handed what there is before the call, for one block of images
            after another, before the next step.
        """


def run_together(
    fits: Sequence[Fit],
    images: Any,
    *,
    verbose: bool = False,
    limit: int | None = None,
    parts: Parts | None = None,
) -> None:
    """Fits several pruned networks of one original, which runs only once.

    Each comes out as if it were fitted alone. Where the tensors of all networks together exceed the
    limit, they are fitted one after another.

    Args:
        fits: The fits, changed.
        images: Structure of arrays like the model's inputs.
        verbose: Whether to show progress.
        limit: Bytes of the tensors that are kept for all images; beyond that, parts of the
            networks are run again. Defaults to no limit.
        parts: Runs parts of the program; those of an earlier run of the same program are compiled
            already.
    """
    limit, total = sys.maxsize if limit is None else limit, count_rows(images)
    program, parts = fits[0].program, parts or Parts(fits[0].program)
    networks = SideBySide(program, fits[0].original, [fit.fitted for fit in fits], parts)
    if len(fits) > 1 and total * max(networks.live_bytes(images)) > limit:
        for fit in fits:
            run_together([fit], images, verbose=verbose, limit=limit, parts=parts)
        return
    segments, calls = networks.segments(images, limit), program.graph.calls.calls
    progress = keras.utils.Progbar(len(calls), verbose=int(verbose), unit_name="layer")
    with np.errstate(over="ignore", invalid="ignore"):  # `solve` tells what is not finite
        for index, call in enumerate(calls):
            for looks in itertools.zip_longest(*(fit.steps(index, call, total) for fit in fits)):

                def look(tensors: Tensors, looks: tuple[Look | None, ...] = looks) -> None:
                    shared: dict[Call, Any] = {}
                    for number, one in enumerate(looks):
                        if one is not None:
                            one(beside(tensors, number), shared)

                segments.stop_at(index, look)
            progress.add(1)
