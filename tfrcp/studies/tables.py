"""What the cells say, row by row: statistics over seeds, differences from random search, costs.

A result may name its `base`. Where those of a row have several, the bases are the sample: see
`tfrcp.studies.statistics.mean`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from tfrcp.studies import statistics
from tfrcp.studies.grid import Cell, Grid, Setting, Study
from tfrcp.studies.records import CellResult, Seconds
from tfrcp.studies.statistics import Mean
from tfrcp.studies.verdicts import Verdict, verdicts

Results = Mapping[Cell, CellResult]


@dataclasses.dataclass(frozen=True)
class Row:
    """A setting over its seeds.

    Attributes:
        study: Name of the study.
        setting: The setting.
        planned: Number of seeds, of all bases.
        done: Number of those with a result.
        failures: Why cells failed, one text per failed cell.
        test: Accuracy on the test images; `None` if no cell is done, as all that follows.
        difference: Test accuracy less that of plain random search at the same cost and with the
            same fine-tuning, paired by seed; `None` also for the baseline itself.
        verdict: What the tests say of the difference; `None` where there is none.
        holdout: Accuracy on the holdout images after fine-tuning.
        before: Accuracy before it, on test images: not those that selected. (On these in studies
            of before that was measured.)
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
    done: int = 0
    failures: tuple[str, ...] = ()
    test: Mean | None = None
    difference: Mean | None = None
    verdict: Verdict | None = None
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
    return judged(grid, [_row(grid, study, setting, results) for setting in study.settings])


def judged(grid: Grid, rows: Sequence[Row]) -> list[Row]:
    """The rows of a study with their verdicts: those of one target are one table."""
    found = list(rows)
    for target in {row.setting.flops for row in rows}:
        table = [
            index
            for index, row in enumerate(rows)
            if row.setting.flops == target and grid.baseline(row.study, row.setting) != row.setting
        ]
        own = verdicts([rows[index].difference for index in table], grid.margins)
        for index, verdict in zip(table, own, strict=True):
            found[index] = dataclasses.replace(rows[index], verdict=verdict)
    return found


def _row(grid: Grid, study: Study, setting: Setting, results: Results) -> Row:
    found = {seed: results.get(Cell(setting, seed)) for seed in study.seeds}
    failures = tuple(r.error for r in found.values() if r is not None and r.error)
    done = {seed: r for seed, r in found.items() if r is not None and not r.error}
    row = Row(study.name, setting, len(study.seeds), len(done), failures)
    if not done:
        return row

    bases = [result.base for result in done.values()]

    def average(name: str) -> float:
        return float(np.mean([getattr(result, name) for result in done.values()]))

    return dataclasses.replace(
        row,
        **{
            name: statistics.proportion(
                [getattr(result, f"{name}_accuracy") for result in done.values()], bases
            )
            for name in ("test", "holdout", "before")
        },
        **{
            name: average(name)
            for name in ("flops", "params", "candidates", "images", "passes", "finetune_images")
        },
        difference=_difference(grid, study.name, setting, done, results),
        seconds={
            part.name: float(np.mean([getattr(r.seconds, part.name) for r in done.values()]))
            for part in dataclasses.fields(Seconds)
        },
    )


def _difference(
    grid: Grid, study: str, setting: Setting, done: Mapping, results: Results
) -> Mean | None:
    baseline = grid.baseline(study, setting)
    others = {seed: results.get(Cell(baseline, seed)) for seed in done}
    pairs = [
        (done[seed].test_accuracy, other.test_accuracy, done[seed].base)
        for seed, other in others.items()
        if other is not None and not other.error
    ]
    if baseline == setting or not pairs:
        return None
    return statistics.paired_proportions(*zip(*pairs, strict=True))


@dataclasses.dataclass(frozen=True)
class Pool:
    """Single random draws that were all fine-tuned.

    Attributes:
        scores: Scores before fine-tuning, on the images that select, float array [n].
        before: Accuracies before it, on others, float array [n].
        after: Accuracies on the test images after it, float array [n].
        counts: Numbers m of draws, int array.
        best_before: Expected accuracy before it of the best-scored of m draws, with the ends of its
            interval: float arrays [counts], NaN for the numbers of draws for which none holds.
        best_after: Expected accuracy after fine-tuning of the best-scored of m draws, likewise.
        spearman: Rank correlation of score before and accuracy after, with its ends.
        kendall: Kendall's tau-b, likewise.
        planned: Number of draws that were planned.
    """

    scores: np.ndarray
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
    done = [result for result in found if result is not None and not result.error]
    if len(done) < 3:
        return None
    scores = np.array([result.score for result in done])
    before = np.array([result.before_accuracy for result in done])
    after = np.array([result.test_accuracy for result in done])
    counts = np.arange(1, len(done) + 1)

    def best(values):
        interval = statistics.best_of_interval(scores, values, counts)
        return (statistics.best_of(scores, values, counts), *interval)

    def with_interval(statistic):
        every = np.arange(len(done))
        return (statistic(every), *statistics.bootstrap(statistic, len(done)))

    return Pool(
        scores,
        before,
        after,
        counts,
        best(before),
        best(after),
        with_interval(lambda i: statistics.spearman(scores[i], after[i])),
        with_interval(lambda i: statistics.kendall(scores[i], after[i])),
        len(study.pool),
    )
