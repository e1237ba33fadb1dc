"""Pruned models keep what the model had: functions, compilation, class; or say what they lack."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfrcp

SCALE = 3.0


def half(model):
    graph = tfrcp.trace(model)
    masks = {g.name: np.arange(g.size) < max(1, g.size // 2) for g in graph.prunable}
    return tfrcp.slice_model(model, graph, masks)


def convolutions(*behind, head=2, kind=keras.Model, **options):
    x = inputs = keras.Input((6, 6, 2))
    for index in range(2):
        x = layers.Conv2D(8, 3, padding="same", activation="relu", name=f"conv{index}")(x)
    for layer in behind:
        x = layer(x)
    outputs = layers.Dense(head, name="head")(layers.GlobalAveragePooling2D()(x))
    return kind(inputs, outputs, **options)


def scaled(x):
    return SCALE * x


def times(x, factor=1.0):
    return factor * x


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Lambda(lambda x: SCALE * x),
        lambda: layers.Lambda(scaled, output_shape=(6, 6, 8)),
        lambda: layers.Lambda(times, arguments={"factor": 3.0}),
    ],
)
def test_lambdas_keep_their_function(layer):
    made = layer()
    pruned = half(convolutions(made, layers.Conv2D(4, 1, name="last")))
    copy = pruned.get_layer(made.name)
    x = np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype("float32")
    before, after = keras.Model(pruned.inputs[0], [copy.input, copy.output])(x)
    np.testing.assert_allclose(after, 3 * np.asarray(before), rtol=1e-6)
    assert pruned.get_layer("conv0").filters == 4


@pytest.mark.parametrize(
    "build",
    [
        lambda constant: [layers.BatchNormalization(gamma_initializer=constant((8,)))],
        lambda constant: [layers.Conv2D(4, 1, kernel_initializer=constant((1, 1, 8, 4)))],
        lambda constant: [layers.PReLU(alpha_initializer=constant((6, 6, 8)))],
    ],
)
def test_initializers_that_hold_arrays(build):
    def constant(shape):
        return keras.initializers.Constant(np.ones(shape, "float32"))

    pruned = half(convolutions(*build(constant)))
    assert np.isfinite(pruned(np.ones((1, 6, 6, 2), "float32"))).all()
    assert pruned.get_layer("conv0").filters == 4


class OwnStep(keras.Model):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = ops.mean((y - self(x, training=True)) ** 2)
        self.optimizer.apply(
            tape.gradient(loss, self.trainable_variables), self.trainable_variables
        )
        return {"own_loss": loss}


class OwnLoss(keras.Model):
    def __init__(self, *args, factor, **kwargs):
        super().__init__(*args, **kwargs)
        self.factor = factor

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.factor * ops.mean(ops.abs(y - y_pred))


def test_a_class_with_its_own_training_is_kept():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pruned = half(convolutions(kind=OwnStep))
    pruned.compile("sgd")
    x = np.ones((4, 6, 6, 2), "float32")
    assert list(pruned.fit(x, np.ones((4, 2)), verbose=0).history) == ["own_loss"]


def test_what_cannot_be_kept_is_named():
    with pytest.warns(UserWarning, match="without the compute_loss of OwnLoss"):
        pruned = half(convolutions(kind=OwnLoss, factor=2.0))
    assert type(pruned).compute_loss is keras.Model.compute_loss


def own_metric(y, outputs):
    return ops.mean(ops.abs(y - outputs))


def own_loss(y, outputs):
    return ops.mean(ops.square(y - outputs), axis=-1)


def test_the_compilation_is_kept():
    model = convolutions()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    auc = keras.metrics.MeanAbsoluteError(name="error")
    model.compile(
        keras.optimizers.Adam(schedule),
        own_loss,
        metrics=[own_metric, auc],
        weighted_metrics=["mse"],
        run_eagerly=True,
    )
    x, y = np.ones((4, 6, 6, 2), "float32"), np.zeros((4, 2), "float32")
    model.fit(x, y, verbose=0)
    pruned = half(model)
    assert pruned.loss is own_loss and pruned.run_eagerly
    assert isinstance(pruned.optimizer._learning_rate, type(schedule))
    assert pruned.optimizer is not model.optimizer and int(pruned.optimizer.iterations) == 0
    names = model.evaluate(x, y, verbose=0, return_dict=True)
    assert set(pruned.evaluate(x, y, verbose=0, return_dict=True)) == set(names)
    assert pruned.metrics[-1] is not auc


def test_a_rule_that_fails_freezes():
    x = inputs = keras.Input((4, 4, 8))
    x = layers.Conv2D(8, 3, padding="same", name="conv")(x)
    x = ops.reshape(x, (-1, 4, 4, 2, 2, 2))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 8, 8, 2))
    x = ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    model = keras.Model(inputs, layers.Conv2D(3, 3, name="last")(x))
    graph = tfrcp.trace(model)
    assert all(group.reason for group in graph.groups if group.name == "conv")
    full = tfrcp.slice_model(model, graph, {})
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 8)).astype("float32")
    np.testing.assert_allclose(full(x), model(x), rtol=1e-5, atol=1e-6)


def test_random_layers_are_exported_as_in_inference(tmp_path):
    model = convolutions(layers.RandomFlip("horizontal"), layers.GaussianNoise(0.5))
    x = np.random.default_rng(0).normal(size=(5, 6, 6, 2)).astype("float32")
    done = tfrcp.export(model, tmp_path / "saved", sample=x)
    assert done.max_difference < 1e-5
