"""Models of a class that builds its own graph, as the tasks of model libraries: kept, or named."""

import keras
import numpy as np
import pytest
from keras import layers

import tfrcp
from tests.graph.test_copies import half

X = np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype("float32")
Y = np.array([0, 1, 2, 0])


def backbone(width=8):
    x = inputs = keras.Input((6, 6, 2), name="images")
    for number in range(2):
        x = layers.Conv2D(width, 3, padding="same", name=f"conv{number}")(x)
        x = layers.BatchNormalization(name=f"norm{number}")(x)
        x = layers.ReLU()(x)
    return keras.Model(inputs, x, name="features")


@keras.saving.register_keras_serializable("tests")
class Task(keras.Model):
    """A head around a backbone, with data prepared in `fit` and a compilation of its own."""

    def __init__(self, backbone, classes, hidden=0, prepare=None, **kwargs):
        x = backbone(backbone.input)
        if hidden:
            x = layers.Dense(hidden, activation="relu", name="hidden")(x)
        x = layers.Identity(dtype=backbone.dtype_policy, name="there")(x)  # no configuration
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        outputs = layers.Dense(classes, name="scores")(layers.Dropout(0.5)(x))
        super().__init__(backbone.input, outputs, **kwargs)
        self.backbone, self.classes, self.hidden, self.prepare = backbone, classes, hidden, prepare
        self.compile()

    def compile(self, optimizer="sgd", loss="auto", **kwargs):
        if loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        super().compile(optimizer, loss, **kwargs)

    def predict_step(self, data):
        return self(data if self.prepare is None else self.prepare(data), training=False)

    def get_config(self):
        held = {"backbone": self.backbone, "prepare": self.prepare}
        return {
            "classes": self.classes,
            "hidden": self.hidden,
            "name": self.name,
            **{name: keras.saving.serialize_keras_object(x) for name, x in held.items()},
        }

    @classmethod
    def from_config(cls, config):
        held = {
            x: keras.saving.deserialize_keras_object(config[x]) for x in ("backbone", "prepare")
        }
        return cls(**{**config, **held})


def perturbed(model):
    random = np.random.default_rng(1)
    for variable in model.variables:
        if "seed" not in variable.path:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


@pytest.mark.filterwarnings("ignore:`compile..` was not called as part of model loading")
def test_a_class_made_of_a_pruned_backbone_is_kept(tmp_path):
    prepare = layers.Normalization()
    prepare.adapt(X + 3)
    model = perturbed(Task(backbone(), 3, prepare=prepare))
    model.get_layer("scores").trainable = False
    model.compile("adam", metrics=["accuracy"])
    whole = tfrcp.slice_model(model, tfrcp.trace(model), {})
    expected = model.predict(X, verbose=0)
    np.testing.assert_allclose(whole.predict(X, verbose=0), expected, rtol=1e-5)
    assert whole.evaluate(X, Y, verbose=0) == pytest.approx(model.evaluate(X, Y, verbose=0))
    pruned = half(model)
    assert type(pruned) is Task and pruned.get_layer("features").get_layer("conv0").filters == 4
    assert pruned.backbone is pruned.get_layer("features")
    assert pruned.backbone is not model.backbone
    assert not pruned.get_layer("scores").trainable
    assert isinstance(pruned.optimizer, keras.optimizers.Adam)
    pruned.fit(X, Y, verbose=0)
    pruned.compile()  # as Keras compiles it when it is loaded
    pruned.save(tmp_path / "task.keras")
    loaded = keras.models.load_model(tmp_path / "task.keras")
    assert type(loaded) is Task
    np.testing.assert_allclose(
        loaded.predict(X, verbose=0), pruned.predict(X, verbose=0), rtol=1e-5
    )
    again = half(pruned)
    assert type(again) is Task and again.backbone.get_layer("conv0").filters == 2


@pytest.mark.filterwarnings("ignore:`compile..` was not called as part of model loading")
def test_a_hidden_layer_that_the_configuration_names(tmp_path):
    model = perturbed(Task(backbone(4), 3, hidden=8))
    pruned = half(model)
    assert type(pruned) is Task and pruned.hidden == 4 == pruned.get_layer("hidden").units
    pruned.save(tmp_path / "task.keras")
    loaded = keras.models.load_model(tmp_path / "task.keras")
    assert type(loaded) is Task
    np.testing.assert_allclose(loaded(X), pruned(X), rtol=1e-6)
    np.testing.assert_allclose(tfrcp.slice_model(model, tfrcp.trace(model), {})(X), model(X))


class Twice(Task):
    """Has two hidden layers of a size that its configuration names once."""

    def __init__(self, backbone, classes, hidden=0, prepare=None, **kwargs):
        x = layers.Dense(hidden, activation="relu", name="first")(backbone(backbone.input))
        x = layers.Dense(hidden, activation="relu", name="hidden")(x)
        x = layers.Dense(classes, name="scores")(layers.GlobalAveragePooling2D()(x))
        super(Task, self).__init__(backbone.input, x, **kwargs)
        self.backbone, self.classes, self.hidden, self.prepare = backbone, classes, hidden, prepare
        self.compile()


def test_a_head_that_the_configuration_cannot_describe(tmp_path):
    model = perturbed(Twice(backbone(), 3, hidden=8))
    graph = tfrcp.trace(model)
    masks = {"hidden": np.arange(8) < 4}
    with pytest.warns(UserWarning, match="cannot say how it was pruned: `hidden` is another"):
        pruned = tfrcp.slice_model(model, graph, masks)
    assert type(pruned) is not Twice and pruned.get_layer("hidden").units == 4
    pruned.fit(X, Y, verbose=0)
    pruned.save(tmp_path / "plain.keras")
    loaded = keras.models.load_model(tmp_path / "plain.keras")
    np.testing.assert_allclose(loaded(X), pruned(X), rtol=1e-6)


@pytest.mark.parametrize("change", ["activation", "dropout", "order"])
def test_a_configuration_that_makes_another_graph_is_noticed(change):
    class Switched(Task):
        def __init__(self, backbone, classes, switched=False, **kwargs):
            super(Task, self).__init__(
                backbone.input, self._graph(backbone, classes, switched), **kwargs
            )
            self.backbone, self.classes, self.hidden, self.prepare = backbone, classes, 0, None
            self.compile()

        @staticmethod
        def _graph(backbone, classes, switched):
            x = backbone(backbone.input)
            if change == "dropout":
                x = layers.Dropout(0.5 if switched else 0.25)(x)
            x = layers.GlobalAveragePooling2D()(x)
            a, b = layers.ReLU()(x), layers.Activation("tanh")(x)
            x = layers.Subtract()([b, a] if switched and change == "order" else [a, b])
            name = "tanh" if switched and change == "activation" else None
            return layers.Dense(classes, activation=name, name="scores")(x)

    model = Switched(backbone(), 3, switched=True)
    with pytest.warns(UserWarning, match="cannot be made of the pruned graph"):
        whole = tfrcp.slice_model(model, tfrcp.trace(model), {})
    assert type(whole) is not Switched
    np.testing.assert_allclose(whole(X), model(X), rtol=1e-5)


class Detector(Twice):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **kwargs):
        return 2 * super().compute_loss(x, y, y_pred, sample_weight, **kwargs)


def test_a_lost_loss_leaves_the_model_without_any():
    with pytest.warns(UserWarning, match="without the predict_step, compute_loss.*not compiled"):
        model = Detector(backbone(), 3, hidden=8)
        pruned = tfrcp.slice_model(model, tfrcp.trace(model), {"hidden": np.arange(8) < 4})
    assert not pruned.compiled


class Projected(keras.Model):
    """Holds a layer of its own that its graph does not call."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.projector = layers.Dense(2)
        self.projector.build((None, 3))

    def train_step(self, data):
        return {}


def test_layers_beside_the_graph_keep_their_weights():
    inner = backbone()
    model = Projected(inner.inputs, inner.outputs)
    pruned = half(model)
    assert type(pruned) is Projected and pruned.projector is not model.projector
    np.testing.assert_array_equal(pruned.projector.kernel, model.projector.kernel)


@keras.saving.register_keras_serializable("tests")
class TupleOnly(layers.Layer):
    """Its `build` cannot take the list that stands in a file; it stays whole."""

    def build(self, shape):
        if not isinstance(shape, tuple):
            raise TypeError(f"shape must be a tuple, not {shape}")
        self.scale = self.add_weight(name="scale", shape=(shape[-1],))

    def call(self, x, training=False):
        x = x * self.scale
        return keras.ops.clip(x, -3, 3) if training else x


def test_a_layer_that_no_file_can_hold_is_named(tmp_path):
    inner = backbone()
    model = keras.Model(inner.input, layers.Dense(2)(TupleOnly(name="odd")(inner.outputs[0])))
    with pytest.warns(UserWarning, match="cannot be loaded: `odd` .TupleOnly.*must be a tuple"):
        pruned = half(model)
    pruned.save_weights(tmp_path / "model.weights.h5")
    with pytest.warns(UserWarning, match="`load_weights`"):
        again = half(perturbed(model))
    again.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(again(X), pruned(X))


@keras.saving.register_keras_serializable("tests")
class HalfSquared(keras.losses.Loss):
    """A configuration that its `__init__` does not take."""

    def __init__(self):
        super().__init__()

    def call(self, y, outputs):
        return keras.ops.mean(keras.ops.square(y - outputs), axis=-1)


def test_a_loss_that_no_file_can_hold_is_named(tmp_path):
    inner = backbone()
    model = keras.Model(inner.input, layers.Dense(2)(inner.outputs[0]))
    model.compile("sgd", HalfSquared())
    with pytest.warns(UserWarning, match="loss HalfSquared cannot be made.*`compile=False`"):
        pruned = half(model)
    pruned.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(loaded(X), pruned(X), rtol=1e-6)
