"""Patterns of other people's networks: each is followed, sliced, counted and saved."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfrcp
from tests.graph.pattern_check import check_pattern
from tests.references import flat, images_for, random_masks, randomize

IMAGE = (8, 8, 3)


class Own(layers.Layer):
    """A layer made of layers, and of weights of its own."""

    def part(self, kind, *args, name, **options):
        setattr(self, name, kind(*args, name=name, **options))

    def own(self, name, *shape):
        setattr(self, name, self.add_weight(shape=shape, name=name, initializer="random_normal"))


class Scale(Own):
    """A scale and an offset for each channel, and a number for all."""

    def build(self, shape):
        self.own("scale", shape[-1])
        self.own("offset", 1, 1, 1, shape[-1])
        self.own("all", *())

    def call(self, x):
        return x * self.scale + ops.reshape(self.offset, (1, 1, -1)) * self.all


class RootMeanSquare(Own):
    def build(self, shape):
        self.own("scale", shape[-1])

    def call(self, x):
        mean = ops.mean(ops.square(x), axis=-1, keepdims=True)
        return x * ops.rsqrt(mean + 1e-3) * self.scale


class Tokens(Own):
    """Patches, a class token and positions."""

    def build(self, shape):
        self.part(layers.Conv2D, 8, 4, strides=4, name="project")
        self.part(layers.Embedding, 5, 8, name="position")
        self.project.build(shape)
        self.position.build((1, 5))
        self.own("token", 1, 1, 8)

    def call(self, x):
        x = self.project(x)
        x = ops.reshape(x, (ops.shape(x)[0], -1, 8))
        token = ops.tile(self.token, (ops.shape(x)[0], 1, 1))
        return ops.concatenate([token, x], axis=1) + self.position(np.arange(5)[None])


class Attention(Own):
    """Attention with heads, written by hand."""

    def build(self, shape):
        self.part(layers.Dense, 3 * 12, name="qkv")
        self.part(layers.Dense, shape[-1], name="out")
        self.qkv.build(shape)
        self.out.build((*shape[:-1], 12))
        self.own("bias", 5, 5)
        self.own("shifts", 9)
        rows, columns = np.mgrid[:5, :5]
        self.index = keras.Variable(rows - columns + 4, trainable=False, dtype="int32")

    def call(self, x):
        batch, length = ops.shape(x)[0], x.shape[1]
        x = ops.reshape(self.qkv(x), (batch, length, 3, 2, 6))
        q, k, v = ops.unstack(ops.transpose(x, (2, 0, 3, 1, 4)), axis=0)
        scores = ops.matmul(q * 6**-0.5, ops.transpose(k, (0, 1, 3, 2))) + self.bias
        scores = scores + ops.take(self.shifts, self.index, axis=0)
        x = ops.transpose(ops.matmul(ops.softmax(scores), v), (0, 2, 1, 3))
        return self.out(ops.reshape(x, (batch, length, 12)))


class Windows(Own):
    """A dense layer on windows, which are joined with the batch."""

    def build(self, shape):
        self.part(layers.Dense, 10, "relu", name="wide")
        self.part(layers.Dense, shape[-1], name="narrow")
        self.wide.build((None, 16, shape[-1]))
        self.narrow.build((None, 16, 10))

    def call(self, x):
        batch, _, _, channels = ops.shape(x)
        x = ops.reshape(x, (batch, 2, 4, 2, 4, channels))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 16, channels))
        x = self.narrow(self.wide(x))
        x = ops.reshape(x, (batch, 2, 2, 4, 4, channels))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (batch, 8, 8, channels))


class Product(Own):
    """A matrix product with a weight of its own."""

    def build(self, shape):
        self.own("matrix", shape[-1], 7)

    def call(self, x):
        return ops.relu(ops.matmul(x, self.matrix))


class Named(Own):
    """An activation without a name."""

    def build(self, shape):
        self.part(layers.Activation, lambda x: keras.activations.gelu(x, False), name="act")

    def call(self, x):
        return self.act(x)


@keras.saving.register_keras_serializable("tfrcp_tests")
class Dropped(layers.Layer):
    """Does nothing but in training."""

    def call(self, x, training=None):
        return x * keras.random.uniform((ops.shape(x)[0], 1, 1, 1)) if training else x


def conv(filters, name, **options):
    return layers.Conv2D(filters, 3, padding="same", name=name, **options)


def among(*made):
    def build():
        x = inputs = keras.Input(IMAGE)
        x = conv(6, "before")(x)
        for layer in made:
            x = layer()(x)
        x = layers.GlobalAveragePooling2D()(conv(5, "after")(x))
        return keras.Model(inputs, layers.Dense(2, name="head")(x))

    return build


def vision():
    x = inputs = keras.Input(IMAGE)
    x = Tokens(name="tokens")(x)
    x = layers.LayerNormalization()(x)
    x = x + Attention(name="attention")(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(x[:, 0]))


def attentive():
    """Channel and spatial attention, as CBAM has them."""
    x = inputs = keras.Input(IMAGE)
    x = conv(6, "before")(x)
    less, more = layers.Dense(3, "relu", name="less"), layers.Dense(6, name="more")
    pooled = [f()(x) for f in (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)]
    gate = ops.sigmoid(more(less(pooled[0])) + more(less(pooled[1])))
    x = x * layers.Reshape((1, 1, 6))(gate)
    both = [f(x, axis=-1, keepdims=True) for f in (ops.mean, ops.max)]
    x = x * conv(1, "map", activation="sigmoid")(layers.Concatenate()(both))
    return keras.Model(inputs, layers.Flatten()(conv(2, "head")(x)))


def mixer():
    """Token mixing, and a gate on tokens."""
    x = inputs = keras.Input(IMAGE)
    x = layers.Reshape((4, 8))(layers.Conv2D(8, 4, strides=4, name="patches")(x))
    y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
    y = layers.Dense(4, name="tokens_2")(layers.Dense(6, "gelu", name="tokens_1")(y))
    x = x + layers.Permute((2, 1))(y)
    u, v = ops.split(layers.Dense(12, "gelu", name="wide")(x), 2, axis=-1)
    v = layers.Permute((2, 1))(layers.Dense(4, name="gate")(layers.Permute((2, 1))(v)))
    x = x + layers.Dense(8, name="narrow")(u * v)
    return keras.Model(inputs, layers.Dense(2, name="head")(layers.GlobalAveragePooling1D()(x)))


def joined():
    """Windows joined with the batch by operations of the model itself."""
    x = inputs = keras.Input(IMAGE)
    x = conv(6, "before")(x)
    y = ops.transpose(ops.reshape(x, (-1, 2, 4, 2, 4, 6)), (0, 1, 3, 2, 4, 5))
    y = layers.Dense(6, name="narrow")(layers.Dense(9, name="wide")(ops.reshape(y, (-1, 16, 6))))
    y = ops.transpose(ops.reshape(y, (-1, 2, 2, 4, 4, 6)), (0, 1, 3, 2, 4, 5))
    x = ops.reshape(y, (-1, 8, 8, 6)) + x
    return keras.Model(inputs, layers.Flatten()(conv(2, "head")(x)))


def nonlocal_block():
    x = inputs = keras.Input(IMAGE)
    x = conv(6, "before")(x)
    theta, phi, g = (layers.Reshape((64, 4))(layers.Conv2D(4, 1, name=n)(x)) for n in "tpg")
    scores = ops.softmax(ops.matmul(theta, ops.transpose(phi, (0, 2, 1))))
    y = layers.Reshape((8, 8, 4))(ops.matmul(scores, g))
    x = x + layers.Conv2D(6, 1, name="back")(y)
    return keras.Model(inputs, layers.Flatten()(conv(2, "head")(x)))


def shuffled():
    x = inputs = keras.Input(IMAGE)
    x = ops.nn.depth_to_space(conv(12, "before")(x), 2)
    return keras.Model(inputs, layers.Flatten()(conv(2, "head")(x)))


PATTERNS = {
    "scale": (among(lambda: Scale(name="scale")), {"before": 6, "after": 5}),
    "root mean square": (among(lambda: RootMeanSquare(name="rms")), {"before": 6, "after": 5}),
    "vision": (vision, {"tokens/project": 8, "attention/qkv": 6}),
    "windows": (
        among(lambda: Windows(name="windows")),
        {"before": 6, "windows/wide": 10, "windows/narrow": 6, "after": 5},
    ),
    "product": (
        among(lambda: Product(name="product")),
        {"before": 6, "product/matrix": 7, "after": 5},
    ),
    "named": (among(lambda: Named(name="named")), {"before": 6, "after": 5}),
    "dropped": (among(lambda: Dropped(name="dropped")), {"before": 6, "after": 5}),
    "attentive": (attentive, {"before": 6, "less": 3}),
    "joined": (joined, {"before": 6, "wide": 9}),
    "mixer": (mixer, {"patches": 8, "wide": 6}),
    "nonlocal": (nonlocal_block, {"before": 6, "p": 4, "g": 4}),
    "shuffled": (shuffled, {"before": 3}),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_pattern(name, tmp_path):
    build, groups = PATTERNS[name]
    check_pattern(build(), groups, tmp_path)


def test_how_a_layer_was_shown_to_act_on_each_channel_alone_is_told():
    text = " ".join(tfrcp.trace(PATTERNS["dropped"][0]()).explain().split())
    assert "dropped: run on 8 choices of its 6 channels alone" in text


def test_a_network_with_weights_of_its_own_is_reconstructed():
    model = PATTERNS["scale"][0]()
    randomize(model)
    graph, images = tfrcp.trace(model), images_for(model, 16)
    masks = random_masks(graph, 1)
    pruned = tfrcp.slice_model(model, graph, masks)
    before = np.abs(flat(pruned(images))[0] - flat(model(images))[0]).mean()
    tfrcp.reconstruct(pruned, model, graph, masks, images)
    assert np.abs(flat(pruned(images))[0] - flat(model(images))[0]).mean() <= before
