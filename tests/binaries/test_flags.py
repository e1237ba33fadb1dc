"""Answers that need no TensorFlow, and so no patience."""

from __future__ import annotations

import pytest

from tests.binaries.running import BENCHMARK, DIGITS, NAMES, assert_one_clear_line


@pytest.mark.parametrize("name", [*NAMES, "profile", "benchmark", "scratch", "prepare_data"])
def test_help_tells_of_the_flags(run_at_once, name):
    process = run_at_once(name, "--help")
    assert process.returncode in (0, 1)  # absl says 1
    assert f"python bin/{name}.py" in process.stdout and process.stderr == ""
    own = {"profile": ("--model",), "prepare_data": ("--name", "--folder")}
    for flag in own.get(name, ("--config", "--workdir")):
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
        ("benchmark", [], "--config must be given"),
        ("benchmark", [BENCHMARK, "--study=nope"], "study.*criteria.*"),
        ("benchmark", [BENCHMARK, "--config.benchmark.seed=1"], 'Did you mean "seeds"'),
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
