"""Layers of the user's that cannot be opened, or need not be: followed where running them shows
that channels stay apart, frozen where it does not."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfrcp
from tests.graph.pattern_check import check_pattern, check_slices
from tests.references import images_for

register = keras.saving.register_keras_serializable("tests_alone")
BOTH = {"before": 6, "after": 5}


def among(*made):
    """Layers between two convolutions."""
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same", name="before")(x)
    for layer in made:
        x = layer(x)
    x = layers.Conv2D(5, 3, padding="same", name="after")(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(layers.GlobalMaxPooling2D()(x)))


@register
class Noise(layers.Layer):
    """Noise in training, with a trained strength for each channel."""

    def build(self, shape):
        self.strength = self.add_weight(shape=(1, 1, 1, shape[-1]), name="strength")
        self.seeds = keras.random.SeedGenerator(0)

    def call(self, x, training=False):
        if training:
            return x + self.strength * keras.random.normal(ops.shape(x), seed=self.seeds)
        return x * (1 + self.strength)


@register
class Blur(layers.Layer):
    """A depthwise convolution of its own, with a stride."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(3, 3, shape[-1], 1), name="kernel", trainable=False)

    def call(self, x):
        return tf.nn.depthwise_conv2d(x, tf.convert_to_tensor(self.kernel), [1, 2, 2, 1], "SAME")


@register
class InstanceNorm(layers.Layer):
    """Of which TensorFlow computes the moments."""

    def build(self, shape):
        self.gamma = self.add_weight(shape=(shape[-1],), name="gamma", initializer="ones")
        self.all = self.add_weight(shape=(), name="all", initializer="ones")

    def call(self, x):
        mean, variance = tf.nn.moments(x, [1, 2], keepdims=True)
        return (x - mean) / tf.sqrt(variance + 1e-3) * self.gamma * self.all


@register
class Shuffle(layers.Layer):
    """A channel shuffle: the shape stays."""

    def call(self, x):
        x = ops.reshape(x, (-1, *x.shape[1:-1], 2, x.shape[-1] // 2))
        return ops.reshape(ops.swapaxes(x, -1, -2), (-1, *x.shape[1:-2], 2 * x.shape[-1]))


@register
class Standardized(layers.Layer):
    def call(self, x):
        mean, variance = ops.moments(x, axes=[1, 2], keepdims=True)
        return (x - mean) * ops.rsqrt(variance + 1e-3)


@register
class Convolved(layers.Layer):
    """A convolution with a scaled weight of its own."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(3, 3, shape[-1], 7), name="kernel")

    def call(self, x):
        return ops.conv(x, self.kernel * 0.3, strides=2, padding="same")


FOLLOWED = {
    "noise": (lambda: [Noise()], BOTH),
    "blur": (lambda: [Blur()], BOTH),
    "instance norm": (lambda: [InstanceNorm()], BOTH),
    "moments": (lambda: [Standardized()], BOTH),
    "convolution": (lambda: [Convolved(name="conv")], {**BOTH, "conv/kernel": 7}),
    "spectral normalization": (
        lambda: [layers.SpectralNormalization(layers.Conv2D(7, 2), name="sn")],
        {**BOTH, "sn": 7},
    ),
    "spectral normalization of a transposed convolution": (
        lambda: [layers.SpectralNormalization(layers.Conv2DTranspose(7, 2), name="sn")],
        {**BOTH, "sn": 7},
    ),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_followed(name, tmp_path):
    made, groups = FOLLOWED[name]
    check_pattern(among(*made()), groups, tmp_path)


def test_shuffle_is_opened(tmp_path):
    model = among(Shuffle())
    graph = tfrcp.trace(model)
    assert {group.name: group.size for group in graph.prunable} == {"before": 3, "after": 5}
    check_slices(model, graph, images_for(model), tmp_path)


@register
class Affine(layers.Layer):
    """Keeps channels apart at the values with which it begins."""

    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self.factor = factor

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="scale", initializer="ones")

    def call(self, x):
        return tf.multiply(x, self.scale) * self.factor


@register
class Mixing(Affine):
    """Mixes them by a weight that is zero in the beginning."""

    def build(self, shape):
        super().build(shape)
        self.share = self.add_weight(shape=(), name="share", initializer="zeros")

    def call(self, x):
        return tf.multiply(x, self.scale) + self.share * tf.reduce_mean(x, -1, keepdims=True)


@register
class Counting(Affine):
    """Computes with the number of channels."""

    def call(self, x):
        return tf.multiply(x, self.scale) / x.shape[-1]


@register
class Square(Affine):
    """Whose weight has two axes of that length."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1], shape[-1]), name="scale")

    def call(self, x):
        return tf.multiply(x, tf.linalg.diag_part(self.scale))


@register
class Limited(Affine):
    """Mixes them where numbers are large."""

    def call(self, x):
        return tf.clip_by_norm(tf.multiply(x, self.scale), 500.0, axes=[1, 2, 3])


@register
class Reticent(Affine):
    """Whose configuration lacks what it was made of."""

    def __init__(self, factor=2.0, **options):
        super().__init__(factor, **options)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


@pytest.mark.parametrize(
    "made",
    [Mixing, Counting, Square, Limited, lambda: Reticent(3.0)],
    ids=["mix", "count", "square", "limit", "told"],
)
def test_frozen(made):
    model = among(made())
    graph = tfrcp.trace(model)
    assert [group.name for group in graph.prunable] == ["after"]
    assert "no rule" in graph.groups[0].reason


def _size(x):
    return tf.reduce_max(tf.abs(x), axis=[1, 2, 3], keepdims=True)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: tf.clip_by_norm(x, 500.0, axes=[1, 2, 3]),
        lambda x: tf.where(_size(x) > 100.0, x / 2, x),
        lambda x: tf.where(_size(x) < 1.0, 3 * x, x),
    ],
    ids=["norm", "large", "small"],
)
def test_function_that_mixes_only_large_or_small_numbers_is_frozen(function):
    model = among(layers.Lambda(function))
    assert [group.name for group in tfrcp.trace(model).prunable] == ["after"]


def test_affine_is_followed(tmp_path):
    check_pattern(among(Affine()), BOTH, tmp_path)


@pytest.mark.parametrize("training", [False, True])
def test_noise_of_a_sliced_model(training):
    model = among(Noise(name="noise"))
    model.get_layer("noise").strength.assign(np.ones((1, 1, 1, 6)))
    graph = tfrcp.trace(model)
    masks = {"before": np.arange(6) < 2}
    pruned = tfrcp.slice_model(model, graph, masks)
    assert pruned.get_layer("noise").strength.shape == (1, 1, 1, 2)
    x = np.ones((1, 8, 8, 3), "float32")
    first, second = (np.asarray(pruned(x, training=training)) for _ in range(2))
    assert np.array_equal(first, second) != training


def test_spectral_normalization_in_training():
    model = among(layers.SpectralNormalization(layers.Conv2D(7, 2), name="sn"))
    graph = tfrcp.trace(model)
    pruned = tfrcp.slice_model(model, graph, {"sn": np.arange(7) < 3, "before": np.arange(6) > 1})
    sn = pruned.get_layer("sn")
    assert (sn.kernel.shape, sn.vector_u.shape) == ((2, 2, 4, 3), (1, 3))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    for _ in range(30):
        pruned(x, training=True)
    values = np.linalg.svd(np.reshape(sn.kernel, (-1, 3)), compute_uv=False)
    np.testing.assert_allclose(values[0], 1, rtol=1e-3)
    with pytest.raises(ValueError, match="singular value"):
        tfrcp.Supernet(model, tfrcp.SearchSpace(graph))
