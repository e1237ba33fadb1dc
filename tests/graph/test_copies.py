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
        lambda: layers.Lambda(scaled, output_shape=lambda shape: shape),
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


class OwnRate(OwnStep):
    def __init__(self, *args, factor=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.factor = factor
        self.temperature = self.add_weight(name="temperature", initializer="ones")


def test_attributes_of_a_kept_class():
    model = convolutions(kind=OwnRate, factor=3.0)
    model.temperature.assign(2.0)
    model.teacher = convolutions()
    model.first = model.get_layer("conv0")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pruned = half(model)
    assert type(pruned) is OwnRate and pruned.factor == 3.0 and float(pruned.temperature) == 2.0
    assert pruned.teacher is model.teacher
    assert pruned.first is pruned.get_layer("conv0") and pruned.first.filters == 4
    model.predict(np.ones((1, 6, 6, 2), "float32"), verbose=0)
    assert half(model).predict_function is None


class OwnCompile(keras.Model):
    def compile(self, main_optimizer, **options):
        super().compile(main_optimizer, **options)


def test_a_compile_with_other_arguments_is_named():
    model = convolutions(kind=OwnCompile)
    model.compile("sgd", loss="mse")
    with pytest.warns(UserWarning, match="is not compiled: the `compile` of OwnCompile"):
        pruned = half(model)
    assert type(pruned) is OwnCompile and not pruned.compiled


def two_heads():
    inputs = keras.Input((6,))
    x = layers.Dense(8, activation="relu", name="body")(inputs)
    return keras.Model(inputs, {"a": layers.Dense(1, name="a")(x), "b": layers.Dense(1)(x)})


def test_a_metric_at_two_outputs_stays_one():
    model = two_heads()
    shared = keras.metrics.MeanSquaredError(name="shared")
    model.compile(
        "sgd",
        {"a": keras.losses.Huber(0.5), "b": own_loss},
        loss_weights={"a": 0.25, "b": 2.0},
        metrics={"a": [shared, own_metric], "b": [shared]},
        steps_per_execution=2,
    )
    pruned = half(model)
    copies = [m for group in pruned._compile_config.config["metrics"].values() for m in group]
    assert copies[0] is copies[2] is not shared and copies[1] is own_metric
    x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    y = {"a": np.ones((4, 1), "float32"), "b": np.zeros((4, 1), "float32")}
    whole = tfrcp.slice_model(model, tfrcp.trace(model), {})
    expected = model.evaluate(x, y, verbose=0, return_dict=True)
    assert whole.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(expected)
    assert pruned.steps_per_execution == 2


def test_the_configured_learning_rate_is_kept():
    model = two_heads()
    model.compile(keras.optimizers.SGD(0.5, momentum=0.9, clipnorm=2.0), "mse")
    x, y = np.ones((4, 6), "float32"), {"a": np.ones((4, 1)), "b": np.zeros((4, 1))}
    lowered = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.5 * 0.1**epoch)
    model.fit(x, y, epochs=3, verbose=0, callbacks=[lowered])
    assert float(model.optimizer.learning_rate) == pytest.approx(0.005)
    optimizer = half(model).optimizer
    assert float(optimizer.learning_rate) == 0.5
    assert optimizer.momentum == 0.9 and optimizer.clipnorm == 2.0


def test_optimizers_with_functions_scales_and_exceptions():
    class Falling(keras.optimizers.schedules.LearningRateSchedule):
        def __init__(self, start):
            self.start = start

        def __call__(self, step):
            return self.start / (1.0 + step)

        def get_config(self):
            return {}

    model = two_heads()
    inner = keras.optimizers.AdamW(Falling(0.25), weight_decay=0.1)
    inner.exclude_from_weight_decay([model.get_layer("a").kernel], ["bias"])
    model.compile(keras.optimizers.LossScaleOptimizer(inner, initial_scale=64.0), "mse")
    optimizer = half(model).optimizer
    assert optimizer.initial_scale == 64.0
    copy = optimizer.inner_optimizer
    assert copy is not inner and float(copy.learning_rate) == 0.25
    pruned = half(model)
    copy = pruned.optimizer.inner_optimizer
    decayed = [v.path for v in pruned.trainable_variables if copy._use_weight_decay(v)]
    assert decayed == [v.path for v in model.trainable_variables if inner._use_weight_decay(v)]


def test_inputs_that_may_be_left_out():
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second", optional=True)
    x = layers.Dense(8, name="body")(first)
    model = keras.Model({"first": first, "second": second}, layers.Dense(2)(x))
    pruned = half(model)
    assert [x.name for x in pruned.inputs] == [x.name for x in model.inputs]
    assert pruned({"first": np.ones((2, 4), "float32"), "second": None}).shape == (2, 2)


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


def test_padding_after_a_pixel_shuffle():
    x = inputs = keras.Input((4, 4, 8))
    x = layers.Conv2D(8, 3, padding="same", name="conv")(x)
    x = ops.reshape(x, (-1, 4, 4, 2, 2, 2))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 8, 8, 2))
    x = ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    model = keras.Model(inputs, layers.Conv2D(3, 3, name="last")(x))
    graph = tfrcp.trace(model)
    full = tfrcp.slice_model(model, graph, {})
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 8)).astype("float32")
    np.testing.assert_allclose(full(x), model(x), rtol=1e-5, atol=1e-6)


def test_random_layers_are_exported_as_in_inference(tmp_path):
    model = convolutions(layers.RandomFlip("horizontal"), layers.GaussianNoise(0.5))
    x = np.random.default_rng(0).normal(size=(5, 6, 6, 2)).astype("float32")
    done = tfrcp.export(model, tmp_path / "saved", sample=x)
    assert done.max_difference < 1e-5


class Resized(layers.Layer):
    """Its configuration holds the weight that took the place of a number."""

    def __init__(self, scale=2.0, **options):
        super().__init__(**options)
        self.scale = scale

    def build(self, shape):
        start = keras.initializers.Constant(self.scale)
        self.scale = self.add_weight(shape=(1,), initializer=start, name="scale")

    def call(self, x):
        return ops.cond(ops.sum(x) > 0, lambda: x * self.scale, lambda: x)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


def test_copy_of_a_layer_whose_configuration_holds_a_weight():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, Resized(name="resized")(layers.Dense(4)(inputs)))
    with pytest.warns(
        UserWarning, match="`resized` .Resized. cannot be made from what Keras saves"
    ):
        whole = half(model)
    assert whole.get_layer("resized").scale is not model.get_layer("resized").scale
    x = np.ones((2, 3), "float32")
    np.testing.assert_allclose(whole(x), model(x), atol=1e-6)
