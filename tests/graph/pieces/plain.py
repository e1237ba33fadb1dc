"""Pieces of layers and operators, one or a few at a time."""

from __future__ import annotations

import math

import keras
from keras import layers, ops

from tests.graph.pieces.kit import SIZE
from tests.networks import Twice


def _grouped(kit, x, y, n, name):
    groups = n if kit.width(x) % n == 0 else kit.width(x)
    return kit.conv(groups * (1 + n % 2), name, groups=groups)(x)


def _down_and_up(kit, x, y, n, name):
    x = kit.conv(n, f"{name}_down", strides=2)(x)
    return kit.layer("Conv#DTranspose", n + 1, 3, strides=2, padding="same", name=name)(x)


def _pool_and_up(kit, x, y, n, name):
    kind = "AveragePooling#D" if n % 2 else "MaxPooling#D"
    x = kit.layer(kind, 2, name=f"{name}_pool")(x)
    if _plain1d(kit):
        return ops.repeat(x, 2, axis=2)
    return kit.layer("UpSampling#D", 2, name=name)(x)


def _crop_and_pad(kit, x, y, n, name):
    x = kit.layer("Cropping#D", 1, name=f"{name}_crop")(x) if not _plain1d(kit) else x[:, :, 1:-1]
    if _plain1d(kit):
        return ops.pad(x, [[0, 0], [0, 0], [1, 1]])
    return kit.layer("ZeroPadding#D", 1, name=name)(x)


def _plain1d(kit):
    """Whether layers such as `Cropping1D`, which have no data format, do not serve."""
    return kit.rank == 1 and kit.first


def _twice(kit, x, y, n, name):
    shared = kit.conv(n, name, activation="relu")
    return shared(shared(kit.conv(n, f"{name}_first")(x)))


def _shared(kit, x, y, n, name):
    norm, conv = kit.norm("BatchNormalization", f"{name}_bn"), kit.conv(n, name)
    return conv(norm(x)) + conv(norm(kit.as_wide(y, x, f"{name}_wide")))


def _gate(kit, x, y, n, name):
    y = kit.layer("GlobalAveragePooling#D", keepdims=True, name=f"{name}_mean")(y)
    y = kit.conv(n, f"{name}_squeeze", 1, activation="relu")(y)
    return x * kit.conv(kit.width(x), name, 1, activation="hard_sigmoid")(y)


def _spatial_attention(kit, x, y, n, name):
    return layers.Multiply(name=f"{name}_by")([x, kit.conv(1, name, activation="sigmoid")(y)])


def _pad(kit, x, y, n, name):
    widths = [[0, 0] for _ in x.shape]
    widths[kit.axis] = [n % 2, 1]
    return ops.pad(x, widths)


def _run(kit, x, y, n, name):
    return x[kit.index(slice(min(n % 2, kit.width(x) - 1), None))]


def _swap(kit, x, y, n, name):
    if kit.width(x) < 3:
        return x
    left, right = ops.split(x, [1 + n % 2], axis=kit.axis)
    return ops.concatenate([ops.relu(right), left], axis=kit.axis)


def _parts(kit, x, y, n, name):
    if kit.width(x) % 2:
        return abs(x)
    left, right = ops.split(x, 2, axis=kit.axis)
    return left * ops.tanh(right) + 1.0


def _shuffle(kit, x, y, n, name):
    width = kit.width(x)
    if kit.first or width % 2:
        return x
    space = x.shape[1:-1]
    x = layers.Reshape((*space, 2, width // 2), name=f"{name}_apart")(x)
    rank = len(x.shape)
    order = (*range(1, rank - 2), rank - 1, rank - 2)
    return layers.Reshape((*space, width), name=name)(layers.Permute(order, name=f"{name}_swap")(x))


def _sequence(layer):
    """Runs a layer on the positions as a sequence [positions, channels]."""

    def piece(kit, x, y, n, name):
        if kit.first:
            x = ops.moveaxis(x, 1, -1)
        space = x.shape[1:-1]
        x = layers.Reshape((math.prod(space), x.shape[-1]), name=f"{name}_steps")(x)
        x = layer(x, n, name)
        x = ops.reshape(x, (-1, *space, x.shape[-1]))
        return ops.moveaxis(x, -1, 1) if kit.first else x

    return piece


def _nested(kit, x, y, n, name):
    def channels(at):
        return tuple(at.shape[1:])

    p, q = keras.Input(channels(x), name="p"), keras.Input(channels(y), name="q")
    inner = kit.conv(n, "inside")(layers.ReLU(name="act")(p)), kit.conv(n, "other")(q)
    z = kit.norm("BatchNormalization", "bn")(layers.Add(name="join")(inner))
    model = keras.Model({"p": p, "q": q}, z, name=name)
    return model({"p": x, "q": y})


def _nested_twice(kit, x, y, n, name):
    width = kit.width(x)
    inner = keras.Sequential(
        [
            keras.Input(tuple(x.shape[1:])),
            kit.conv(n, "one", activation="relu"),
            kit.conv(width, "two"),
        ],
        name=name,
    )
    return inner(inner(x))


def _positions(kit, x, y, n, name):
    return ops.softmax(x, axis=kit.space[0])


def _group_norm(kit, x, y, n, name):
    width = kit.width(x)
    groups = next((g for g in (n, 2, 3) if width % g == 0 and g < width), 1)
    return kit.norm("GroupNormalization", name, groups=groups)(x)


def _merge(kind):
    def piece(kit, x, y, n, name):
        return getattr(layers, kind)(name=name)([x, kit.as_wide(y, x, f"{name}_wide"), x])

    return piece


def _attend(layer):
    return _sequence(lambda x, n, name: layer(n, name)(x, x))


PLAIN = {
    "conv": lambda kit, x, y, n, name: kit.conv(n, name)(x),
    "conv bn": lambda kit, x, y, n, name: kit.norm("BatchNormalization", f"{name}_bn")(
        kit.conv(n, name, use_bias=False)(x)
    ),
    "dilated": lambda kit, x, y, n, name: kit.conv(n, name, dilation_rate=2)(x),
    "grouped": _grouped,
    "depthwise": lambda kit, x, y, n, name: kit.layer(
        "DepthwiseConv#D", 3, depth_multiplier=1 + n % 2, padding="same", name=name
    )(x),
    "separable": lambda kit, x, y, n, name: kit.layer(
        "SeparableConv#D", n, 3, depth_multiplier=1 + n % 2, padding="same", name=name
    )(x),
    "down and up": _down_and_up,
    "pool and up": _pool_and_up,
    "crop and pad": _crop_and_pad,
    "bn": lambda kit, x, y, n, name: kit.norm("BatchNormalization", name)(x),
    "layer norm": lambda kit, x, y, n, name: kit.norm("LayerNormalization", name)(x),
    "rms norm": lambda kit, x, y, n, name: kit.norm("RMSNormalization", name)(x),
    "group norm": _group_norm,
    "instance norm": lambda kit, x, y, n, name: kit.norm("GroupNormalization", name, groups=-1)(x),
    "relu": lambda kit, x, y, n, name: layers.ReLU(name=name)(x),
    "prelu": lambda kit, x, y, n, name: layers.PReLU(
        shared_axes=kit.space if n % 2 else None, name=name
    )(x),
    "activation": lambda kit, x, y, n, name: layers.Activation(
        ("silu", "gelu", "softplus", "tanh")[n % 4], name=name
    )(x),
    "dropout": lambda kit, x, y, n, name: layers.Dropout(0.5, name=name)(x),
    "rescaling": lambda kit, x, y, n, name: layers.Rescaling(0.5, 1.0, name=name)(x),
    "operators": lambda kit, x, y, n, name: 1.0 - abs(-x / 2.0) + ops.clip(x, -1.0, 0.5),
    "where": lambda kit, x, y, n, name: ops.where(x > 0.1, x, ops.square(x)),
    "add": _merge("Add"),
    "average": _merge("Average"),
    "maximum": _merge("Maximum"),
    "minimum": _merge("Minimum"),
    "subtract": lambda kit, x, y, n, name: kit.as_wide(y, x, name) - x * 0.5,
    "multiply": lambda kit, x, y, n, name: ops.tanh(kit.as_wide(y, x, name)) * x,
    "concatenate": lambda kit, x, y, n, name: layers.Concatenate(kit.axis, name=name)([x, y]),
    "beside": lambda kit, x, y, n, name: layers.Concatenate(kit.space[0], name=f"{name}_all")(
        [x, kit.as_wide(y, x, name)]
    )[(slice(None),) * kit.space[0] + (slice(0, SIZE),)],
    "gate": _gate,
    "spatial attention": _spatial_attention,
    "softmax of positions": _positions,
    "pad": _pad,
    "mirror": lambda kit, x, y, n, name: ops.flip(x, axis=kit.axis),
    "run": _run,
    "every other": lambda kit, x, y, n, name: x[kit.index(slice(None, None, 2))],
    "swap": _swap,
    "parts": _parts,
    "shuffle": _shuffle,
    "repeat": lambda kit, x, y, n, name: ops.repeat(x, 2, axis=kit.axis),
    "roll": lambda kit, x, y, n, name: ops.roll(x, 1, axis=kit.space[0]),
    "transposed": lambda kit, x, y, n, name: ops.transpose(
        layers.Permute(tuple(range(len(x.shape) - 1, 0, -1)), name=name)(x),
        (0, *range(len(x.shape) - 1, 0, -1)),
    ),
    "dense": _sequence(lambda x, n, name: layers.Dense(n, name=name)(x)),
    "einsum dense": _sequence(
        lambda x, n, name: layers.EinsumDense(
            "abc,cd->abd", (x.shape[1], n), bias_axes="d", name=name
        )(x)
    ),
    "each step": _sequence(
        lambda x, n, name: layers.TimeDistributed(layers.Dense(n, name="inside"), name=name)(x)
    ),
    "heads": _attend(lambda n, name: layers.MultiHeadAttention(n, 2, name=name)),
    "query groups": _attend(
        lambda n, name: layers.GroupQueryAttention(2, 2 * (n % 3 + 1), n % 3 + 1, name=name)
    ),
    "recurrent": _sequence(
        lambda x, n, name: layers.LSTM(n, return_sequences=True, name=name)(x)
    ),
    "shared": _shared,
    "twice": _twice,
    "nested": _nested,
    "nested twice": _nested_twice,
    "frozen": lambda kit, x, y, n, name: kit.conv(n, name, trainable=False)(x),
    "unknown": lambda kit, x, y, n, name: Twice(name=name)(x),
}  # fmt: skip
