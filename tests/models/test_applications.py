"""Weights of `keras.applications` in the builders: the outputs are equal, or nothing is loaded."""

import keras
import numpy as np
import pytest

import tfrcp.models as models
from tests.models.counting import images
from tests.nightly import mostly_nightly
from tfrcp.models.imagenet_weights import normalisation

SHAPE = (32, 32, 3)
# VGG-19 differs from VGG-16 in the number of layers alone.
APPLICATIONS = {
    "resnet50": (keras.applications.ResNet50, {"stride_in": "1x1"}),
    "vgg16_imagenet": (keras.applications.VGG16, {}),
    "mobilenet_v1": (keras.applications.MobileNet, {}),
    "mobilenet_v2": (keras.applications.MobileNetV2, {}),
    "mobilenet_v3_small": (keras.applications.MobileNetV3Small, {}),
    "mobilenet_v3_large": (keras.applications.MobileNetV3Large, {}),
    "efficientnet_b0": (keras.applications.EfficientNetB0, {}),
    "densenet121": (keras.applications.DenseNet121, {}),
}
# What the application does inside to an image [0, 255], and its inverse here.
PREPARED = {
    "mobilenet_v3_small": lambda x: (x + 1) * 127.5,
    "mobilenet_v3_large": lambda x: (x + 1) * 127.5,
    "efficientnet_b0": lambda x: x * 255,
}


def train(model, seed=0):
    """Gives every weight a value as training might: signals live, and no zero hides a fault."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        for variable in layer.weights:
            if variable.name == "kernel":
                fan_in = np.prod(variable.shape[:2] if depthwise else variable.shape[:-1])
                values = rng.standard_normal(variable.shape, "float32") * np.sqrt(2 / fan_in)
            elif variable.name in ("gamma", "moving_variance"):
                values = rng.uniform(0.5, 1.5, variable.shape)
            elif not isinstance(layer, keras.layers.Normalization):
                values = rng.normal(0, 0.1, variable.shape)
            else:
                continue
            variable.assign(values.astype("float32"))


@pytest.fixture
def quick_weights(monkeypatch):
    """Zeros for kernels, which get their values later: to draw those of VGG-16 takes a second."""
    monkeypatch.setattr(
        keras.initializers.VarianceScaling,
        "__call__",
        lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype),
    )


@pytest.mark.parametrize(
    "name", mostly_nightly(APPLICATIONS, "vgg16_imagenet", "mobilenet_v2", "mobilenet_v3_small")
)
def test_outputs_are_equal(name, quick_weights):
    build, options = APPLICATIONS[name]
    application = build(weights=None, input_shape=SHAPE, classes=10, classifier_activation=None)
    train(application)
    model = getattr(models, name)(SHAPE, classes=10, **options)
    before = application.get_weights()
    models.load_keras_applications(model, application)
    assert all(map(np.array_equal, before, application.get_weights()))
    x = images(SHAPE)
    expected = np.asarray(application(PREPARED.get(name, lambda x: x)(x)))
    scale = np.abs(expected).max()
    assert np.abs(expected[0] - expected[1]).max() > 1e-3 * scale  # the images tell
    np.testing.assert_allclose(np.asarray(model(x)) / scale, expected / scale, atol=1e-4)


def network(*layers):
    return keras.Sequential([keras.Input((8, 8, 3)), *layers])


def conv(filters=4, **options):
    return keras.layers.Conv2D(filters, 1, name="a_conv", **options)


def bn():
    return keras.layers.BatchNormalization(name="a_bn")


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        ([conv()], [conv(), bn()], "2 layers with weights.*3.*`include_top=True`"),
        ([conv(5)], [conv()], r"loaded:\s*a_conv: \{'kernel': \(1, 1, 3, 5\)"),
        ([conv(strides=2)], [conv()], r"a_conv: strides \(2, 2\), but a_conv has \(1, 1\)"),
        ([conv(use_bias=False)], [conv()], r"a_conv: .*but a_conv has .*'bias': \(4,\)"),
        ([bn()], [keras.layers.Dense(3, name="b")], "a_bn: BatchNormalization, but b is Dense"),
        (
            [keras.layers.Dense(4, name="b")],
            [keras.layers.Conv2D(4, 3, name="c")],
            r"b: \{'kernel': \(3, 4\).*but c has \{'kernel': \(3, 3, 3, 4\)",
        ),
    ],
)
def test_networks_that_differ_load_nothing(ours, theirs, message):
    # A first layer that fits: it must not be loaded either.
    model, application = (
        network(keras.layers.Conv2D(3, 1, name="first"), *layers) for layers in (ours, theirs)
    )
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        models.load_keras_applications(model, application)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


# Loaded by name.


def made(application):
    """The builder of an application, with weights that a file might hold."""

    def make(weights, **arguments):
        assert weights == "some.h5"
        model = application(weights=None, classifier_activation=None, **arguments)
        train(model)
        return model

    make.__name__ = application.__name__
    return make


@pytest.mark.parametrize(
    ("name", "prepare"),
    [
        ("resnet50", keras.applications.resnet.preprocess_input),
        ("mobilenet_v2", keras.applications.mobilenet_v2.preprocess_input),
    ],
)
def test_images_are_normalised_as_any_others(name, prepare, monkeypatch):
    application, options = APPLICATIONS[name]
    make = made(application)
    monkeypatch.setattr(keras.applications, application.__name__, make)
    model = getattr(models, name)(SHAPE, classes=10, **options)
    models.load_imagenet_weights(model, name, "some.h5")
    x = np.random.default_rng(0).uniform(size=(2, *SHAPE)).astype("float32")
    mean, std = (np.array(value, "float32") for value in normalisation(name))
    expected = np.asarray(make("some.h5", input_shape=SHAPE, classes=10)(prepare(255 * x.copy())))
    found = np.asarray(model((x - mean) / std))
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_weights_that_cannot_be_had(monkeypatch):
    def make(**arguments):
        raise Exception("URL fetch failure on https://example.org/weights.h5")

    make.__name__ = "MobileNetV2"
    monkeypatch.setattr(keras.applications, "MobileNetV2", make)
    model = models.mobilenet_v2(SHAPE, classes=10)
    with pytest.raises(ValueError, match="MobileNetV2 cannot be loaded: .*org/weights.h5. Where"):
        models.load_imagenet_weights(model, "mobilenet_v2")
    with pytest.raises(ValueError, match="has no weights for 'resnet20'"):
        models.load_imagenet_weights(model, "resnet20")
