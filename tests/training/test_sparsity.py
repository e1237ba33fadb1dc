"""Penalties that leave channels at zero: what they are, where they lead, and whom they spare."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrcp
from tests.networks import NETWORKS
from tests.nightly import mostly_nightly, nightly
from tests.references import images_for, randomize
from tests.training import two_devices
from tests.training.small_training import IMAGES, LABELS, holdout, network, train
from tests.training.test_fit import Interrupt
from tfrcp.criteria import GroupLasso
from tfrcp.criteria.gates import scales_of
from tfrcp.graph.weights import variables_of
from tfrcp.training import Recipe, Sparsity, fit

KINDS = ("batch_norm_scale", "group_lasso")
RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=0.05, weight_decay=0.0)


def residual(seed=0):
    """Two groups: that of a residual stream, normalized twice, and that inside the block."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inputs = keras.Input((8, 8, 1))
    x = layers.BatchNormalization(name="stem_bn")(
        layers.Conv2D(6, 3, padding="same", use_bias=False, name="stem")(inputs)
    )
    x = y = layers.ReLU()(x)
    for name, filters in (("one", 5), ("two", 6)):
        y = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name)(layers.ReLU()(y))
        y = layers.BatchNormalization(momentum=0.8, name=f"{name}_bn")(y)
    x = layers.ReLU()(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))


def scales(model, name):
    layer = model.get_layer(f"{name}_bn")
    return layer.gamma.numpy(), layer.beta.numpy()


def vectors(model, kind):
    """What is punished together, by hand: lists of numbers."""
    if kind == "batch_norm_scale":
        return [[g] for name in ("stem", "one", "two") for g in scales(model, name)[0]]
    stream = np.stack([*scales(model, "stem"), *scales(model, "two")])
    return [*np.stack(scales(model, "one")).T, *stream.T]


def shrunk(vector, by):
    vector = np.asarray(vector, "float64")
    norm, by = np.linalg.norm(vector), by * np.sqrt(len(vector))
    return vector * (1 - by / norm if norm > by else 0)


def trained(model, **changes):
    options = {k: changes.pop(k) for k in ("fixed", "strategy") if k in changes}
    recipe = dataclasses.replace(RECIPE, **changes)
    return fit(model, train, holdout(), recipe, verbose=False, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_the_penalty_and_its_proximal_step_are_the_formula(kind):
    model = residual()
    randomize(model)
    before = vectors(model, kind)
    sparsity = Sparsity(kind, 0.5, tfrcp.trace(model), model)
    expected = 0.5 * sum(np.sqrt(len(v)) * np.linalg.norm(v) for v in before)
    np.testing.assert_allclose(sparsity.penalty(), expected, rtol=1e-5)
    kernels = [layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")]
    sparsity.shrink(1.5)
    after = vectors(model, kind)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_allclose(new, shrunk(old, 0.75), rtol=1e-4, atol=1e-6)
    share = np.mean([not np.any(v) for v in after])
    assert 0 < share < 1 and sparsity.zeros() == pytest.approx(share)
    for old, layer in zip(kernels, [x for x in model.layers if hasattr(x, "kernel")], strict=True):
        np.testing.assert_array_equal(old, layer.kernel.numpy())
    sparsity.shrink(0.0)
    for old, new in zip(after, vectors(model, kind), strict=True):
        np.testing.assert_array_equal(old, new)


def test_kernels_without_batch_norm_are_punished_with_their_bias():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")]
    )
    randomize(model)
    kernel, bias = (np.asarray(w, "float64") for w in model.get_layer("a").get_weights())
    graph = tfrcp.trace(model)
    scores = GroupLasso()(model, graph)["a"]
    norms = np.sqrt((kernel**2).sum(axis=0) + bias**2)
    np.testing.assert_allclose(scores, norms / np.sqrt(5), rtol=1e-6)
    Sparsity("group_lasso", 1.0, graph, model).shrink(0.1)
    new, offset = model.get_layer("a").get_weights()
    for j in range(3):
        expected = shrunk([*kernel[:, j], bias[j]], 0.1)
        np.testing.assert_allclose([*new[:, j], offset[j]], expected, rtol=1e-4, atol=1e-6)


def test_training_ends_where_loss_and_penalty_are_least():
    """The loss |gamma - target|^2 / 2 has the soft threshold of the target as its minimum."""
    model = residual()
    layer = model.get_layer("one_bn")
    target = np.array([1.5, -0.8, 0.19, -0.21, 0.0], "float32")
    recipe = Recipe(epochs=1, learning_rate=0.1, sparsity="batch_norm_scale", warmup_epochs=0)
    optimizer, steps = recipe.optimizer(model, 300), recipe.displacements(300)
    sparsity = Sparsity("batch_norm_scale", 0.2, tfrcp.trace(model), model)
    for step in range(300):
        optimizer.apply([layer.gamma - target], [layer.gamma])
        sparsity.shrink(steps[step])
    expected = np.sign(target) * np.maximum(np.abs(target) - 0.2, 0)
    np.testing.assert_allclose(layer.gamma.numpy(), expected, atol=2e-3)
    np.testing.assert_array_equal(layer.gamma.numpy() == 0, expected == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_channels_become_zero_and_the_ranking_drops_them_first(kind):
    model = residual()
    strength = {"batch_norm_scale": 0.15, "group_lasso": 0.06}[kind]
    history = trained(model, epochs=6, sparsity=kind, sparsity_strength=strength)
    zeros = [not np.any(v) for v in vectors(model, kind)]
    assert history["sparsity"][-1] == pytest.approx(np.mean(zeros)) and 0 < np.mean(zeros) < 1
    graph = tfrcp.trace(model)
    scores = tfrcp.criteria.get(kind)(model, graph)
    cost, space = tfrcp.CostModel(graph), tfrcp.SearchSpace(graph)
    ranking = tfrcp.allocation.GlobalRanking(normalize=False)
    budget = tfrcp.Budget(0.6, tolerance=0.1)
    channels = ranking(graph, scores, space, cost, budget)
    masks = tfrcp.select(graph, scores, channels)
    for name, mask in masks.items():
        if mask.sum() > 1:
            assert scores[name][mask].min() > 0 or scores[name][~mask].max(initial=0) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_the_labels_plus_the_penalty(kind):
    first = [train(0).take(1)]
    losses = []
    for sparsity in ("", kind):
        model = residual()
        penalty = Sparsity(kind, 0.3, tfrcp.trace(model), model).penalty()
        recipe = dataclasses.replace(RECIPE, epochs=1, sparsity=sparsity, sparsity_strength=0.3)
        losses.append(fit(model, first.__getitem__, None, recipe, verbose=False)["loss"][0])
    assert losses[1] - losses[0] == pytest.approx(float(penalty), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_fixed_and_frozen_groups_are_not_punished(kind, capsys):
    def strong(model, **options):
        recipe = dataclasses.replace(RECIPE, sparsity=kind, sparsity_strength=30.0)
        fit(model, train, None, recipe, **options)
        return {name: scales(model, name)[0] for name in ("stem", "one", "two")}

    found = strong(residual())
    assert not any(gamma.any() for gamma in found.values())
    found = strong(residual(), fixed=["on*"])
    assert found["one"].all() and not found["stem"].any() and not found["two"].any()
    model = residual()
    model.get_layer("two_bn").trainable = False
    found = strong(model)
    assert (found["two"] == 1).all() and found["stem"].all() and not found["one"].any()
    assert "but not stem (is not trained)" in capsys.readouterr().out


def test_nothing_to_punish_is_an_error():
    model = NETWORKS["vgg"].build()
    for layer in model.layers:
        layer.trainable = layer.name == "head"
    with pytest.raises(ValueError, match="finds nothing to punish.*'c': 'has no scale'"):
        Sparsity("batch_norm_scale", 1.0, tfrcp.trace(model), model)


@pytest.mark.parametrize(
    "name", sorted(n for n, found in NETWORKS.items() if found.keeps_zero and found.maskable)
)
def test_what_is_zero_can_be_removed(name):
    """The pruned network answers as the whole one: zero is zero in all places of a channel."""
    model = NETWORKS[name].build()
    randomize(model)
    graph = tfrcp.trace(model)
    if not graph.prunable:
        pytest.skip("nothing can be pruned")
    try:
        sparsity = Sparsity("group_lasso", 1.0, graph, model)
    except ValueError:
        pytest.skip("no scales")
    masks = {g.name: np.arange(g.size) != g.size // 2 for g in graph.prunable if g.size > 1}
    variables, scales = variables_of(graph, model), scales_of(graph)
    masks = {name: mask for name, mask in masks.items() if name not in sparsity.spared}
    for group, mask in masks.items():  # so small that the step makes them zero
        for layer, weight, axis, channel_of in scales[group]:
            variable = variables[layer][weight]
            shape = [-1 if i == axis else 1 for i in range(len(variable.shape))]
            small = (channel_of >= 0) & ~mask[channel_of]
            variable.assign(variable * np.where(small, 1e-6, 1.0).reshape(shape))
    sparsity.shrink(1e-4)
    scores = GroupLasso()(model, graph)
    for group, mask in masks.items():
        np.testing.assert_array_equal(scores[group] > 0, mask)
    pruned = tfrcp.slice_model(model, graph, masks)
    x = images_for(model, count=3)
    pairs = zip(*(keras.tree.flatten(m(x)) for m in (model, pruned)), strict=True)
    for ours, theirs in pairs:
        limit = NETWORKS[name].tolerance * (1 + np.abs(ours).max())
        assert np.abs(np.asarray(ours) - np.asarray(theirs)).max() < limit


@pytest.mark.parametrize("kind", mostly_nightly(KINDS, "group_lasso"))
def test_repeated_after_ctrl_c_it_ends_as_if_undisturbed(tmp_path, kind):
    recipe = dataclasses.replace(RECIPE, sparsity=kind, sparsity_strength=0.05)

    def interrupt():
        raise KeyboardInterrupt

    def run(seed, callbacks=()):
        model = residual(seed)
        options = {"backup_dir": tmp_path, "callbacks": callbacks, "verbose": False}
        return model, fit(model, train, holdout(), recipe, **options)

    undisturbed = residual()
    expected = fit(undisturbed, train, holdout(), recipe, verbose=False)
    with pytest.raises(KeyboardInterrupt):
        run(0, [Interrupt(1, interrupt)])
    model, history = run(1)
    for ours, theirs in zip(model.get_weights(), undisturbed.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for name in ("loss", "val_accuracy", "sparsity"):
        assert history[name] == expected[name]


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "mixed_float16"},
        {"accumulate": 2},
        pytest.param({"jit_compile": True}, marks=nightly),
    ],
)
def test_other_ways_to_compute_become_sparse(change):
    model = residual()
    trained(model, sparsity="group_lasso", sparsity_strength=30.0, epochs=1, **change)
    assert not any(np.any(vector) for vector in vectors(model, "group_lasso"))


def test_a_compiled_model_is_trained_by_its_own_loss_plus_the_penalty():
    model = residual()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(8)
    recipe = dataclasses.replace(RECIPE, sparsity="batch_norm_scale", sparsity_strength=30.0)
    history = fit(model, data, data, recipe, verbose=False)
    assert history["sparsity"][-1] == 1.0 and list(history)[-2:] == ["sparsity", "seconds"]


ON_TWO_DEVICES = """
from tests.training.test_sparsity import KINDS, residual, trained
found = []
for kind in KINDS:
    models = residual(), residual()
    histories = [
        trained(model, sparsity=kind, sparsity_strength=0.3, strategy=each)
        for model, each in zip(models, (None, both))
    ]
    weights = zip(*(model.get_weights() for model in models), strict=True)
    apart = max(float(np.abs(a - b).max()) for a, b in weights)
    found.append([apart, *([h["loss"], h["sparsity"]] for h in histories)])
"""


@nightly
def test_two_devices_train_as_one_does():
    for apart, single, double in two_devices.run(ON_TWO_DEVICES):
        assert apart < 1e-3
        np.testing.assert_allclose(single[0], double[0], atol=1e-3)
        assert single[1] == pytest.approx(double[1], abs=0.1) and single[1][-1] > 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sparsity": "l1"}, "`sparsity` must be one of .*'group_lasso'.*Received: sparsity='l1'"),
        ({"sparsity_strength": -1.0}, "`sparsity_strength` must be a number"),
        ({"sparsity": "group_lasso", "ema": 0.9}, "`sparsity` and `ema` do not go together"),
    ],
)
def test_bad_recipes(fields, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**fields)


def test_plain_training_has_no_penalty():
    history = fit(network(), train, None, dataclasses.replace(RECIPE, epochs=1), verbose=False)
    assert "sparsity" not in history
