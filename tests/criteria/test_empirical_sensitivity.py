from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest

from tests.criteria.small_criteria import (
    KINDS,
    READERS,
    assert_scores,
    kernel,
    labelled,
    network,
)
from tests.networks import conv, head, image
from tfrcp import trace
from tfrcp.criteria import EmpiricalSensitivity
from tfrcp.criteria.ties import break_ties

PLAINLY = {"reduction": "max", "normalize": False, "ties": False}


def _input(model, layer, x):
    """What a layer is given, float64."""
    return np.asarray(keras.Model(model.inputs, model.get_layer(layer).input)([x]), dtype="float64")


def _patches(layer, a):
    """The windows of a layer's positions, [images x positions, window, inputs]."""
    if isinstance(layer, keras.layers.Dense):
        return a.reshape(-1, 1, a.shape[-1])
    (size, _), (stride, _) = layer.kernel_size, layer.strides
    count = -(-a.shape[1] // stride)
    missing = max((count - 1) * stride + size - a.shape[1], 0)
    before = missing // 2
    a = np.pad(a, [(0, 0), *[(before, missing - before)] * 2, (0, 0)])
    windows = [
        a[:, y * stride : y * stride + size, x * stride : x * stride + size]
        for y in range(count)
        for x in range(count)
    ]
    return np.concatenate(windows).reshape(-1, size * size, a.shape[-1])


def _shares(w, patches, channels, singly=False):
    """The largest share of every channel, which takes some of a layer's inputs.

    Args:
        w: [window, inputs, outputs].
        patches: [positions, window, inputs].
        channels: List of lists of inputs.
        singly: Whether each product of the window counts alone, as the authors' code has it, and
            sums below the precision of float32 do not.
    """
    largest = np.zeros(len(channels))
    for sign_w, sign_a in itertools.product((1, -1), (1, -1)):
        if singly:
            products = np.einsum(
                "pki,kio->pkio", np.maximum(sign_a * patches, 0), np.maximum(sign_w * w, 0)
            )
            total = products.sum(axis=(1, 2), keepdims=True)
            found = (products / np.where(total > np.finfo("float32").eps, total, np.inf)).max(
                axis=(0, 1, 3)
            )
            largest = np.maximum(largest, [found[inputs].max() for inputs in channels])
            continue
        products = np.einsum(
            "pki,kio->pio", np.maximum(sign_a * patches, 0), np.maximum(sign_w * w, 0)
        )
        for position in products:  # [inputs, outputs]
            for output in position.T:
                for j, inputs in enumerate(channels):
                    if output.sum() > 0:
                        largest[j] = max(largest[j], output[inputs].sum() / output.sum())
    return largest


def _expected(model, graph, where, x, singly=False):
    """The shares of every group's channels in every layer that reads them."""
    return {
        group.name: [
            _shares(
                kernel(model, layer).reshape(-1, *kernel(model, layer).shape[-2:]),
                _patches(model.get_layer(layer), _input(model, layer, x)),
                [positions(j) for j in range(group.size)],
                singly,
            )
            for layer, positions in where[group.name].items()
        ]
        for group in graph.prunable
    }


@pytest.mark.parametrize("name", [*KINDS, "vgg", "concatenated_and_added", "sequential"])
def test_empirical_sensitivity_is_the_formula(name):
    model, graph = network(name)
    x, _ = labelled(model, 2)
    expected = _expected(model, graph, READERS[name], x)
    scores = EmpiricalSensitivity(**PLAINLY)(model, graph, x)
    assert_scores(scores, {group: np.max(each, axis=0) for group, each in expected.items()})


@pytest.mark.parametrize("name", [*KINDS, "vgg", "concatenated_and_added", "sequential"])
def test_the_largest_product_is_that_of_the_authors_code(name):
    model, graph = network(name)
    x, _ = labelled(model, 2)
    expected = _expected(model, graph, READERS[name], x, singly=True)
    scores = EmpiricalSensitivity(products="largest", **PLAINLY)(model, graph, x)
    assert_scores(scores, {group: np.max(each, axis=0) for group, each in expected.items()})


@pytest.mark.parametrize("name", ["grouped", "other_convolutions", "attention"])
def test_no_product_is_larger_than_their_sum(name):
    model, graph = network(name)
    x, _ = labelled(model, 2)
    sums, largest = (
        EmpiricalSensitivity(products=each, **PLAINLY)(model, graph, x)
        for each in ("sum", "largest")
    )
    for group, score in largest.items():
        assert (score <= sums[group] * (1 + 1e-5)).all() and (score > 0).all()


def test_sums_below_the_precision_of_numbers_are_ignored():
    model, x, _ = _sparse()
    one = model.get_layer("one")
    kernel, bias = one.get_weights()
    kernel[0, 0, 3, 3] = 1e-9
    one.set_weights([kernel, bias])
    scores = [
        EmpiricalSensitivity(products=products, **PLAINLY)(model, trace(model), x)["one"][3]
        for products in ("sum", "largest")
    ]
    np.testing.assert_allclose(scores, [1, 0], rtol=1e-6)


@pytest.mark.parametrize("reduction, reduce", [("mean", np.mean), ("sum", np.sum)])
def test_shares_are_normalized_and_reduced(reduction, reduce):
    model, graph = network("residual_b")
    x, _ = labelled(model, 2)
    expected = _expected(model, graph, READERS["residual_b"], x)
    scores = EmpiricalSensitivity(reduction=reduction, ties=False)(model, graph, x)
    # All inputs of these layers are of one group.
    wanted = {
        group: reduce([share / share.mean() for share in each], axis=0)
        for group, each in expected.items()
    }
    assert_scores(scores, wanted)


@pytest.mark.parametrize("name", ["grouped", "other_convolutions"])
def test_other_convolutions_are_seen_through_their_layers(name):
    """Shares by running the Keras layers on one channel at a time, weights split by sign."""
    model, graph = network(name)
    x, _ = labelled(model, 2)
    scores = EmpiricalSensitivity(**PLAINLY)(model, graph, x)
    group, layer, positions = {
        "grouped": ("a", "grouped", lambda j: [j, 3 + j]),
        "other_convolutions": ("separable", "transposed", lambda j: [j]),
    }[name]
    layer = model.get_layer(layer)
    a = _input(model, layer.name, x).astype("float32")
    weights, size = np.array(layer.kernel), len(scores[group])
    layer.bias.assign(np.zeros(layer.bias.shape))
    largest = np.zeros(size)
    for sign_w, sign_a in itertools.product((1, -1), (1, -1)):
        layer.kernel.assign(np.maximum(sign_w * weights, 0))
        part = np.maximum(sign_a * a, 0)
        total = np.maximum(layer(part), 1e-30)
        for j in range(size):
            alone = part * np.isin(np.arange(a.shape[-1]), positions(j))
            largest[j] = max(largest[j], (np.array(layer(alone)) / total).max())
    assert_scores({group: scores[group]}, {group: largest})


def test_a_separable_convolution_reads_what_its_depthwise_part_makes():
    model, graph = network("other_convolutions")
    x, _ = labelled(model, 2)
    layer = model.get_layer("separable")
    depthwise = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)
    a = _input(model, "separable", x)
    depthwise.build(a.shape)
    depthwise.kernel.assign(layer.depthwise_kernel)
    patches = np.asarray(depthwise(a), dtype="float64").reshape(-1, 1, 6)
    w = np.asarray(layer.pointwise_kernel, dtype="float64").reshape(1, 6, 5)
    expected = _shares(w, patches, [[2 * j, 2 * j + 1] for j in range(3)])
    scores = EmpiricalSensitivity(**PLAINLY)(model, graph, x)
    assert_scores({"a": scores["a"]}, {"a": expected})


def test_a_layer_that_is_called_twice_has_the_largest_of_both():
    inputs = image()
    x = conv(4, "a")(inputs)
    shared = conv(4, "shared")
    model = keras.Model(inputs, head(shared(shared(x))))
    once = keras.Model(inputs, head(shared(x)))
    x, _ = labelled(model, 2)
    name = trace(model).prunable[0].name
    twice = EmpiricalSensitivity(**PLAINLY)(model, trace(model), x)[name]
    assert (twice >= EmpiricalSensitivity(**PLAINLY)(once, trace(once), x)["a"] - 1e-6).all()


def test_where_activations_are_not_seen_the_weights_decide():
    model, graph = network("attention")
    x, _ = labelled(model, 2)
    w = np.asarray(
        dict((v.path.split("attention/")[-1], v) for v in model.get_layer("attention").variables)[
            "attention_output/kernel"
        ],
        dtype="float64",
    ).reshape(2, -1)
    parts = [np.maximum(sign * w, 0) for sign in (1, -1)]
    with np.errstate(invalid="ignore"):
        expected = np.nanmax([np.nanmax(part / part.sum(axis=0), axis=1) for part in parts], axis=0)
    scores = EmpiricalSensitivity(**PLAINLY)(model, graph, x)
    assert_scores({"attention": scores["attention"]}, {"attention": expected}, 1e-6)


def _sparse():
    """Each of eight channels is the only active one at some position; channel 0 is dead."""
    inputs = keras.Input((9, 9, 9))
    x = keras.layers.Conv2D(9, 1, activation="relu", name="one")(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(3, 1, name="out")(x))
    scales = np.array([0, 3, 1, 7, 2, 5, 4, 8, 6], "float32")
    model.get_layer("one").set_weights([np.diag(scales)[None, None], np.zeros(9)])
    images = np.broadcast_to(np.eye(9, dtype="float32"), (2, 9, 9, 9))
    return model, images, scales


def test_ties_are_broken_by_l1():
    model, x, scales = _sparse()
    graph = trace(model)
    tied = EmpiricalSensitivity(ties=False)(model, graph, x)["one"]
    np.testing.assert_allclose(tied[1:], tied.max(), rtol=1e-6)
    scores = EmpiricalSensitivity()(model, graph, x)["one"]
    np.testing.assert_array_equal(np.argsort(scores), np.argsort(scales))
    assert scores[0] == 0
    assert (scores >= scores.max() * (1 - 1e-4)).sum() == 1
    np.testing.assert_allclose(scores[1:], tied[1:], rtol=0.03)


def test_only_ties_change():
    scores, second = np.array([0.5, 0.2, 0.5, 1.0, 0.0, 0.501, 0.0]), np.arange(7.0)
    found = break_ties(scores, second)
    same = [1, 3, 4, 5, 6]
    np.testing.assert_array_equal(found[same], scores[same])
    assert 0.5 <= found[0] < found[2] < 0.501
    np.testing.assert_array_equal(break_ties(scores[:0], second[:0]), [])
    np.testing.assert_array_equal(break_ties(np.ones(3), np.zeros(3)), np.ones(3))


def test_a_dead_channel_has_no_share():
    model, graph = network("chain")
    for name in ("gamma", "beta"):
        variable = getattr(model.get_layer("a_bn"), name)
        variable.assign(np.where(np.arange(4) == 2, 0, variable))
    scores = EmpiricalSensitivity()(model, graph, labelled(model, 2)[0])
    assert scores["a_conv"][2] == 0 < scores["a_conv"][[0, 1, 3]].min()
