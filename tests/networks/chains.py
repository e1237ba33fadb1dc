"""Chains of layers, and residual connections."""

from __future__ import annotations

import keras
from keras import layers, ops

from tests.networks.parts import HEAD, conv, head, image, network, norm, unit

# Plain chains.


@network({"a_conv": 4, "b": 6})
def chain():
    """
    image - a: conv bn relu - b - bn - relu - pool - head
    """
    inputs = image()
    x = unit(inputs, 4, "a")
    x = layers.ReLU(name="relu")(norm("b_bn")(conv(6, "b")(x)))
    return keras.Model(inputs, head(x), name="chain")


@network({"a_conv": 4, "b_conv": 5, "c": 6})
def vgg():
    """
    image 6x6 - a - max pool - b - flatten 3x3 - dense c - head

    Every channel of b holds nine inputs of c.
    """
    inputs = image()
    x = unit(inputs, 4, "a")
    x = unit(layers.MaxPooling2D(2, name="pool")(x), 5, "b")
    x = layers.Dense(6, activation="relu", name="c")(layers.Flatten(name="flatten")(x))
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="vgg")


@network({"a": 4, "b": 5}, {"head": (3, "softmax")})
def sequential():
    """
    Sequential: a - bn - relu - pool - dropout - flatten - dense b - head with softmax
    """
    return keras.Sequential(
        [
            image(),
            conv(4, "a"),
            norm("bn"),
            layers.ReLU(name="relu"),
            layers.AveragePooling2D(2, name="pool"),
            layers.Dropout(0.3, name="dropout"),
            layers.Flatten(name="flatten"),
            layers.Dense(5, name="b"),
            layers.Dense(3, activation="softmax", name="head"),
        ],
        name="sequential",
    )


@network({"a": 4, "b": 4, "c": 4})
def conv1d():
    """
    series [8, 2] - a, stride 2 - bn - max pool - b, dilated - depthwise x2 - c - flatten - head
    """
    inputs = keras.Input((8, 2), name="series")
    x = norm("a_bn")(layers.Conv1D(4, 3, strides=2, padding="same", name="a")(inputs))
    x = layers.MaxPooling1D(2, strides=1, name="max")(x)
    x = layers.Conv1D(4, 2, dilation_rate=2, activation="relu", name="b")(x)
    x = layers.DepthwiseConv1D(1, depth_multiplier=2, name="depthwise")(x)
    x = layers.Flatten(name="flatten")(layers.Conv1D(4, 1, name="c")(x))
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="conv1d")


@network({"a": 4, "b": 3})
def conv3d():
    """
    volume [5, 5, 5, 2] - a - bn - average pool - b - global max pool - head
    """
    inputs = keras.Input((5, 5, 5, 2), name="volume")
    x = norm("a_bn")(layers.Conv3D(4, 3, name="a")(inputs))
    x = layers.AveragePooling3D(2, strides=1, name="average")(x)
    x = layers.GlobalMaxPooling3D(name="pool")(layers.Conv3D(3, 2, name="b")(x))
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="conv3d")


@network({"a": 6, "b": 5})
def dense_sequence():
    """
    series [5, 4] - dense a - dense b - head, each applied to every step
    """
    inputs = keras.Input((5, 4), name="series")
    x = layers.Dense(6, activation="relu", name="a")(inputs)
    x = layers.Dense(5, activation="tanh", name="b")(x)
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="dense_sequence")


@network({"a": 4, "b": 5})
def spatial():
    """
    image - a - upsample - crop - zero pad - average pool - spatial dropout - b - global max - head
    """
    inputs = image()
    x = layers.UpSampling2D(2, interpolation="bilinear", name="up")(conv(4, "a")(inputs))
    x = layers.ZeroPadding2D(2, name="pad")(layers.Cropping2D(1, name="crop")(x))
    x = layers.SpatialDropout2D(0.2, name="dropout")(layers.AveragePooling2D(2, name="mean")(x))
    x = layers.GlobalMaxPooling2D(name="pool")(conv(5, "b")(x))
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="spatial")


@network({"a": 4, "b": 5}, sized=False)
def open_size():
    """
    image of any size - a, stride 2 - bn - every second pixel - b - pool - head
    """
    inputs = image(None, None, 3)
    x = norm("bn")(conv(4, "a", strides=2)(inputs))
    return keras.Model(inputs, head(conv(5, "b")(x[:, ::2, ::2, :])), name="open_size")


@network({"a": 4, "b": 5})
def not_trainable():
    """
    image - a, not trainable - bn, not trainable - b - pool - head
    """
    inputs = image()
    x = norm("bn", trainable=False)(conv(4, "a", trainable=False)(inputs))
    return keras.Model(inputs, head(conv(5, "b")(x)), name="not_trainable")


@network({"a": 4, "b": 5}, tolerance=3e-2)
def half_precision():
    """
    image - a - bn - relu - depthwise - b - bn - added to itself - pool - head

    Computed in bfloat16, weights in float32.
    """
    half = {"dtype": "mixed_bfloat16"}
    inputs = image()
    x = conv(4, "a", **half)(inputs)
    x = layers.ReLU(name="relu", **half)(norm("a_bn", **half)(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise", **half)(x)
    x = norm("bn", **half)(conv(5, "b", 1, **half)(x))
    x = layers.GlobalAveragePooling2D(name="pool", **half)(layers.Add(name="add", **half)([x, x]))
    return keras.Model(inputs, layers.Dense(3, name="head", **half)(x), name="half_precision")


# Residual connections.


@network({"stem_conv": 4, "one_conv": 5, "two": 3, "three_conv": 6})
def residual_a():
    """
    image - stem -+- one - conv - bn ---------------------- add - relu -+- three - four - bn - add
                  +- every second pixel - pad channels 1, 2 -+          +--------------------- +

    The stem's four channels live on in the second stage, as channels 1 to 4 of seven; the other
    three are added by `two`.
    """
    inputs = image()
    x = unit(inputs, 4, "stem")
    y = unit(x, 5, "one", strides=2)
    y = norm("two_bn")(conv(7, "two", use_bias=False)(y))
    shortcut = ops.pad(x[:, ::2, ::2, :], [[0, 0], [0, 0], [0, 0], [1, 2]])
    x = layers.ReLU(name="relu")(layers.Add(name="add")([y, shortcut]))
    y = norm("four_bn")(conv(7, "four", use_bias=False)(unit(x, 6, "three")))
    return keras.Model(inputs, head(layers.Add(name="add2")([x, y])), name="residual_a")


@network({"stem_conv": 4, "one_conv": 5, "project": 6})
def residual_b():
    """
    image - stem -+- one - two - bn ----- add - relu - pool - head
                  +- project - bn --------+
    """
    inputs = image()
    x = unit(inputs, 4, "stem")
    y = norm("two_bn")(conv(6, "two", use_bias=False)(unit(x, 5, "one", strides=2)))
    x = norm("project_bn")(conv(6, "project", 1, strides=2, use_bias=False)(x))
    x = layers.ReLU(name="relu")(layers.Add(name="add")([y, x]))
    return keras.Model(inputs, head(x), name="residual_b")


@network({"expand_conv": 6, "stem_conv": 3})
def inverted_residual():
    """
    image - stem -+- expand 1x1 - depthwise - bn - relu6 - project 1x1 - bn - add - pool - head
                  +-----------------------------------------------------------+
    """
    inputs = image()
    x = unit(inputs, 3, "stem")
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(
        unit(x, 6, "expand", 1)
    )
    y = layers.Activation("relu6", name="relu6")(norm("depthwise_bn")(y))
    y = norm("project_bn")(conv(3, "project", 1, use_bias=False)(y))
    return keras.Model(inputs, head(layers.Add(name="add")([x, y])), name="inverted_residual")


@network({"stem_conv": 3, "pointwise": 5})
def depthwise():
    """
    image - stem - depthwise x2 - bn - relu - pointwise - bn - relu - pool - head

    Each stem channel has two depthwise channels, side by side, that stay or go with it.
    """
    inputs = image()
    x = unit(inputs, 3, "stem")
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="depthwise")(x)
    x = layers.ReLU(name="depthwise_relu")(norm("depthwise_bn")(x))
    x = layers.ReLU(name="relu")(norm("pointwise_bn")(conv(5, "pointwise", 1)(x)))
    return keras.Model(inputs, head(x), name="depthwise")


@network({"pointwise": 5})
def depthwise_of_input():
    """
    image - depthwise x2 - bn - pointwise - pool - head

    The depthwise channels are the image's.
    """
    inputs = image()
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(inputs)
    x = conv(5, "pointwise", 1)(norm("bn")(x))
    return keras.Model(inputs, head(x), name="depthwise_of_input")


@network({"b": 4})
def add_three():
    """
    image -+- a -+
           +- b -+- add - average with a - maximum with b - pool - head
           +- c -+
    """
    inputs = image()
    a, b, c = (conv(4, name)(inputs) for name in "abc")
    x = layers.Average(name="average")([layers.Add(name="add")([a, b, c]), a])
    return keras.Model(inputs, head(layers.Maximum(name="max")([x, b])), name="add_three")


@network({"a": 4, "c": 5}, {"b": (2, "joined with a model input"), **HEAD})
def added_to_input():
    """
    image -+- a - b - add - c - pool - head
           +----------+
    """
    inputs = image()
    x = conv(2, "b")(conv(4, "a")(inputs))
    x = conv(5, "c")(layers.Add(name="add")([x, inputs]))
    return keras.Model(inputs, head(x), name="added_to_input")
