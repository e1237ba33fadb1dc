"""What the cells say, row by row: statistics over seeds, differences from random search, costs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfrcp.studies import statistics
from tfrcp.studies.grid import Cell, Grid, Setting, Study
from tfrcp.studies.statistics import Mean

Results = Mapping[Cell, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Row:
    """A setting over its seeds.

    Attributes:
        study: Name of the study.
        setting: The setting.
        planned: Number of seeds.
        failures: Why cells failed, one text per failed cell.
        test: Accuracy on the test images; `None` if no cell is done, as all that follows.
        difference: Test accuracy less that of plain random search at the same cost and with the
            same fine-tuning, paired by seed; `None` also for the baseline itself.
        holdout: Accuracy on the holdout images after fine-tuning.
        before: Accuracy on the holdout images that score candidates, before it.
        flops: Mean share of the unpruned MACs.
        params: Mean share of the unpruned weights.
        candidates: Mean number of networks that were scored.
        images: Images that the criterion read.
        passes: Mean number of images that went through a network before fine-tuning.
        finetune_images: Images that fine-tuning saw.
        seconds: Mean wall time of criterion, allocation and fine-tuning.
    """

    study: str
    setting: Setting
    planned: int
    failures: tuple[str, ...] = ()
    test: Mean | None = None
    difference: Mean | None = None
    holdout: Mean | None = None
    before: Mean | None = None
    flops: float = math.nan
    params: float = math.nan
    candidates: float = math.nan
    images: float = math.nan
    passes: float = math.nan
    finetune_images: float = math.nan
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)


def rows(grid: Grid, study: Study, results: Results) -> list[Row]:
    """The rows of a study's table.

    Args:
        grid: The grid.
        study: One of its studies.
        results: What cells came to; those that are not done are missing.
    """
    return [_row(grid, study, setting, results) for setting in study.settings]


def _row(grid: Grid, study: Study, setting: Setting, results: Results) -> Row:
    found = {seed: results.get(Cell(setting, seed)) for seed in study.seeds}
    failures = tuple(r["error"] for r in found.values() if r is not None and "error" in r)
    done = {seed: r for seed, r in found.items() if r is not None and "error" not in r}
    row = Row(study.name, setting, len(study.seeds), failures)
    if not done:
        return row

    def average(name: str) -> float:
        return float(np.mean([result[name] for result in done.values()]))

    return dataclasses.replace(
        row,
        **{
            name: statistics.mean([result[key] for result in done.values()])
            for name, key in (
                ("test", "test_accuracy"),
                ("holdout", "holdout_accuracy"),
                ("before", "score"),
            )
        },
        **{
            name: average(name)
            for name in ("flops", "params", "candidates", "images", "passes", "finetune_images")
        },
        difference=_difference(grid, setting, done, results),
        seconds={
            name: float(np.mean([result["seconds"][name] for result in done.values()]))
            for name in ("criterion", "allocation", "finetune")
        },
    )


def _difference(grid: Grid, setting: Setting, done: Mapping, results: Results) -> Mean | None:
    baseline = grid.baseline(setting)
    others = {seed: results.get(Cell(baseline, seed)) for seed in done}
    pairs = [
        (done[seed]["test_accuracy"], other["test_accuracy"])
        for seed, other in others.items()
        if other is not None and "error" not in other
    ]
    if baseline == setting or not pairs:
        return None
    return statistics.paired(*zip(*pairs, strict=True))


@dataclasses.dataclass(frozen=True)
class Pool:
    """Single random draws that were all fine-tuned.

    Attributes:
        before: Scores before fine-tuning, float array [n].
        after: Accuracies on the test images after it, float array [n].
        counts: Numbers m of draws, int array.
        best_before: Expected score of the best-scored of m draws, with the ends of its band: float
            arrays [counts].
        best_after: Expected accuracy after fine-tuning of the best-scored of m draws, likewise.
        spearman: Rank correlation of score before and accuracy after, with its ends.
        kendall: Kendall's tau-b, likewise.
        planned: Number of draws that were planned.
    """

    before: np.ndarray
    after: np.ndarray
    counts: np.ndarray
    best_before: tuple[np.ndarray, np.ndarray, np.ndarray]
    best_after: tuple[np.ndarray, np.ndarray, np.ndarray]
    spearman: tuple[float, float, float]
    kendall: tuple[float, float, float]
    planned: int


def pool(study: Study, results: Results) -> Pool | None:
    """The pool of a study; `None` if there are fewer than three draws."""
    found = [results.get(cell) for cell in study.pool]
    done = [result for result in found if result is not None and "error" not in result]
    if len(done) < 3:
        return None
    before = np.array([result["score"] for result in done])
    after = np.array([result["test_accuracy"] for result in done])
    counts = np.arange(1, len(done) + 1)

    def with_band(statistic):
        every = np.arange(len(done))
        return (statistic(every), *statistics.bootstrap(statistic, len(done)))

    return Pool(
        before,
        after,
        counts,
        with_band(lambda i: statistics.best_of(before[i], before[i], counts)),
        with_band(lambda i: statistics.best_of(before[i], after[i], counts)),
        with_band(lambda i: statistics.spearman(before[i], after[i])),
        with_band(lambda i: statistics.kendall(before[i], after[i])),
        len(study.pool),
    )
