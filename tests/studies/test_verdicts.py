from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from benchmarks import study_pages
from configs import benchmark_digits
from tfrcp.studies import rows_csv, statistics, tables
from tfrcp.studies.grid import Cell, Grid
from tfrcp.studies.records import CellResult, Seconds
from tfrcp.studies.texts import Texts
from tfrcp.studies.verdicts import verdicts

MARGINS = (1.0, 0.5)


def spread(middle, deviation, count=6):
    """Differences with exactly this mean and standard deviation, in percentage points."""
    values = np.linspace(-1, 1, count)
    return statistics.mean((middle + deviation * values / values.std(ddof=1)) / 100)


def test_every_verdict():
    found = verdicts(
        [
            spread(3, 0.5),
            spread(-3, 0.5),
            spread(0.1, 0.5),
            spread(0.05, 0.1),
            spread(0.4, 0.05),
            spread(0.1, 3),
            statistics.mean([0.01]),
            None,
        ],
        MARGINS,
    )
    assert [verdict and str(verdict) for verdict in found] == [
        "better",
        "worse",
        "equivalent within 1 point",
        "equivalent within 0.5 points",
        "better, equivalent within 0.5 points",
        "undecided",
        "undecided",
        None,
    ]


def test_more_rows_ask_for_more():
    clear = spread(1.0, 0.6)  # p about 0.01
    (alone,) = verdicts([clear], MARGINS)
    assert (alone.direction, alone.p_difference) == (1, statistics.difference_test(clear))
    among = verdicts([clear, *[None] * 9], MARGINS)[0]  # planned rows count
    assert among.direction == 0 and among.p_difference == pytest.approx(10 * alone.p_difference)


@pytest.mark.parametrize("truth", [0.0, 1.0, 1.2])
def test_tables_with_a_wrong_verdict_are_one_in_twenty(truth):
    random, tables, wrong = np.random.default_rng(0), 400, 0
    for _ in range(tables):
        rows = [statistics.mean(random.normal(truth, 0.3, size=5) / 100) for _ in range(6)]
        found = verdicts(rows, (1.0,))
        if truth:
            wrong += any(v.within or v.direction < 0 for v in found)
        else:
            wrong += any(v.direction for v in found)
    # 0.05 and three standard errors
    assert wrong / tables < 0.05 + 3 * math.sqrt(0.05 * 0.95 / tables)


@pytest.mark.parametrize(("count", "margin", "least"), [(20, 1.0, 0.87), (60, 0.5, 0.76)])
def test_so_many_pairs_show_equivalence_of_one_of_seven_rows(count, margin, least):
    random, others = np.random.default_rng(0), [None] * 6
    rows = [statistics.mean(random.normal(size=count) / 100) for _ in range(400)]
    shown = [verdicts([row, *others], (margin,))[0].within is not None for row in rows]
    assert least < np.mean(shown) < least + 0.1


def test_what_is_alike_is_found_to_be_with_enough_runs():
    random = np.random.default_rng(0)
    shown = []
    for count in (3, 20):
        rows = [statistics.mean(random.normal(0, 0.8, size=count) / 100) for _ in range(200)]
        shown.append(np.mean([verdicts([row], (1.0,))[0].within == 1 for row in rows]))
    assert shown[0] < 0.6 and shown[1] > 0.95


@pytest.fixture(scope="module")
def made():
    """The rows of a small study with made accuracies; one cell failed and a row was not run."""
    options = benchmark_digits.get_config().to_dict()["benchmark"] | {
        "flops": (0.5,),
        "allocations": ("uniform", "erk", "greedy"),
        "seeds": 4,
    }
    grid = Grid(options)
    study, results = grid.studies["search"], {}
    for setting in study.settings:
        for seed in study.seeds:
            accuracy = 0.9 + {"uniform": 0.05}.get(setting.allocation, 0)
            noise = {"random": (1, -1, 1, -1), "erk": (-1, 1, 1, 1)}.get(setting.allocation)
            results[Cell(setting, seed)] = CellResult(
                test_accuracy=accuracy + (noise[seed] / 2000 if noise else 0),
                holdout_accuracy=accuracy,
                before_accuracy=0.5,
                seconds=Seconds(1.0, 1.0, 1.0),
                **dict.fromkeys(("flops", "params"), 0.5),
                **dict.fromkeys(("candidates", "images", "passes", "finetune_images"), 7),
            )
    erk, greedy = study.settings[2:]
    results[Cell(erk, 3)] = CellResult(error="no idea")
    for seed in study.seeds:
        del results[Cell(greedy, seed)]
    return grid, study, results


def test_rows_have_verdicts_but_the_baseline(made):
    rows = tables.rows(*made)
    assert [str(row.verdict) for row in rows] == [
        "None",
        "better",
        "equivalent within 0.5 points",
        "None",
    ]
    p = statistics.difference_test(rows[1].difference)
    assert rows[1].verdict.p_difference == pytest.approx(3 * p)  # three rows were planned


def test_bases_of_results_are_the_sample(made):
    grid, study, results = made
    results = {
        cell: dataclasses.replace(result, base=cell.seed % 2)
        for cell, result in results.items()
        if not result.error
    }
    row = tables.rows(grid, study, results)[1]
    assert row.difference.count == row.test.count == 2


def test_a_csv_file_gives_back_its_rows_and_judges_them(made):
    grid, study, results = made
    texts = Texts(grid, {"config": {"benchmark": {"criterion": "l1"}}, "labels": Labels()})
    rows = tables.rows(grid, study, results)
    text = rows_csv.as_csv(texts, rows)
    found = rows_csv.from_csv(grid, text)
    assert list(found) == ["search"]
    assert rows_csv.as_csv(texts, found["search"]) == text
    assert [row.verdict for row in found["search"]] == [row.verdict for row in rows]
    grid.margins, kept = (0.01,), grid.margins
    again = rows_csv.from_csv(grid, text)["search"]
    grid.margins = kept
    assert again[2].verdict.within is None
    assert dataclasses.replace(again[2], verdict=None) == dataclasses.replace(rows[2], verdict=None)


def test_the_page_says_what_its_tables_say():
    for file, data in study_pages.written().items():
        if file.suffix != ".png":
            assert file.read_bytes() == data, "python -m benchmarks.study_pages"


class Labels(dict):
    def __missing__(self, name):
        return name
