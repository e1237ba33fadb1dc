"""Layers with fewer samples than inputs are fitted too, in the space of samples."""

import keras
import numpy as np
import pytest
from keras import layers

import tfrcp
from tests.reconstruction.small_fits import METHODS, fit, keep_but
from tests.references import images_for, randomize
from tfrcp.reconstruction.equations import Moments
from tfrcp.reconstruction.solving import solve_samples

RIDGE = 1e-3


def _closed_form(x, y, ridge):
    """The stacked system that lstsq solves: residuals of the samples, and the ridge."""
    count, inputs = x.shape
    eps = ridge * (x**2).mean()
    rows = np.concatenate([x / np.sqrt(count), np.sqrt(eps) * np.eye(inputs)])
    targets = np.concatenate([y / np.sqrt(count), np.zeros((inputs, y.shape[1]))])
    return np.linalg.lstsq(rows, targets)[0]


@pytest.mark.parametrize("count", [2, 9, 30, 31, 200])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("limit", [np.inf, 8 * 2 * 30 * 34 - 1])
def test_both_forms_are_the_ridge_solution(count, intercept, limit):
    random = np.random.default_rng(count)
    x, y = random.normal(1, 1, (2, count, 30)), random.normal(size=(2, count, 4))
    moments = Moments(limit)
    for start in range(0, count, 7):
        moments.add(x[:, start : start + 7], y[:, start : start + 7])
    used = min(count, int(limit // (2 * 8 * 2 * 34))) if limit < np.inf else count
    assert (moments.count, moments.ignored) == (used, count - used)
    equations = moments.equations(intercept)
    found = equations.change(RIDGE)
    x, y = x[:, :used], y[:, :used]
    if intercept:
        x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    for block in range(2):
        expected = _closed_form(x[block], y[block], RIDGE)
        np.testing.assert_allclose(found[block], expected, rtol=1e-8, atol=1e-10)
    expected = np.concatenate([(x[b] @ found[b]).var(0) for b in range(2)])
    if intercept:
        np.testing.assert_allclose(equations.variances(found), expected, rtol=1e-8)


def test_a_layer_as_wide_as_vggs_first_dense_layer():
    random = np.random.default_rng(0)
    x = random.normal(size=(1, 12, 25_088))
    planted = x[0].T @ random.normal(size=(12, 3))  # in the span of the samples
    moments = Moments()
    moments.add(x.astype("float32"), x @ planted)
    found = moments.equations(False).change(1e-7)
    np.testing.assert_allclose(found[0], planted, atol=1e-4 * np.abs(planted).max())


def test_constant_inputs_change_nothing():
    assert not solve_samples(np.zeros((1, 3, 5)), np.zeros((1, 3, 2)), 1e-5).any()


def _wide_head(spatial):
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(24, 3, activation="relu", name="wide")(inputs)
    x = layers.Flatten()(x) if spatial else layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(4, name="head")(x))
    randomize(model)
    return model


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spatial", [False, True])
def test_heads_wider_than_the_images_are_many(method, spatial):
    model = _wide_head(spatial)
    graph = tfrcp.trace(model)
    x = images_for(model, count=12)
    masks = keep_but(graph, "wide", *range(6))
    pruned, left_out = fit(model, graph, masks, x, method)
    assert left_out == {}
    inherited = tfrcp.slice_model(model, graph, masks)
    error, before = (np.square(model(x) - m(x)).mean() for m in (pruned, inherited))
    assert error < 1e-3 * before


@pytest.mark.parametrize("method", METHODS)
def test_duplicates_are_recovered_from_fewer_samples_than_inputs(method):
    model = _wide_head(spatial=True)
    kernel, bias = model.get_layer("wide").get_weights()
    kernel[..., :6], bias[:6] = kernel[..., 6:12], bias[6:12]
    model.get_layer("wide").set_weights([kernel, bias])
    graph = tfrcp.trace(model)
    pruned, _ = fit(model, graph, keep_but(graph, "wide", *range(6)), images_for(model, 60), method)
    x = images_for(model, count=60)
    np.testing.assert_allclose(model(x), pruned(x), atol=2e-3 * np.abs(model(x)).max())
