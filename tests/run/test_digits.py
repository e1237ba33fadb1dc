"""The README's job."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import tfrcp
from tests.run.results import (
    FILES,
    MODELS,
    answers,
    assert_complete,
    files,
    load,
    metrics,
)
from tests.small_run import REPOSITORY, STAGES

# What TensorFlow says of itself when it is imported.
GREETING = re.compile(
    r"WARNING: All log messages|[IWE]0000 |To enable the following|INFO: Created TensorFlow Lite"
)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The README's job, shortened and with a smaller network: folder and process."""
    folder = tmp_path_factory.mktemp("digits")
    process = subprocess.run(
        [
            sys.executable,
            REPOSITORY / "bin" / "prune.py",
            f"--config={REPOSITORY / 'configs' / 'digits_resnet20.py'}",
            "--config.model.name=resnet8",
            "--config.model.options.width=1.0",
            "--config.search.divisor=1",
            "--config.train.epochs=1",
            "--config.train.warmup_epochs=0",
            "--config.search.max_trials=3",
            "--config.finetune.epochs=1",
            "--workdir=my first run",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return folder / "my first run", process


def test_digits_leaves_everything_in_its_folder(digits):
    workdir, process = digits
    assert set(files(workdir)) >= FILES
    for stage in STAGES:
        assert f"{stage}: starts" in process.stdout and f"{stage}: done in" in process.stdout
    assert "test accuracy" in process.stdout and "MACs per image" in process.stdout
    assert [path.name for path in workdir.parent.iterdir()] == [workdir.name]
    hidden = [name for name in files(workdir) if name.split("/")[-1].startswith(".tmp")]
    assert not hidden and not (workdir / "backup").exists()


def test_digits_prints_nothing_beside_the_point(digits):
    _, process = digits
    assert [line for line in process.stderr.splitlines() if not GREETING.match(line)] == []
    assert not {"\r", "\b", "\033"} & set(process.stdout)  # a file is no terminal


def test_digits_metrics_are_complete_and_the_budget_is_met(digits):
    workdir, _ = digits
    assert_complete(workdir, epochs=1, trials=3)
    results, budget = metrics(workdir)["results"], metrics(workdir)["budget"]
    ratio = results["after"]["flops"] / results["before"]["flops"]
    assert abs(ratio - budget["flops_target"]) <= budget["tolerance"] == 0.005


def test_digits_leads_with_the_verdict_and_has_a_file_for_devices(digits):
    workdir, process = digits
    page, found = (workdir / "report.html").read_text(), metrics(workdir)
    (verdict,) = [line for line in process.stdout.splitlines() if " in LiteRT float32" in line][:1]
    assert "smaller, accuracy" in verdict and "test set" in verdict
    assert page.index("in LiteRT float32") < page.index("<table>")
    assert (workdir / "export" / "model.tflite").is_file()
    low, high = (found["results"]["score_changes"]["test_accuracy"][end] for end in ("low", "high"))
    before, after = (found["results"][when]["test_accuracy"] for when in ("before", "after"))
    assert low < after - before < high
    latency = found["export"]["litert"]["latency_ratio"]
    assert latency["low"] <= latency["ratio"] <= latency["high"]


def test_digits_channels_build_the_same_network(digits):
    workdir, _ = digits
    chosen = json.loads((workdir / "channels.json").read_text())
    built = tfrcp.models.resnet8((8, 8, 1), 10, list(chosen["channels"].values()))
    for name in ("pruned.keras", "finetuned.keras"):
        assert [w.shape for w in built.weights] == [w.shape for w in load(workdir, name).weights]


def test_digits_accuracies_are_those_of_the_saved_networks(digits):
    workdir, _ = digits
    found = metrics(workdir)
    data = tfrcp.data.load("digits", holdout=0.2, seed=0)
    base, pruned, finetuned = (load(workdir, name) for name in MODELS)

    def accuracy(model, split):
        x, y = split.arrays()
        return pytest.approx((answers(model, x).argmax(axis=1) == y).mean())

    assert found["results"]["before"]["test_accuracy"] == accuracy(base, data.test)
    assert found["results"]["after"]["test_accuracy"] == accuracy(finetuned, data.test)
    assert found["search"]["baseline_score"] == accuracy(base, data.holdout)
    chosen = json.loads((workdir / "channels.json").read_text())
    repaired = found["results"]["after_search"]["holdout_accuracy"]
    assert repaired == accuracy(pruned, data.holdout) and repaired >= chosen["score"]


def test_digits_saved_model_answers_in_plain_tensorflow(digits, tmp_path):
    workdir, _ = digits
    sample = tfrcp.data.load("digits").test.arrays(20)[0]
    np.save(tmp_path / "sample.npy", sample)
    script = (
        "import sys\n"
        "import numpy as np\n"
        "import tensorflow as tf\n"
        "loaded = tf.saved_model.load(sys.argv[1])\n"
        "sample = np.load('sample.npy')\n"
        "(answer,) = loaded.signatures['serving_default'](tf.constant(sample)).values()\n"
        "np.testing.assert_array_equal(answer, loaded.serve(sample))\n"
        "assert 'tfrcp' not in sys.modules\n"
        "np.save('answer.npy', answer)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-c", script, workdir / "export" / "saved_model"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    expected = answers(load(workdir, "finetuned.keras"), sample)
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), expected, rtol=1e-4, atol=1e-4)


def test_digits_report_is_one_page_with_the_figures(digits):
    workdir, process = digits
    page = (workdir / "report.html").read_text()
    accuracy = metrics(workdir)["results"]["after"]["test_accuracy"]
    assert page.startswith("<!") and "data:image/png;base64," in page
    assert f"{100 * accuracy:.1f}" in page and f"{100 * accuracy:.1f}" in process.stdout
