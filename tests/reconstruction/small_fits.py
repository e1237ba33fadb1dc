"""Small networks with fits of their kernels."""

import keras
import numpy as np
from keras import layers

import tfrcp
from tests.networks import head, image, norm
from tests.references import flat, full_masks, randomize
from tfrcp.reconstruction import reconstruct

METHODS = ("sequential", "cached")


def fit(model, graph, masks, x, method, **options):
    """The pruned model before and after, and the layers that were left out."""
    pruned = tfrcp.slice_model(model, graph, masks)
    left_out = reconstruct(
        pruned, model, graph, masks, (x,), method, **{"verbose": False, **options}
    )
    return pruned, left_out


def distance(model, pruned, x):
    """Largest difference of the outputs, relative to the largest output."""
    pairs = zip(flat(model(x)), flat(pruned(x)), strict=True)
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)


def keep_but(graph, name, *removed):
    masks = full_masks(graph)
    masks[name][list(removed)] = False
    return masks


def network(units=6, use_bias=True, then_norm=False):
    """image 6x6x2 - a 3x3 - relu - b 3x3, `units` channels - (bn) - pool - head"""
    inputs = image()
    x = layers.Conv2D(5, 3, activation="relu", name="a")(inputs)
    x = layers.Conv2D(units, 3, use_bias=use_bias, name="b")(x)
    model = keras.Model(inputs, head(norm("b_bn")(x) if then_norm else x), name="network")
    randomize(model)
    return model


def two_dense(bias=True):
    """series [7, 4] - dense hidden - dense out"""
    inputs = keras.Input((7, 4), name="series")
    x = layers.Dense(6, activation="relu", name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(3, use_bias=bias, name="out")(x), name="two_dense")
    randomize(model)
    return model
