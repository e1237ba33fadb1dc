"""What the fit layer by layer leaves in biases and batch norms."""

import keras
import numpy as np
import pytest

import tfrcp
from tests.reconstruction.small_fits import fit, keep_but, network, two_dense
from tests.references import images_for
from tfrcp.graph.program import Program
from tfrcp.graph.weights import read_weights, slice_weights
from tfrcp.reconstruction import CachedLeastSquares, fit_sequentially


@pytest.mark.parametrize("use_bias", [True, False])
def test_sequential_shifts_a_bias_once_whatever_was_fitted_before(use_bias):
    model = two_dense(bias=use_bias)
    graph, x = tfrcp.trace(model), images_for(model, count=60)
    masks, weights = keep_but(graph, "hidden", 0, 1), read_weights(graph, model)
    cached = CachedLeastSquares(model, graph, x, verbose=False)
    sliced = slice_weights(graph, weights, masks)
    found = [
        fit_sequentially(
            Program(graph), slice_weights(graph, weights, {}), inherited, graph.keep(masks), x
        )[0]["out"]
        for inherited in (sliced, cached(sliced, masks))
    ]
    for name, array in found[0].items():
        np.testing.assert_allclose(found[1][name], array, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("use_bias", [True, False])
def test_batch_norms_behind_fitted_layers_get_the_statistics_of_what_they_are_given(use_bias):
    model = network(units=6, use_bias=use_bias, then_norm=True)
    graph, x = tfrcp.trace(model), images_for(model, count=40)
    tfrcp.recalibrate_batch_norm(model, x)
    pruned, _ = fit(model, graph, keep_but(graph, "a", 0, 3), x, "sequential", samples=None)
    norm = pruned.get_layer("b_bn")
    seen = np.asarray(keras.Model(pruned.inputs[0], norm.input)(keras.tree.flatten(x)[0]))
    np.testing.assert_allclose(norm.moving_mean, seen.mean((0, 1, 2)), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, seen.var((0, 1, 2)), rtol=1e-3)
