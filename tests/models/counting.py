"""Counts a network by its layers, independently of the package."""

import keras
import numpy as np

SMALL = (8, 8, 1)


def convolutions(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


def flops(model):
    """MACs of the convolutions and dense layers, written out."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            total += layer.kernel.shape.num_elements() * np.prod(layer.output.shape[1:3])
        elif isinstance(layer, keras.layers.Dense):
            total += layer.kernel.shape.num_elements()
    return int(total)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def images(shape=SMALL, count=2):
    return np.random.default_rng(0).normal(size=(count, *shape)).astype("float32")
