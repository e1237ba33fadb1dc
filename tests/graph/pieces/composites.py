"""Layers of layers, as people write them: lists and dicts, nested models, arguments by name."""

from __future__ import annotations

import keras
from keras import layers, ops

Layer = layers.Layer


class Unit(Layer):
    """Convolution, normalization and activation in a list, in either order."""

    def __init__(self, kit, inputs, filters, depth, **options):
        super().__init__(**options)
        norm = kit.norm(kit.pick("BatchNormalization", "LayerNormalization"), "norm")
        act = layers.Activation(kit.pick("relu", "silu", "gelu"), name="act")
        self.steps = [kit.conv(filters, "conv", kit.pick(1, 3)), norm, act]
        self.steps = self.steps[:: kit.pick(1, -1)]
        self.drop = layers.Dropout(0.2)

    def call(self, inputs, training=None):
        x = inputs
        for step in self.steps:
            normalizes = isinstance(step, layers.BatchNormalization)
            x = step(x, training=training) if normalizes else step(x)
        return self.drop(x, training=training)


class Excite(Layer):
    """Squeeze-and-excite, by the tensor itself or another one, which has a name."""

    def __init__(self, kit, inputs, filters, depth, **options):
        super().__init__(**options)
        self.space, self.way = kit.space, kit.pick("operator", "layer", "left")
        self.less = kit.conv(kit.between(1, 5), "less", 1, activation="relu")
        self.more = kit.conv(inputs, "more", 1, activation="sigmoid")
        self.out = kit.conv(filters, "out", 1) if filters != inputs else layers.Identity()

    def call(self, x, by=None, training=None):
        by = x if by is None else by
        gate = self.more(self.less(ops.mean(by, self.space, keepdims=True)))
        if self.way == "layer":
            x = layers.Multiply()([x, gate])
        else:
            x = x * gate if self.way == "operator" else gate * x
        return self.out(x)


class Residual(Layer):
    """A sum of what composites make of a tensor with the tensor."""

    def __init__(self, kit, inputs, filters, depth, **options):
        super().__init__(**options)
        middle = kit.between(2, 6)
        self.body = [
            member(kit, inputs, middle, depth - 1),
            member(kit, middle, filters, depth - 1),
        ]
        self.project = None if inputs == filters else kit.conv(filters, "project", 1)
        self.join = kit.pick(None, layers.Add())

    def call(self, x, training=None):
        y = x
        for layer in self.body:
            y = layer(y, training=training)
        x = x if self.project is None else self.project(x)
        return 0.5 * y + x if self.join is None else self.join([x, y])


class Branches(Layer):
    """A dict of composites, each on all channels or on a part; concatenated and mixed."""

    def __init__(self, kit, inputs, filters, depth, **options):
        super().__init__(**options)
        self.axis, self.parts = kit.axis, kit.pick(1, 2) if inputs % 2 == 0 else 1
        self.ways = {
            name: member(kit, inputs // self.parts, kit.between(1, 4), depth - 1)
            for name in ("left", "right")
        }
        self.mix = kit.conv(filters, "mix", 1)

    def call(self, x, training=None):
        parts = ops.split(x, 2, axis=self.axis) if self.parts == 2 else [x, x]
        ways = [
            layer(x=z, training=training) if isinstance(layer, Excite) else layer(z)
            for layer, z in zip(self.ways.values(), parts, strict=True)
        ]
        return self.mix(ops.concatenate([*ways, ways[0]], axis=self.axis))


class Holder(Layer):
    """Holds a model of two outputs, in which there is a composite, and a sequential one."""

    def __init__(self, kit, inputs, filters, depth, **options):
        super().__init__(**options)
        image = kit.image(inputs, "inside")
        z = member(kit, inputs, kit.between(2, 5), depth - 1, name="block")(image)
        outputs = {"wide": kit.conv(filters, "wide")(z), "early": z}
        self.model = keras.Model(image, outputs, name="model")
        self.sequence = keras.Sequential(
            [layers.ReLU(name="act"), kit.conv(filters, "last", 1)], name="sequence"
        )

    def call(self, inputs, training=None):
        found = self.model(inputs, training=training)
        return self.sequence(found["early"], training=training) + found["wide"]


class Repeated(Layer):
    """The same composite one time after the other."""

    def __init__(self, kit, inputs, filters, depth, **options):
        super().__init__(**options)
        self.first = kit.conv(filters, "first", 1)
        self.inner = member(kit, filters, filters, depth - 1, name="inner")

    def call(self, x, training=None):
        x = self.first(x)
        return self.inner(self.inner(x, training=training), training=training)


class Attend(Layer):
    """A transformer's block on the positions; channels come last."""

    def __init__(self, kit, inputs, filters, depth, **options):
        super().__init__(**options)
        self.norm, self.other = layers.LayerNormalization(), layers.LayerNormalization()
        self.attend = layers.MultiHeadAttention(kit.pick(1, 2), kit.between(1, 4))
        self.feed = keras.Sequential(
            [layers.Dense(kit.between(2, 8), "gelu"), layers.Dense(inputs)]
        )
        self.out = layers.Dense(filters)

    def call(self, x, training=None):
        y = ops.reshape(x, (ops.shape(x)[0], -1, x.shape[-1]))
        z = self.norm(y)
        y = y + self.attend(query=z, value=z, training=training)
        y = self.out(y + self.feed(self.other(y), training=training))
        return ops.reshape(y, (-1, *x.shape[1:-1], y.shape[-1]))


class Pair(Layer):
    """Two tensors, the second by name; returns two in a dict."""

    def __init__(self, kit, inputs, others, filters, **options):
        super().__init__(**options)
        self.a = member(kit, inputs, filters, kit.between(0, 2), name="same")
        self.b = member(kit, others, filters, kit.between(0, 2), name="same")

    def call(self, x, other=None, training=None):
        left, right = self.a(x, training=training), self.b(other, training=training)
        return {"sum": left + right, "rest": (right, x)}


@keras.saving.register_keras_serializable("tests")
class Scaled(Layer):
    """Has a weight of its own, so that it stays whole."""

    def __init__(self, filters, **options):
        super().__init__(**options)
        self.filters, self.dense = filters, layers.Dense(filters)

    def build(self, shape):
        self.dense.build(shape)
        self.factor = self.add_weight(shape=(self.filters,), name="factor", initializer="ones")

    def call(self, x):
        return self.dense(x) * self.factor


_DEEP, _FLAT = (Residual, Branches, Holder, Repeated), (Unit, Excite)


def member(kit, inputs, filters, depth, **options):
    """A random composite that makes `filters` channels of `inputs`, `depth` levels deep."""
    kinds = (*_FLAT, *(() if kit.first else (Attend,)))
    kinds = (*kinds, *_DEEP, *_DEEP) if depth > 0 else kinds
    options.setdefault("name", kit.pick(None, "block"))
    return kit.pick(*kinds)(kit, inputs, filters, depth, **options)


def _composite(kind, depth):
    def piece(kit, x, y, n, name):
        levels = kit.between(1, depth) if depth else 0
        return kind(kit, kit.width(x), n, levels, name=name)(x)

    return piece


def _excited(kit, x, y, n, name):
    return Excite(kit, kit.width(x), n, 0, name=name)(x, by=y)


def _pair(kit, x, y, n, name):
    pair = Pair(kit, kit.width(x), kit.width(y), n, name=name)
    first = pair(x, other=y)
    if kit.width(x) == kit.width(y) and kit.pick(True, False):
        second = pair(x=first["rest"][1], other=x, training=False)
        return second["sum"] - first["rest"][0]
    return kit.pick(first["sum"], first["rest"][0])


def _attend(kit, x, y, n, name):
    return _composite(Unit if kit.first else Attend, 0)(kit, x, y, n, name)


def _scaled(kit, x, y, n, name):
    return kit.conv(n, name)(x) if kit.first else Scaled(n, name=name)(x)


COMPOSITES = {
    "unit": _composite(Unit, 0),
    "excite": _excited,
    "residual": _composite(Residual, 2),
    "branches": _composite(Branches, 2),
    "holder": _composite(Holder, 2),
    "repeated": _composite(Repeated, 2),
    "attend": _attend,
    "pair": _pair,
    "scaled": _scaled,
}
