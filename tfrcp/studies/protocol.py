"""What all rows have in common: the recipe, the images, and a count of those that are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfrcp import data, training
from tfrcp.data.memory import MemorySplit

_BATCH = 32  # images of a batch that is handed to a criterion


def recipe(config: Mapping[str, Any]) -> training.Recipe:
    """How every network is fine-tuned, but for the epochs and the learning rate.

    Raises:
        ValueError: If `config.finetune` asks for what would treat networks differently.
    """
    found = training.Recipe(**{**config["finetune"], "warmup_epochs": 0})
    for name in ("patience", "keep_best", "distillation"):
        if getattr(found, name):
            raise ValueError(
                f"`config.finetune.{name}` must be {type(getattr(found, name))()!r}: the benchmark "
                "fine-tunes every network alike, from the first to the last epoch. "
                f"Received: {getattr(found, name)!r}"
            )
    return found


def first(split: MemorySplit, count: int) -> MemorySplit:
    """The first images of a split; all if `count` is 0."""
    count = count or split.size
    return dataclasses.replace(split, images=split.images[:count], labels=split.labels[:count])


def batches(
    split: MemorySplit, recipe: training.Recipe, seed: int
) -> Callable[[int], data.Batches]:
    """Function of the epoch to its batches; the seed decides order and augmentation."""
    return lambda epoch: split.batches(
        recipe.batch_size, shuffle=True, augment=recipe.augment, seed=seed, epoch=epoch
    )


def drawn(split: MemorySplit, share: float, seed: int) -> MemorySplit:
    """A share of the images of a split, drawn at random; all if it is 1 or more."""
    if share >= 1:
        return split
    order = np.random.default_rng(seed).permutation(split.size)[: round(share * split.size)]
    return dataclasses.replace(split, images=split.images[order], labels=split.labels[order])


def best_inside(
    rates: list[float], tried: Callable[[list[float]], dict[float, float]]
) -> tuple[float, dict[float, float]]:
    """The best of a grid of learning rates, which lies inside it.

    Args:
        rates: The grid, rising. While its best is the first or the last it is continued by another,
            at most four times.
        tried: Function of a grid to the score of each rate, higher is better; those that failed are
            missing.

    Returns:
        Tuple of the best rate and the scores.
    """
    for _ in range(5):
        scores = tried(rates)
        best = max(scores, key=scores.get)
        if len(rates) == 1 or best not in (rates[0], rates[-1]):
            break
        neighbour = rates[1 if best == rates[0] else -2]
        rates = sorted([*rates, float(f"{best**2 / neighbour:.3g}")])
    return best, scores


class Counted(keras.utils.PyDataset):
    """Batches that count the images which are read.

    Args:
        x: Images.
        y: Labels.

    Attributes:
        images: Number of images that were read.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        super().__init__()
        self._x, self._y, self.images = x, y, 0

    def __len__(self) -> int:
        return -(-len(self._y) // _BATCH)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(index * _BATCH, (index + 1) * _BATCH)
        self.images += len(self._y[part])
        return self._x[part], self._y[part]
