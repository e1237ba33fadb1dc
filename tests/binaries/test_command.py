"""The console command: the same code under another name, with the configurations that it brings."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.binaries.running import assert_one_clear_line
from tests.small_run import REPOSITORY, arguments
from tfrcp import cli
from tfrcp.commands import base


@pytest.fixture
def command(no_tensorflow, tmp_path):
    """Runs `python -m tfrcp` in a folder of its own, without TensorFlow and Keras."""

    def call(*given):
        return subprocess.run(
            [sys.executable, "-m", "tfrcp", *given],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(no_tensorflow), str(REPOSITORY)])},
        )

    return call


def test_help_lists_the_commands(command):
    process = command("--help")
    assert process.returncode == 0 and process.stdout == command().stdout
    assert all(f"  {name} " in process.stdout for name in cli.COMMANDS)
    assert command("--version").stdout.split()[0] == "tfrcp"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_of_a_command_calls_it_by_its_name(command, name):
    process = command(name, "--help")
    assert process.returncode in (0, 1) and process.stderr == ""
    assert f"\ntfrcp {name} --" in process.stdout
    assert "--" in process.stdout.split("flags:")[1]


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (["prun"], "'prun'. Did you mean 'prune'"),
        (["nothing"], "one of prune, train"),
        (["prune"], "--config must be given"),
        (["prune", "--config=nope"], "or one of .*digits_resnet20.*'nope'"),
        (["prune", "--config=digit_resnet20"], "missing. Did you mean 'digits_resnet20'"),
        (["prune", "--config=digits_resnet20", "--config.foo=1"], "unknown field .*foo"),
        (["search", "--config", "digits_resnet20.py", "--config.foo=1"], "unknown field .*foo"),
        (["prune", "--config=other/digits_resnet20"], "'other/digits_resnet20'"),
        (["study", "--config=benchmark_digits", "--study=nope"], "study.*criteria"),
        (["profile", "--model=digits_resnet20"], "--model must be a file. Received"),
        (["launch", "--workers=0", "--config=digits_resnet20"], "workers"),
    ],
)
def test_wrong_arguments_are_refused_at_once(command, given, part):
    process = command(*given)
    assert process.returncode == 2
    assert_one_clear_line(process.returncode, process.stderr, part)


def test_a_file_of_that_name_comes_first(command, tmp_path):
    (tmp_path / "digits_resnet20.py").write_text("raise ValueError('mine')")
    process = command("prune", "--config=digits_resnet20.py")
    assert_one_clear_line(process.returncode, process.stderr, "mine")


def test_an_experiment_of_ones_own_starts_from_one_that_comes_with_tfrcp(command, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from tfrcp.configs import digits_resnet20\n\n"
        "def get_config():\n    return digits_resnet20.get_config()\n"
    )
    process = command("prune", "--config=mine.py", "--config.search.max_trial=3")
    assert_one_clear_line(process.returncode, process.stderr, 'Did you mean "max_trials"')


def test_every_configuration_can_be_named(command):
    process = command("prune", "--config=nope")
    assert all(f" {name}" in process.stderr for name in base.names())
    files = {file.stem for file in (REPOSITORY / "configs").glob("*.py")}
    assert {*base.names()} == files - {"default", "scratch"}


def test_a_stage_runs(inputs, tmp_path):
    given = [*arguments(inputs, tmp_path / "run", train__epochs=0)][1:]
    process = subprocess.run(
        [sys.executable, REPOSITORY / "tfrcp", "train", "--config=digits_resnet20", *given],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout.splitlines()[-1])["stage"] == "train"
    assert (tmp_path / "run" / "base.keras").is_file()
