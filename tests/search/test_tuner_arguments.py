from __future__ import annotations

import keras
import keras_tuner
import pytest

import tfrcp
from tests.search.small_search import network


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flops": 0.0}, "`flops` must be"),
        ({"flops": 1.5}, "`flops` must be"),
        ({"flops": 0.01, "tolerance": 0.005}, "cannot be met. The space reaches"),
        ({"tolerance": -0.1}, "`tolerance` must be"),
        ({"min_ratio": 0.0}, "min_ratio"),
        ({"max_ratio": 1.5}, "max_ratio"),
        ({"divisor": 0}, "`divisor` must be"),
        ({"fixed": ("nope",)}, "'nope'"),
        ({"params": -1}, "`params` must be"),
        ({"max_trials": 0}, "`max_trials` must be"),
        ({"budget": tfrcp.Budget(0.5)}, "`flops` is part of `budget`"),
        ({"budget": 0.5, "tolerance": 0.005}, "`budget` must be a Budget. Received: 0.5"),
        ({"space": tfrcp.SearchSpace(tfrcp.trace(network((4, 4, 4))))}, "`space` must be of a"),
        ({"criterion": "nope"}, "`criterion` must be one of"),
        ({"criterion": tfrcp.criteria.L1}, "`criterion` must be one of"),
        ({"objective": "val_auc"}, "is none of what .* is compiled with"),
        ({"objective": keras_tuner.Objective("val_accuracy", "min")}, "more is better.*'min'"),
        ({"reconstruction": "nope"}, "`reconstruction` must be one of"),
        ({"calibration_images": -1}, "`calibration_images` must be"),
        ({"batch_norm_images": 1}, "`batch_norm_images` must be"),
        ({"batch_size": 0}, "`batch_size` must be"),
        ({"seed": "zero"}, "`seed` must be"),
        ({"seed": -1}, "`seed` must be"),
        ({"model": "resnet20"}, "`model` must be"),
        ({"model": keras.Sequential([keras.layers.Dense(3)])}, "not built"),
        ({"model": type("Mine", (keras.Model,), {})()}, "subclassed"),
    ],
)
def test_bad_arguments_are_refused(tuner, options, message):
    with pytest.raises(ValueError, match=message):
        tuner(**options)


def test_a_folder_that_cannot_be_written_is_refused(tuner, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises((ValueError, OSError), match=str(file)):
        tuner(directory=file / "runs")


def test_a_model_in_which_nothing_can_be_pruned_is_refused(tuner):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="only")])
    with pytest.raises(ValueError, match="No channel of .* can be pruned"):
        tuner(model=model)


def test_the_old_name_of_reconstruction_still_works(tuner):
    with pytest.warns(DeprecationWarning, match="`update` is now `reconstruction`"):
        assert tuner(update="none").reconstruction == "none"
