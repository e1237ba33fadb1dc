"""A supernet is the sliced network at every width, and each step trains four of them at once."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrcp
from tests.networks import NETWORKS
from tests.references import assert_close, flat, images_for, randomize
from tests.training.small_training import IMAGES, LABELS, network
from tfrcp import Supernet

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
# Each kind of layer that knows its size, mixes channels without weights or stands in a group of its
# own kind.
KINDS = """vgg sequential residual_a depthwise concatenated_and_added squeeze_excite_dense operators
reshaped split shuffled grouped layer_norm group_norm attention siamese nested not_trainable
""".split()


def masks_of(graph, channels):
    pairs = zip(graph.prunable, channels, strict=True)
    return {group.name: np.arange(group.size) < count for group, count in pairs}


def compiled(model, **options):
    supernet = Supernet(model, **{"seed": 1, **options})
    supernet.compile(keras.optimizers.SGD(0.05), LOSS, metrics=["accuracy"])
    return supernet


@pytest.mark.parametrize("name", KINDS)
def test_at_any_width_it_is_the_sliced_network(name):
    model = NETWORKS[name].build()
    randomize(model)
    supernet, x = Supernet(model, random_widths=0), images_for(model, count=6)
    graph, rng = supernet.graph, np.random.default_rng(2)
    tolerance = NETWORKS[name].tolerance
    assert_close(flat(supernet.call_at(x, graph.full)), flat(model(x)), tolerance)
    channels = np.array([rng.integers(1, group.size + 1) for group in graph.prunable])
    sliced = tfrcp.slice_model(model, graph, masks_of(graph, channels))
    assert_close(flat(supernet.call_at(x, channels)), flat(sliced(x)), tolerance)
    if not any("seed" in variable.name for variable in model.variables):  # of dropout
        found = flat(supernet.call_at(x, channels, training=True))
        assert_close(found, flat(sliced(x, training=True)), tolerance)


def test_whole_it_is_the_model():
    model = network()
    supernet = compiled(model)
    x = IMAGES[:8]
    np.testing.assert_array_equal(supernet(x), model(x))
    np.testing.assert_array_equal(supernet.predict(x, verbose=0), model.predict(x, verbose=0))
    model.compile(loss=LOSS, metrics=["accuracy"])
    expected = model.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)
    assert supernet.evaluate(IMAGES, LABELS, verbose=0, return_dict=True) == pytest.approx(expected)


def test_it_equals_the_sliced_network_after_the_same_recalibration():
    model = tfrcp.models.resnet20((8, 8, 1))
    supernet = Supernet(model, random_widths=0)
    x = np.random.default_rng(0).normal(size=(24, 8, 8, 1)).astype("float32")
    channels = np.array([5, 3, 9, 16, 20, 7, 11, 32, 40, 13, 1, 64])
    sliced = tfrcp.slice_model(model, supernet.graph, masks_of(supernet.graph, channels))
    tfrcp.recalibrate_batch_norm(sliced, x)
    assert_close([np.asarray(supernet.call_at(x, channels, training=True))], [sliced(x)], 1e-4)


@pytest.mark.parametrize("share", [0.0, 0.7])
def test_a_step_follows_the_mean_gradient_of_its_widths(share):
    model, other = network(), network()
    supernet = compiled(model, distillation=share, temperature=2.0)
    reference = Supernet(other, seed=1)
    x, y = IMAGES[:16], LABELS[:16]
    kl = keras.losses.KLDivergence()
    widths = [reference.graph.full, *supernet._table[:3]]
    assert (widths[1] == reference.space.smallest).all()
    with tf.GradientTape() as tape:
        whole = other(x, training=True)
        losses = [LOSS(y, whole)]
        for channels in widths[1:]:
            outputs = reference.call_at(x, channels, training=True)
            taught = [tf.nn.softmax(z / 2) for z in (tf.stop_gradient(whole), outputs)]
            losses.append((1 - share) * LOSS(y, outputs) + share * 4 * kl(*taught))
        loss = sum(losses) / 4
    gradients = tape.gradient(loss, other.trainable_variables, unconnected_gradients="zero")
    expected = [v - 0.05 * g for v, g in zip(other.trainable_variables, gradients, strict=True)]
    logs = supernet.train_on_batch(x, y, return_dict=True)
    assert logs["loss"] == pytest.approx(float(loss), rel=1e-5)
    assert logs["largest_loss"] == pytest.approx(float(losses[0]), rel=1e-5)
    for ours, theirs in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    for ours, theirs in zip(
        model.non_trainable_variables, other.non_trainable_variables, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)  # the whole model's statistics


def test_nothing_is_traced_again_and_the_seed_decides():
    histories, weights = [], []
    for _ in range(2):
        supernet, runs = compiled(network()), []
        run = supernet._widths.run
        supernet._widths.run = lambda *args, run=run, runs=runs, **more: (
            runs.append(1) or run(*args, **more)
        )
        data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(8)
        supernet.fit(data, shuffle=False, verbose=0)
        traced = len(runs)
        seen = []
        tell = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs, seen=seen: seen.append(sorted(logs))
        )
        more = {"epochs": 3, "callbacks": [tell], "shuffle": False, "verbose": 0}
        histories.append(supernet.fit(data, **more).history)
        weights.append(supernet.model.get_weights())
        assert 1 <= traced == len(runs)
        assert int(supernet._step) == 4 * 8
    roles = ["largest", "random", "smallest"]
    names = [f"{role}_{kind}" for role in roles for kind in ("accuracy", "loss")]
    assert seen == [sorted(["accuracy", "loss", *names])] * 3
    assert histories[0] == histories[1]
    assert (Supernet(network(), seed=2)._table != supernet._table).any()
    assert all(np.array_equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert histories[0]["largest_accuracy"] == histories[0]["accuracy"]
    assert histories[0]["largest_loss"][-1] < histories[0]["largest_loss"][0]


def test_widths_meet_the_budget_and_a_small_space_is_gone_through():
    model = network()
    supernet = Supernet(model, budget=tfrcp.Budget(0.5, tolerance=0.1))
    ratios = tfrcp.CostModel(supernet.graph)(supernet._table[1:]).flops
    full = tfrcp.CostModel(supernet.graph).full.flops
    assert (np.abs(ratios / full - 0.5) <= 0.1 + 1e-6).all()
    assert len(supernet._table) - 1 == len({*map(tuple, supernet._table[1:].tolist())}) <= 24


def test_half_precision_scales_the_loss():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        supernet = compiled(network())
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(supernet.optimizer, keras.optimizers.LossScaleOptimizer)
    logs = supernet.train_on_batch(IMAGES[:8], LABELS[:8], return_dict=True)
    assert all(np.isfinite(value) for value in logs.values())
    assert int(supernet.optimizer.iterations) == 1


def test_a_wrapped_batch_norm_is_refused():
    inputs = keras.Input((3, 4, 4, 1))
    x = keras.layers.TimeDistributed(keras.layers.Conv2D(4, 3, name="conv"))(inputs)
    x = keras.layers.TimeDistributed(keras.layers.BatchNormalization(), name="norm")(x)
    x = keras.layers.GlobalAveragePooling3D()(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    with pytest.raises(ValueError, match=r"`norm` \(TimeDistributed\) wraps a batch norm"):
        Supernet(model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"space": {"max_ratio": 0.5}}, "largest widths of `space` must be the model's"),
        ({"space": {"max_ratio": 1.5, "from_scratch": True}}, "build the model with the channel"),
        (
            {"space": tfrcp.SearchSpace(tfrcp.trace(NETWORKS["chain"].build()))},
            "`space` must be made from a trace of `model`",
        ),
        ({"random_widths": -1}, "`random_widths` must be an int of at least 0"),
        ({"random_widths": True}, "`random_widths` must be"),
        ({"distillation": 1.5}, r"`distillation` must be a number in \[0, 1\]"),
        ({"temperature": 0}, "`temperature` must be a number in"),
        ({"seed": -1}, "`seed` must be"),
        ({"budget": tfrcp.Budget(1)}, "cannot be met"),
    ],
)
def test_bad_arguments(arguments, message):
    model = network()
    if isinstance(arguments.get("space"), dict):
        space = tfrcp.SearchSpace(tfrcp.trace(model), **arguments["space"])
        arguments = {"space": space}
    with pytest.raises(ValueError, match=message):
        Supernet(model, **arguments)


@pytest.mark.parametrize("channels", [[0, 1], [5, 1], [1], [1.5, 2]])
def test_bad_channels(channels):
    with pytest.raises(ValueError, match="`channels` must be"):
        Supernet(network(), random_widths=0).call_at(IMAGES[:2], channels)
