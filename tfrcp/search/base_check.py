"""Whether the unpruned network knows the images: pixels of another scale are the usual cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from tfrcp.scoring.objectives import Objective

_LEAST = 100  # images that can tell a network from guessing
_Z = 2.0  # standard errors above chance


def check_base(
    model: keras.Model,
    objective: Objective,
    score: Callable[[int | None], float],
    x: Any,
    *,
    strict: bool,
) -> str:
    """Refuses a classifier that guesses, where the pixels are the likely cause.

    Args:
        model: The unpruned network.
        objective: What is scored; only an accuracy tells.
        score: Function of a number of holdout images to the network's score on the first ones, of
            `None` to that on all.
        x: The holdout images, structure of arrays [n, ...].
        strict: Whether a network that guesses is refused in any case; else only where its Rescaling
            layer expects pixels of another scale.

    Returns:
        A warning, or nothing.

    Raises:
        ValueError: If it guesses, with the scale of the images and of the network.
    """
    images = keras.tree.flatten(x)[0]
    if objective.name != "val_accuracy" or not objective.classes or len(images) < _LEAST:
        return ""
    chance = 1 / objective.classes
    for count in (_LEAST, None):  # few are enough where it knows them
        found = score(count)
        if found > chance + _Z * np.sqrt(chance * (1 - chance) / (count or len(images))):
            return ""
    low, high = float(images.min()), float(images.max())
    text = (
        f"The unpruned network has {100 * found:.1f} % accuracy on the {len(images):,} holdout "
        f"images, no better than guessing among {objective.classes} classes. Pixels go from "
        f"{low:.3g} to {high:.3g}"
    )
    expected = next(expected_range(model), None)
    factor = None
    if expected is None:
        text += "; the network has no Rescaling layer and knows those that it was trained on"
    else:
        text += f"; its Rescaling layer expects {expected[0]:.3g} to {expected[1]:.3g}"
        factor = (expected[1] - expected[0]) / max(high - low, 1e-9)
    text += ". Give images of the scale of its training (on the command line --config.data.scale"
    text += f"={255 if expected is None else round(expected[1])})"
    if strict or (factor is not None and not 1 / 20 < factor < 20):
        raise ValueError(f"{text}. An untrained network can be pruned by objective='agreement'.")
    return text


def expected_range(model: keras.Model) -> Iterator[tuple[float, float]]:
    """What the Rescaling layers of a network take, (lowest, highest), those of nested ones too.

    A layer with an offset is taken to make [-1, 1] of it, others [0, 1].
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from expected_range(layer)
        elif isinstance(layer, keras.layers.Rescaling):
            scale, offset = (np.mean(getattr(layer, name)) for name in ("scale", "offset"))
            if scale > 0:
                bottom = -1.0 if offset < 0 else 0.0
                yield float((bottom - offset) / scale), float((1 - offset) / scale)
