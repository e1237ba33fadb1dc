"""Pieces in which channels are moved, broadcast, split, rolled, joined again or multiplied."""

from __future__ import annotations

import math

import numpy as np
from keras import layers, ops

from tests.graph.pieces.kit import SIZE


def _pixel_shuffle(kit, x, y, n, name):
    """Finer, convolved, and as coarse as before; or the other way round."""
    if kit.pick(True, False):
        x = ops.depth_to_space(kit.conv(4 * kit.between(1, 3), f"{name}_wide")(x), 2)
        x = kit.conv(n, name, strides=2)(x)
        return layers.ReLU(name=f"{name}_act")(x)
    x = ops.space_to_depth(x, 2)
    return ops.depth_to_space(kit.conv(4 * kit.between(1, 3), name)(x), 2)


def _shuffle_by_hand(kit, x, y, n, name):
    filters = kit.between(1, 3)
    x = kit.conv(4 * filters, f"{name}_wide")(x)
    x = ops.reshape(x, (-1, SIZE, SIZE, 2, 2, filters))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 2 * SIZE, 2 * SIZE, filters))
    return layers.AveragePooling2D(2, name=name)(x)


def _channel_gate(kit, x, y, n, name):
    """A product with [B, 1, 1, C], made by dense layers."""
    width = kit.width(x)
    z = kit.layer("GlobalAveragePooling#D", name=f"{name}_mean")(y)
    z = layers.Dense(n, activation="relu", name=f"{name}_less")(z)
    z = layers.Dense(width, activation="sigmoid", name=f"{name}_more")(z)
    ones = (1,) * kit.rank
    z = layers.Reshape((width, *ones) if kit.first else (*ones, width), name=name)(z)
    return kit.pick(lambda: x * z, lambda: z * x, lambda: layers.Multiply()([z, x]))()


def _position_gate(kit, x, y, n, name):
    """A product with [B, H, W, 1], made of means and maxima over channels."""
    maps = [ops.mean(y, kit.axis, keepdims=True), ops.max(y, kit.axis, keepdims=True)]
    gate = kit.conv(1, name, activation="sigmoid")(ops.concatenate(maps, kit.axis))
    return kit.pick(lambda: x * gate, lambda: gate * x, lambda: x + x * gate)()


def _both_gates(kit, x, y, n, name):
    """[B, 1, 1, C] and [B, H, W, 1] meet before they meet the tensor, or one after the other."""
    wide = ops.max(x, kit.space, keepdims=True)
    wide = kit.conv(kit.width(x), f"{name}_wide", 1)(wide)
    flat = kit.conv(1, name, 1)(y)
    if kit.pick(True, False):
        return x * ops.sigmoid(wide + flat)
    return x * ops.sigmoid(wide) * ops.sigmoid(flat)


def _one_for_all(kit, x, y, n, name):
    """One channel of a tensor is broadcast over all of another."""
    at = kit.between(0, kit.width(y) - 1)
    one = y[kit.index(slice(at, at + 1))]
    return kit.pick(lambda: x * one, lambda: x - one, lambda: ops.maximum(x, one))()


def _constants(kit, x, y, n, name):
    values = kit.random.normal(size=kit.width(x)).astype("float32")
    values = kit.along_channels(values)
    # Keras takes a product with an array for sparse; a difference of it is not.
    return kit.pick(lambda: x * values - x, lambda: (x - values) / 2.0, lambda: x + values)()


def _thirds(kit, x, y, n, name):
    """Three uneven parts, some used twice, one perhaps not at all."""
    width = kit.width(x)
    if width < 3:
        return x
    cuts = sorted(int(c) for c in kit.random.choice(np.arange(1, width), 2, replace=False))
    parts = ops.split(x, cuts, axis=kit.axis)
    order = [parts[kit.between(0, 2)] for _ in range(kit.between(2, 3))]
    return ops.concatenate(order, axis=kit.axis)


def _stage(kit, x, y, n, name):
    """Half of the channels passes by, the other is convolved (CSPNet, ShuffleNet v2)."""
    if kit.width(x) % 2:
        return x
    left, right = ops.split(x, 2, axis=kit.axis)
    right = kit.conv(kit.pick(n, kit.width(right)), name)(right)
    joined = layers.Concatenate(kit.axis, name=f"{name}_join")([left, right])
    return ops.concatenate([joined, right], kit.axis) if kit.pick(True, False) else joined


def _again(kit, x, y, n, name):
    """What was joined is read apart, and joined again (dense blocks)."""
    z = kit.conv(n, name)(ops.concatenate([x, y, x], kit.axis))
    wide = ops.concatenate([z, x, z][:: kit.pick(1, -1)], kit.axis)
    start = kit.between(0, kit.width(wide) - 2)
    return wide[kit.index(slice(start, start + kit.between(2, 8)))]


def _rolled_channels(kit, x, y, n, name):
    return ops.roll(x, kit.between(-2, 2), axis=kit.axis)


def _shifted(kit, x, y, n, name):
    """All positions are shifted there and back, with something in between."""
    moved = ops.roll(x, (1,) * kit.rank, axis=kit.space)
    moved = kit.conv(kit.width(x), name)(moved)
    return x + ops.roll(moved, (-1,) * kit.rank, axis=kit.space)


def _stacked(kit, x, y, n, name):
    """Branches are weighted by a softmax over them (selective kernels)."""
    branches = [kit.conv(n, f"{name}_{i}", 1 + 2 * i)(x) for i in range(2)]
    both = ops.stack(branches, axis=1)
    if kit.pick(True, False) or kit.rank == 3:  # of which TensorFlow has no softmax on some CPUs
        return ops.max(both, axis=1)
    return ops.sum(both * ops.softmax(both, axis=1), axis=1)


def _highway(kit, x, y, n, name):
    gate = kit.conv(kit.width(x), name, activation="sigmoid")(y)
    return gate * x + (1.0 - gate) * ops.tanh(kit.as_wide(y, x, f"{name}_wide"))


def _unit_length(kit, x, y, n, name):
    """Every position is divided by the length of its channels, by hand."""
    length = ops.sqrt(ops.sum(ops.square(x), kit.axis, keepdims=True) + 1e-3)
    return kit.pick(lambda: x / length, lambda: x * (1.0 / length))()


def _steps(kit, x):
    """Positions as a sequence [B, positions, channels]."""
    return ops.reshape(x, (-1, math.prod(x.shape[1:-1]), x.shape[-1]))


def _as_image(kit, x):
    return ops.reshape(x, (-1, *(SIZE,) * kit.rank, x.shape[-1]))


def _tokens_mixed(kit, x, y, n, name):
    """A dense layer along the positions of every channel (MLP-Mixer)."""
    z = ops.transpose(_steps(kit, x), (0, 2, 1))
    z = layers.Dense(n, activation="gelu", name=f"{name}_hidden")(z)
    z = layers.Dense(SIZE**kit.rank, name=name)(z)
    return x + _as_image(kit, ops.transpose(z, (0, 2, 1)))


def _einsum_attention(kit, x, y, n, name):
    """Each position is a mean of all, weighted by a product of two tensors (non-local blocks)."""
    query, key = (_steps(kit, kit.conv(n, f"{name}_{i}", 1)(z)) for i, z in enumerate((x, y)))
    value = _steps(kit, kit.conv(kit.pick(n, 3), f"{name}_value", 1)(x))
    weights = ops.softmax(ops.einsum("bnc,bmc->bnm", query, key) / n**0.5, axis=-1)
    return _as_image(kit, ops.einsum("bnm,bmc->bnc", weights, value))


def _einsum_heads(kit, x, y, n, name):
    """Dense einsums to several heads, and back."""
    steps = SIZE**kit.rank
    z = layers.EinsumDense("abc,cde->abde", (steps, 2, n), bias_axes="de", name=f"{name}_in")
    out = layers.EinsumDense("abde,dec->abc", (steps, kit.between(2, 5)), name=name)
    return _as_image(kit, out(ops.relu(z(_steps(kit, x)))))


def _heads_by_hand(kit, x, y, n, name):
    """Attention of dense layers, reshapes and matrix products."""
    steps, heads = _steps(kit, x), kit.pick(1, 2)

    def split(label):
        z = layers.Dense(heads * n, name=f"{name}_{label}")(steps)
        z = ops.reshape(z, (-1, z.shape[1], heads, n))
        return ops.transpose(z, (0, 2, 1, 3))

    query, key, value = map(split, ("query", "key", "value"))
    weights = ops.softmax(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))))
    z = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
    z = ops.reshape(z, (-1, z.shape[1], heads * n))
    return _as_image(kit, layers.Dense(kit.width(x), name=name)(z)) + x


def _generator(kit, x, y, n, name):
    """Pooled, a dense layer to all positions, and a transposed convolution."""
    z = kit.layer("GlobalMaxPooling#D", name=f"{name}_max")(x)
    z = layers.Dense(2**kit.rank * n, name=f"{name}_dense")(z)
    z = layers.Reshape((*(2,) * kit.rank, n), name=f"{name}_image")(z)
    z = kit.layer("Conv#DTranspose", n, 3, strides=2, padding="same", name=name)(z)
    return layers.Concatenate(kit.axis, name=f"{name}_join")([z, y])


WIRING = {
    "pixel shuffle": _pixel_shuffle,
    "shuffle by hand": _shuffle_by_hand,
    "channel gate": _channel_gate,
    "position gate": _position_gate,
    "both gates": _both_gates,
    "one for all": _one_for_all,
    "constants": _constants,
    "thirds": _thirds,
    "stage": _stage,
    "again": _again,
    "rolled channels": _rolled_channels,
    "shifted": _shifted,
    "stacked": _stacked,
    "highway": _highway,
    "unit length": _unit_length,
    "tokens mixed": _tokens_mixed,
    "einsum attention": _einsum_attention,
    "einsum heads": _einsum_heads,
    "heads by hand": _heads_by_hand,
    "generator": _generator,
}
