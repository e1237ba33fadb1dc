"""What a run leaves in its folder, read and compared."""

from __future__ import annotations

import json
import math

import keras
import numpy as np
import pytest

import tfrcp
from tests.small_run import STAGES

MODELS = ("base.keras", "pruned.keras", "finetuned.keras")
FILES = {
    *MODELS,
    "channels.json",
    "metrics.json",
    "report.html",
    "export/saved_model/saved_model.pb",
    "plots/channels.png",
    "plots/accuracy_flops.png",
}


def files(workdir):
    found = (path for path in workdir.rglob("*") if path.is_file())
    return {str(path.relative_to(workdir)): path.stat().st_mtime_ns for path in found}


def metrics(workdir):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads((workdir / "metrics.json").read_text(), parse_constant=refuse)


def load(workdir, name):
    return keras.models.load_model(workdir / name, compile=False)


def answers(model, x):
    return np.asarray(model(x, training=False))


def assert_same_weights(model, other):
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def assert_same_result(workdir, other):
    """The same candidates with the same scores, the same networks, the same figures."""
    for name in MODELS:
        assert_same_weights(load(workdir, name), load(other, name))
    assert (workdir / "channels.json").read_bytes() == (other / "channels.json").read_bytes()
    ours, theirs = metrics(workdir), metrics(other)
    for part in ("search", "channels", "budget", "data"):
        assert ours[part] == theirs[part]
    for name in ("base", "finetune"):
        ours_, theirs_ = (m["training"][name]["history"] for m in (ours, theirs))
        assert {k: v for k, v in ours_.items() if k != "seconds"} == {
            k: v for k, v in theirs_.items() if k != "seconds"
        }
    for name in ("before", "after"):
        for figure in ("test_accuracy", "flops", "params", "activations"):
            assert ours["results"][name][figure] == theirs["results"][name][figure]


def assert_complete(workdir, epochs, trials):
    """Every figure that the report reads is there and agrees with the files."""
    found = metrics(workdir)
    assert set(found["versions"]) >= {"tfrcp", "tensorflow", "keras", "keras_tuner"}
    assert [stage["name"] for stage in found["stages"]] == list(STAGES)
    assert all(stage["seconds"] > 0 for stage in found["stages"])
    for name in ("base", "finetune"):
        history = found["training"][name]["history"]
        for figure in ("loss", "accuracy", "val_loss", "val_accuracy", "seconds"):
            assert len(history[figure]) == epochs and all(map(math.isfinite, history[figure]))
    search, budget = found["search"], found["budget"]
    assert len(search["trials"]) == trials
    assert len({trial["id"] for trial in search["trials"]}) == trials
    best = next(trial for trial in search["trials"] if trial["id"] == search["best"])
    drawn = found["config"]["search"]["sampler"] == "random"
    if drawn:  # A guided search chooses among finalists.
        assert best["score"] == max(trial["score"] for trial in search["trials"])
    for trial in search["trials"]:
        ratio = trial["flops"] / budget["flops_full"]
        assert abs(ratio - budget["flops_target"]) <= budget["tolerance"] + 1e-9
    assert not drawn or 0 < search["acceptance"] <= 1
    assert 0 <= search["baseline_score"] <= 1
    assert search["images_holdout"] == found["data"]["holdout"]
    before, after = (found["results"][name] for name in ("before", "after"))
    for results, name in ((before, "base.keras"), (after, "finetuned.keras")):
        model = load(workdir, name)
        costs = tfrcp.CostModel(tfrcp.trace(model)).full
        assert (results["flops"], results["params"], results["activations"]) == costs
        assert results["params"] == model.count_params()
        assert results["bytes"] == (workdir / name).stat().st_size
        assert 0 <= results["test_accuracy"] <= 1 and results["latency_ms"] > 0
    assert before["flops"] == budget["flops_full"] and after["flops"] == best["flops"]
    latency = found["results"]["latency_ratio"]
    assert latency["low"] <= latency["ratio"] <= latency["high"]
    chosen = json.loads((workdir / "channels.json").read_text())
    assert chosen["channels"] == {n: c["kept"] for n, c in found["channels"].items()}
    assert chosen["flops"] == after["flops"] and chosen["params"] == after["params"]
    assert chosen["score"] == best["score"]
    assert chosen["flops_ratio"] == pytest.approx(after["flops"] / before["flops"])
