"""What stays frozen."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers, ops

from tests.networks.parts import HEAD, conv, head, image, network


@keras.saving.register_keras_serializable("tfrcp_tests")
class Twice(layers.Layer):
    def call(self, x):
        return x + x


@keras.saving.register_keras_serializable("tfrcp_tests")
class OwnConv2D(layers.Conv2D):
    def call(self, x):
        return super().call(tf.reverse(x, [-1]))


@network({"a": 4, "b": 5})
def custom_layer():
    """
    image - a - a layer that is shown to act on each channel alone - b - pool - head
    """
    inputs = image()
    x = Twice(name="twice")(conv(4, "a")(inputs))
    return keras.Model(inputs, head(conv(5, "b")(x)), name="custom_layer")


@network(
    {"b": 5},
    {"a": (4, "own (OwnConv2D): no rule"), **HEAD},
    unknown={"own": "OwnConv2D"},
)
def own_convolution():
    """
    image - a - a subclass of Conv2D that does something else - b - pool - head
    """
    inputs = image()
    x = OwnConv2D(4, 3, name="own")(conv(4, "a")(inputs))
    return keras.Model(inputs, head(conv(5, "b")(x)), name="own_convolution")


@network(
    {"d": 4},
    {
        "a": (3, "a (Conv2D): the activation softmax may mix channels"),
        "b": (4, "softmax (Activation): the activation softmax may mix channels"),
        "c": (5, "layer (Softmax)"),
        **HEAD,
    },
)
def softmax():
    """
    image - a with softmax - b - softmax activation - c - softmax layer - d - pool - head
    """
    inputs = image()
    x = conv(3, "a", activation="softmax")(inputs)
    x = layers.Activation("softmax", name="softmax")(conv(4, "b")(x))
    x = layers.Softmax(name="layer")(conv(5, "c")(x))
    return keras.Model(inputs, head(conv(4, "d")(x)), name="softmax")


@network(
    {"b": 5},
    {"a": (4, "an array as operand"), **HEAD},
)
def array_operand():
    """
    image - a - times [1 2 3 4] - b - pool - head
    """
    inputs = image()
    x = conv(4, "a")(inputs) * ops.convert_to_tensor([1.0, 2.0, 3.0, 4.0])
    return keras.Model(inputs, head(conv(5, "b")(x)), name="array_operand")
