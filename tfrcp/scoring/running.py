"""Runs a model in inference mode, whatever made it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

Outputs = Callable[[Any], Any]


def run_model(model: keras.Model) -> Outputs:
    """A model as a function of inputs to outputs in inference mode.

    It is called as it is: so outputs keep their masks, and under a strategy there is one copy of
    them, where `predict_on_batch` would give that of every replica.

    Args:
        model: A built `keras.Model`.
    """
    return lambda inputs: model(inputs, training=False)
