"""Batch norm statistics of more images than fit into memory at once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.calls import Call, Value
from tfrcp.graph.program import Program
from tfrcp.graph.rules import find_rule
from tfrcp.graph.weights import Weights, arrays_of
from tfrcp.reconstruction.segments import Segments, live_bytes

AT_ONCE = 2**28
"""Bytes up to which the widest tensor of several images is made at once."""

_KEPT = 2**30  # bytes of what is kept of all images between two batch norms
_BLOCK = 32  # images that run at a time beyond `AT_ONCE`


def widest_bytes(program: Program, arrays: Weights, images: Any) -> int:
    """Bytes of the widest tensor of one image.

    Args:
        program: The program.
        arrays: Weights and sizes.
        images: Structure of arrays like the model's inputs.
    """
    shapes = [v.shape[1:] for call in program.graph.calls.calls for v in call.outputs]
    if any(None in shape for shape in shapes):
        return max(live_bytes(program, arrays, images), default=0)
    return max((4 * math.prod(shape) for shape in shapes), default=0)


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

    inputs = keras.tree.flatten(images)
    segments = Segments(
        program,
        dict(zip(keras.tree.flatten(program.graph.calls.inputs), inputs, strict=True)),
        lambda x, part: x[part],
        step,
        live_bytes(program, arrays, images),
        limit=_KEPT,
        count=len(inputs[0]),
        block=_BLOCK,
    )
    found: dict[str, list[tuple[Any, Any, int]]] = defaultdict(list)
    for index, call in enumerate(program.graph.calls.calls):
        entry = arrays_of(call, arrays)
        if entry is None or "moving_mean" not in entry or call in without:
            continue
        parts: list[tuple[Any, Any, int]] = []

        def look(tensors: dict[Value, Any], call: Call = call, parts: list = parts) -> None:
            x = call.bind(tensors)[0][0]
            mean, variance = find_rule(call.operation).statistics(call, x)
            size = math.prod(x.shape)
            parts.append((ops.convert_to_numpy(mean), ops.convert_to_numpy(variance), size))

        segments.stop_at(index, look)
        mean, variance = pooled(parts)
        own[call] = {**entry, "moving_mean": mean, "moving_variance": variance}
        found[call.path].append((mean, variance, sum(size for _, _, size in parts)))
    return {path: pooled(parts) for path, parts in found.items()}


def pooled(parts: list[tuple[Any, Any, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of all, from the mean, variance and size of parts; float32 arrays."""
    if len(parts) == 1:
        return parts[0][:2]
    means, variances, sizes = (np.array(a, "float64") for a in zip(*parts, strict=True))
    shares = sizes / sizes.sum()
    mean = shares @ means
    variance = shares @ (variances + (means - mean) ** 2)
    return mean.astype("float32"), variance.astype("float32")
