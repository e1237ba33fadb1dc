from __future__ import annotations

import json
import os
import pathlib
import pty
import re
import runpy
import subprocess
import sys

import keras
import pytest
from absl import flags, logging

import tfrcp
from tests.search.small_search import network
from tests.small_run import REPOSITORY, STAGES, arguments, write_inputs

BINARIES = REPOSITORY / "bin"
NAMES = ("prune", *STAGES)
DIGITS = f"--config={REPOSITORY / 'configs' / 'digits_resnet20.py'}"
OWN_FLAGS = ("config", "workdir", "model", "channels", "out", "min_ratio", "divisor", "measure")
OWN_FLAGS += ("format", "batch_size", "threads")


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a binary in this process: its exit status, output and errors.

    TensorFlow is there already, so that a run takes as long as its work. The flags that the binary
    defines are taken away again.
    """
    verbosity = logging.get_verbosity()

    def call(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"bin/{name}.py", *map(str, arguments)])
        monkeypatch.setattr(sys, "path", [str(BINARIES), *sys.path])
        capsys.readouterr()
        try:
            runpy.run_path(str(BINARIES / f"{name}.py"), run_name="__main__")
            status = 0
        except SystemExit as end:
            status = end.code or 0
        finally:
            sys.modules.pop("common", None)
            for flag in list(flags.FLAGS):
                if flag.split(".")[0] in OWN_FLAGS:
                    delattr(flags.FLAGS, flag)
            logging.set_verbosity(verbosity)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def no_tensorflow(tmp_path_factory):
    """A folder of modules that fail on import: with them an answer shows that it needs neither."""
    folder = tmp_path_factory.mktemp("modules")
    for name in ("keras", "tensorflow"):
        (folder / f"{name}.py").write_text("raise SystemExit('imported')")
    return folder


@pytest.fixture
def run_at_once(no_tensorflow, tmp_path):
    """Runs a binary in a process of its own, in which TensorFlow and Keras cannot be imported."""

    def call(name, *arguments):
        return subprocess.run(
            [sys.executable, BINARIES / f"{name}.py", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(no_tensorflow)},
        )

    return call


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def assert_one_clear_line(status, err, *parts):
    assert status in (1, 2)
    lines = err.strip().splitlines()
    assert len(lines) == 1 and len(lines[0]) < 600, err
    assert lines[0].startswith("error: ")
    for part in parts:
        assert re.search(part, lines[0]), lines[0]


# Answers that need no TensorFlow, and so no patience.


@pytest.mark.parametrize("name", [*NAMES, "profile"])
def test_help_tells_of_the_flags(run_at_once, name):
    process = run_at_once(name, "--help")
    assert process.returncode in (0, 1)  # absl says 1
    assert f"python bin/{name}.py" in process.stdout and process.stderr == ""
    for flag in ("--model",) if name == "profile" else ("--config", "--workdir"):
        assert f"{flag}:" in process.stdout


@pytest.mark.parametrize(
    ("name", "given", "part"),
    [
        ("prune", [], "--config must be given"),
        ("profile", [], "--model must be given"),
        ("prune", ["--config=configs/nope.py"], "--config.*'configs/nope.py'"),
        ("prune", ["--config", "configs/nope.py"], "--config.*'configs/nope.py'"),
        ("prune", ["--config"], "--config must be a file"),
        ("prune", ["--config=/dev/null"], "--config must be a file"),
        ("profile", ["--model=nope.keras"], "--model.*'nope.keras'"),
        ("profile", ["--model=/"], "--model must be a file"),
        ("search", [DIGITS, "--config.foo=1"], "unknown field .*foo"),
        ("train", [DIGITS, "--config.search.max_trial=1"], 'Did you mean "max_trials"'),
        ("prune", [DIGITS, "--nope=1"], "flag 'nope'"),
        ("prune", [DIGITS, "--config.search.max_trials=many"], "max_trials.*'many'"),
        ("prune", [DIGITS, "--config.search.flops=half"], "flops.*'half'"),
        ("prune", [DIGITS, "digits"], "unexpected arguments: digits"),
    ],
)
def test_wrong_flags_are_refused(run_at_once, tmp_path, name, given, part):
    process = run_at_once(name, *given)
    assert process.returncode == 2
    assert_one_clear_line(process.returncode, process.stderr, part)
    assert process.stdout == "" and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("def get_config(:", r"mine\.py, line 1"),
        ("CONFIG = 1", "no attribute 'get_config'"),
        ("import nope", "'nope'"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(run_at_once, tmp_path, text, part):
    (tmp_path / "mine.py").write_text(text)
    process = run_at_once("prune", "--config=mine.py")
    assert_one_clear_line(process.returncode, process.stderr, part)


# The stages, one by one.


def test_every_stage_by_its_own_binary_makes_the_whole_job(run, inputs, tmp_path):
    workdir = tmp_path / "stage by stage"
    results = ("base.keras", "pruned.keras", "finetuned.keras", None, "export/saved_model")
    made = {}
    for stage, result in zip(STAGES, results, strict=True):
        assert result is None or not (workdir / result).exists()
        status, out, err = run(stage, *arguments(inputs, workdir))
        assert (status, err) == (0, "")
        assert f"{stage}: begins" in out and f"{stage}: done in" in out
        assert all(f"{other}:" not in out for other in STAGES if other != stage)
        assert result is None or (workdir / result).exists()
        times = {path: path.stat().st_mtime_ns for path in workdir.glob("*.keras")}
        assert all(times[path] == before for path, before in made.items())
        made = times
        status, out, err = run(stage, *arguments(inputs, workdir))
        assert (status, err) == (0, "") and out.splitlines()[0] == f"{stage}: done before"
    status, out, err = run("prune", *arguments(inputs, workdir))
    assert (status, err) == (0, "")
    assert out.splitlines()[: len(STAGES)] == [f"{stage}: done before" for stage in STAGES]
    assert "test accuracy" in out and (workdir / "report.html").is_file()
    assert {path: path.stat().st_mtime_ns for path in workdir.glob("*.keras")} == made


def test_a_stage_before_its_time_is_refused(run, inputs, tmp_path):
    status, _, err = run("finetune", *arguments(inputs, tmp_path / "run"))
    assert_one_clear_line(status, err, "pruned.keras is missing: run the stage 'search' first")


def test_the_workdir_is_named_after_the_configuration(run, inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = [flag for flag in arguments(inputs, "") if not flag.startswith("--workdir")]
    status, _, err = run("train", *given, "--config.train.epochs=0")
    assert (status, err) == (0, "")
    assert (tmp_path / "runs" / "digits_resnet20" / "base.keras").is_file()


# Bad input. tests/test_pipeline.py holds the whole table; here it comes through the door.


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"model__base": "nope.keras"}, ["model.base", "nope.keras"]),
        ({"model__name": "nope"}, ["'resnet20'", "'nope'"]),
        ({"data__name": "nope"}, ["Unknown data set 'nope'"]),
        ({"search__criterion": "nope"}, ["'l1'", "'nope'"]),
        ({"train__augment": "nope"}, ["'cifar'", "'nope'"]),
        ({"export__format": "litert,nope"}, ["'tf_saved_model'", "'nope'"]),
        ({"strategy": "nope"}, ["'mirrored'", "'nope'"]),
        ({"search__flops": 0.01, "search__tolerance": 0.001}, ["cannot be met", "reaches"]),
        ({"search__flops": 1.5}, ["flops=1.5"]),
        ({"search__flops": 0.0}, ["flops=0"]),
        ({"search__flops": "inf"}, ["flops=inf"]),
        ({"search__tolerance": -1.0}, ["tolerance=-1"]),
        ({"search__max_trials": 0}, ["max_trials=0"]),
        ({"search__max_trials": 99_999}, ["Found .* distinct"]),
        ({"train__epochs": -1}, ["epochs=-1"]),
        ({"seed": -1}, ["seed"]),
    ],
)
def test_bad_input_is_one_clear_line(run, inputs, tmp_path, change, parts):
    status, out, err = run("prune", *arguments(inputs, tmp_path / "run", **change))
    assert_one_clear_line(status, err, *parts)
    assert out == "" and not list(tmp_path.glob("run/*.keras"))


def test_a_layer_that_is_not_there_is_one_clear_line(run, inputs, tmp_path):
    class Unknown(keras.layers.Layer):
        def call(self, x):
            return x

    model = keras.Sequential(
        [keras.Input((8, 8, 1)), Unknown(), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    model.save(tmp_path / "unknown.keras")
    given = arguments(inputs, tmp_path / "run", model__base=tmp_path / "unknown.keras")
    status, _, err = run("train", *given)
    assert_one_clear_line(status, err, "model.base", "'Unknown'")
    status, _, err = run("profile", f"--model={tmp_path / 'unknown.keras'}")
    assert_one_clear_line(status, err, "--model|unknown.keras", "'Unknown'")


def test_a_workdir_under_a_file_is_one_clear_line(run, inputs, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = run("prune", *arguments(inputs, tmp_path / "file" / "run"))
    assert_one_clear_line(status, err, "cannot be written", "--workdir")


def test_another_configuration_in_an_old_workdir_is_one_clear_line(run, inputs, tmp_path):
    assert run("train", *arguments(inputs, tmp_path, train__epochs=0))[0] == 0
    status, _, err = run("train", *arguments(inputs, tmp_path, train__epochs=1))
    assert_one_clear_line(status, err, "train.epochs was 0 and is now 1", "--workdir")


def test_what_fails_in_a_trial_is_one_clear_line(run, inputs, tmp_path, monkeypatch):
    def fail(self, channels):
        raise MemoryError("too large")

    assert run("train", *arguments(inputs, tmp_path, train__epochs=0))[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr("tfrcp.evaluation.ProgramEvaluator.score", fail)
        status, _, err = run("search", *arguments(inputs, tmp_path, train__epochs=0))
    assert_one_clear_line(status, err, "too large")
    assert run("search", *arguments(inputs, tmp_path, train__epochs=0))[0] == 0


def test_a_full_disk_is_one_clear_line_and_does_no_harm(run, inputs, tmp_path, monkeypatch):
    given = arguments(inputs, tmp_path / "run", train__epochs=0)
    replace = os.replace

    def full(source, target):
        if str(target).endswith("trial.json"):
            raise OSError(28, "No space left on device", str(source))
        replace(source, target)

    assert run("train", *given)[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        status, _, err = run("search", *given)
    assert_one_clear_line(status, err, "No space left on device")
    status, out, err = run("search", *given)
    assert (status, err) == (0, "") and "search: goes on" in out


def test_ctrl_c_is_one_line_and_exit_status_130(run, inputs, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("tfrcp.training.fit", interrupt)
    status, _, err = run("train", *arguments(inputs, tmp_path))
    assert status == 130
    assert err.strip().splitlines() == ["interrupted; the same command goes on from here"]


# bin/profile.py


def test_profile_explains_and_counts(run, inputs):
    status, out, err = run("profile", f"--model={inputs / 'base.keras'}")
    assert (status, err) == (0, "")
    assert "unit1_conv: 10 channels" in out and "model output" in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["unpruned"] == ["20,484", "1.000", "2,031", "723"]
    assert rows["smallest"][1] == "0.039" and rows["largest"][1] == "1.000"
    assert "one multiply-add is one FLOP" in out


def test_profile_takes_the_bounds_of_the_space(run, inputs):
    model = f"--model={inputs / 'base.keras'}"
    _, out, _ = run("profile", model, "--min_ratio=0.5", "--divisor=2")
    (smallest,) = (line.split() for line in out.splitlines() if line.startswith("smallest"))
    assert 0.2 < float(smallest[2]) < 0.4
    for flag, part in (("--min_ratio=1.5", "min_ratio"), ("--divisor=0", "divisor")):
        status, _, err = run("profile", model, flag)
        assert_one_clear_line(status, err, part)


def test_profile_of_a_network_in_which_nothing_can_be_pruned(run, tmp_path):
    path = tmp_path / "nothing.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="only")]).save(path)
    status, out, err = run("profile", f"--model={path}")
    assert "only: 3 channels, model output" in out
    assert_one_clear_line(status, err, "can be pruned")


@pytest.mark.parametrize("content", [b"", b"not a network", b"PK\x03\x04 not an archive"])
def test_profile_of_a_file_that_is_no_network(run, tmp_path, content):
    path = tmp_path / "garbage.keras"
    path.write_bytes(content)
    status, out, err = run("profile", f"--model={path}")
    assert_one_clear_line(status, err, "garbage.keras")
    assert out == ""


def test_profile_of_a_half_file(run, tmp_path):
    network().save(tmp_path / "whole.keras")
    whole = (tmp_path / "whole.keras").read_bytes()
    (tmp_path / "half.keras").write_bytes(whole[: len(whole) // 2])
    status, _, err = run("profile", f"--model={tmp_path / 'half.keras'}")
    assert_one_clear_line(status, err, "half.keras")


@pytest.fixture
def plan(run, inputs, tmp_path):
    """A channels.json of a small run, and the unpruned network."""
    for stage in ("train", "search"):
        assert run(stage, *arguments(inputs, tmp_path / "run", train__epochs=0))[0] == 0
    return tmp_path / "run"


def test_profile_builds_a_network_from_its_channels(run, plan, tmp_path):
    content = json.loads((plan / "channels.json").read_text())
    assert content["version"] == 1 and content["full"] == {
        "unit0_conv": 8,
        "unit1_conv": 10,
        "unit2_conv": 12,
    }
    assert content["unpruned"]["flops"] == 20_484
    assert content["provenance"]["criterion"] == "l1" and content["provenance"]["trials"] == 3
    given = f"--channels={plan / 'channels.json'}"
    out = tmp_path / "again.keras"
    status, printed, err = run("profile", f"--model={plan / 'base.keras'}", given, f"--out={out}")
    assert (status, err) == (0, "") and f"{content['flops']:,}" in printed
    shapes = [weights.shape for weights in keras.models.load_model(out).weights]
    pruned = keras.models.load_model(plan / "pruned.keras")
    assert shapes == [weights.shape for weights in pruned.weights]
    # The run started from a network that its builder does not make.
    status, _, err = run("profile", f"--model={plan / 'channels.json'}")
    assert_one_clear_line(status, err, "channels.json does not fit the network 'resnet20'")


def test_profile_builds_a_network_with_its_builder(run, tmp_path):
    widths = {name: max(1, n // 2) for name, n in tfrcp.models.full_channels("resnet20").items()}
    model = {"name": "resnet20", "options": {}, "input_shape": [8, 8, 1], "classes": 10}
    path = tmp_path / "channels.json"
    path.write_text(json.dumps({"version": 1, "channels": widths, "model": model}))
    status, printed, err = run("profile", f"--model={path}", f"--out={tmp_path / 'net.keras'}")
    assert (status, err) == (0, "") and "saved" in printed
    built = keras.models.load_model(tmp_path / "net.keras")
    again = tfrcp.models.resnet20((8, 8, 1), 10, list(widths.values()))
    assert [w.shape for w in built.weights] == [w.shape for w in again.weights]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{", "is no channels.json"),
        ("[]", "is no channels.json"),
        ('{"version": 1, "channels": {"a": 0}}', "is no channels.json"),
        ('{"version": 2, "channels": {"a": 1}}', "is of version 2"),
        ('{"version": 1, "channels": {"a": 1}}', "the unpruned network is needed"),
        (
            '{"version": 1, "channels": {"a": 1}, "model": {"name": "nope", "input_shape": [1]}}',
            "'nope'",
        ),
    ],
)
def test_profile_of_a_file_that_is_no_channels_json(content, part, run, tmp_path):
    (tmp_path / "channels.json").write_text(content)
    status, _, err = run("profile", f"--model={tmp_path / 'channels.json'}")
    assert_one_clear_line(status, err, part)


def test_profile_measures_and_recommends_a_divisor(run, tmp_path):
    network((32, 32, 32)).save(tmp_path / "wide.keras")
    given = (f"--model={tmp_path / 'wide.keras'}", "--measure", "--batch_size=2")
    status, out, err = run("profile", *given)
    assert (status, err) == (0, "")
    rows = [line.split() for line in out.splitlines() if line.strip()]
    assert {row[0] for row in rows} >= {"divisor", "1", "8"}
    assert re.search(r"Recommended: divisor [18]\.", out)
    status, _, err = run("profile", *given, "--format=nope")
    assert_one_clear_line(status, err, "`format` must be one of", "'nope'")


# A real process in a real terminal.


def test_on_a_terminal_of_another_folder(inputs, tmp_path):
    """The binary finds its package and its configurations from anywhere."""
    terminal, side = pty.openpty()
    process = subprocess.Popen(
        [
            sys.executable,
            BINARIES / "train.py",
            *arguments(inputs, "a run", train__epochs=0, search__flops=1.5),
        ],
        cwd=tmp_path,
        stdout=side,
        stderr=side,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    os.close(side)
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux's word for the end of a terminal
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    assert process.wait() == 1
    assert "flops=1.5" in shown.decode().strip().splitlines()[-1]
    assert pathlib.Path(tmp_path, "a run").is_dir()
