"""Fits that are left out, and fits that are refused."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

import tfrcp
from tests.networks import NETWORKS
from tests.reconstruction.small_fits import METHODS, fit, keep_but, network, two_dense
from tests.references import full_masks, images_for, randomize
from tfrcp.graph.parts import Parts
from tfrcp.graph.program import Program
from tfrcp.graph.weights import read_weights, slice_weights
from tfrcp.reconstruction import CachedLeastSquares, reconstruct
from tfrcp.reconstruction.layers import Rows
from tfrcp.reconstruction.sequential import SequentialLeastSquares
from tfrcp.reconstruction.side_by_side import SideBySide

# Layers that keep their weights.


@pytest.mark.parametrize("method", METHODS)
def test_ill_conditioned_layers_keep_their_weights(method):
    model = two_dense()
    hidden = model.get_layer("hidden")
    hidden.set_weights([w[..., [0, 0, 2, 3, 4, 5]] for w in hidden.get_weights()])
    graph, x = tfrcp.trace(model), images_for(model, count=30)
    masks = keep_but(graph, "hidden", 4)
    with pytest.warns(UserWarning, match="'out' keeps its inherited weights: ill-conditioned"):
        pruned, left_out = fit(model, graph, masks, x, method, ridge=0.0)
    assert list(left_out) == ["out"]
    sliced = tfrcp.slice_model(model, graph, masks)
    for a, b in zip(pruned.get_layer("out").weights, sliced.get_layer("out").weights, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert fit(model, graph, masks, x, method)[1] == {}


@pytest.mark.parametrize("method", METHODS)
def test_too_few_samples_without_a_ridge(method):
    model = NETWORKS["vgg"].build()
    randomize(model)
    graph, x = tfrcp.trace(model), images_for(model, count=20)
    masks = keep_but(graph, "b_conv", 0)
    with pytest.warns(UserWarning, match="keeps its inherited weights"):
        pruned, left_out = fit(model, graph, masks, x, method, ridge=0.0)
    assert "too few samples: 20 for 36 inputs" in left_out["c"]
    kept = np.asarray(model.get_layer("c").kernel).reshape(9, 5, 6)[:, 1:]
    np.testing.assert_array_equal(np.asarray(pruned.get_layer("c").kernel), kept.reshape(36, 6))


def test_cached_leaves_out_the_largest_layers():
    model = NETWORKS["vgg"].build()
    graph, x = tfrcp.trace(model), images_for(model, count=60)
    sizes = {"b_conv": 36, "c": 45, "head": 6}
    limit = 8 * (36**2 + 6**2)
    with pytest.warns(UserWarning, match="'c' keeps its inherited weights: .* 16,200 bytes"):
        cached = CachedLeastSquares(model, graph, x, memory_limit=limit, verbose=False)
    assert list(cached.left_out) == ["c"]
    with pytest.warns(UserWarning) as caught:
        CachedLeastSquares(model, graph, x, memory_limit=1, verbose=False)
    assert all(any(f"'{name}'" in str(w.message) for w in caught) for name in sizes)


@pytest.mark.parametrize("name", ["residual_a", "inverted_residual", "added_to_input", "vgg"])
def test_sequential_uses_all_images_within_any_limit(name, monkeypatch):
    monkeypatch.setattr(SideBySide, "_at_once", lambda _, x, live: [16] * 3 + [40] * len(live))
    model = NETWORKS[name].build()
    randomize(model)
    graph, x = tfrcp.trace(model), images_for(model, count=50)
    masks = full_masks(graph)
    for group in graph.prunable:
        masks[group.name][0] = False
    program, weights = Program(graph), read_weights(graph, model)
    original, inherited = (slice_weights(graph, weights, m) for m in ({}, masks))
    found = {}
    for limit in (None, 50 * 3000, 0):
        options = {"ridge": 1e-3, "samples": 20, "memory_limit": 2**30}
        fits = SequentialLeastSquares(program, original, inherited, graph.keep(masks), **options)
        runs = Counter()
        monkeypatch.setattr(Parts, "__call__", counted(Parts.__call__, runs))
        fits.run(x, False, limit)
        found[limit] = fits.fitted, runs
    blocks = [n // 2 for _, n in sorted(found[None][1].items())]  # in two networks
    assert set(blocks[:3]) == {4} and set(blocks[4:]) <= {2, 4}
    assert 2 in blocks  # joined
    assert sum(found[0][1].values()) > sum(found[None][1].values())
    for limit in (50 * 3000, 0):
        assert found[limit][0].keys() == found[None][0].keys()
        for path, entry in found[None][0].items():
            for key, array in entry.items():
                np.testing.assert_allclose(found[limit][0][path][key], array, rtol=1e-4, atol=1e-5)


def counted(step, runs):
    step = getattr(step, "plain", step)

    def wrapped(parts, start, stop, *rest):
        runs.update(range(start, stop))
        return step(parts, start, stop, *rest)

    wrapped.plain = step
    return wrapped


def test_layers_that_do_not_fit_take_fewer_samples():
    model = NETWORKS["vgg"].build()
    randomize(model)
    graph, x = tfrcp.trace(model), images_for(model, count=60)
    masks = keep_but(graph, "b_conv", 0)
    program, weights = Program(graph), read_weights(graph, model)
    original, inherited = (slice_weights(graph, weights, m) for m in ({}, masks))
    options = {"ridge": 1e-5, "samples": 100, "memory_limit": 8 * 36 * (36 + 6) - 1}
    sequential = SequentialLeastSquares(program, original, inherited, graph.keep(masks), **options)
    with pytest.warns(UserWarning, match="'c' is fitted to 17 of 60 samples"):
        sequential.run(x, False)
    limit = 8 * (36**2 + 6**2) + 22 * 2 * 8 * 45 - 1
    assert limit < 8 * (36**2 + 6**2 + 45**2)
    with pytest.warns(UserWarning, match="'c' is fitted to 21 of 60 samples"):
        cached = CachedLeastSquares(model, graph, x, memory_limit=limit, verbose=False)
    assert sequential.left_out == cached.left_out == {}
    for fitted in (sequential.fitted, cached(inherited, masks)):
        change = fitted["c"]["kernel"] - inherited["c"]["kernel"]
        assert np.abs(change).max() > 1e-3


def test_fewer_samples_are_taken_from_all_images():
    model = network()
    call = next(c for c in tfrcp.trace(model).calls.calls if c.path == "b")
    x = np.arange(50.0)[:, None, None, None] * np.ones((1, 4, 4, 5))
    for most, positions in ((None, 4), (200, 4), (120, 2), (3, 1)):
        rows = Rows(call, x, 1, 45, images=50, samples=None, most=most, seed=0)
        found = np.concatenate([chunk[0] for _, chunk in rows.unfold(x)])
        assert np.unique(found, return_counts=True)[0].tolist() == list(range(50))
        assert len(found) == 50 * positions and rows.left_out == 50 * (4 - positions)


def test_warnings_are_not_repeated_for_every_candidate():
    model = NETWORKS["vgg"].build()
    graph, x = tfrcp.trace(model), images_for(model, count=20)
    cached = CachedLeastSquares(model, graph, x, ridge=0.0, verbose=False)
    weights = read_weights(graph, model)
    for number in range(3):
        masks = keep_but(graph, "b_conv", number)
        arrays = slice_weights(graph, weights, masks)
        if number:
            cached(arrays, masks)
        else:
            with pytest.warns(UserWarning, match="'c' keeps"):
                cached(arrays, masks)


def test_numbers_that_are_not_finite_do_not_spread():
    model = two_dense()
    model.get_layer("hidden").set_weights([np.full((4, 6), 3e38), np.zeros(6)])
    graph, x = tfrcp.trace(model), np.abs(images_for(model, count=50))
    with pytest.warns(UserWarning, match="keeps its inherited weights: .* not finite"):
        pruned, left_out = fit(model, graph, keep_but(graph, "hidden", 1), x, "sequential")
    assert list(left_out) == ["hidden", "out"]
    assert np.isfinite(pruned.get_layer("out").get_weights()[0]).all()


# Mistakes.


BAD_DATA = {
    "empty": (np.zeros((0, 6, 6, 2), "float32"), "at least one image"),
    "one image": (np.zeros((1, 6, 6, 2), "float32"), "at least two images"),
    "NaN": (np.full((4, 6, 6, 2), np.nan, "float32"), "1 of 4|4 of 4"),
    "another size": (np.zeros((4, 7, 6, 2), "float32"), r"\(6, 6, 2\). Received: \(7, 6, 2\)"),
    "no channels": (np.zeros((4, 6, 6), "float32"), r"\(6, 6, 2\). Received: \(6, 6\)"),
    "strings": (np.full((4, 6, 6, 2), "a"), "must hold numbers"),
    "another thing": ("images", "tf.data.Dataset"),
    "endless": (tf.data.Dataset.from_tensors(np.zeros((4, 6, 6, 2), "f")).repeat(), "must end"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [name for name, (_, match) in BAD_DATA.items() if match])
def test_bad_images(name, method):
    model = network()
    graph = tfrcp.trace(model)
    masks = keep_but(graph, "a", 0)
    pruned = tfrcp.slice_model(model, graph, masks)
    before = pruned.get_weights()
    data, match = BAD_DATA[name]
    with pytest.raises(ValueError, match=match):
        reconstruct(pruned, model, graph, masks, data, method, verbose=False)
    for a, b in zip(before, pruned.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_integers_are_cast_as_keras_does():
    model = network()
    graph = tfrcp.trace(model)
    masks = keep_but(graph, "a", 0)
    x = np.random.default_rng(0).integers(0, 256, (40, 6, 6, 2)).astype("uint8")
    pruned, _ = fit(model, graph, masks, x, "cached")
    expected, _ = fit(model, graph, masks, x.astype("float32"), "cached")
    for a, b in zip(pruned.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"method": "both"}, "`method` must be one of"),
        ({"ridge": -1.0}, "`ridge` must be"),
        ({"ridge": float("nan")}, "`ridge` must be"),
        ({"samples": 0}, "`samples` must be"),
        ({"memory_limit": 0}, "`memory_limit` must be"),
        ({"count": 0}, "`count` must be"),
        ({"count": 1}, "at least two images"),
    ],
)
def test_bad_options(options, match):
    model = network()
    graph = tfrcp.trace(model)
    masks = keep_but(graph, "a", 0)
    pruned = tfrcp.slice_model(model, graph, masks)
    with pytest.raises(ValueError, match=match):
        reconstruct(pruned, model, graph, masks, images_for(model, 9), **options, verbose=False)


def test_another_pruned_model():
    model = network()
    graph = tfrcp.trace(model)
    masks, others = keep_but(graph, "a", 0), keep_but(graph, "a", 0, 1)
    pruned = tfrcp.slice_model(model, graph, others)
    with pytest.raises(ValueError, match="`pruned` must be what `slice_model` makes"):
        reconstruct(pruned, model, graph, masks, images_for(model, 9), verbose=False)


def test_progress_is_shown_on_request(capsys):
    model = two_dense()
    graph, x = tfrcp.trace(model), images_for(model, count=30)
    masks = keep_but(graph, "hidden", 0)
    for method in METHODS:
        fit(model, graph, masks, x, method)
        assert capsys.readouterr().out == ""
        fit(model, graph, masks, x, method, verbose=True)
        assert "/" in capsys.readouterr().out
