from __future__ import annotations

import logging

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

import tfrcp
from tests.search.small_search import CLASSES, GROUPS, HOLDOUT, images, network
from tests.search.small_tuner import CROSSENTROPY, TRIALS, trials

# What a search gives.


def test_the_models_have_the_channels_and_the_scores_of_their_trials(search, trained):
    before = trained.get_weights()
    made = search()
    best = made.oracle.get_best_trials(TRIALS)
    scores = [trial.score for trial in best]
    assert scores == sorted(scores, reverse=True) and scores[0] > 1 / CLASSES
    channels = made.get_best_channels(TRIALS)
    models = made.get_best_models(TRIALS)
    assert len(models) == len(channels) == TRIALS
    for score, kept, model in zip(scores, channels, models, strict=True):
        assert type(model).__name__ == "Functional"
        assert {name: model.get_layer(name).filters for name in GROUPS} == kept
        labels = model.predict(HOLDOUT[0], verbose=0).argmax(axis=1)
        assert (labels == HOLDOUT[1]).mean() == pytest.approx(score, abs=1e-9)
        ratio = tfrcp.CostModel(tfrcp.trace(model)).full.flops / made.cost.full.flops
        assert abs(ratio - 0.5) <= 0.05
    for old, new in zip(before, trained.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_keras_tuner_side_works(search, capsys):
    made = search()
    assert isinstance(made, keras_tuner.Tuner)
    assert made.get_best_hyperparameters()[0].values == made.get_best_channels()[0]
    made.results_summary(2)
    made.search_space_summary()
    assert "unit1_conv" in capsys.readouterr().out


def test_the_loss_can_be_the_objective(search):
    made = search(objective="val_loss")
    losses = [trial.score for trial in made.oracle.get_best_trials(TRIALS)]
    assert losses == sorted(losses)
    outputs = made.get_best_models()[0].predict(HOLDOUT[0], verbose=0)
    assert float(CROSSENTROPY(HOLDOUT[1], outputs)) == pytest.approx(losses[0], rel=1e-5)


def test_without_a_compiled_loss_it_is_the_crossentropy(search):
    made = search(model=network(), objective="val_loss", max_trials=1)
    outputs = made.get_best_models()[0].predict(HOLDOUT[0], verbose=0)
    score = made.oracle.get_best_trials()[0].score
    assert float(CROSSENTROPY(HOLDOUT[1], outputs)) == pytest.approx(score, rel=1e-5)


def test_the_loss_can_be_a_function_of_ones_own(search):
    def loss(y, outputs):
        return keras.losses.sparse_categorical_crossentropy(y, outputs, from_logits=True)

    model = network()
    model.compile("sgd", loss=loss)
    made = search(model=model, objective="val_loss", max_trials=2)
    scores = [trial.score for trial in made.oracle.get_best_trials(2)]
    for score, best in zip(scores, made.get_best_models(2), strict=True):
        outputs = best.predict(HOLDOUT[0], verbose=0)
        assert float(CROSSENTROPY(HOLDOUT[1], outputs)) == pytest.approx(score, rel=1e-5)


@pytest.mark.parametrize("criterion", ["l1", "l2", "random", "batch_norm_scale"])
def test_the_criterion_decides_which_channels_stay(search, trained, criterion):
    made = search(criterion=criterion, reconstruction="none", max_trials=1)
    scores = tfrcp.criteria.get(criterion)(trained, made.graph)["unit0_conv"]
    model = made.get_best_models()[0]
    kept = model.get_layer("unit0_conv").kernel.numpy()
    order = np.sort(np.argsort(-scores, kind="stable")[: kept.shape[-1]])
    np.testing.assert_array_equal(kept, trained.get_layer("unit0_conv").kernel.numpy()[..., order])


def test_without_an_update_weights_and_statistics_are_inherited(search, trained):
    made = search(reconstruction="none", fixed=("unit0_conv",), max_trials=1)
    model = made.get_best_models()[0]
    for name in ("unit0_conv", "unit0_bn"):
        for old, new in zip(
            trained.get_layer(name).weights, model.get_layer(name).weights, strict=True
        ):
            np.testing.assert_array_equal(old, new)


def test_the_updates_give_different_scores_and_their_models_have_them(search):
    scores = set()
    for reconstruction in ("least_squares", "batch_norm", "none"):
        made = search(
            reconstruction=reconstruction, objective="val_loss", max_trials=2, overwrite=True
        )
        outputs = made.get_best_models()[0].predict(HOLDOUT[0], verbose=0)
        score = made.oracle.get_best_trials()[0].score
        assert float(CROSSENTROPY(HOLDOUT[1], outputs)) == pytest.approx(score, rel=1e-5)
        scores.add(round(float(score), 4))
    assert len(scores) == 3


def test_many_models_are_made_without_a_warning(search, caplog):
    tf.get_logger().propagate = True
    try:
        with caplog.at_level(logging.WARNING):
            search(max_trials=8).get_best_models(8)
    finally:
        tf.get_logger().propagate = False
    assert not caplog.records


# Racing.


def test_racing_finds_the_same_best_and_says_which_trials_it_stopped(search):
    holdout = images(600, seed=2)
    options = {"max_trials": 12, "batch_size": 50, "holdout": holdout, "tolerance": 0.2}
    raced = search(**options)
    full = search(racing=False, overwrite=True, **options)
    best, expected = raced.oracle.get_best_trials()[0], full.oracle.get_best_trials()[0]
    assert (best.trial_id, best.score) == (expected.trial_id, expected.score)
    assert best.message is None
    stopped = [trial for trial in raced.oracle.trials.values() if trial.message]
    assert stopped and all("of 600 holdout images" in trial.message for trial in stopped)
    for trial in stopped:
        assert trial.score < best.score
    assert not any(trial.message for trial in full.oracle.trials.values())


def test_racing_does_not_depend_on_the_order_of_the_holdout_images(search):
    """Images sorted by class are common: the first ones tell about their class alone."""
    x, y = images(600, seed=2)
    order = np.argsort(y, kind="stable")
    options = {"max_trials": 20, "batch_size": 50, "tolerance": 0.2, "model": network()}
    options |= {"holdout": (x[order], y[order]), "reconstruction": "none"}
    raced = search(**options)
    full = search(racing=False, overwrite=True, **options)
    best, expected = raced.oracle.get_best_trials()[0], full.oracle.get_best_trials()[0]
    assert (best.trial_id, best.score) == (expected.trial_id, expected.score)


def test_a_race_that_was_interrupted_goes_on_the_same(search, tuner):
    holdout = images(600, seed=2)
    options = {"max_trials": 12, "batch_size": 50, "tolerance": 0.2}
    expected = trials(search(holdout=holdout, **options))

    def interrupt(trial):
        if trial.trial_id == "07":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(holdout=holdout, before=interrupt, overwrite=True, **options)
    resumed = search(holdout=holdout, **options)
    assert resumed.ran == ["07", "08", "09", "10", "11"] and trials(resumed) == expected
