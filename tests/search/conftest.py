"""Networks that are searched, and searches of the small one."""

from __future__ import annotations

import keras
import pytest

import tfrcp
from tests.search import processes
from tests.search.kill_search import SCORE, free_port
from tests.search.small_search import HOLDOUT, TRAIN, network
from tests.search.small_tuner import CROSSENTROPY, TRIALS, Search, trials
from tfrcp.search import distributed


@pytest.fixture(scope="session")
def trained():
    """Statistics of the batch norms and the head fit the made images; no long training."""
    model = network()
    tfrcp.recalibrate_batch_norm(model, TRAIN)
    model.compile(keras.optimizers.Adam(0.01), loss=CROSSENTROPY)
    for _ in range(10):
        model.train_on_batch(*TRAIN)
    return model


@pytest.fixture
def tuner(trained, tmp_path):
    def make(model=trained, flops=0.5, kind=Search, **options):
        options = {"max_trials": TRIALS, "tolerance": 0.05, "directory": tmp_path} | options
        return kind(model, flops, project_name="project", **options)

    return make


@pytest.fixture
def search(tuner):
    def run(*, train=TRAIN, holdout=HOLDOUT, **options):
        made = tuner(**options)
        made.search(train, validation_data=holdout, verbose=False)
        return made

    return run


@pytest.fixture(scope="session")
def undisturbed(trained, tmp_path_factory):
    made = Search(
        trained,
        max_trials=TRIALS,
        tolerance=0.05,
        directory=tmp_path_factory.mktemp("undisturbed"),
        project_name="project",
    )
    made.search(TRAIN, validation_data=HOLDOUT, verbose=False)
    return trials(made)


@pytest.fixture(scope="module")
def traced():
    graph = tfrcp.trace(network())
    return graph, tfrcp.CostModel(graph)


@pytest.fixture
def make(traced, tmp_path, monkeypatch):
    """Makes a tuner of a role."""
    port = free_port()
    graph, cost = traced

    def made(name=None, folder="project", kind=tfrcp.RandomChannelOracle, score=None, **options):
        for variable in ("TUNER_ID", "ORACLE_IP", "ORACLE_PORT"):
            monkeypatch.delenv(f"KERASTUNER_{variable}", raising=False)
        if name:
            monkeypatch.setenv("KERASTUNER_TUNER_ID", name)
            monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
            monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(port))
        space, budget = tfrcp.SearchSpace(graph), tfrcp.Budget(0.5, tolerance=0.1)
        oracle = kind(space, cost, budget, SCORE, processes.TRIALS, **options)
        directory = tmp_path if folder == "project" else tmp_path / folder
        return processes.Tuner(
            oracle, directory=str(directory), project_name="project", score=score
        )

    monkeypatch.setattr(distributed, "LEASE", 1.0)
    monkeypatch.setattr(distributed, "HEARTBEAT", 0.1)
    monkeypatch.setattr(distributed, "OUTAGE", 2.0)
    return made
