"""Recalibrated batch norm statistics against pooled NumPy statistics."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfrcp
from tests.networks import NETWORKS, image, norm
from tests.references import images_for, random_masks, randomize


def network():
    """image - a 3x3 - bn - ReLU - b 3x3 - bn - pool - head, unpadded"""
    inputs = image()
    x = layers.Conv2D(4, 3, name="a")(inputs)
    x = layers.ReLU(name="relu")(norm("a_bn", epsilon=0.01)(x))
    x = norm("b_bn")(layers.Conv2D(5, 3, use_bias=False, name="b")(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(3, name="head")(x))


def images(count=20, seed=1):
    return np.random.default_rng(seed).normal(1, 2, (count, 6, 6, 2)).astype("float32")


def statistics(model):
    return {
        layer.name: (np.asarray(layer.moving_mean), np.asarray(layer.moving_variance))
        for layer in model.layers
        if isinstance(layer, layers.BatchNormalization)
    }


def assert_same(left, right, tolerance=1e-5):
    assert left.keys() == right.keys()
    for name in left:
        for a, b in zip(left[name], right[name], strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def convolve(x, kernel):
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    return np.einsum("nhwcij,ijco->nhwo", windows, kernel)


def test_layer_by_layer_in_numpy():
    model, x = network(), images()
    randomize(model)
    tfrcp.recalibrate_batch_norm(model, x)
    kernel, bias, gamma, beta, *_ = (np.asarray(w, "float64") for w in model.get_weights())
    y = convolve(x.astype("float64"), kernel) + bias
    a = y.mean(axis=(0, 1, 2)), y.var(axis=(0, 1, 2))
    y = np.maximum(gamma * (y - a[0]) / np.sqrt(a[1] + 0.01) + beta, 0)
    y = convolve(y, np.asarray(model.get_layer("b").kernel, "float64"))
    b = y.mean(axis=(0, 1, 2)), y.var(axis=(0, 1, 2))
    assert_same(statistics(model), {"a_bn": a, "b_bn": b})


def test_only_statistics_change():
    model = network()
    randomize(model)
    before = [np.asarray(w) for w in model.trainable_weights]
    tfrcp.recalibrate_batch_norm(model, images())
    for old, new in zip(before, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(old, new)
    again = statistics(model)
    tfrcp.recalibrate_batch_norm(model, images())
    assert_same(statistics(model), again)


class Batches(keras.utils.PyDataset):
    def __init__(self, x):
        super().__init__()
        self.x = x

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.x[5 * index : 5 * index + 5], np.zeros(5)


X = images()
SHUFFLED = X[np.random.default_rng(3).permutation(20)]
DATA = {
    "array": lambda: X,
    "tuple": lambda: (X, np.full(20, np.nan)),  # labels are not looked at
    "order": lambda: SHUFFLED,
    "float64": lambda: X.astype("float64"),
    "batches of 3": lambda: tf.data.Dataset.from_tensor_slices(X).batch(3),
    "batches of 7": lambda: tf.data.Dataset.from_tensor_slices((SHUFFLED, np.zeros(20))).batch(7),
    "PyDataset": lambda: Batches(X),
}


@pytest.mark.parametrize("kind", DATA)
def test_neither_batches_nor_order_nor_labels_matter(kind):
    model = network()
    randomize(model)
    tfrcp.recalibrate_batch_norm(model, X)
    expected = statistics(model)
    randomize(model)
    tfrcp.recalibrate_batch_norm(model, DATA[kind]())
    assert_same(statistics(model), expected)


def test_count_takes_the_first_images():
    model = network()
    randomize(model)
    tfrcp.recalibrate_batch_norm(model, X[:6])
    expected = statistics(model)
    tfrcp.recalibrate_batch_norm(model, (X, np.zeros(20)), count=6)
    assert_same(statistics(model), expected)


def test_pruned_network():
    model = NETWORKS["residual_a"].build()
    randomize(model)
    graph = tfrcp.trace(model)
    pruned = tfrcp.slice_model(model, graph, random_masks(graph, 1))
    x = images_for(model, count=10)
    tfrcp.recalibrate_batch_norm(pruned, x)
    # Normalizing by the statistics of the images is what training mode does with these very images.
    np.testing.assert_allclose(pruned(x), pruned(x, training=True), atol=1e-4)


def test_shared_norm_pools_its_calls():
    model = NETWORKS["norm_of_two"].build()
    randomize(model)
    x = images()
    tfrcp.recalibrate_batch_norm(model, x)
    before = [model.get_layer(name)(x) for name in "ab"]
    both = np.concatenate(before)
    expected = {"bn": (both.mean(axis=(0, 1, 2)), both.var(axis=(0, 1, 2)))}
    assert_same(statistics(model), expected, 1e-4)


def test_shared_norm_pools_images_of_several_sizes():
    # Fails: the means of both calls count alike, though one call has four times the pixels.
    inputs = image()
    bn = norm("bn")
    small = bn(layers.MaxPooling2D(2)(inputs))
    x = layers.Concatenate()([layers.MaxPooling2D(2)(bn(inputs)), small])
    model = keras.Model(inputs, layers.Flatten()(x))
    x = images()
    tfrcp.recalibrate_batch_norm(model, x)
    pooled = x.reshape(20, 3, 2, 3, 2, 2).max(axis=(2, 4))
    pixels = np.concatenate([x.reshape(-1, 2), pooled.reshape(-1, 2)])
    assert_same(statistics(model), {"bn": (pixels.mean(axis=0), pixels.var(axis=0))}, 1e-4)


def test_model_without_norms_is_left_alone():
    model = NETWORKS["dense_sequence"].build()
    before = model.get_weights()
    tfrcp.recalibrate_batch_norm(model, images_for(model))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def broken():
    x = images()
    x[3, 1, 2, 0] = np.nan
    return x


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X[:0], "at least one image"),
        (broken(), "finite"),
        (X * np.inf, "finite"),
        (tf.data.Dataset.from_tensor_slices(X).batch(4).take(0), "at least one image"),
        (None, "`data` must"),
        ("images", "`data` must"),
    ],
)
def test_bad_data(data, message):
    model = network()
    before = statistics(model)
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=message):
        tfrcp.recalibrate_batch_norm(model, data)
    assert_same(statistics(model), before)


def test_bad_count():
    with pytest.raises(ValueError, match="count"):
        tfrcp.recalibrate_batch_norm(network(), X, count=0)


def test_images_of_another_size():
    # Fails: a TypeError that prints all weights: "Binding inputs to tf.function failed".
    with pytest.raises(ValueError, match=r"\(6, 6, 2\).*\(5, 6, 2\)"):
        tfrcp.recalibrate_batch_norm(network(), X[:, :5])


def test_unbuilt_model():
    with pytest.raises(ValueError, match="not built"):
        tfrcp.recalibrate_batch_norm(keras.Sequential([layers.Dense(3)]), X)


def test_frozen_batch_norms_are_recalibrated_too():
    model, frozen = network(), network()
    frozen.set_weights(model.get_weights())
    frozen.get_layer("a_bn").trainable = False
    before = statistics(model)
    for each in (model, frozen):
        tfrcp.recalibrate_batch_norm(each, images())
    assert_same(statistics(frozen), statistics(model))
    assert np.abs(before["a_bn"][0] - statistics(model)["a_bn"][0]).max() > 0.1
