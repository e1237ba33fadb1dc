"""Runs a model in inference mode, whatever made it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

Outputs = Callable[[Any], Any]


def run_model(model: keras.Model) -> Outputs:
    """A model as a function of inputs to outputs in inference mode.

    It is called as it is: so outputs keep their masks, and under a strategy there is one copy of
    them, where `predict_on_batch` would give that of every replica.

    Args:
        model: A built `keras.Model`.
    """
    return lambda inputs: model(inputs, training=False)


def in_blocks(outputs: Outputs, most: int) -> Outputs:
    """A function of inputs to outputs that takes no more than so many examples at once.

    Args:
        outputs: Function of inputs to outputs, each example's its own.
        most: Most examples in a call of it.
    """

    def whole(inputs: Any) -> Any:
        count = len(keras.tree.flatten(inputs)[0])
        if count <= most:
            return outputs(inputs)
        cuts = [slice(start, start + most) for start in range(0, count, most)]
        parts = [outputs(keras.tree.map_structure(lambda x, c=c: x[c], inputs)) for c in cuts]
        return keras.tree.map_structure(lambda *leaves: ops.concatenate(leaves), *parts)

    return whole
