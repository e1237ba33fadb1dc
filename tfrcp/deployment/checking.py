"""What an export is checked on: real images, and the outputs of the file and of the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from tfrcp.deployment.runtimes import Runner

_BATCH = 256


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How well a file answers like the model.

    Attributes:
        difference: Largest absolute difference, in the units of the outputs.
        model_accuracy: Share of the labels that the model gets right; `None` without labels.
        accuracy: The same of the file.
    """

    difference: float
    model_accuracy: float | None = None
    accuracy: float | None = None


def model_inputs(model: Any) -> Any:
    """The structure of a model's inputs.

    Raises:
        ValueError: If the model is not built, or its batch size is fixed.
    """
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
    return inputs


def images_for(model: keras.Model, images: Any, name: str) -> Any:
    """Images in the structure, types and shapes that the model expects.

    Args:
        model: The model.
        images: What the user gave; `None` for two random images, seeded.
        name: The argument's name, for errors.

    Raises:
        ValueError: If they do not fit.
    """
    inputs = model_inputs(model)
    if images is None:
        generator = np.random.default_rng(0)
        return keras.tree.map_structure(lambda tensor: _random(tensor, generator), inputs)
    try:
        images = keras.tree.map_structure(_fit, inputs, images)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` does not fit the model's inputs: {error}") from error
    sizes = {len(array) for array in keras.tree.flatten(images)}
    if len(sizes) > 1 or 0 in sizes:
        raise ValueError(
            f"`{name}` must hold at least one image, and equally many for every input. "
            f"Received: {sorted(sizes)} images"
        )
    return images


def labels_for(model: keras.Model, labels: Any, sample: Any) -> np.ndarray | None:
    """Labels as class numbers, int array `[n]`.

    Raises:
        ValueError: If they do not fit the images or the model.
    """
    if labels is None:
        return None
    labels = np.asarray(labels)
    images = len(keras.tree.flatten(sample)[0])
    shapes = [tuple(output.shape) for output in model.outputs]
    if labels.shape == (images, shapes[0][-1]) and labels.ndim == 2:
        labels = labels.argmax(axis=1)
    if len(shapes) != 1 or len(shapes[0]) != 2 or labels.shape != (images,):
        raise ValueError(
            f"`labels` must be class numbers [{images}] or one-hot rows, for a model with one "
            f"output [images, classes]. Received: shape {labels.shape}, outputs {shapes}"
        )
    return labels


def by_name(model: keras.Model, images: Any) -> dict[str, np.ndarray]:
    """Images by the names that the inputs have in every format."""
    inputs = keras.tree.flatten(model_inputs(model))
    return {t.name: a for t, a in zip(inputs, keras.tree.flatten(images), strict=True)}


def compare(
    model: keras.Model,
    prepare: Callable[[Any], Any],
    runner: Runner,
    sample: Any,
    labels: np.ndarray | None,
    tolerance: float,
    accuracy_tolerance: float,
) -> Agreement:
    """Compares the outputs on the sample, and on one image more (another batch size).

    Args:
        model: The model.
        prepare: What the file does with its inputs before the model's own work.
        runner: The file.
        sample: Images as the file takes them.
        labels: Class numbers, or `None`.
        tolerance: Largest allowed difference, as a fraction of 1 + the largest absolute output.
        accuracy_tolerance: Largest allowed loss of accuracy; a single image is always allowed.

    Raises:
        ValueError: If they differ by more, or outputs are not finite.
    """
    largest, right = 0.0, np.zeros(2)
    for number, batch in enumerate(_batches(sample)):
        expected = _arrays(model(prepare(batch), training=False))
        received = _arrays(runner.run(by_name(model, batch)))
        largest = max(largest, _difference(expected, received, tolerance))
        if labels is not None and number > 0:
            true = labels[_BATCH * (number - 1) :][: len(expected[0])]
            right += [(out[0].argmax(axis=1) == true).sum() for out in (expected, received)]
    if labels is None:
        return Agreement(largest)
    lost, allowed = right[0] - right[1], max(1.0, accuracy_tolerance * len(labels))
    ours, theirs = (float(n / len(labels)) for n in right)
    if lost > allowed:
        raise ValueError(
            f"The export is right on {100 * theirs:.1f} % of {len(labels):,} images, the model on "
            f"{100 * ours:.1f} %, and {100 * accuracy_tolerance:g} points less are allowed "
            "(`accuracy_tolerance`). It was discarded."
        )
    return Agreement(largest, ours, theirs)


def _batches(sample: Any) -> Iterator[Any]:
    """First a batch of another size than the next, then all the images once."""
    images = len(keras.tree.flatten(sample)[0])
    some = min(images, _BATCH)
    yield keras.tree.map_structure(lambda a: np.concatenate([a[:some], a[:1]]), sample)
    for start in range(0, images, _BATCH):
        yield keras.tree.map_structure(lambda a, i=start: a[i : i + _BATCH], sample)


def _difference(expected: list[np.ndarray], received: list[np.ndarray], tolerance: float) -> float:
    """The largest absolute difference of a batch, in the units of the outputs."""
    shapes = [array.shape for array in expected], [array.shape for array in received]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"The export gives outputs of shape {shapes[1]}, the model {shapes[0]}. It was "
            "discarded."
        )
    largest = 0.0
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
