"""A small network whose channel vectors can all be listed, and made images with labels."""

from __future__ import annotations

import keras
import numpy as np

from tests.networks import head, unit

CLASSES = 3
GROUPS = ("unit0_conv", "unit1_conv", "unit2_conv")


def network(widths=(8, 10, 12), *, seed=0):
    """Three convolutions with batch norm, one channel group each; random weights."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 1), name="image")
    x = inputs
    for index, width in enumerate(widths):
        x = unit(x, width, f"unit{index}", strides=1 + (index > 0))
    return keras.Model(inputs, head(x), name="small")


def images(count, *, seed):
    """Images float32 [count, 8, 8, 1] that tell their labels int32 [count]."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count).astype("int32")
    noise = random.normal(size=(count, 8, 8, 1))
    return (noise + labels[:, None, None, None]).astype("float32"), labels


TRAIN = images(48, seed=0)
HOLDOUT = images(64, seed=1)
