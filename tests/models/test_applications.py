"""Weights of `keras.applications` in the builders: the outputs are equal, or nothing is loaded."""

import keras
import numpy as np
import pytest

import tfrcp.models as models
from tests.models.counting import images

SHAPE = (32, 32, 3)
APPLICATIONS = {
    "resnet50": (keras.applications.ResNet50, {"stride_in": "1x1"}),
    "vgg16_imagenet": (keras.applications.VGG16, {}),
    "vgg19_imagenet": (keras.applications.VGG19, {}),
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


@pytest.mark.parametrize("name", APPLICATIONS)
def test_outputs_are_equal(name):
    build, options = APPLICATIONS[name]
    application = build(weights=None, input_shape=SHAPE, classes=10, classifier_activation=None)
    train(application)
    model = getattr(models, name)(SHAPE, classes=10, **options)
    models.load_keras_applications(model, application)
    x = images(SHAPE)
    expected = np.asarray(application(PREPARED.get(name, lambda x: x)(x)))
    scale = np.abs(expected).max()
    assert np.abs(expected[0] - expected[1]).max() > 1e-3 * scale  # the images tell
    np.testing.assert_allclose(np.asarray(model(x)) / scale, expected / scale, atol=1e-4)
