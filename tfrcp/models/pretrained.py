"""Published weights: CIFAR ResNets trained in PyTorch, stored as NumPy arrays."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np

from tfrcp import files

_VARIABLES = {
    keras.layers.Conv2D: {"kernel": "weight"},
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
    arrays = _read(Path(path))
    places = {}
    for layer in model.layers:
        for variable in layer.variables:
            places[_pytorch_name(layer, variable)] = variable
    problems = [f"{name}: missing from the file" for name in places if name not in arrays]
    problems += [f"{name}: not in the model" for name in arrays if name not in places]
    for name in places.keys() & arrays.keys():
        wanted = tuple(places[name].shape)
        if arrays[name].shape != wanted:
            problems.append(f"{name}: {arrays[name].shape} in the file, {wanted} in the model")
    if problems:
        problems = sorted(problems)
        listed = "\n  ".join(problems[:8])
        more = f"\n  and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise ValueError(
            f"The weights in {path} do not fit model {model.name!r} (shapes in Keras order); "
            f"nothing was loaded:\n  {listed}{more}"
        )
    for name, variable in places.items():
        variable.assign(arrays[name])


def _read(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a file, kernels turned to Keras order."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no weight file {path}. Give the path of an .npz file.")
    return {
        name: array.transpose({4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim, range(array.ndim)))
        for name, array in files.read_npz(path).items()
        if not name.endswith("num_batches_tracked")
    }


def _pytorch_name(layer: keras.Layer, variable: keras.Variable) -> str:
    """Returns the name under which PyTorch keeps a variable of a Keras ResNet."""
    block = re.fullmatch(r"stage(\d)_block(\d+)_((?:conv|bn)\d)", layer.name)
    if block:
        place = f"layer{block[1]}.{int(block[2]) - 1}.{block[3]}"
    else:
        place = {"stem_conv": "conv1", "stem_bn": "bn1", "classifier": "linear"}.get(layer.name)
    name = _VARIABLES.get(type(layer), {}).get(variable.name)
    if place is None or name is None:
        raise ValueError(
            f"`model` must be a CIFAR ResNet of tfrcp.models with shortcut='A'. Received a model "
            f"whose layer {layer.name!r} ({type(layer).__name__}) has weights that such a network "
            "does not have."
        )
    return f"{place}.{name}"
