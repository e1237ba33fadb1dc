"""What the studies promise of every comparison."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.small_run import write_inputs
from tests.studies.small_benchmark import config
from tfrcp.studies import Benchmark, pooling
from tfrcp.studies import experiment as experiments
from tfrcp.studies.grid import Cell, Grid, Setting


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    """A small study on two bases, whose criteria share channel counts."""
    folder = tmp_path_factory.mktemp("bases")
    pooling.run(two_bases(inputs), folder, "criteria")
    return folder


def two_bases(inputs):
    return config(inputs, bases=2, criteria_samples=1, criteria=("random", "l2"), pool=0)


def cells_of(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_criteria_share_the_channel_counts_of_a_seed_and_bases_have_their_own(finished):
    cells = cells_of(finished)
    assert len(cells) == 3 * 2 * 2 and {cell["result"]["base"] for cell in cells} == {0, 1}
    of_seed = {}
    for cell in cells:
        of_seed.setdefault(cell["seed"], set()).add(tuple(cell["result"]["channels"]))
        assert cell["samples"] == cell["result"]["candidates"] == 1
    assert [len(found) for found in of_seed.values()] == [1] * 4
    assert len(set().union(*of_seed.values())) > 2


def test_a_study_of_bases_resumes_and_its_intervals_are_over_bases(inputs, finished, capsys):
    before = (finished / "results.csv").read_text()
    pooling.run(two_bases(inputs), finished, "criteria")
    assert "cells" not in capsys.readouterr().out
    assert (finished / "results.csv").read_text() == before
    assert "over bases" in (finished / "results.md").read_text()


def test_the_baseline_of_criteria_has_as_many_samples(inputs):
    grid = Grid(config(inputs, criteria_samples=1)["benchmark"])
    row = grid.studies["criteria"].settings[1]
    assert grid.baseline("criteria", row) == grid.studies["criteria"].settings[0]
    assert grid.baseline("search", row).samples == 3


@pytest.mark.parametrize(("best", "tried"), [(0.03, 3), (0.3, 5), (0.001, 6), (50.0, 7)])
def test_the_grid_of_learning_rates_is_continued_until_the_best_lies_inside(
    inputs, tmp_path, monkeypatch, best, tried
):
    found = Benchmark(config(inputs, learning_rates=(0.01, 0.03, 0.1)), tmp_path)
    asked = []

    def fake(rates, trials):
        asked[:] = rates
        return {rate: -abs(np.log(rate / best)) for rate in rates}

    monkeypatch.setattr(found, "_tried", fake)
    chosen = found.learning_rate(0.5)
    assert len(asked) == tried
    if tried < 7:
        assert sorted(asked)[0] < chosen < sorted(asked)[-1]
    written = json.loads((tmp_path / "rates" / "chosen-0.5epochs.json").read_text())
    assert written["learning_rate"] == chosen


def test_half_an_epoch_sees_half_of_the_images_and_statistics_are_re_estimated(
    inputs, tmp_path, monkeypatch
):
    found = Benchmark(config(inputs, finetune__batch_norm_images=50), tmp_path)
    cell = Cell(Setting("l1", "uniform", 0.5, 0.5, 3), 0)
    counts, recalibrate = [], experiments.recalibrate_batch_norm

    def counted(model, images):
        counts.append(len(images))
        recalibrate(model, images)

    monkeypatch.setattr(experiments, "recalibrate_batch_norm", counted)
    found.do([cell], lambda epochs: 0.1)
    result = found.result(cell)
    assert result.finetune_images == 49 and counts == [50]
    assert 0 <= result.before_accuracy <= 1


@pytest.mark.parametrize("epochs", [1.5, -0.5, "1"])
def test_lengths_are_whole_or_below_one(inputs, epochs):
    with pytest.raises(ValueError, match="epochs_grid.*whole"):
        Grid(config(inputs, epochs_grid=(epochs,))["benchmark"])
