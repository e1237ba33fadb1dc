"""Properties of random pruning from made draws, and the cells of a study as lines of JSON."""

from __future__ import annotations

import numpy as np
import pytest

from configs import study_digits_resnet8
from tfrcp.studies import pooling, properties, properties_page
from tfrcp.studies.grid import Cell, Grid
from tfrcp.studies.records import CellResult
from tfrcp.studies.results_jsonl import as_jsonl, from_jsonl

OPTIONS = study_digits_resnet8.get_config().to_dict()["benchmark"]
NAMES = ("a", "b", "c")


def results(bases=3, noise=0.001, draws=20):
    """Cells of single draws, whose accuracy rises with the widths of the second group alone."""
    random = np.random.default_rng(0)
    _, stride = pooling.pooled(OPTIONS)
    found = {}
    for base in range(bases):
        for cell in Grid(OPTIONS).studies["samples"].pool[:draws]:
            channels = random.integers(2, 30, 3)
            accuracy = 0.9 + 0.02 * base + channels[1] / 1000 + noise * random.normal()
            found[Cell(cell.setting, base * stride + cell.seed)] = CellResult(
                test_accuracy=accuracy,
                score=accuracy - 0.2,
                before_accuracy=accuracy - 0.3,
                channels=tuple(channels.tolist()),
                base=base,
                base_accuracy=0.99,
            )
    return found


def test_cells_are_written_and_read_again():
    found = results(draws=2)
    again = from_jsonl(as_jsonl(found))
    assert list(again) == list(found)
    for cell, result in found.items():
        assert again[cell].channels == result.channels
        assert again[cell].test_accuracy == pytest.approx(result.test_accuracy, rel=1e-5)
    with pytest.raises(ValueError, match="Line 2 is no cell"):
        from_jsonl(as_jsonl(found).splitlines()[0] + '\n{"criterion": "l1"}\n')


def test_draws_are_those_of_the_pool_and_centred_within_their_base():
    some = properties.draws(OPTIONS, results())
    assert len(some) == 60 and {draw.base for draw in some} == {0, 1, 2}
    centred = properties.centred(some, [draw.after[8] for draw in some])
    assert abs(centred.mean()) < 1e-12 and centred.std() < 0.012  # without the bases' 0.02
    moments = properties.moments(centred)
    assert moments["min"] < moments["25 %"] < moments["median"] < moments["75 %"] < moments["max"]


def test_a_regression_finds_the_group_that_matters():
    fit = properties.regression(properties.draws(OPTIONS, results()), 8)
    assert fit.explained > 0.9
    shown = np.abs(fit.slopes) > fit.reaches
    assert shown[1] and fit.slopes[1] == pytest.approx(0.008, abs=0.0015)
    few = properties.draws(OPTIONS, results(bases=1, draws=4))
    assert properties.regression(few, 8) is None


def test_rank_correlations_and_the_best_of_several():
    some = properties.draws(OPTIONS, results(noise=0))
    rho, low, high = properties.rank_correlation(some, 8)
    assert rho == pytest.approx(1) and low == pytest.approx(1) and high == pytest.approx(1)
    assert np.isnan(properties.rank_correlation(some, 2)[0])  # no draw has this length
    gains = properties.best_of(some, 8)
    assert gains[0] == 0 and (np.diff(gains) > 0).all() and len(gains) == 20


def test_the_page_says_so_where_there_is_too_little():
    few = properties.draws(OPTIONS, results(bases=1, draws=3))
    assert "too few" in properties_page.sentences(few, 8, NAMES)[0]
    assert properties_page.picture("", few, 8, NAMES) is None
    some = properties.draws(OPTIONS, results())
    text = " ".join(properties_page.sentences(some, 8, NAMES))
    assert "60 draws of 3 bases" in text and "b (+0.8" in text and "Spearman" in text
    head, *lines = properties_page.distribution(some, 8)
    assert all(len(line) == len(head) for line in lines) and len(lines) == 2
    assert properties_page.picture("", some, 8, NAMES) is not None
