"""What is gained, before deciding: sensitivity, trade-off, and the allowed drop."""

from __future__ import annotations

import numpy as np
import pytest

import tfrcp
from tests.search.small_search import GROUPS, HOLDOUT, TRAIN

OPTIONS = {"max_trials": 3, "tolerance": 0.05, "verbose": False, "search": "random"}


def test_sensitivity_scores_each_group_alone(trained, tmp_path):
    found = tfrcp.sensitivity(
        trained, *TRAIN, validation_data=HOLDOUT, ratios=(0.5, 0.25), verbose=False
    )
    assert found.groups == GROUPS and found.scores.shape == (3, 2)
    assert found.ratios.tolist() == [0.25, 0.5] and found.objective == "val_accuracy"
    accuracy = found.unpruned
    labels = trained.predict(HOLDOUT[0], verbose=0).argmax(axis=1)
    assert accuracy == pytest.approx((labels == HOLDOUT[1]).mean())
    assert np.isfinite(found.scores).all() and set(found.ranked()) == set(GROUPS)
    text = str(found)
    assert all(name in text for name in GROUPS) and "25%" in text and f"{accuracy:.4f}" in text
    found.plot(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000


@pytest.mark.parametrize("ratios", [(), (0.0,), (0.5, 1.0)])
def test_sensitivity_refuses_other_ratios(trained, ratios):
    with pytest.raises(ValueError, match="`ratios` must be"):
        tfrcp.sensitivity(trained, *TRAIN, validation_data=HOLDOUT, ratios=ratios)


def test_tradeoff_has_the_unpruned_network_and_one_for_each_cost(trained, tmp_path):
    found = tfrcp.tradeoff(trained, *TRAIN, validation_data=HOLDOUT, flops=(0.4, 0.7), **OPTIONS)
    assert [point.flops for point in found.points] == pytest.approx([1.0, 0.7, 0.4], abs=0.05)
    for point in found.points[1:]:
        graph = tfrcp.trace(point.model)
        assert {group.name: group.size for group in graph.prunable} == point.channels
        labels = point.model.predict(HOLDOUT[0], verbose=0).argmax(axis=1)
        assert (labels == HOLDOUT[1]).mean() == pytest.approx(point.score, abs=1e-6)
    assert "100.0%" in str(found) and "val_accuracy" in str(found)
    found.plot(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000


def test_the_cheapest_network_within_the_allowed_drop(trained):
    sizes = {}
    for drop in (0.02, 0.3):
        pruned = tfrcp.prune(trained, *TRAIN, validation_data=HOLDOUT, max_drop=drop, **OPTIONS)
        before, after = (
            (m.predict(HOLDOUT[0], verbose=0).argmax(axis=1) == HOLDOUT[1]).mean()
            for m in (trained, pruned)
        )
        assert before - after <= drop + 1e-9
        sizes[drop] = tfrcp.CostModel(tfrcp.trace(pruned)).full.flops
    full = tfrcp.CostModel(tfrcp.trace(trained)).full.flops
    assert sizes[0.3] <= sizes[0.02] < full and sizes[0.3] < 0.5 * full


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_drop": 0.1, "flops": 0.5}, "without `flops`"),
        ({"max_drop": 0.1, "params": 0.5}, "without `params`"),
        ({"max_drop": 0.1, "budget": tfrcp.Budget(0.5)}, "without `budget`"),
        ({"max_drop": -0.1}, "`max_drop` must be"),
        ({"max_drop": "1 %"}, "`max_drop` must be"),
    ],
)
def test_bad_drops(trained, options, message):
    with pytest.raises(ValueError, match=message):
        tfrcp.prune(trained, *TRAIN, validation_data=HOLDOUT, **options)


def test_a_drop_that_nothing_keeps_says_what_was_tried(trained):

    options = OPTIONS | {"objective": "agreement", "reconstruction": "none", "criterion": "l1"}
    with pytest.raises(ValueError, match="within max_drop=0 of the unpruned.* at "):
        tfrcp.prune(trained, *TRAIN, validation_data=HOLDOUT, max_drop=0, **options)


@pytest.mark.parametrize("flops", [(), (1.5,), (0,), (1.0,)])
def test_tradeoff_refuses_other_costs(trained, flops):
    with pytest.raises(ValueError, match="`flops` must be floats"):
        tfrcp.tradeoff(trained, *TRAIN, validation_data=HOLDOUT, flops=flops)
