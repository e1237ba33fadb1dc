"""Positions that are moved about; grouped and other convolutions; layers that see all channels."""

from __future__ import annotations

import keras
from keras import layers, ops

from tests.networks.parts import conv, head, image, network, norm

# Moving positions about.


@network({"a": 6, "b": 5, "c": 4})
def reshaped():
    """
    image 4x4 - a - reshape to 16 steps - dense b - back to 4x4 - c - reshape to [4, 16] - flatten
    - head
    """
    inputs = image(4, 4, 2)
    x = layers.Dense(5, name="b")(layers.Reshape((16, 6), name="steps")(conv(6, "a")(inputs)))
    x = conv(4, "c")(ops.reshape(x, (-1, 4, 4, 5)))
    x = layers.Flatten(name="flatten")(layers.Reshape((4, 16), name="rows")(x))
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="reshaped")


@network({"a": 5, "b": 4})
def permuted():
    """
    image 4x6 - a - channels first - channels last - b - channels first - flatten - head
    """
    inputs = image(4, 6, 2)
    x = layers.Permute((3, 1, 2), name="first")(conv(5, "a")(inputs))
    x = conv(4, "b")(ops.transpose(x, (0, 2, 3, 1)))
    x = layers.Flatten(name="flatten")(layers.Permute((3, 2, 1), name="again")(x))
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="permuted")


@network({"a": 5, "b": 4})
def whole_slices():
    """
    image - a - the last two rows, all channels by number - b - last four channels - pool - squeeze
    - head
    """
    inputs = image()
    x = conv(5, "a")(inputs)[:, -2:, ::2, 0:5]
    x = layers.GlobalAveragePooling2D(name="pool")(conv(4, "b")(x)[..., -4:])
    x = ops.squeeze(x[:, None, :], axis=-2)
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="whole_slices")


@network({"a": 2, "a:2": 1, "a:3": 2, "b": 4, "c": 4})
def overlapping_slices():
    """
    image - a -+- the first three channels - b -+
               +- the last three channels -- c -+- [b c] - pool - head

    The one of a's five channels that both see is a group of its own.
    """
    inputs = image()
    x = conv(5, "a")(inputs)
    b, c = conv(4, "b")(x[..., :3]), conv(4, "c")(x[..., 2:])
    return keras.Model(inputs, head(layers.Concatenate(name="bc")([b, c])), name="overlapping")


@network({"a": 2, "a:2": 2, "b": 3})
def split():
    """
    image - a - split -+- b ---+
                       +-------+- concatenate - pool - head
    """
    inputs = image()
    left, right = ops.split(conv(4, "a")(inputs), 2, axis=-1)
    x = layers.Concatenate(name="join")([conv(3, "b")(left), right])
    return keras.Model(inputs, head(x), name="split")


@network({"a": 3, "b": 4}, regroups=True)
def shuffled():
    """
    image - a - channels 0 1 2 3 4 5 to 0 3 1 4 2 5 - b - pool - head

    The shuffle lays six channels out as 2 x 3, so two by two they stay or go.
    """
    inputs = image()
    x = layers.Reshape((6, 6, 2, 3), name="rows")(conv(6, "a")(inputs))
    x = layers.Reshape((6, 6, 6), name="flat")(layers.Permute((1, 2, 4, 3), name="swap")(x))
    return keras.Model(inputs, head(conv(4, "b")(x)), name="shuffled")


# Other convolutions, and layers that see all channels.


@network({"a": 3, "grouped": 2}, regroups=True)
def grouped():
    """
    image - a - grouped, two groups of three to two channels - bn - pool - head

    The same channels of every group stay or go.
    """
    inputs = image()
    x = norm("bn")(conv(4, "grouped", groups=2)(conv(6, "a")(inputs)))
    return keras.Model(inputs, head(x), name="grouped")


@network({"a": 3}, regroups=True)
def grouped_whole():
    """
    image - a - grouped, three groups of two to two channels - bn - pool - head

    Whole groups stay or go.
    """
    inputs = image()
    x = norm("bn")(conv(6, "grouped", groups=3)(conv(6, "a")(inputs)))
    return keras.Model(inputs, head(x), name="grouped_whole")


@network({"a": 3, "separable": 5, "transposed": 4})
def other_convolutions():
    """
    image - a - separable x2 - bn - transposed, stride 2 - bn - pool - head
    """
    inputs = image()
    x = layers.SeparableConv2D(5, 3, depth_multiplier=2, name="separable")(conv(3, "a")(inputs))
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same", name="transposed")(norm("a_bn")(x))
    return keras.Model(inputs, head(norm("b_bn")(x)), name="other_convolutions")


@network({"a": 6, "b": 4}, maskable=False)
def layer_norm():
    """
    image - a - layer normalization - b - root mean square normalization - pool - head
    """
    inputs = image()
    x = layers.LayerNormalization(name="layer_norm")(conv(6, "a")(inputs))
    x = layers.RMSNormalization(name="rms_norm")(conv(4, "b")(x))
    return keras.Model(inputs, head(x), name="layer_norm")


@network({"a": 3, "b": 4}, maskable=False, regroups=True)
def group_norm():
    """
    image - a - two groups normalized - b - every channel normalized - pool - head
    """
    inputs = image()
    x = layers.GroupNormalization(2, name="group_norm")(conv(6, "a")(inputs))
    x = layers.GroupNormalization(-1, name="instance_norm")(conv(4, "b")(x))
    return keras.Model(inputs, head(x), name="group_norm")


@network({"a": 6, "attention": 2})
def attention():
    """
    series [5, 4] - a -+- attention, two heads - add - head
                       +--------------------------+
    """
    inputs = keras.Input((5, 4), name="series")
    x = layers.Dense(6, activation="relu", name="a")(inputs)
    y = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = layers.Add(name="add")([x, y])
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="attention")


@network({"a": 4, "b": 5})
def slopes():
    """
    image - a - PReLU, slopes for each position - b - PReLU, slopes for each channel - pool - head
    """
    inputs = image()
    x = layers.PReLU(name="a_prelu")(conv(4, "a")(inputs))
    x = layers.PReLU(shared_axes=(1, 2), name="b_prelu")(conv(5, "b")(x))
    return keras.Model(inputs, head(x), name="slopes")
