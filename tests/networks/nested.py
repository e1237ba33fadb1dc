"""Shared and nested layers, several inputs and outputs."""

from __future__ import annotations

import keras
from keras import layers, ops

from tests.networks.parts import HEAD, conv, head, image, network, norm


@network({"a": 4})
def called_twice():
    """
    image - a - shared - bn - relu - shared - bn - pool - head

    The shared layer's outputs are its inputs, so they are one group with a's channels.
    """
    inputs = image()
    shared, bn = conv(4, "shared"), norm("bn")
    x = layers.ReLU(name="relu")(bn(shared(conv(4, "a")(inputs))))
    return keras.Model(inputs, head(bn(shared(x))), name="called_twice")


@network({"shared_conv": 4})
def siamese():
    """
    left  6x6 -+- shared conv - pool -+
               |                      +- difference - square - head
    right 8x8 -+- shared conv - pool -+
    """
    left, right = (keras.Input((n, n, 2), name=s) for n, s in ((6, "left"), (8, "right")))
    shared, pool = conv(4, "shared_conv"), layers.GlobalAveragePooling2D(name="pool")
    x = layers.Subtract(name="sub")([pool(shared(left)), pool(shared(right))])
    x = layers.Dense(3, name="head")(ops.square(x))
    return keras.Model([left, right], x, name="siamese")


@network({"b": 4})
def norm_of_two():
    """
    image -+- a - bn -+
           |          +- [a b] - pool - head
           +- b - bn -+

    Both batch norms are one layer, so a and b are one group.
    """
    inputs = image()
    bn = norm("bn")
    a, b = bn(conv(4, "a")(inputs)), bn(conv(4, "b")(inputs))
    return keras.Model(inputs, head(layers.Concatenate(name="ab")([a, b])), name="norm_of_two")


@network({"a": 4, "b": 5})
def not_foldable():
    """
    image - a with bias and ReLU - bn - b -+- bn - add - pool - head
                                           +------+
    """
    inputs = image()
    x = norm("a_bn")(conv(4, "a", activation="relu")(inputs))
    x = conv(5, "b")(x)
    x = layers.Add(name="add")([norm("b_bn")(x), x])
    return keras.Model(inputs, head(x), name="not_foldable")


@network({"a": 4, "b": 5, "c": 3})
def norms_without_weights():
    """
    image - a - bn without scale and offset - b - bn without scale - bn without offset - c - head
    """
    inputs = image()
    x = norm("a_bn", scale=False, center=False)(conv(4, "a")(inputs))
    x = norm("b_bn", scale=False)(conv(5, "b", use_bias=False)(x))
    x = conv(3, "c")(norm("b_bn2", center=False)(x))
    return keras.Model(inputs, head(x), name="norms_without_weights")


@network({"a": 4, "inner/b": 5, "tail/d": 3, "tail/e": 4})
def nested():
    """
    image - a - inner: ( b - bn - c ) - inner again - tail: Sequential( relu - d - e ) - head

    Called twice, the inner model must take what it gives: its c makes the channels of a.
    """
    x = start = keras.Input((6, 6, 4), name="start")
    for layer in (conv(5, "b"), norm("b_bn"), conv(4, "c")):
        x = layer(x)
    inner = keras.Model(start, x, name="inner")
    tail = keras.Sequential([layers.ReLU(name="relu"), conv(3, "d"), conv(4, "e")], name="tail")
    inputs = image()
    x = tail(inner(inner(conv(4, "a")(inputs))))
    return keras.Model(inputs, head(layers.Add(name="add")([x, x])), name="nested")


@network({"a": 3, "first/conv": 4, "second/conv": 5})
def same_names():
    """
    image - a - first: ( conv ) - second: ( conv ) - pool - head
    """

    def inner(name, channels, filters):
        start = keras.Input((6, 6, channels), name="start")
        return keras.Model(start, conv(filters, "conv")(start), name=name)

    inputs = image()
    x = inner("second", 4, 5)(inner("first", 3, 4)(conv(3, "a")(inputs)))
    return keras.Model(inputs, head(x), name="same_names")


@network({"a": 3, "inner/c": 4, "inner/d": 2})
def nested_of_dicts():
    """
    image -+- a -+                                 +- c -+
           |     +- inner: {"p", "q"} - subtract --+     +- [c d a] - pool - head
           +- b -+                                 +- d -+
    """
    p, q = (keras.Input((6, 6, 3), name=name) for name in "pq")
    x = layers.Subtract(name="sub")([p, q])
    inner = keras.Model({"p": p, "q": q}, [conv(4, "c")(x), conv(2, "d")(x)], name="inner")
    inputs = image()
    a, b = conv(3, "a")(inputs), conv(3, "b")(inputs)
    c, d = inner({"q": a, "p": b})
    return keras.Model(inputs, head(layers.Concatenate(name="join")([c, d, a])), name="dicts")


@network(
    {"left": 4},
    {"head": (3, "model output"), "other": (2, "model output")},
)
def dicts():
    """
    {"y": 6x6x2} - left --+- add - pool - head       -> {"p": head,
    {"x": 6x6x3} - right -+
                   right --- global max pool - other ->  "o": other}
    """
    inputs = {"y": keras.Input((6, 6, 2), name="y"), "x": keras.Input((6, 6, 3), name="x")}
    left, right = conv(4, "left")(inputs["y"]), conv(4, "right")(inputs["x"])
    other = layers.GlobalMaxPooling2D(name="max")(right)
    outputs = {"p": head(left + right), "o": layers.Dense(2, name="other")(other)}
    return keras.Model(inputs, outputs, name="dicts")


@network({"b": 5}, {"a": (4, "model output"), **HEAD})
def outputs_on_the_way():
    """
    image -> output
    image - a -> output
            a - b - pool - head -> output, twice
    """
    inputs = image()
    a = conv(4, "a")(inputs)
    x = head(conv(5, "b")(a))
    return keras.Model(inputs, [inputs, a, x, x], name="outputs_on_the_way")
