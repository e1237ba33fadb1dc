"""Writes a model in a format for deployment: into a staging folder, checked, then moved."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfrcp import files
from tfrcp.arguments import check_choice, check_number
from tfrcp.data.rows import take
from tfrcp.deployment import runtimes
from tfrcp.deployment.checking import compare, truth_for
from tfrcp.deployment.formats import FORMATS, Format, one_line
from tfrcp.deployment.samples import by_name, images_for, model_inputs

# What rounding changes in the outputs, as a fraction of 1 + the largest absolute output.
TOLERANCES = {None: 1e-4, "float16": 1e-2, "dynamic": 0.2, "int8": 0.2}


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written, and how well it agrees with the model. May be used as a path.

    Attributes:
        path: where it stands.
        bytes: size on disk in bytes, the sum over all files.
        max_difference: largest absolute difference to the model, in the units of its outputs.
        objective: name of what was scored with the labels, such as "val_accuracy"; or `None`.
        model_score: what the model reaches on the sample; `None` without labels.
        score: the same of what was written.
    """

    path: pathlib.Path
    bytes: int
    max_difference: float
    objective: str | None = None
    model_score: float | None = None
    score: float | None = None

    @property
    def model_accuracy(self) -> float | None:
        """The model's score where it is an accuracy, else `None`."""
        return self.model_score if self.objective == "val_accuracy" else None

    @property
    def accuracy(self) -> float | None:
        """The file's score where it is an accuracy, else `None`."""
        return self.score if self.objective == "val_accuracy" else None

    def __fspath__(self) -> str:
        return str(self.path)


def export(
    model: keras.Model,
    path: str | os.PathLike,
    format: str = "tf_saved_model",
    *,
    quantization: str | None = None,
    calibration: Any = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    sample: Any = None,
    labels: Any = None,
    sample_weight: Any = None,
    objective: Any = "auto",
    tolerance: float | None = None,
    accuracy_tolerance: float = 0.01,
    score_tolerance: float = 0.1,
    overwrite: bool = False,
) -> Exported:
    """Writes `model` to `path` and checks that what was written gives the model's outputs.

    The batch size stays free. In every format the inputs have the names of the model's inputs
    (`keras.Input(shape, name="image")`), and the outputs are called `output_0`, `output_1` and so
    on, or have the keys of the dict that the model returns.

    Args:
        model: a built Functional or Sequential model that leaves the batch size free, with any
            number of inputs and outputs.
        path: where to write. The folder around it must exist.
        format: what to write:
            `"tf_saved_model"`, a folder that plain TensorFlow loads with `tf.saved_model.load`; it
            answers as `serve`, which takes inputs in the structure of the model's, and as the
            signature `serving_default`, which takes them by name;
            `"litert"`, a `.tflite` file with the signature `serving_default`, run by
            `ai-edge-litert` (extra `litert`);
            `"onnx"`, an `.onnx` file, run by ONNX Runtime (extra `onnx`).
        quantization: for LiteRT, `None` for float32; `"float16"`, weights of 16 bits; `"dynamic"`,
            weights of 8 bits, activations quantized while it runs; `"int8"`, all operations in
            integers of 8 bits, between inputs and outputs that stay float32.
        calibration: for `"int8"`, images as the file will take them, `[n, ...]` in the structure of
            the model's inputs; some hundreds, from which the ranges of activations are read.
        mean: mean per channel that the file subtracts from its input, before `std` divides it: then
            it takes images of values in [0, 1] as they come, for a model that was trained on
            normalised ones. Channels are the last axis of the model's only input.
        std: standard deviation per channel, likewise.
        sample: inputs to compare on, `[n, ...]` with n >= 1, in the structure of the model's, as
            the file takes them. Without it, two seeded random images (uniform in [0, 1), or
            integers 0 and 1).
        labels: labels of the sample, in the structure that the model is trained on: class numbers
            `[n]`, masks, targets, one for each output. With them the scores of both are compared as
            well.
        sample_weight: sample weights that go with them.
        objective: what is scored: "auto" (the accuracy of a classifier, else the loss that the
            model is compiled with), or as in `tfrcp.prune`.
        tolerance: largest allowed absolute difference, as a fraction of 1 + the largest absolute
            output. Defaults to 1e-4, with float16 weights to 1e-2; with 8 bits to 0.2, or to no
            limit where labels are given: then the score tells more.
        accuracy_tolerance: largest allowed loss of accuracy, a share of the images; a loss of a
            single image is always allowed.
        score_tolerance: largest allowed change for the worse of any other score, as a fraction of
            the model's.
        overwrite: whether to replace an earlier export at `path`.

    Returns:
        `Exported`: the path, the size in bytes, the largest difference found, the scores.

    Raises:
        ValueError: for an unknown format, a model or sample that cannot be used, an operation that
            the format's converter does not support, and outputs that differ or are not finite.
        ImportError: if the format needs an extra that is not installed.
        FileExistsError: if `path` exists and is not an earlier export that may be overwritten.
        OSError: if the folder around `path` is missing, cannot be written or is full.
    """
    check_choice("format", format, FORMATS)
    kind = FORMATS[format]
    if quantization not in kind.quantizations:
        raise ValueError(
            f"`quantization` must be one of {list(kind.quantizations)} for the format {format!r}. "
            f"Received: quantization={quantization!r}"
        )
    if tolerance is None:
        by_labels = labels is not None and quantization in ("dynamic", "int8")
        tolerance = math.inf if by_labels else TOLERANCES[quantization]
    for name, value in (
        ("tolerance", tolerance),
        ("accuracy_tolerance", accuracy_tolerance),
        ("score_tolerance", score_tolerance),
    ):
        check_number(name, value, "[0, inf]")
    path = pathlib.Path(os.path.abspath(path))
    _check_target(path, kind, overwrite)
    sample = images_for(model, sample, "sample")
    truth = truth_for(
        model, labels, sample_weight, objective, sample, accuracy_tolerance, score_tolerance
    )
    if (quantization == "int8") != (calibration is not None):
        raise ValueError(
            "`calibration` must hold images for quantization='int8', and for nothing else. "
            f"Received: calibration={'None' if calibration is None else 'images'}, "
            f"quantization={quantization!r}"
        )
    if calibration is not None:
        calibration = by_name(model, images_for(model, calibration, "calibration"))
    mean, std = _statistics(model, mean, std)
    kind.check()
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(files.beside(path))
        except OSError as error:
            message = f"Cannot write the export: {error.strerror}"
            raise type(error)(error.errno, message, str(path.parent)) from error
        written = folder / f"new{kind.suffix}"
        with one_line(kind):
            whole = _in_inference(model)
            if mean is not None:
                whole = _with_preprocessing(whole, mean, std)
            whole(take(sample, slice(1)))  # Keras wants it called once
            kind.write(whole, written, quantization, calibration)
        found = compare(
            model,
            (lambda x: x) if mean is None else lambda x: (x - mean) / std,
            kind.load(written),
            sample,
            truth,
            tolerance,
        )
        size = runtimes.size(written)
        _move(written, path, aside=folder / "old")
    scored = None if truth is None else truth.objective.name
    return Exported(path, size, found.difference, scored, found.model_score, found.score)


def _check_target(path: pathlib.Path, format: Format, overwrite: bool) -> None:
    if path.suffix != format.suffix and format.suffix:
        raise ValueError(f"`path` must end with {format.suffix!r}. Received: path={path}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder to export into does not exist: {path.parent}")
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise FileExistsError(f"`path` exists; `overwrite=True` replaces it. Received: path={path}")
    if path.is_symlink() or not format.made(path):
        raise FileExistsError(
            "`path` exists and is not an earlier export, so it is not overwritten; choose another "
            f"path or remove it. Received: path={path}"
        )


def _statistics(model: keras.Model, mean: Any, std: Any) -> tuple[Any, Any]:
    """Mean and standard deviation as float32 arrays; (None, None) where neither is given."""
    if mean is None and std is None:
        return None, None
    inputs = keras.tree.flatten(model_inputs(model))
    mean, std = np.asarray(0 if mean is None else mean), np.asarray(1 if std is None else std)
    fits = all(array.shape in ((), (inputs[0].shape[-1],)) for array in (mean, std))
    if len(inputs) != 1 or not fits or not (std > 0).all() or not np.isfinite(mean).all():
        raise ValueError(
            "`mean` and `std` must be finite, `std` above 0, a number or one for each channel of "
            f"the model's only input. Received: mean={mean.tolist()}, std={std.tolist()}, "
            f"{len(inputs)} inputs of shape {inputs[0].shape}"
        )
    return mean.astype("float32"), std.astype("float32")


def _in_inference(model: keras.Model) -> keras.Model:
    """The model, in inference mode where it holds layers that Keras would export as in training.

    These are layers that draw random numbers, such as augmentation.
    """
    random = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if hasattr(layer, "generator") or hasattr(layer, "seed_generator")
    ]
    if not random:
        return model
    sources = keras.tree.map_structure(
        lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name), model_inputs(model)
    )
    return keras.Model(sources, model(sources, training=False), name=model.name)


def _with_preprocessing(model: keras.Model, mean: np.ndarray, std: np.ndarray) -> keras.Model:
    """The model behind (x - mean) / std, with an input of the same name."""
    (source,) = keras.tree.flatten(model_inputs(model))
    inputs = keras.Input(source.shape[1:], dtype=source.dtype, name=source.name)
    scaled = keras.layers.Rescaling((1 / std).tolist(), (-mean / std).tolist())(inputs)
    outputs = keras.tree.pack_sequence_as(model_inputs(model), [scaled])
    return keras.Model(inputs, model(outputs), name=model.name)


def _move(source: pathlib.Path, path: pathlib.Path, aside: pathlib.Path) -> None:
    """Renames `source` to `path`. What stood there goes to `aside`, and back if that fails."""
    try:
        if path.is_dir():
            os.rename(path, aside)
        os.replace(source, path)
    except BaseException:
        if aside.exists() and not path.exists():
            os.rename(aside, path)
        raise
