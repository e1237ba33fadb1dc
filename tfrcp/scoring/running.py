"""Runs a model in inference mode, whatever made it.

`keras.ops.add` (Keras 3.15 on TensorFlow) takes an operand [batch, 1, ..., 1] for a bias where the
batch is as large as the second or the last axis of what it is added to, and then adds one image's
number to a channel. Batches of such sizes are cut; see docs/platform_faults.md.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Any

import keras

from tfrcp.graph.calls import Call, read_calls

Outputs = Callable[[Any], Any]


def run_model(model: keras.Model) -> Outputs:
    """A model as a function of inputs to outputs in inference mode.

    It is called as it is: so outputs keep their masks, and under a strategy there is one copy of
    them, where `predict_on_batch` would give that of every replica.

    Args:
        model: A built `keras.Model`.
    """
    try:
        sizes = sizes_taken_for_bias(read_calls(model).calls)
    except ValueError:  # what is in a subclassed model cannot be seen
        sizes = set()
    return in_other_sizes(lambda inputs: model(inputs, training=False), sizes)


def sizes_taken_for_bias(calls: Iterable[Call]) -> set[int]:
    """Batch sizes at which Keras takes an operand of an addition for a bias."""
    sizes = set()
    for call in calls:
        if type(call.operation).__name__ != "Add" or keras.backend.backend() != "tensorflow":
            continue
        shapes = [tuple(value.shape) for value in call.inputs]
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
        count = first = len(keras.tree.flatten(inputs)[0])
        while first in sizes:
            first -= 1
        if first == count:
            return run(inputs)
        cuts = [slice(first), *(slice(i, i + 1) for i in range(first, count))]
        parts = [run(keras.tree.map_structure(lambda x, c=cut: x[c], inputs)) for cut in cuts]
        return keras.tree.map_structure(lambda *leaves: keras.ops.concatenate(leaves), *parts)

    return whole
