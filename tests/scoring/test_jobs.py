"""Every job: the score of a candidate is what Keras's `evaluate` says of it."""

import keras
import numpy as np
import pytest

import tfrcp
from tests.nightly import mostly_nightly
from tests.scoring.jobs import COUNT, JOBS

CANDIDATES = 3


def part(tree, index):
    return keras.tree.map_structure(lambda array: array[index], tree)


def searched(job, tmp_path, **options):
    tuner = tfrcp.RandomChannelSearch(
        job.model,
        0.6,
        max_trials=CANDIDATES,
        directory=str(tmp_path),
        project_name="search",
        **{"tolerance": 0.3, "reconstruction": "batch_norm", "objective": "val_loss", **options},
    )
    train, holdout = slice(0, 40), slice(40, None)
    tuner.search(
        (part(job.x, train), part(job.y, train)),
        validation_data=(part(job.x, holdout), part(job.y, holdout)),
        verbose=False,
    )
    return tuner


@pytest.mark.parametrize(
    "name",
    mostly_nightly(
        JOBS,
        "sparse classes",
        "binary [N, 1]",
        "segmentation with ignored pixels",
        "loss over the batch",
        "two heads",
        "tagger",
    ),
)
def test_scores_are_keras_s(name, tmp_path):
    job = JOBS[name]()
    tuner = searched(job, tmp_path / "all", racing=False)
    trials, holdout = tuner.oracle.get_best_trials(CANDIDATES), slice(40, None)
    said = []
    for trial, pruned in zip(trials, tuner.get_best_models(CANDIDATES), strict=True):
        assert pruned.compiled
        said.append(
            pruned.evaluate(part(job.x, holdout), part(job.y, holdout), 32, 0, return_dict=True)[
                "loss"
            ]
        )
        assert trial.score == pytest.approx(said[-1], abs=1e-4)
    assert np.argmin(said) == 0  # the winner is Keras's best

    racing = searched(job, tmp_path / "racing", racing=True)
    for trial_id, trial in racing.oracle.trials.items():
        if not trial.message:
            assert trial.score == pytest.approx(tuner.oracle.trials[trial_id].score, abs=1e-5)
    assert racing.get_best_channels(1) == tuner.get_best_channels(1)


def test_there_are_as_many_examples_as_a_race_needs():
    assert COUNT - 40 > 100
