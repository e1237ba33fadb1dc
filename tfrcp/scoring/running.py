"""Runs a model in inference mode, whatever made it.

`keras.ops.add` (Keras 3.15 on TensorFlow) takes an operand [batch, 1, ..., 1] for a bias where the
batch is as large as the second or the last axis of what it is added to, and then adds one image's
number to a channel. Batches of such sizes are cut; see docs/platform_faults.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Container
from typing import Any

import keras
import tensorflow as tf

from tfrcp.data.rows import count_rows, join, take

Outputs = Callable[[Any], Any]


def run_model(model: keras.Model) -> Outputs:
    """A model as a function of inputs to outputs in inference mode.

    It is called as it is: so outputs keep their masks, and under a strategy there is one copy of
    them, where `predict_on_batch` would give that of every replica.
    """
    run = functools.partial(model, training=False)
    return in_other_sizes(run, sizes_taken_for_bias(model))


def run_compiled(model: keras.Model) -> Outputs:
    """As `run_model`, compiled, which drops every tensor after its last use; masks are lost.

    A model that cannot be compiled is called as it is, and so is one with losses of its own, which
    are those of the last call.
    """
    plain = run_model(model)
    if keras.backend.backend() != "tensorflow" or model.run_eagerly:
        return plain

    run = functools.partial(model, training=False)
    compiled = tf.function(run, autograph=False, reduce_retracing=True)
    outputs = in_other_sizes(compiled, sizes_taken_for_bias(model))
    failed: bool | None = None

    def either(inputs: Any) -> Any:
        nonlocal failed
        if failed is None:
            plain(take(inputs, slice(1)))
            failed = bool(model.losses)
        if not failed:
            try:
                return outputs(inputs)
            except Exception:  # whatever a layer does that a graph does not have
                failed = True
        return plain(inputs)

    return either


def run_within_memory(model: keras.Model, limit: int) -> Outputs:
    """As `run_compiled`, with as many examples at once as memory should hold."""
    return in_blocks(run_compiled(model), max(1, limit // max(1, _widest(model))))


def _widest(model: keras.Model) -> int:
    """Bytes of the widest tensor of one example; axes of open size count as 1."""
    widest = 0
    for operation in getattr(model, "operations", None) or []:
        if isinstance(operation, keras.Model):
            widest = max(widest, _widest(operation))
        for tensor in keras.tree.flatten(getattr(operation, "output", ())):
            widest = max(widest, 4 * math.prod(n or 1 for n in tensor.shape[1:]))
    return widest


def sizes_taken_for_bias(model: keras.Model) -> set[int]:
    """Batch sizes at which Keras takes an operand of an addition for a bias.

    Args:
        model: A model; into layers that are no models nobody looks.
    """
    sizes: set[int] = set()
    if keras.backend.backend() != "tensorflow" or not isinstance(model, keras.Model):
        return sizes
    for operation in getattr(model, "operations", None) or model.layers:
        sizes |= sizes_taken_for_bias(operation)
        if type(operation).__name__ != "Add":
            continue
        for node in operation._inbound_nodes:
            shapes = [tuple(tensor.shape) for tensor in node.input_tensors]
            if any(shape and all(n == 1 for n in shape[1:]) for shape in shapes):
                sizes |= {n for shape in shapes if len(shape) > 1 for n in (shape[1], shape[-1])}
    return sizes - {1, None}


def in_other_sizes(run: Outputs, sizes: Container[int]) -> Outputs:
    """The function, which is given no batch of certain sizes, but parts of it.

    Args:
        run: A function of inputs to outputs, example by example.
        sizes: The sizes; 1 is none of them.
    """

    def whole(inputs: Any) -> Any:
        count = first = count_rows(inputs)
        while first in sizes:
            first -= 1
        if first == count:
            return run(inputs)
        cuts = [slice(first), *(slice(i, i + 1) for i in range(first, count))]
        return join([run(take(inputs, cut)) for cut in cuts])

    return whole


def in_blocks(outputs: Outputs, most: int) -> Outputs:
    """A function of inputs to outputs that takes no more than so many examples at once.

    Args:
        outputs: Function of inputs to outputs, each example's its own.
        most: Most examples in a call of it.
    """

    def whole(inputs: Any) -> Any:
        count = count_rows(inputs)
        if count <= most:
            return outputs(inputs)
        cuts = [slice(start, start + most) for start in range(0, count, most)]
        return join([outputs(take(inputs, cut)) for cut in cuts])

    return whole
