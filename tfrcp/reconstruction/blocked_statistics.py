"""Batch norm statistics of more images than fit into memory at once."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.batch_statistics import Cuts
from tfrcp.graph.calls import Call
from tfrcp.graph.parts import Tensors
from tfrcp.graph.program import Program
from tfrcp.graph.rules import find_rule
from tfrcp.graph.weights import Weights, arrays_of
from tfrcp.reconstruction.segments import Segments, as_numpy, inputs_of, live_bytes

AT_ONCE = 31 * 2**20
"""Bytes up to which the widest tensor of several images is made at once.

Above 32 MiB the GNU C library maps every tensor anew, and the kernel clears its pages: a ReLU of 32
images then takes four times as long.
"""

_MOST_PASSES = 8  # of `AT_ONCE` bytes, up to which images run compiled, part by part where wide
_KEPT = 2**29  # bytes of what is kept of all images between two batch norms
_UNSAFE = 100.0  # squared mean, in variances, from which the mean of squares does not tell these


def images_at_once(program: Program, arrays: Weights, images: Any) -> int:
    """How many images run at a time.

    Args:
        program: The program.
        arrays: Weights and sizes.
        images: Structure of arrays like the model's inputs.
    """
    return max(1, AT_ONCE // max(1, widest_bytes(program, arrays, images)))


def widest_bytes(program: Program, arrays: Weights, images: Any) -> int:
    """Bytes of the widest tensor of one image.

    Args:
        program: The program.
        arrays: Weights and sizes.
        images: Structure of arrays like the model's inputs.
    """
    return max(widths(program, arrays, images), default=0)


def widths(program: Program, arrays: Weights, images: Any) -> list[int]:
    """Bytes of the widest tensor of one image that every call makes; see `widest_bytes`.

    Where shapes are open, of all tensors that there are before the call.
    """
    shapes = [[v.shape[1:] for v in call.outputs] for call in program.graph.calls.calls]
    if any(None in shape for of_call in shapes for shape in of_call):
        return live_bytes(program, arrays, images)
    return [max((4 * math.prod(shape) for shape in s), default=0) for s in shapes]


def statistics_on(
    program: Program, arrays: Weights, images: Any, *, compiled: bool = True
) -> Callable[[Weights], dict[str, tuple[Any, Any]]]:
    """A function of a network's arrays to its batch norm statistics on certain images.

    Args:
        program: The program.
        arrays: Weights and sizes of the unpruned network.
        images: Structure of arrays like the model's inputs.
        compiled: Whether the network can be compiled.

    Returns:
        Function of arrays to what `Program.run_on_batch_statistics` finds.
    """
    count = len(keras.tree.flatten(images)[0])
    if count * widest_bytes(program, arrays, images) > _MOST_PASSES * AT_ONCE:
        return lambda candidate: statistics_in_blocks(program, candidate, images)
    run = program.run_on_batch_statistics
    if compiled:
        cuts = _cuts_at_wide_tensors(program, arrays, images)
        run = program.compile(functools.partial(run, cuts=cuts), arrays)
    return lambda candidate: run(candidate, images)[1]


def _cuts_at_wide_tensors(program: Program, arrays: Weights, images: Any) -> Cuts:
    """Parts of images, whose tensors have `AT_ONCE` bytes at most."""
    calls, count = program.graph.calls.calls, len(keras.tree.flatten(images)[0])
    wide = [bytes_ * count > AT_ONCE for bytes_ in widths(program, arrays, images)]
    until = len(wide) - wide[::-1].index(True) if True in wide else 0
    # Where images do not lie along the first axis, parts cannot be joined.
    whole = (v.batch == 0 and v.fold == 1 for call in calls[:until] for v in call.outputs)
    size = images_at_once(program, arrays, images)
    if not until or size >= count or not all(whole):
        return Cuts()
    return Cuts(frozenset(calls[:until]), size, -(-count // size))


def statistics_in_blocks(
    program: Program, arrays: Weights, images: Any, without: Collection[Call] = ()
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What `Program.run_on_batch_statistics` finds on all images, within limited memory.

    Args:
        program: The program.
        arrays: What `slice_weights` returns.
        images: Structure of arrays like the model's inputs.
        without: Calls of batch norms that normalize by their moving statistics.

    Returns:
        Dict that maps the path of every batch norm to the mean and the variance of its input,
        float32 arrays [channels].
    """
    own: dict[Call, Any] = {}

    def step(call: Call, args: tuple, kwargs: dict) -> Any:
        return program.step(call, own.get(call) or arrays_of(call, arrays), args, kwargs)

    def advance(start: int, stop: int, tensors: Tensors) -> Tensors:
        for place in range(start, stop):
            program.advance(place, tensors, step)
        return tensors

    segments = Segments(
        lambda part: inputs_of(program, images, part),
        advance,
        live_bytes(program, arrays, images),
        limit=_KEPT,
        count=len(keras.tree.flatten(images)[0]),
        at_once=[images_at_once(program, arrays, images)],
    )
    found: dict[str, list[tuple[Any, Any, int]]] = defaultdict(list)
    for index, call in enumerate(program.graph.calls.calls):
        entry = arrays_of(call, arrays)
        if entry is None or "moving_mean" not in entry or call in without:
            continue
        parts: list[tuple[Any, Any, int]] = []

        def look(tensors: Tensors, call: Call = call, parts: list = parts) -> None:
            x = call.bind(tensors)[0][0]
            parts.append((*statistics(call, x), math.prod(x.shape)))

        segments.stop_at(index, look)
        mean, variance = pooled(parts)
        own[call] = {**entry, "moving_mean": mean, "moving_variance": variance}
        found[call.path].append((mean, variance, sum(size for _, _, size in parts)))
    return {path: pooled(parts) for path, parts in found.items()}


def statistics(call: Call, x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and (biased) variance of every channel of a batch norm's input.

    The rule's are those of a compiled program; here NumPy, which adds up faster, reads the tensor
    twice instead of five times.

    Args:
        call: The batch norm's call.
        x: Its input.

    Returns:
        Two float32 arrays [channels].
    """
    array, axis = as_numpy(x), call.operation.axis % len(x.shape)
    if array.dtype == "float32" and axis == array.ndim - 1:
        mean, variance = _by_sums(array)
        unsafe = ~(mean**2 <= _UNSAFE * variance)
        if 4 * unsafe.sum() <= len(mean):  # such as channels that are constant
            about = array[..., unsafe] - mean[unsafe]
            variance[unsafe] = np.square(about).mean(axis=tuple(range(axis)))
            return mean.astype("float32"), variance.astype("float32")
    found = find_rule(call.operation).statistics(call, x)
    return tuple(ops.convert_to_numpy(array) for array in found)


def _by_sums(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance along the last axis from sums of numbers and of squares, float64."""
    images, channels = len(x), x.shape[-1]
    count = x.size // channels
    # Rows are made some hundred long where they are shorter: long ones are added up faster.
    times, positions = 1, count // images
    while positions % 2 == 0 and times * channels < 256:
        times, positions = 2 * times, positions // 2
    rows = x.reshape(images, positions, times * channels)
    sums = np.matmul(np.ones((1, positions), "float32"), rows)
    squares = np.einsum("bnc,bnc->bc", rows, rows)
    mean, square = (
        s.reshape(-1, channels).sum(axis=0, dtype="float64") / count for s in (sums, squares)
    )
    return mean, square - mean**2


def pooled(parts: list[tuple[Any, Any, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of all, from the mean, variance and size of parts; float32 arrays."""
    if len(parts) == 1:
        return parts[0][:2]
    means, variances, sizes = (np.array(a, "float64") for a in zip(*parts, strict=True))
    shares = sizes / sizes.sum()
    mean = shares @ means
    variance = shares @ (variances + (means - mean) ** 2)
    return mean.astype("float32"), variance.astype("float32")
