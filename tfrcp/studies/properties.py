"""Properties of random pruning: what single random draws come to, over several bases.

A draw is one random channel vector, by the study's main criterion, that is fine-tuned whatever its
score. Accuracies are compared within a base: what is said of draws has the base's mean taken out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from tfrcp.studies import statistics
from tfrcp.studies.grid import BASELINE, whole
from tfrcp.studies.records import CellResult
from tfrcp.studies.tables import Results

FEWEST = 10
"""Draws below which nothing is said."""


@dataclasses.dataclass(frozen=True)
class Draw:
    """A single random draw.

    Attributes:
        base: Its base.
        unpruned: Test accuracy of the base.
        channels: The channel vector.
        score: Accuracy before fine-tuning on the images that select.
        before: Accuracy before it on others.
        after: Test accuracy by epochs of fine-tuning.
    """

    base: int
    unpruned: float
    channels: tuple[int, ...]
    score: float
    before: float
    after: Mapping[float, float]


def draws(options: Mapping[str, Any], results: Results) -> list[Draw]:
    """The single draws of a study at its least target.

    Args:
        options: `config.benchmark` as a dict.
        results: Of several bases, see `tfrcp.studies.pooling`.
    """
    found: dict[int, dict[float, CellResult]] = {}
    wanted = (options["criterion"], BASELINE, min(options["flops"]), 1)
    for cell, result in results.items():
        setting = cell.setting
        is_draw = (setting.criterion, setting.allocation, setting.flops, setting.samples) == wanted
        if is_draw and not result.error:
            found.setdefault(cell.seed, {})[setting.epochs] = result
    main = whole(options["epochs"])
    return [
        Draw(
            of[main].base or 0,
            np.nan if of[main].base_accuracy is None else of[main].base_accuracy,
            of[main].channels,
            of[main].score,
            of[main].before_accuracy,
            {epochs: result.test_accuracy for epochs, result in sorted(of.items())},
        )
        for of in found.values()
        if main in of
    ]


def centred(some: Sequence[Draw], values: Sequence[float]) -> np.ndarray:
    """Values less the mean of their base's, float array [draws]."""
    values, bases = np.asarray(values, dtype=float), np.array([draw.base for draw in some])
    found = values.copy()
    for base in set(bases.tolist()):
        found[bases == base] -= values[bases == base].mean()
    return found


def moments(values: np.ndarray) -> dict[str, float]:
    """Standard deviation, ends, quartiles, skewness and excess kurtosis of centred values."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {
        "sd": float(values.std(ddof=1)),
        "min": float(values.min()),
        "25 %": float(low),
        "median": float(middle),
        "75 %": float(high),
        "max": float(values.max()),
        "skewness": float(scipy.stats.skew(values)),
        "excess kurtosis": float(scipy.stats.kurtosis(values)),
    }


@dataclasses.dataclass(frozen=True)
class Regression:
    """Accuracy after fine-tuning on the widths of the groups, within bases.

    Attributes:
        slopes: What one standard deviation of a group's width is worth, float array [groups].
        reaches: Half-lengths of their 95 % intervals.
        explained: Share of the variance that is explained, corrected for the number of groups.
    """

    slopes: np.ndarray
    reaches: np.ndarray
    explained: float


def regression(some: Sequence[Draw], epochs: float) -> Regression | None:
    """Ordinary least squares on standardised widths; `None` with fewer than three draws a group."""
    widths = np.array([draw.channels for draw in some], dtype=float)
    count, groups = widths.shape
    bases = len({draw.base for draw in some})
    freedom = count - groups - bases
    if count < 3 * groups or freedom < 3 or (widths.std(axis=0) == 0).any():
        return None
    x = np.stack([centred(some, column) for column in widths.T], axis=1)
    x /= x.std(axis=0, ddof=1)
    y = centred(some, [draw.after[epochs] for draw in some])
    slopes, *_ = np.linalg.lstsq(x, y, rcond=None)
    rest = ((y - x @ slopes) ** 2).sum() / freedom
    errors = np.sqrt(rest * np.diag(np.linalg.pinv(x.T @ x)))
    total = (y**2).sum() / (count - bases)
    reach = statistics.t_quantile(0.975, freedom) * errors
    return Regression(slopes, reach, float(1 - rest / total) if total else 0.0)


def rank_correlation(some: Sequence[Draw], epochs: float) -> tuple[float, float, float]:
    """Spearman's correlation of the score before and the accuracy after, mean over the bases.

    Returns:
        Tuple of the mean and the ends of its 95 % bootstrap interval, whose draws are redrawn
        within each base; NaN where no base has three draws of this length.
    """
    of_bases: dict[int, list[tuple[float, float]]] = {}
    for draw in some:
        if epochs in draw.after:
            of_bases.setdefault(draw.base, []).append((draw.score, draw.after[epochs]))
    pairs = [np.array(found) for found in of_bases.values() if len(found) > 2]
    if not pairs:
        return (np.nan,) * 3
    random = np.random.default_rng(0)

    def mean(parts: list[np.ndarray]) -> float:
        found = [statistics.spearman(*part.T) for part in parts]
        return float(np.nanmean(found)) if np.isfinite(found).any() else np.nan

    again = [
        mean([part[random.integers(len(part), size=len(part))] for part in pairs])
        for _ in range(1000)
    ]
    return (mean(pairs), *np.nanpercentile(again, [2.5, 97.5]))


def best_of(some: Sequence[Draw], epochs: float) -> np.ndarray:
    """What the best-scored of m draws has after fine-tuning beyond a single one.

    Returns:
        Float array [m from 1 to the number of draws of the base that has fewest], mean over bases.
    """
    of_bases: dict[int, list[Draw]] = {}
    for draw in some:
        of_bases.setdefault(draw.base, []).append(draw)
    most = min(map(len, of_bases.values()))
    found = []
    for own in of_bases.values():
        scores, after = (
            np.array(v) for v in zip(*((d.score, d.after[epochs]) for d in own), strict=True)
        )
        found.append(statistics.best_of(scores, after, range(1, most + 1)))
    gains = np.mean(found, axis=0)
    return gains - gains[0]
