"""A small run that is made once for all tests of runs."""

from __future__ import annotations

import shutil

import pytest

from tests.small_run import config, write_inputs
from tfrcp.run import Pipeline


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="session")
def finished(inputs, tmp_path_factory):
    """The folder of a small run that nothing disturbed. Tests that write take a copy."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    Pipeline(config(inputs), workdir).prune()
    return workdir


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")
