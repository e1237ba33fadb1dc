"""Small networks with random weights and images, for the tests of criteria.

`MAKERS`, `READERS` and `NORMS` say by hand what a trace has to find: where the channels of each
group are made, read and normalized.
"""

from __future__ import annotations

import keras
import numpy as np

from tests.networks import NETWORKS
from tests.references import images_for, randomize
from tfrcp import trace

PLAIN, RESIDUAL, DEPTHWISE, CONCATENATED = "chain", "residual_b", "depthwise", "concatenated"
KINDS = (PLAIN, RESIDUAL, DEPTHWISE, CONCATENATED)

# Group: layer and the kernel's axis along which it makes the channels.
MAKERS = {
    PLAIN: {"a_conv": [("a_conv", 3)], "b": [("b", 3)]},
    RESIDUAL: {
        "stem_conv": [("stem_conv", 3)],
        "one_conv": [("one_conv", 3)],
        "project": [("two", 3), ("project", 3)],
    },
    DEPTHWISE: {
        "stem_conv": [("stem_conv", 3), ("depthwise", 2)],
        "pointwise": [("pointwise", 3)],
    },
    CONCATENATED: {
        "a_conv": [("a_conv", 3)],
        "b_conv": [("b_conv", 3)],
        "c": [("c", 3)],
        "d": [("d", 3)],
    },
}
# Group: layer, and the layer's inputs that channel j takes.
READERS = {
    PLAIN: {"a_conv": {"b": lambda j: [j]}, "b": {"head": lambda j: [j]}},
    RESIDUAL: {
        "stem_conv": {"one_conv": lambda j: [j], "project": lambda j: [j]},
        "one_conv": {"two": lambda j: [j]},
        "project": {"head": lambda j: [j]},
    },
    DEPTHWISE: {
        "stem_conv": {"pointwise": lambda j: [2 * j, 2 * j + 1]},
        "pointwise": {"head": lambda j: [j]},
    },
    CONCATENATED: {
        "a_conv": {"c": lambda j: [j], "d": lambda j: [4 + j], "head": lambda j: [11 + j]},
        "b_conv": {"c": lambda j: [3 + j], "d": lambda j: [j]},
        "c": {"head": lambda j: [j]},
        "d": {"head": lambda j: [5 + j]},
    },
    "vgg": {
        "a_conv": {"b_conv": lambda j: [j]},
        "b_conv": {"c": lambda j: list(range(j, 45, 5))},
        "c": {"head": lambda j: [j]},
    },
    "concatenated_and_added": {
        "a": {"head": lambda j: [j]},
        "b": {"head": lambda j: [3 + j]},
    },
    "sequential": {
        "a": {"b": lambda j: list(range(j, 36, 4))},
        "b": {"head": lambda j: [j]},
    },
}
# Group: batch norm, and its channels that channel j takes.
NORMS = {
    PLAIN: {"a_conv": {"a_bn": lambda j: [j]}, "b": {"b_bn": lambda j: [j]}},
    RESIDUAL: {
        "stem_conv": {"stem_bn": lambda j: [j]},
        "one_conv": {"one_bn": lambda j: [j]},
        "project": {"two_bn": lambda j: [j], "project_bn": lambda j: [j]},
    },
    DEPTHWISE: {
        "stem_conv": {"stem_bn": lambda j: [j], "depthwise_bn": lambda j: [2 * j, 2 * j + 1]},
        "pointwise": {"pointwise_bn": lambda j: [j]},
    },
    CONCATENATED: {
        "a_conv": {"a_bn": lambda j: [j]},
        "b_conv": {"b_bn": lambda j: [j]},
        "c": {"c_bn": lambda j: [j]},
        "d": {"d_bn": lambda j: [j]},
    },
}


def network(name, seed=0):
    """A model with random weights, and its trace."""
    model = NETWORKS[name].build()
    randomize(model, seed)
    return model, trace(model)


def labelled(model, count, seed=1):
    """Random images and labels of three classes."""
    return images_for(model, count, seed), np.random.default_rng(seed).integers(0, 3, count)


def kernel(model, layer):
    """A layer's kernel, float64."""
    return np.asarray(model.get_layer(layer).kernel, dtype="float64")


class Factor(keras.layers.Layer):
    """Multiplies every channel by a number, 1 at first."""

    def build(self, shape):
        self.factor = self.add_weight(shape=shape[-1:], initializer="ones", name="factor")

    def call(self, x):
        return x * self.factor


def with_factors(model, *, before=(), behind=()):
    """A clone in float64 with a `Factor` before or behind some layers; and the factors by layer."""
    factors = {name: Factor(name=f"factor_{name}", dtype="float64") for name in (*before, *behind)}

    def exact(layer):
        dtype = {"dtype": "float64"} if isinstance(layer, keras.layers.Layer) else {}
        return type(layer).from_config({**layer.get_config(), **dtype})

    def call(layer, *args, **kwargs):
        if layer.name in before:
            args = (factors[layer.name](args[0]), *args[1:])
        y = layer(*args, **kwargs)
        return factors[layer.name](y) if layer.name in behind else y

    functional = keras.Model(model.inputs[0], model.outputs[0])
    clone = keras.models.clone_model(functional, clone_function=exact, call_function=call)
    for layer in model.layers:
        clone.get_layer(layer.name).set_weights(layer.get_weights())
    return clone, {name: factor.factor for name, factor in factors.items()}


def assert_scores(scores, expected, tolerance=1e-4):
    """Holds scores against expected ones, by group, relative to the group's largest."""
    assert scores.keys() == expected.keys()
    for group, wanted in expected.items():
        wanted = np.asarray(wanted)
        assert scores[group].shape == wanted.shape, group
        assert np.abs(scores[group] - wanted).max() < tolerance * wanted.max(), group
