"""Iterative pruning: the same target in several steps, with fine-tuning in between."""

import json
import shutil

import numpy as np
import pytest

import tfrcp
from tests.small_run import config
from tfrcp.run import Pipeline, report
from tfrcp.run.outcome import outcome


@pytest.fixture(scope="module")
def given(inputs):
    return config(inputs, train__epochs=0, search__stages=3, search__flops=0.4, finetune__epochs=1)


@pytest.fixture(scope="module")
def walked(given, tmp_path_factory):
    """A folder in which a search in three steps is done."""
    workdir = tmp_path_factory.mktemp("walked") / "run"
    pipeline = Pipeline(given, workdir)
    pipeline.train()
    pipeline.search()
    return workdir


def flops(model):
    return tfrcp.CostModel(tfrcp.trace(model)).full.flops


def test_each_step_takes_the_same_factor(walked, given):
    pipeline = Pipeline(given, walked)
    full = pipeline.cost.full.flops
    names = ("step1.keras", "step2.keras", "pruned.keras")
    shares = [flops(pipeline.workdir.load_model(name, "search")) / full for name in names]
    np.testing.assert_allclose(shares, [0.4 ** (1 / 3), 0.4 ** (2 / 3), 0.4], atol=0.05 + 1e-9)


def test_the_result_is_told_in_terms_of_the_unpruned_network(walked, given):
    pipeline = Pipeline(given, walked)
    model = pipeline.workdir.load_model("pruned.keras", "search")
    written = json.loads((walked / "channels.json").read_text())
    assert written["full"] == {group.name: group.size for group in pipeline.cost.graph.prunable}
    assert written["flops"] == flops(model)
    for name, kept in written["channels"].items():
        assert kept >= 0.1 * written["full"][name]
    metrics = pipeline.workdir.metrics
    assert list(metrics["steps"]) == ["step1", "step2"]
    assert all(len(step["history"]["loss"]) == 1 for step in metrics["steps"].values())
    figures = outcome("search", metrics)
    assert figures["flops_ratio"] == pytest.approx(flops(model) / pipeline.cost.full.flops)
    assert {path.name for path in (walked / "logs").iterdir()} == {"step1.csv", "step2.csv"}


def test_what_a_step_left_is_not_made_again(walked, given, tmp_path, capsys):
    copy = shutil.copytree(walked, tmp_path / "run")
    for name in ("pruned.keras", "step2.keras"):
        (copy / name).unlink()
    Pipeline(given, copy).search()
    printed = capsys.readouterr().out
    assert "step 2 of 3" in printed and "step 1 of 3" not in printed
    for name in ("pruned.keras", "step2.keras"):
        ours, theirs = (
            tfrcp.models.load_keras(folder / name).get_weights() for folder in (copy, walked)
        )
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_other_fine_tuning_is_another_search(walked, given):
    other = json.loads(json.dumps(given))
    other["finetune"]["learning_rate"] = 0.5
    with pytest.raises(ValueError, match="finetune.learning_rate was 0.05 and is now 0.5"):
        Pipeline(other, walked)


def test_bad_numbers_of_steps(given, tmp_path, monkeypatch):
    bad = json.loads(json.dumps(given))
    bad["search"]["stages"] = 0
    with pytest.raises(ValueError, match="`config.search.stages` must be an int of at least 1"):
        Pipeline(bad, tmp_path / "run")
    for name, value in (("TUNER_ID", "chief"), ("ORACLE_IP", "localhost"), ("ORACLE_PORT", "1")):
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    with pytest.raises(ValueError, match="`config.search.stages` above 1 is for one process"):
        Pipeline(given, tmp_path / "run")


def test_the_page_tells_of_the_steps(walked):
    page = report.write(walked).read_text()
    assert "pruned in 3 steps and fine-tuned in between" in page
