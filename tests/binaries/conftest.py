"""Binaries that are run in this process or in one of their own."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys

import pytest
from absl import flags, logging

from tests.binaries.running import BINARIES
from tests.small_run import write_inputs


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
        before = set(flags.FLAGS)
        try:
            runpy.run_path(str(BINARIES / f"{name}.py"), run_name="__main__")
            status = 0
        except SystemExit as end:
            status = end.code or 0
        finally:
            sys.modules.pop("common", None)
            for flag in set(flags.FLAGS) - before:
                delattr(flags.FLAGS, flag)
            logging.set_verbosity(verbosity)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))
