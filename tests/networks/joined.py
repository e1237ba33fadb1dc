"""Concatenations, gates and other elementwise operations."""

from __future__ import annotations

import keras
from keras import layers, ops

from tests.networks.parts import HEAD, conv, head, image, network, norm, unit

# Concatenation.


@network({"a_conv": 3, "b_conv": 4, "c": 5, "d": 6})
def concatenated():
    """
    image -+- a -+- [a b] - c - bn -+
           +- b -+- [b a] - d - bn -+- [c d a] - pool - head
    """
    inputs = image()
    a, b = unit(inputs, 3, "a"), unit(inputs, 4, "b")
    c = norm("c_bn")(conv(5, "c")(layers.Concatenate(name="ab")([a, b])))
    d = norm("d_bn")(conv(6, "d")(layers.Concatenate(name="ba")([b, a])))
    return keras.Model(inputs, head(ops.concatenate([c, d, a], axis=-1)), name="concatenated")


@network({"a": 3, "b": 4})
def concatenated_and_added():
    """
    image -+- a -+- [a b] - bn - add - pool - head
           +- b -+               |
           +- c -----------------+

    The channels of c are those of a, then those of b.
    """
    inputs = image()
    a, b, c = conv(3, "a")(inputs), conv(4, "b")(inputs), conv(7, "c")(inputs)
    x = norm("bn")(layers.Concatenate(name="ab")([a, b]))
    return keras.Model(inputs, head(layers.Add(name="add")([x, c])), name="concat_and_add")


@network({"a": 3, "b": 4, "c": 5})
def flattened_and_concatenated():
    """
    image -+- a - flatten -+-----------+
           |               +- dense c -+- [a c b a] - head
           +- b - flatten -------------+
    """
    inputs = image(4, 4, 2)
    a = layers.Flatten(name="a_flat")(conv(3, "a")(inputs))
    b = layers.Flatten(name="b_flat")(layers.Conv2D(4, 3, name="b")(inputs))
    c = layers.Dense(5, name="c")(a)
    x = layers.Concatenate(name="join")([a, c, b, a])
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="flattened")


@network({"a": 4, "b": 5})
def concatenated_in_height():
    """
    image -+- a1 -+- [a1; a2] along the height - b - pool - head
           +- a2 -+
    """
    inputs = image()
    a = [conv(4, name)(inputs) for name in ("a", "a2")]
    x = conv(5, "b")(layers.Concatenate(axis=1, name="join")(a))
    return keras.Model(inputs, head(x), name="concatenated_in_height")


# Gates and other elementwise operations.


@network({"a_conv": 6, "squeeze": 2})
def squeeze_excite():
    """
    image - a -+- pool - reshape 1x1 - squeeze - excite (sigmoid) - multiply - pool - head
               +-----------------------------------------------------+
    """
    inputs = image()
    x = unit(inputs, 6, "a")
    gate = layers.Reshape((1, 1, 6), name="reshape")(layers.GlobalAveragePooling2D(name="mean")(x))
    gate = conv(2, "squeeze", 1, activation="relu")(gate)
    gate = conv(6, "excite", 1, activation="sigmoid")(gate)
    return keras.Model(inputs, head(layers.Multiply(name="scale")([x, gate])), name="squeeze")


@network({"a_conv": 6, "squeeze": 2})
def squeeze_excite_dense():
    """
    image - a -+- pool - dense squeeze - dense excite - reshape 1x1 - multiply - pool - head
               +------------------------------------------------------+
    """
    inputs = image()
    x = unit(inputs, 6, "a")
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="mean")(x)
    gate = layers.Dense(2, activation="relu", name="squeeze")(layers.Flatten(name="flat")(gate))
    gate = layers.Dense(6, activation="hard_sigmoid", name="excite")(gate)
    x = x * layers.Reshape((1, 1, -1), name="reshape")(gate)
    return keras.Model(inputs, head(x), name="squeeze_excite_dense")


@network(
    {"a": 4, "b": 5, "c": 4},
    {"map": (1, "spreads one channel over all others"), **HEAD},
    maskable=False,
)
def spatial_attention():
    """
    image -+- a - mean over channels - map (sigmoid) -+
           +- b --------------------------------- multiply - c - pool - head
    """
    inputs = image()
    x = ops.mean(conv(4, "a")(inputs), axis=-1, keepdims=True)
    x = conv(5, "b")(inputs) * conv(1, "map", activation="sigmoid")(x)
    return keras.Model(inputs, head(conv(4, "c")(x)), name="spatial_attention")


@network({"b": 4})
def operators():
    """
    image -+- a -+- (a + 2 b) a / 3 - negative - maximum with 0 - leaky ReLU - pool - head
           +- b -+
    """
    inputs = image()
    a, b = conv(4, "a")(inputs), conv(4, "b")(inputs)
    x = ops.maximum(-((a + b * 2.0) * a / 3.0), 0.0)
    return keras.Model(inputs, head(ops.leaky_relu(x) - b), name="operators")


@network({"a": 4}, keeps_zero=False)
def shifted():
    """
    image - a - 2 - x - 1 / (1 + x x) - rescale and shift - pool - head
    """
    inputs = image()
    x = 2.0 - conv(4, "a")(inputs)
    x = layers.Rescaling(0.5, offset=0.1, name="rescale")(1.0 / (x * x + 1.0))
    return keras.Model(inputs, head(x), name="shifted")


@network({"a": 2, "a:2": 1, "b": 5})
def mirrored():
    """
    image - a -+----------------- add - b - reverse channels - pool - head
               +- reverse channels +

    The first of a's five channels is coupled with the last, the second with the fourth.
    """
    inputs = image()
    x = conv(5, "a")(inputs)
    x = conv(5, "b")(layers.Add(name="add")([x, x[..., ::-1]]))
    return keras.Model(inputs, head(x[..., ::-1]), name="mirrored")
