from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

import tfrcp
from tests.small_run import REPOSITORY, STAGES, arguments, config, write_inputs
from tfrcp import training
from tfrcp.pipeline import Pipeline

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
# What TensorFlow says of itself when it is imported.
GREETING = re.compile(r"WARNING: All log messages|[IWE]0000 |To enable the following")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    """The folder of a small run that nothing disturbed. Tests that write take a copy."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    Pipeline(config(inputs), workdir).prune()
    return workdir


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The README's job, shortened, by its binary from another folder: folder and process."""
    folder = tmp_path_factory.mktemp("digits")
    process = subprocess.run(
        [
            sys.executable,
            REPOSITORY / "bin" / "prune.py",
            f"--config={REPOSITORY / 'configs' / 'digits_resnet20.py'}",
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
    assert best["score"] == max(trial["score"] for trial in search["trials"])
    for trial in search["trials"]:
        ratio = trial["flops"] / budget["flops_full"]
        assert abs(ratio - budget["flops_target"]) <= budget["tolerance"] + 1e-9
    assert 0 < search["acceptance"] <= 1 and 0 <= search["baseline_score"] <= 1
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


# The README's job.


def test_digits_leaves_everything_in_its_folder(digits):
    workdir, process = digits
    assert set(files(workdir)) >= FILES
    for stage in STAGES:
        assert f"{stage}: begins" in process.stdout and f"{stage}: done in" in process.stdout
    assert "test accuracy" in process.stdout and "multiply-adds per image" in process.stdout
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
    results = metrics(workdir)["results"]
    assert abs(results["after"]["flops"] / results["before"]["flops"] - 0.5) <= 0.005


def test_digits_channels_build_the_same_network(digits):
    workdir, _ = digits
    chosen = json.loads((workdir / "channels.json").read_text())
    built = tfrcp.models.resnet20((8, 8, 1), 10, list(chosen["channels"].values()))
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


# A run of a given network on given images.


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
    assert lines[: len(STAGES)] == [f"{stage}: done before" for stage in STAGES]
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
    (outputs,) = tfrcp.runtimes.load(copy / "export" / "saved_model")(0.25 * images + 0.5)
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


# Interrupted.


class Die(keras.callbacks.Callback):
    """Ends the process, or interrupts it, in the middle of the second epoch."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == 1 and batch == 1:
            self.how()


def die_in_training(how):
    """Lets the next training die."""
    fit = training.fit

    def dying(*args, callbacks=(), **kwargs):
        return fit(*args, callbacks=[*callbacks, Die(how)], **kwargs)

    training.fit = dying


def die_in_trial(which, how):
    """Lets the search die in a trial."""
    run_trial = tfrcp.RandomChannelSearch.run_trial

    def run(self, trial):
        if trial.trial_id == which:
            how()
        return run_trial(self, trial)

    tfrcp.RandomChannelSearch.run_trial = run


def prune(inputs, workdir, prelude):
    """Runs the binary in a process of its own, after some lines of Python."""
    script = (
        "import os, runpy, signal, sys\n"
        "from tests.test_pipeline import *\n"
        # A process that was started in the background ignores it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"{prelude}\n"
        f"sys.argv = {['prune.py', *arguments(inputs, workdir)]!r}\n"
        f"runpy.run_path({str(REPOSITORY / 'bin' / 'prune.py')!r}, run_name='__main__')\n"
    )
    binaries = str(REPOSITORY / "bin")
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), binaries])},
        capture_output=True,
        text=True,
    )


def test_killed_in_every_stage_it_goes_on_and_ends_as_if_undisturbed(
    inputs, finished, tmp_path, capsys
):
    workdir = tmp_path / "run"
    process = prune(inputs, workdir, "die_in_training(lambda: os._exit(9))")
    assert process.returncode == 9, process.stderr
    assert "train: begins" in process.stdout and "epoch 1/2" in process.stdout
    assert not (workdir / "base.keras").exists()

    process = prune(inputs, workdir, "die_in_trial('1', lambda: os._exit(9))")
    assert process.returncode == 9, process.stderr
    assert "train: goes on" in process.stdout and "1 of 2 epochs restored" in process.stdout
    assert "search: begins" in process.stdout
    first = (workdir / "search" / "trial_0" / "trial.json").stat().st_mtime_ns

    interrupt = "die_in_training(lambda: os.kill(os.getpid(), signal.SIGINT))"
    process = prune(inputs, workdir, interrupt)
    assert process.returncode == 130, process.stderr
    assert "train: done before" in process.stdout and "search: goes on" in process.stdout
    assert "the same command goes on from here" in process.stderr.splitlines()[-1]
    assert "Traceback" not in process.stderr
    assert not (workdir / "finetuned.keras").exists()

    Pipeline(config(inputs), workdir).prune()
    printed = capsys.readouterr().out
    assert "search: done before" in printed and "finetune: goes on" in printed
    assert "1 of 2 epochs restored" in printed
    assert_same_result(workdir, finished)
    assert (workdir / "search" / "trial_0" / "trial.json").stat().st_mtime_ns == first
    assert_complete(workdir, epochs=2, trials=3)


@pytest.mark.parametrize(
    ("stage", "place"),
    [("evaluate", "tfrcp.latency.measure"), ("export", "keras.Model.export")],
)
def test_interrupted_in_a_later_stage_it_goes_on(copy, inputs, stage, place, monkeypatch):
    found = metrics(copy)
    found["stages"] = found["stages"][: STAGES.index(stage)]
    del found["results"]["after"]
    (copy / "metrics.json").write_text(json.dumps(found))
    shutil.rmtree(copy / "export")
    before = files(copy)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, interrupt)
        with pytest.raises(KeyboardInterrupt):
            getattr(Pipeline(config(inputs), copy), stage)()
    assert not list(copy.glob("export/*")) and not list(copy.glob("export/.*"))
    getattr(Pipeline(config(inputs), copy), stage)()
    assert metrics(copy)["stages"][-1]["seconds"] > 0
    assert stage == "export" or metrics(copy)["results"]["after"]["test_accuracy"] > 0
    assert stage == "evaluate" or (copy / "export/saved_model/saved_model.pb").exists()
    after = files(copy)
    assert all(before[n] == after[n] for n in before if n.startswith((*MODELS, "search/")))


def test_two_runs_in_one_folder_do_not_meet(inputs, tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    fit, refused = training.fit, []

    def second_run(*args, **kwargs):
        monkeypatch.setattr(training, "fit", fit)
        before = (workdir / "metrics.json").read_bytes()
        with pytest.raises(ValueError, match="(?i)another run") as error:
            Pipeline(config(inputs), workdir).prune()
        refused.append(error)
        assert (workdir / "metrics.json").read_bytes() == before
        return fit(*args, **kwargs)

    monkeypatch.setattr(training, "fit", second_run)
    Pipeline(config(inputs), workdir).train()
    assert refused and (workdir / "base.keras").exists()
