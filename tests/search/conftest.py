"""Networks that are searched, and searches of the small one."""

from __future__ import annotations

import keras
import pytest

import tfrcp
from tests.search.small_search import HOLDOUT, TRAIN, network
from tests.search.small_tuner import CROSSENTROPY, TRIALS, Search, trials


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
