from __future__ import annotations

import pytest

from tests.search.small_search import HOLDOUT, TRAIN, network
from tests.search.small_tuner import CROSSENTROPY, TRIALS, stored, trials


def test_a_finished_search_runs_nothing_again(search, undisturbed):
    assert search().ran == list(undisturbed)
    again = search()
    assert again.ran == [] and trials(again) == undisturbed
    assert again.get_best_models()[0].count_params() > 0


@pytest.mark.parametrize("which", ["0", "2"])
def test_after_ctrl_c_it_ends_as_if_undisturbed(search, which, undisturbed):
    def interrupt(trial):
        if trial.trial_id == which:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(before=interrupt)
    resumed = search()
    assert resumed.ran == list(undisturbed)[int(which) :] and trials(resumed) == undisturbed
    assert stored(resumed) == dict.fromkeys(undisturbed, "COMPLETED")


def test_the_same_tuner_goes_on_after_ctrl_c(tuner, undisturbed):
    def interrupt(trial):
        if trial.trial_id == "1":
            raise KeyboardInterrupt

    made = tuner(before=interrupt)
    with pytest.raises(KeyboardInterrupt):
        made.search(TRAIN, validation_data=HOLDOUT, verbose=False)
    made.before = lambda trial: None
    made.search(TRAIN, validation_data=HOLDOUT, verbose=False)
    assert made.ran == list(undisturbed) and trials(made) == undisturbed


def test_best_channels_are_there_without_a_search_in_this_process(search, tuner):
    best = search().get_best_channels(2)
    assert tuner().get_best_channels(2) == best
    with pytest.raises(ValueError, match="call `search` first"):
        tuner().get_best_models()


def test_before_the_first_trial_there_is_no_best(tuner):
    with pytest.raises(ValueError, match="No trial is completed yet"):
        tuner().get_best_channels()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"seed": 1}, "seed"),
        ({"flops": 0.3}, "flops|budget"),
        ({"min_ratio": 0.5}, "min_ratio|space"),
        ({"divisor": 2}, "divisor|space"),
        ({"fixed": ("unit0_conv",)}, "fixed|space"),
        ({"model": network((8, 10, 16))}, "model"),
        # What follows proposes the same channels, and scores them differently.
        ({"criterion": "l2"}, "criterion"),
        ({"reconstruction": "batch_norm"}, "update"),
        ({"calibration_images": 8}, "calibration_images"),
        ({"batch_norm_images": 8}, "batch_norm_images"),
        ({"objective": "val_loss"}, "objective"),
        ({"model": network(seed=1)}, "model"),
    ],
)
def test_a_search_with_other_arguments_is_refused(search, change, name, tmp_path, undisturbed):
    search()
    change.get("model", network()).compile(loss=CROSSENTROPY)
    with pytest.raises(ValueError, match=name) as error:
        search(**change)
    assert str(tmp_path) in str(error.value) and "overwrite=True" in str(error.value)
    again = search()
    assert again.ran == [] and trials(again) == undisturbed


def test_overwrite_starts_anew(search):
    search()
    made = search(seed=1, overwrite=True)
    assert len(made.ran) == TRIALS
