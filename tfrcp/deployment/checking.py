"""What an export is checked on: real images, the outputs of file and model, and their scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from tfrcp.data import check_labels
from tfrcp.data.arrays import KERAS_BATCH
from tfrcp.data.rows import count_rows, take
from tfrcp.deployment.runtimes import Runner
from tfrcp.deployment.samples import by_name
from tfrcp.models.structure import output_structure
from tfrcp.scoring import objectives
from tfrcp.scoring.objectives import Objective

_BATCH = 256


@dataclasses.dataclass(frozen=True)
class Truth:
    """What outputs are scored against.

    Attributes:
        y: Labels of the sample, in the structure that the objective takes.
        sample_weight: Their weights, or `None`.
        objective: What is scored.
        share_tolerance: Largest allowed loss of a share of the images, such as an accuracy; that of
            a single image is always allowed.
        score_tolerance: Largest allowed change for the worse of any other figure, as a fraction of
            the model's.
    """

    y: Any
    sample_weight: Any
    objective: Objective
    share_tolerance: float
    score_tolerance: float

    def check(self, ours: float, theirs: float, images: int) -> None:
        """Refuses a file that is worse than the model by more than is allowed.

        Raises:
            ValueError: If so.
        """
        objective = self.objective
        worse = ours - theirs if objective.higher_is_better else theirs - ours
        if objective.is_share:
            if not worse <= max(1.0 / images, self.share_tolerance) + 1e-9:
                raise ValueError(
                    f"The export has {100 * theirs:.1f} % {objective.label} on {images:,} images, "
                    f"the model {100 * ours:.1f} %, and {100 * self.share_tolerance:g} points less "
                    "are allowed (`accuracy_tolerance`). It was discarded."
                )
        elif not worse <= self.score_tolerance * abs(ours) + 1e-6:
            raise ValueError(
                f"The export reaches {theirs:.4g} {objective.label} on {images:,} images, the "
                f"model {ours:.4g}, and {100 * self.score_tolerance:g} % worse is allowed "
                "(`score_tolerance`). It was discarded."
            )


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How well a file answers like the model.

    Attributes:
        difference: Largest absolute difference, in the units of the outputs.
        model_score: What the model reaches on the sample; `None` without labels.
        score: The same of the file.
    """

    difference: float
    model_score: float | None = None
    score: float | None = None


def truth_for(
    model: keras.Model,
    labels: Any,
    sample_weight: Any,
    objective: Any,
    sample: Any,
    share_tolerance: float,
    score_tolerance: float,
) -> Truth | None:
    """What outputs on the sample are scored against; `None` without labels.

    Raises:
        ValueError: If the labels do not fit the sample, or the objective not the model.
    """
    if labels is None:
        return None
    found = objectives.get(model, objective)
    if found.needs_reference:
        raise ValueError(
            "`labels` cannot be used: the model is no classifier and not compiled with a loss. "
            "Compile it, or give an `objective` such as a keras.metrics.Metric."
        )
    images = count_rows(sample)
    y, weight = (
        None if tree is None else keras.tree.map_structure(np.asarray, tree)
        for tree in (labels, sample_weight)
    )
    shapes = [array.shape for array in keras.tree.flatten([y, weight]) if array is not None]
    try:
        if any(shape[:1] != (images,) for shape in shapes):
            raise ValueError(f"there are {images} images")
        if found.classes:
            check_labels(*keras.tree.flatten(y), found.classes)
    except ValueError as error:
        raise ValueError(
            f"`labels` must fit the sample and the objective '{found.name}': {error}. Received: "
            f"shapes {shapes}, outputs {[tuple(x.shape) for x in model.outputs]}"
        ) from None
    return Truth(y, weight, found, share_tolerance, score_tolerance)


def compare(
    model: keras.Model,
    prepare: Callable[[Any], Any],
    runner: Runner,
    sample: Any,
    truth: Truth | None,
    tolerance: float,
) -> Agreement:
    """Compares the outputs on the sample, and on one image more (another batch size).

    Args:
        model: The model.
        prepare: What the file does with its inputs before the model's own work.
        runner: The file.
        sample: Images as the file takes them.
        truth: What the outputs are scored against, or `None`.
        tolerance: Largest allowed difference, as a fraction of 1 + the largest absolute output.

    Raises:
        ValueError: If they differ by more, or outputs are not finite.
    """
    largest, seen, scores = 0.0, 0, []
    outputs: list[list[np.ndarray]] = [[], []]
    for number, batch in enumerate(_batches(sample)):
        expected = _arrays(model(prepare(batch), training=False))
        received = _arrays(runner.run(by_name(model, batch)))
        largest = max(largest, _difference(expected, received, tolerance))
        if truth is not None and number > 0:
            for kept, new in zip(outputs, (expected, received), strict=True):
                kept.append(new)
            seen += len(expected[0])
    if truth is None:
        return Agreement(largest)
    for kept in outputs:
        scores.append(_score(model, truth, kept, sample))
    truth.check(*scores, seen)
    return Agreement(largest, *scores)


def _score(model: keras.Model, truth: Truth, outputs: list[list[np.ndarray]], sample: Any) -> float:
    """What outputs reach, taken in batches as Keras's `evaluate` does."""
    meter, types = truth.objective.meter(model), [x.dtype for x in model.outputs]
    whole = [
        np.concatenate(parts).astype(dtype)
        for parts, dtype in zip(zip(*outputs, strict=True), types, strict=True)
    ]
    structure = output_structure(model)
    for start in range(0, len(whole[0]), KERAS_BATCH):
        part = slice(start, start + KERAS_BATCH)
        y, weight, x = (take(t, part) for t in (truth.y, truth.sample_weight, sample))
        meter.update(y, keras.tree.pack_sequence_as(structure, take(whole, part)), weight, x)
    return meter.result()


def _batches(sample: Any) -> Iterator[Any]:
    """First a batch of another size than the next, then all the images once."""
    images = count_rows(sample)
    yield take(sample, [*range(min(images, _BATCH)), 0])
    for start in range(0, images, _BATCH):
        yield take(sample, slice(start, start + _BATCH))


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
