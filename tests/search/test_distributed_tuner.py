"""Searches for channels by a chief and workers."""

from __future__ import annotations

import keras_tuner
import numpy as np
import pytest

import tfrcp
from tests.search.kill_search import stored
from tests.search.processes import TRIALS, together
from tests.search.small_search import HOLDOUT, TRAIN, network
from tfrcp.search import distributed


def test_half_of_the_variables_is_refused(make, monkeypatch):
    make()
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    with pytest.raises(ValueError, match="KERASTUNER_ORACLE_PORT"):
        distributed.role()


def test_a_channel_search_with_two_workers_is_that_of_one_process(make, tmp_path, capsys):
    model = network()

    def search(folder):
        return tfrcp.RandomChannelSearch(
            model,
            max_trials=TRIALS,
            tolerance=0.1,
            directory=str(tmp_path / folder),
            project_name="project",
        )

    make()  # neither chief nor worker
    alone = search("alone")
    alone.search(TRAIN, validation_data=HOLDOUT, verbose=False)
    tuners = []
    for name in ("chief", "worker1", "worker2"):
        make(name)
        tuners.append(search("shared"))
    runs = [lambda t=t: t.search(TRAIN, validation_data=HOLDOUT) for t in tuners]
    assert together(*runs) == [None] * 3
    expected = stored(tmp_path / "alone")
    assert stored(tmp_path / "shared") == expected
    assert [tuner.get_best_channels() for tuner in tuners] == [alone.get_best_channels()] * 3
    for old, new in zip(
        alone.get_best_models()[0].get_weights(),
        tuners[0].get_best_models()[0].get_weights(),
        strict=True,
    ):
        np.testing.assert_allclose(old, new, rtol=1e-4, atol=1e-5)
    assert f"search: {TRIALS}/{TRIALS} candidates" in capsys.readouterr().out  # once, by the chief


def test_a_candidate_that_cannot_be_scored_ends_the_search_in_the_chief_too(make, tmp_path):
    def loss(y, outputs):
        raise ValueError("the loss is out of order")

    model = network()
    model.compile(loss=loss)
    tuners = []
    for name in ("chief", "worker"):
        make(name)
        tuners.append(
            tfrcp.RandomChannelSearch(
                model,
                objective="val_loss",
                max_trials=3,
                tolerance=0.1,
                directory=str(tmp_path),
                project_name="project",
            )
        )
    runs = [lambda t=t: t.search(TRAIN, validation_data=HOLDOUT, verbose=False) for t in tuners]
    for error in together(*runs):
        assert isinstance(error, RuntimeError) and "the loss is out of order" in str(error)
    assert [status for *_, status, _ in stored(tmp_path).values()] == ["RUNNING"]  # to be repeated


def test_what_is_known_of_the_inside_of_keras_tuner_is_that_of_a_tested_version():
    assert keras_tuner.__version__ == "1.4.8"
