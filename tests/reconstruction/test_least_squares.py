"""Fitted weights against planted solutions, closed forms and NumPy's own least squares."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfrcp
from tests.networks import NETWORKS, norm
from tests.reconstruction.small_fits import METHODS, distance, fit, keep_but, network, two_dense
from tests.references import full_masks, images_for, randomize, variable_at
from tfrcp.graph.rules import find_rule
from tfrcp.graph.weights import read_weights, slice_weights
from tfrcp.reconstruction import CachedLeastSquares, reconstruct

# The rules: a layer as linear equations.


CONV2D = {"filters": 4, "kernel_size": 3}
LAYERS = {
    "same": (layers.Conv2D(padding="same", **CONV2D), (5, 6, 2)),
    "valid, stride 2": (layers.Conv2D(strides=2, **CONV2D), (7, 6, 2)),
    "same, stride 2": (layers.Conv2D(strides=2, padding="same", **CONV2D), (6, 7, 2)),
    "dilated": (layers.Conv2D(dilation_rate=2, padding="same", **CONV2D), (6, 6, 2)),
    "even kernel": (layers.Conv2D(3, (2, 4), strides=(2, 1), padding="same"), (5, 5, 2)),
    "grouped": (layers.Conv2D(6, 3, groups=2, padding="same"), (5, 5, 4)),
    "conv1d": (layers.Conv1D(3, 3, strides=2), (8, 2)),
    "causal": (layers.Conv1D(3, 3, padding="causal", dilation_rate=2), (8, 2)),
    "conv3d": (layers.Conv3D(3, 2, padding="same"), (3, 4, 3, 2)),
    "depthwise": (layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2), (7, 7, 3)),
    "depthwise1d": (layers.DepthwiseConv1D(3, padding="same"), (6, 3)),
    "separable": (
        layers.SeparableConv2D(4, 3, strides=2, depth_multiplier=2, padding="same"),
        (6, 6, 3),
    ),
    "transposed": (layers.Conv2DTranspose(3, 3, strides=2, padding="same"), (4, 5, 2)),
    "transposed, valid": (layers.Conv2DTranspose(3, 2, strides=3), (4, 3, 2)),
    "transposed, output padding": (
        layers.Conv1DTranspose(3, 3, strides=2, output_padding=1),
        (5, 2),
    ),
    "dense": (layers.Dense(4), (5, 3)),
    "einsum": (layers.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d"), (5, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_unfolded_inputs_times_matrix_are_the_outputs(name):
    layer, shape = LAYERS[name]
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layer(inputs))
    (call,) = tfrcp.trace(model).calls.calls
    rule, entry = find_rule(layer), {v.name: np.asarray(v) for v in layer.variables}
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    kernel = entry[rule.kernel]
    mixed = np.asarray(rule.mixed(call, ops.convert_to_tensor(x), entry))
    matrix, windows = rule.matrix(call, kernel), rule.windows(call, mixed.shape[1:-1])
    y = rule.unfold(call, mixed, windows, len(matrix)) @ matrix
    expected = np.asarray(rule.linear(call, ops.convert_to_tensor(x), entry))
    y = y.transpose(1, 0, 2).reshape(expected.shape)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(rule.from_matrix(call, matrix, kernel.shape), kernel)


# Planted solutions.


PLANTED = (
    *("chain", "vgg", "conv1d", "conv3d", "dense_sequence", "spatial", "open_size"),
    *("residual_a", "residual_b", "inverted_residual", "depthwise", "add_three"),
    *("concatenated", "flattened_and_concatenated", "squeeze_excite", "reshaped"),
    *("shared_twice", "called_twice", "siamese", "nested", "not_foldable"),
    *("grouped_whole", "other_convolutions", "norms_without_weights"),
)


def plant_duplicates(model, graph):
    """Makes the last channel of every group a copy of its first; returns masks without it."""
    masks = full_masks(graph)
    for group in graph.prunable:
        if group.size == 1:
            continue
        last = group.size - 1
        masks[group.name][last] = False
        for piece in group.slices:
            if piece.role == "input":
                continue
            variable = variable_at(model, piece)
            values = np.moveaxis(np.array(variable), piece.axis, 0)
            values[piece.channel_of == last] = values[piece.channel_of == 0]
            variable.assign(np.moveaxis(values, 0, piece.axis))
    return masks


@pytest.mark.parametrize("name", [name for name in PLANTED if name in NETWORKS])
def test_duplicate_channels_can_be_removed(name):
    model = NETWORKS[name].build()
    randomize(model)
    graph, x = tfrcp.trace(model), images_for(model, count=150)
    masks = plant_duplicates(model, graph)
    assert not all(mask.all() for mask in masks.values())
    assert distance(model, tfrcp.slice_model(model, graph, masks), x) > 0.01
    for method in METHODS:
        pruned, left_out = fit(model, graph, masks, x, method)
        assert distance(model, pruned, x) < 1e-3
        assert left_out == {}


def test_a_lost_linear_combination_comes_back():
    model = two_dense()
    kernel, bias = (np.array(v) for v in model.get_layer("hidden").variables)
    kernel[:, 5], bias[5] = kernel[:, 4] * 2, bias[4] * 2
    model.get_layer("hidden").set_weights([kernel, bias])
    graph, x = tfrcp.trace(model), images_for(model, count=50)
    for method in METHODS:
        pruned, _ = fit(model, graph, keep_but(graph, "hidden", 5), x, method)
        assert distance(model, pruned, x) < 1e-3


@pytest.mark.parametrize("with_norm", [True, False])
def test_sequential_makes_up_for_the_other_terms_of_a_sum(with_norm):
    """
    image -+- a - s -+- [s image] - t - (bn) -+
           |         |                       add - head
           +---------+------------------------+

    What is lost in s is a linear function of the image, and so of the inputs of t.
    """
    inputs = keras.Input((4,))
    s = layers.Dense(3, name="s")(layers.Dense(6, name="a")(inputs))
    t = layers.Concatenate()([s, inputs])
    t = layers.Dense(3, use_bias=not with_norm, name="t")(t)
    t = norm("t_bn")(t) if with_norm else t
    model = keras.Model(inputs, layers.Dense(2, name="head")(layers.Add()([t, s])))
    randomize(model)
    graph, x = tfrcp.trace(model), images_for(model, count=100)
    masks = keep_but(graph, "a", 0, 1, 2, 3, 4)
    assert distance(model, fit(model, graph, masks, x, "cached")[0], x) > 0.1
    pruned, _ = fit(model, graph, masks, x, "sequential")
    assert distance(model, pruned, x) < 1e-3
    tfrcp.recalibrate_batch_norm(pruned, x)
    assert distance(model, pruned, x) < 1e-3


# Closed forms.


@pytest.mark.parametrize("method", METHODS)
def test_equals_numpy_least_squares(method):
    model = two_dense()
    graph, x = tfrcp.trace(model), images_for(model, count=30)
    pruned, _ = fit(model, graph, keep_but(graph, "hidden", 1, 4), x, method, ridge=0.0)
    hidden = np.asarray(model.get_layer("hidden")(x), "float64").reshape(-1, 6)
    y = np.asarray(model(x), "float64").reshape(-1, 3)
    a = np.c_[hidden[:, [0, 2, 3, 5]], np.ones(len(hidden))]
    expected = np.linalg.lstsq(a, y, rcond=None)[0]
    kernel, bias = pruned.get_layer("out").get_weights()
    np.testing.assert_allclose(np.r_[kernel, [bias]], expected, rtol=1e-4, atol=1e-5)


def patches(x):
    """Unpadded 3x3 windows, float64 [samples, 9 x channels]."""
    windows = np.lib.stride_tricks.sliding_window_view(x.astype("float64"), (3, 3), axis=(1, 2))
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 9 * x.shape[-1])


@pytest.mark.parametrize("use_bias", [True, False])
def test_cached_is_the_closed_form_on_a_part_of_the_gram_matrix(use_bias):
    model, ridge = network(use_bias=use_bias), 0.05
    graph, x = tfrcp.trace(model), images_for(model, count=40)
    masks = keep_but(graph, "a", 0, 3)
    masks["b"][[1, 2]] = False
    cached = CachedLeastSquares(model, graph, x, ridge=ridge, samples=None, verbose=False)
    arrays = cached(slice_weights(graph, read_weights(graph, model), masks), masks)
    rows = patches(np.asarray(model.get_layer("a")(x)))
    means = rows.mean(axis=0) if use_bias else np.zeros(45)
    gram = rows.T @ rows / len(rows) - np.outer(means, means)
    kept = np.tile(masks["a"], 9)
    old = np.asarray(model.get_layer("b").kernel, "float64").reshape(45, 6)[:, masks["b"]]
    own = gram[np.ix_(kept, kept)]
    own = own + ridge * np.trace(own) / len(own) * np.eye(len(own))
    change = np.linalg.solve(own, gram[np.ix_(kept, ~kept)] @ old[~kept])
    np.testing.assert_allclose(
        arrays["b"]["kernel"].reshape(-1, 4), old[kept] + change, rtol=1e-4, atol=1e-5
    )
    if use_bias:
        bias = np.asarray(model.get_layer("b").bias)[masks["b"]]
        bias = bias + means[~kept] @ old[~kept] - means[kept] @ change
        np.testing.assert_allclose(arrays["b"]["bias"], bias, rtol=1e-4, atol=1e-5)


def test_cached_fit_survives_recalibration():
    model = network(use_bias=False, then_norm=True)
    graph, x = tfrcp.trace(model), images_for(model, count=60)
    tfrcp.recalibrate_batch_norm(model, x)
    masks = keep_but(graph, "a", 0, 3)
    pruned, _ = fit(model, graph, masks, x, "cached", samples=None)
    # The best that a linear function of the kept inputs can do for the normalized outputs.
    rows = patches(np.asarray(model.get_layer("a")(x)))[:, np.tile(masks["a"], 9)]
    rows = np.c_[rows, np.ones(len(rows))]
    part = keras.Model(model.input, model.get_layer("b_bn").output)
    y = np.asarray(part(x), "float64").reshape(-1, 6)
    expected = rows @ np.linalg.lstsq(rows, y, rcond=None)[0]
    for again in (False, True):
        if again:
            tfrcp.recalibrate_batch_norm(pruned, x)
        part = keras.Model(pruned.input, pruned.get_layer("b_bn").output)
        received = np.asarray(part(x)).reshape(-1, 6)
        np.testing.assert_allclose(received, expected, atol=1e-2)


# What is not to change.


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["residual_a", "depthwise", "norm_of_two", "half_precision"])
def test_keeping_everything_changes_nothing(name, method):
    model = NETWORKS[name].build()
    randomize(model)
    graph, x = tfrcp.trace(model), images_for(model, count=40)
    tfrcp.recalibrate_batch_norm(model, (x,))
    pruned, left_out = fit(model, graph, full_masks(graph), x, method)
    assert left_out == {}
    for before, after in zip(model.get_weights(), pruned.get_weights(), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_neither_order_nor_batches_matter(method):
    model = NETWORKS["residual_b"].build()
    randomize(model)
    graph, x = tfrcp.trace(model), images_for(model, count=70)
    masks = keep_but(graph, "stem_conv", 1)
    shuffled = x[np.random.default_rng(0).permutation(len(x))]
    data = (x, tf.data.Dataset.from_tensor_slices(shuffled).batch(9))
    weights = []
    for images in data:
        pruned = tfrcp.slice_model(model, graph, masks)
        reconstruct(pruned, model, graph, masks, images, method, samples=5, verbose=False)
        weights.append(pruned.get_weights())
    for first, second in zip(*weights, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4)


def test_the_inputs_of_the_cached_form_are_not_changed():
    model = network(use_bias=False, then_norm=True)
    graph, x = tfrcp.trace(model), images_for(model, count=40)
    masks = keep_but(graph, "a", 2)
    arrays = slice_weights(graph, read_weights(graph, model), masks)
    before = {path: {n: np.copy(a) for n, a in entry.items()} for path, entry in arrays.items()}
    cached = CachedLeastSquares(model, graph, x, verbose=False)
    first, second = cached(arrays, masks), cached(arrays, masks)
    for path, entry in before.items():
        for name, array in entry.items():
            np.testing.assert_array_equal(arrays[path][name], array)
            np.testing.assert_array_equal(first[path][name], second[path][name])
            assert first[path][name].dtype == array.dtype
