"""Writes a model in a format for deployment, and proves that the file answers like the model.

`export` writes into a temporary folder beside the target, loads the result as a user of the format
would, compares its outputs with the model's at two batch sizes, and only then moves it under its
final name. On any failure, Ctrl-C included, nothing is left behind and an older export stays.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written, and how well it agrees with the model. May be used as a path.

    Attributes:
        path: where it stands.
        bytes: size on disk in bytes, the sum over all files.
        max_difference: largest absolute difference to the model, in the units of its outputs.
    """

    path: pathlib.Path
    bytes: int
    max_difference: float

    def __fspath__(self) -> str:
        return str(self.path)


def export(
    model: keras.Model,
    path: str | os.PathLike,
    format: str = "tf_saved_model",
    *,
    sample: Any = None,
    tolerance: float = 1e-4,
    overwrite: bool = False,
) -> Exported:
    """Writes `model` to `path` and checks that what was written gives the model's outputs.

    Args:
        model: a built Functional or Sequential model that leaves the batch size free, with any
            number of inputs and outputs.
        path: where to write. The folder around it must exist.
        format: `"tf_saved_model"`, a folder that plain TensorFlow loads with
            `tf.saved_model.load`; it answers as `serve`, which takes inputs in the structure of
            the model's, and as the signature `serving_default`.
        sample: inputs to compare on, `[n, ...]` with n >= 1, in the structure of the model's.
            Without it, two seeded random images (uniform in [0, 1), or integers 0 and 1).
        tolerance: largest allowed absolute difference, as a fraction of 1 + the largest absolute
            output.
        overwrite: whether to replace an earlier export at `path`.

    Returns:
        `Exported`: the path, the size in bytes and the largest difference found.

    Raises:
        ValueError: for an unknown format, a model or sample that cannot be used, and outputs that
            differ or are not finite.
        FileExistsError: if `path` exists and is not an earlier export that may be overwritten.
        OSError: if the folder around `path` is missing or cannot be written.
    """
    if format not in _WRITERS:
        raise ValueError(f"`format` must be one of {sorted(_WRITERS)}. Received: format={format!r}")
    if not tolerance >= 0:
        raise ValueError(f"`tolerance` must be at least 0. Received: tolerance={tolerance!r}")
    path = pathlib.Path(os.path.abspath(path))
    _check_target(path, overwrite)
    sample = _sample(model, sample)
    try:
        staging = tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent)
    except OSError as error:
        message = f"Cannot write the export: {error.strerror}"
        raise type(error)(error.errno, message, str(path.parent)) from error
    with staging as folder:
        written = pathlib.Path(folder, "new")
        answer = _WRITERS[format](model, written)
        difference = _compare(model, answer, sample, tolerance)
        size = sum(file.stat().st_size for file in written.rglob("*") if file.is_file())
        _move(written, path, aside=pathlib.Path(folder, "old"))
    return Exported(path, size, difference)


def _saved_model(model: keras.Model, target: pathlib.Path) -> Callable[[Any], Any]:
    """Writes a SavedModel; returns it as a function, loaded with TensorFlow alone."""
    import tensorflow as tf

    model.export(str(target), format="tf_saved_model", verbose=False)
    loaded = tf.saved_model.load(str(target))
    return lambda inputs: loaded.serve(inputs)  # Holds on to `loaded`, which owns the variables.


# A format is one function: it writes `target`, loads it again the way a user of the format does,
# and returns what was loaded as a function from a batch of inputs to outputs.
_WRITERS: dict[str, Callable[[keras.Model, pathlib.Path], Callable[[Any], Any]]] = {
    "tf_saved_model": _saved_model,
}


def _check_target(path: pathlib.Path, overwrite: bool) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder to export into does not exist: {path.parent}")
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise FileExistsError(f"`path` exists; `overwrite=True` replaces it. Received: path={path}")
    if path.is_symlink() or not (path / "saved_model.pb").is_file():
        raise FileExistsError(
            "`path` exists and is not an earlier export, so it is not overwritten; choose another "
            f"path or remove it. Received: path={path}"
        )


def _sample(model: keras.Model, sample: Any) -> Any:
    """The inputs to compare on, in the structure, types and shapes that the model expects."""
    try:
        inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    except AttributeError:
        raise ValueError(
            "`model` must be a built Functional or Sequential keras.Model. "
            f"Received: {type(model).__name__}"
        ) from None
    if any(tensor.shape[0] is not None for tensor in keras.tree.flatten(inputs)):
        raise ValueError(
            "`model` must leave the batch size free: `keras.Input(shape)`, not `batch_size` or "
            f"`batch_shape`. Received input: {inputs}"
        )
    if sample is None:
        generator = np.random.default_rng(0)
        return keras.tree.map_structure(lambda tensor: _random(tensor, generator), inputs)
    try:
        sample = keras.tree.map_structure(_fit, inputs, sample)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`sample` does not fit the model's inputs: {error}") from error
    sizes = {len(array) for array in keras.tree.flatten(sample)}
    if len(sizes) > 1 or 0 in sizes:
        raise ValueError(
            "`sample` must hold at least one image, and equally many for every input. "
            f"Received: {sorted(sizes)} images"
        )
    return sample


def _random(tensor: keras.KerasTensor, generator: np.random.Generator) -> np.ndarray:
    """Two random images `[2, ...]` for one input."""
    shape = tensor.shape[1:]
    if None in shape:
        raise ValueError(
            f"`sample` is needed to compare on: input {tensor.name!r} has no fixed shape. "
            f"Received: sample=None, shape={tensor.shape}"
        )
    if keras.backend.is_float_dtype(tensor.dtype):
        return generator.random((2, *shape)).astype(tensor.dtype)
    return generator.integers(0, 2, (2, *shape)).astype(tensor.dtype)


def _fit(tensor: keras.KerasTensor, array: Any) -> np.ndarray:
    """`array` in the type of one input, after a check of its shape."""
    array = np.asarray(array, dtype=tensor.dtype)
    if array.ndim != len(tensor.shape) or any(
        size not in (None, got) for size, got in zip(tensor.shape, array.shape, strict=True)
    ):
        raise ValueError(f"{tensor.name!r} has shape {tensor.shape}. Received: {array.shape}")
    return array


def _compare(
    model: keras.Model, answer: Callable[[Any], Any], sample: Any, tolerance: float
) -> float:
    """The largest absolute difference on the sample, and on one image more (another batch size)."""
    longer = keras.tree.map_structure(lambda array: np.concatenate([array, array[:1]]), sample)
    largest = 0.0
    for inputs in (sample, longer):
        expected, received = _arrays(model(inputs, training=False)), _arrays(answer(inputs))
        shapes = [array.shape for array in expected], [array.shape for array in received]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"The export gives outputs of shape {shapes[1]}, the model {shapes[0]}. It was "
                "discarded."
            )
        for wanted, got in zip(expected, received, strict=True):
            if not np.isfinite(wanted).all():
                raise ValueError(
                    "The model's outputs on the sample are NaN or infinite, so the export cannot "
                    "be checked. It was discarded; look at the model's weights and the sample."
                )
            difference = float(np.max(np.abs(wanted - got), initial=0.0))
            allowed = tolerance * (1.0 + float(np.max(np.abs(wanted), initial=0.0)))
            if not difference <= allowed:
                raise ValueError(
                    f"The export differs from the model by {difference:.3g}, and {allowed:.3g} is "
                    f"allowed (`tolerance={tolerance:g}`). It was discarded."
                )
            largest = max(largest, difference)
    return largest


def _arrays(outputs: Any) -> list[np.ndarray]:
    flat = keras.tree.flatten(outputs)
    return [keras.ops.convert_to_numpy(output).astype("float64") for output in flat]


def _move(source: pathlib.Path, path: pathlib.Path, aside: pathlib.Path) -> None:
    """Renames `source` to `path`. What stood there goes to `aside`, and back if that fails."""
    try:
        if path.exists():
            os.rename(path, aside)
        os.rename(source, path)
    except BaseException:
        if aside.exists() and not path.exists():
            os.rename(aside, path)
        raise
