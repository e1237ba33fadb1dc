"""ImageNet weights of `keras.applications` for images that are normalised as those of any data."""

from __future__ import annotations

import os

import keras

from tfrcp.models.applications import load_keras_applications

# How an application prepares RGB images in [0, 1]: (x - mean) / std.
_CAFFE = (123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,) * 3  # and turns RGB into BGR
_TENSORFLOW = (0.5,) * 3, (0.5,) * 3
_TORCH = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_APPLICATIONS = {
    "densenet121": ("DenseNet121", _TORCH),
    "efficientnet_b0": ("EfficientNetB0", _TORCH),
    "mobilenet_v1": ("MobileNet", _TENSORFLOW),
    "mobilenet_v2": ("MobileNetV2", _TENSORFLOW),
    "mobilenet_v3_large": ("MobileNetV3Large", _TENSORFLOW),
    "mobilenet_v3_small": ("MobileNetV3Small", _TENSORFLOW),
    "resnet101": ("ResNet101", _CAFFE),
    "resnet152": ("ResNet152", _CAFFE),
    "resnet50": ("ResNet50", _CAFFE),
    "vgg16_imagenet": ("VGG16", _CAFFE),
    "vgg19_imagenet": ("VGG19", _CAFFE),
}


def normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, per channel of RGB images in [0, 1], that the weights expect.

    Raises:
        ValueError: `keras.applications` has no weights for it.
    """
    if name not in _APPLICATIONS:
        raise ValueError(
            f"keras.applications has no weights for {name!r}; it has for {sorted(_APPLICATIONS)}"
        )
    return _APPLICATIONS[name][1]


def load_imagenet_weights(
    model: keras.Model, name: str, weights: str | os.PathLike[str] | None = "imagenet"
) -> None:
    """Loads the ImageNet weights of `keras.applications`, in place.

    The network then takes RGB images in [0, 1] that are normalised by `normalisation(name)`. See
    `load_keras_applications` for how a ResNet is to be built.

    Args:
        model: Unpruned network of `tfrcp.models` for 1,000 classes.
        name: Name of its builder.
        weights: "imagenet" downloads them, to ~/.keras/models; or the file that was got by hand, of
            which the error tells the address; `None` for random ones.

    Raises:
        ValueError: There are no such weights, they do not fit, or cannot be downloaded.
    """
    way = normalisation(name)
    make = getattr(keras.applications, _APPLICATIONS[name][0])
    shape, classes = model.inputs[0].shape[1:], model.outputs[0].shape[-1]
    try:
        application = make(
            weights=weights if weights is None else os.fspath(weights),
            input_shape=tuple(shape),
            classes=classes,
        )
    except Exception as error:  # Keras raises Exception itself where a download fails
        raise ValueError(
            f"The weights of keras.applications.{make.__name__} cannot be loaded: "
            f"{' '.join(str(error).split())}. Where there is a network, keep the file that this "
            "address gives, and name it instead"
        ) from None
    load_keras_applications(model, application)
    if way is _CAFFE:
        first = next(layer for layer in model.layers if layer.weights)
        first.kernel.assign(keras.ops.flip(first.kernel, axis=2))  # BGR to RGB
