"""Runs of a given network on given images, and runs that are repeated."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys

import numpy as np
import pytest

import tfrcp
from tests.run.results import (
    FILES,
    answers,
    assert_complete,
    assert_same_weights,
    files,
    load,
    metrics,
)
from tests.small_run import STAGES, config
from tfrcp.run import Pipeline


def test_a_run_is_complete(finished):
    assert set(files(finished)) >= FILES
    assert_complete(finished, epochs=2, trials=3)


def test_a_base_with_0_epochs_is_taken_as_it_is(inputs, tmp_path):
    pipeline = Pipeline(config(inputs, train__epochs=0), tmp_path / "run")
    pipeline.train()
    assert_same_weights(load(tmp_path / "run", "base.keras"), load(inputs, "base.keras"))
    pipeline.search()
    found = metrics(tmp_path / "run")
    assert all(stage["seconds"] is not None for stage in found["stages"])
    assert found["training"]["base"]["history"]["loss"] == []


def test_the_loss_can_be_the_objective(inputs, tmp_path):
    pipeline = Pipeline(
        config(inputs, train__epochs=0, search__objective="val_loss"), tmp_path / "run"
    )
    pipeline.train()
    pipeline.search()
    search = metrics(tmp_path / "run")["search"]
    scores = {trial["id"]: trial["score"] for trial in search["trials"]}
    assert scores[search["best"]] == min(scores.values()) > 0 < search["baseline_score"]


def test_the_search_can_be_bounded_in_weights_and_spare_groups(inputs, tmp_path):
    changed = config(
        inputs,
        train__epochs=0,
        search__flops=10_000.0,  # absolute
        search__params=0.45,
        search__fixed=("unit0_conv",),
        search__tolerance=0.1,
        search__criterion="l2",
    )
    pipeline = Pipeline(changed, tmp_path / "run")
    pipeline.train()
    pipeline.search()
    channels = metrics(tmp_path / "run")["channels"]
    assert channels["unit0_conv"] == {"kept": 8, "full": 8}
    full = load(tmp_path / "run", "base.keras").count_params()
    assert load(tmp_path / "run", "pruned.keras").count_params() <= 0.45 * full


# Again.


def test_a_finished_run_runs_nothing_again(copy, inputs, capsys):
    before = files(copy)
    Pipeline(config(inputs), copy).prune()
    lines = capsys.readouterr().out.splitlines()
    assert lines[: len(STAGES)] == [f"{stage}: already complete" for stage in STAGES]
    after = files(copy)
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert all(name.startswith(("metrics.json", "report.html", "plots/", ".")) for name in changed)


@pytest.mark.parametrize(
    ("name", "stage"),
    [("channels.json", "search"), ("pruned.keras", "search"), ("finetuned.keras", "finetune")],
)
def test_a_result_that_is_gone_is_made_again_and_the_same(copy, finished, inputs, name, stage):
    (copy / name).unlink()
    before = files(copy)
    getattr(Pipeline(config(inputs), copy), stage)()
    if name.endswith(".keras"):
        assert_same_weights(load(copy, name), load(finished, name))
    else:
        assert (copy / name).read_bytes() == (finished / name).read_bytes()
    after = files(copy)
    assert all(after[n] == before[n] for n in before if n.startswith(("search/", "base")))


@pytest.mark.parametrize("format", ["litert", "onnx"])
def test_a_missing_extra_is_found_before_any_work(format, inputs, tmp_path, monkeypatch):
    for name in ("ai_edge_litert", "ai_edge_litert.interpreter", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"tfrcp\[{format}\]"):
        Pipeline(config(inputs, export__format=(format,)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_each_file_is_compared_with_the_unpruned_network(finished):
    (name,) = metrics(finished)["export"]
    found = metrics(finished)["export"][name]
    assert name == "tf_saved_model" and found["path"].endswith("export/saved_model")
    assert found["after"]["bytes"] < found["before"]["bytes"]
    assert found["after"]["accuracy"] == found["model_accuracy"]
    assert found["latency_ratio"]["low"] <= found["latency_ratio"]["ratio"]
    assert "SavedModel: size on disk" in (finished / "report.html").read_text()


@pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None,
    reason="the extra litert (ai-edge-litert) is not installed",
)
def test_several_files_that_normalise_by_themselves(copy, inputs):
    found = metrics(copy)
    found["stages"] = found["stages"][: STAGES.index("export")]
    (copy / "metrics.json").write_text(json.dumps(found))
    given = config(
        inputs,
        export__format=("tf_saved_model,litert_int8",),
        export__calibration_images=30,
        export__accuracy_tolerance=0.2,
        export__preprocessing=True,
    )
    pipeline = Pipeline(given, copy)
    given["data"].update(mean=(0.5,), std=(0.25,))  # The export alone learns of them here.
    pipeline.export()
    assert sorted(file.name for file in (copy / "export").iterdir()) == [
        "model_int8.tflite",
        "saved_model",
    ]
    images, _ = pipeline.data.holdout.arrays(4)
    (outputs,) = tfrcp.deployment.runtimes.load(copy / "export" / "saved_model")(
        0.25 * images + 0.5
    )
    expected = answers(load(copy, "finetuned.keras"), images)
    np.testing.assert_allclose(outputs, expected, atol=1e-4)


def test_an_export_that_is_gone_is_made_again(copy, inputs):
    shutil.rmtree(copy / "export")
    Pipeline(config(inputs), copy).export()
    assert (copy / "export" / "saved_model" / "saved_model.pb").is_file()


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("search", "base.keras is missing: run the stage 'train' first"),
        ("finetune", "pruned.keras is missing: run the stage 'search' first"),
        ("evaluate", "base.keras is missing: run the stage 'train' first"),
        ("export", "finetuned.keras is missing: run the stage 'finetune' first"),
    ],
)
def test_a_stage_before_its_time_names_the_one_to_run(inputs, tmp_path, stage, message):
    pipeline = Pipeline(config(inputs), tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        getattr(pipeline, stage)()


# Another configuration.


@pytest.mark.parametrize(
    ("change", "stage", "difference"),
    [
        ({"seed": 1}, "train", "seed was 0 and is now 1"),
        ({"data__holdout": 0.3}, "train", "data.holdout was 0.2 and is now 0.3"),
        ({"train__epochs": 3}, "train", "train.epochs was 2 and is now 3"),
        ({"search__flops": 0.4}, "search", "search.flops was 0.5 and is now 0.4"),
        ({"search__criterion": "l2"}, "search", "search.criterion was 'l1' and is now 'l2'"),
        ({"finetune__epochs": 3}, "finetune", "finetune.epochs was 2 and is now 3"),
    ],
)
@pytest.mark.parametrize("run", ["train", "prune"])
def test_another_configuration_of_a_finished_stage_is_refused(
    copy, inputs, change, stage, difference, run
):
    before, text = files(copy), (copy / "metrics.json").read_text()
    with pytest.raises(ValueError, match=f"'{stage}'.*{difference}.*--workdir"):
        getattr(Pipeline(config(inputs, **change), copy), run)()
    after = files(copy)
    assert {n for n in after if after[n] != before.get(n)} <= {"metrics.json", ".lock"}
    assert (copy / "metrics.json").read_text() == text


def test_a_later_stage_may_change_until_it_is_begun(copy, inputs):
    """Train and search, look at it, then decide how to fine-tune."""
    found = metrics(copy)
    found["stages"] = found["stages"][:2]
    (copy / "metrics.json").write_text(json.dumps(found))
    (copy / "finetuned.keras").unlink()
    before = files(copy)
    Pipeline(config(inputs, finetune__epochs=1), copy).finetune()
    after = files(copy)
    assert len(metrics(copy)["training"]["finetune"]["history"]["loss"]) == 1
    for name in before:
        if name.startswith(("base", "pruned", "channels", "search/")):
            assert before[name] == after[name]


def test_a_stage_that_failed_can_be_repeated_with_other_settings(inputs, tmp_path):
    """What was trained and searched before it is not to be lost to a bad learning rate."""
    bad = config(inputs, train__epochs=0, finetune__learning_rate=1e30)
    pipeline = Pipeline(bad, tmp_path / "run")
    pipeline.train()
    pipeline.search()
    with pytest.raises(FloatingPointError, match="not finite"):
        pipeline.finetune()
    assert not (tmp_path / "run" / "finetuned.keras").exists()
    good = config(inputs, train__epochs=0, finetune__learning_rate=0.01)
    Pipeline(good, tmp_path / "run").finetune()
    assert (tmp_path / "run" / "finetuned.keras").exists()


def test_the_base_can_be_trained_with_sparsity_and_spares_what_the_search_spares(inputs, tmp_path):
    options = {
        "train__epochs": 1,
        "train__sparsity": "batch_norm_scale",
        "train__sparsity_strength": 50.0,
        "search__fixed": ("unit0_conv",),
        "search__criterion": "batch_norm_scale",
        "search__sampler": "guided",
    }
    Pipeline(config(inputs, **options), tmp_path / "run").train()
    assert metrics(tmp_path / "run")["training"]["base"]["history"]["sparsity"] == [1.0]
    model = load(tmp_path / "run", "base.keras")
    gammas = {x.name: np.abs(x.gamma).max() for x in model.layers if hasattr(x, "gamma")}
    assert {name for name, largest in gammas.items() if largest} == {"unit0_bn"}
    with pytest.raises(ValueError, match="fixed"):
        Pipeline(config(inputs, **options | {"search__fixed": ()}), tmp_path / "run").train()
