"""Weights of `keras.applications`, carried into the builders of the same networks."""

from __future__ import annotations

import keras
import numpy as np

_KINDS = (
    keras.layers.DepthwiseConv2D,
    keras.layers.Conv2D,
    keras.layers.BatchNormalization,
    keras.layers.Dense,
)


def load_keras_applications(model: keras.Model, application: keras.Model) -> None:
    """Carries the weights of a network of `keras.applications` over, in place.

    | builder | application | note |
    |---|---|---|
    | `resnet50`, `resnet101`, `resnet152` | `ResNet50`, ... | build with `stride_in="1x1"` |
    | `vgg16_imagenet`, `vgg19_imagenet` | `VGG16`, `VGG19` | |
    | `mobilenet_v1` | `MobileNet` | |
    | `mobilenet_v2` | `MobileNetV2` | |
    | `mobilenet_v3_small`, `..._large` | `MobileNetV3Small`, ... | takes `image / 127.5 - 1` |
    | `efficientnet_b0` | `EfficientNetB0` | takes `(image / 255 - mean) / std` |
    | `densenet121` | `DenseNet121` | |

    The outputs are then the logits, of which the application gives the softmax, on images that are
    prepared as for the application (`keras.applications.*.preprocess_input`). MobileNetV3 and
    EfficientNet prepare images inside; their builders do not, and take them as the note says.

    Where the application has a bias before a batch norm, or another epsilon in it, the moving
    statistics of the builder's batch norm make up for that. Every shape is checked before anything
    is assigned. The image's height and width must be even wherever a convolution has stride 2, as
    with multiples of 32: elsewhere some applications pad other sides than the authors' networks.

    Raises:
        ValueError: The networks are not the same; the message lists the layers that differ.
    """
    ours, theirs = _layers(model), _layers(application)
    if len(ours) != len(theirs):
        raise ValueError(
            f"`model` {model.name!r} has {len(ours)} layers with weights, `application` "
            f"{application.name!r} {len(theirs)}: they are not the same network. Build the "
            "application with `include_top=True`."
        )
    names = {layer.name for layer in ours}
    problems: list[str] = []
    values: dict[str, dict[str, np.ndarray]] = {}
    for mine, other in zip(ours, theirs, strict=True):
        arrays = {variable.name: np.asarray(variable) for variable in other.weights}
        if isinstance(mine, keras.layers.Dense) and isinstance(other, keras.layers.Conv2D):
            if other.kernel_size == (1, 1):
                arrays["kernel"] = arrays["kernel"][0, 0]
        elif _kind(mine) != _kind(other):
            problems.append(f"{mine.name}: {_kind(mine)}, but {other.name} is {_kind(other)}")
            continue
        norm = mine.name.replace("conv", "bn")
        if isinstance(mine, keras.layers.BatchNormalization):
            shift = other.epsilon - mine.epsilon
            arrays["moving_variance"] = arrays["moving_variance"] + shift
        elif "bias" in arrays and not getattr(mine, "use_bias", True) and norm in names:
            values[norm] = {"bias": arrays.pop("bias")}
        values.setdefault(mine.name, {}).update(arrays)
        problems += _differences(mine, other, arrays)
    check_fit(f"The weights of {application.name!r}", model, problems)
    for layer in ours:
        arrays = values[layer.name]
        if isinstance(layer, keras.layers.BatchNormalization) and "bias" in arrays:
            arrays["moving_mean"] = arrays["moving_mean"] - arrays["bias"]
        for variable in layer.weights:
            variable.assign(arrays[variable.name])


def check_fit(weights: str, model: keras.Model, problems: list[str]) -> None:
    """Raises a ValueError that lists what keeps weights from fitting, if there is anything."""
    if problems:
        listed = "\n  ".join(problems[:8])
        more = f"\n  and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise ValueError(
            f"{weights} do not fit model {model.name!r} (shapes in Keras order); nothing was "
            f"loaded:\n  {listed}{more}"
        )


def _layers(model: keras.Model) -> list[keras.Layer]:
    """The layers with weights, in the order in which Keras runs them; no preprocessing."""
    return [
        layer
        for layer in model.layers
        if layer.weights and not isinstance(layer, keras.layers.Normalization)
    ]


def _kind(layer: keras.Layer) -> str:
    return next((kind.__name__ for kind in _KINDS if isinstance(layer, kind)), type(layer).__name__)


def _differences(mine: keras.Layer, other: keras.Layer, arrays: dict[str, np.ndarray]) -> list[str]:
    """What keeps one layer from standing in for another."""
    wanted = {variable.name: tuple(variable.shape) for variable in mine.weights}
    found = {name: array.shape for name, array in arrays.items()}
    if wanted != found:
        return [f"{mine.name}: {wanted}, but {other.name} has {found}"]
    strides = getattr(mine, "strides", (1, 1)), getattr(other, "strides", (1, 1))
    if strides[0] != strides[1]:
        return [f"{mine.name}: strides {strides[0]}, but {other.name} has {strides[1]}"]
    return []
