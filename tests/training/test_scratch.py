"""Training of a supernet: the same after a kill, on two devices, in half precision."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.nightly import nightly
from tests.training import two_devices
from tests.training.small_supernet import RECIPE, fit
from tests.training.small_training import network, train
from tfrcp.training import Recipe

REPOSITORY = Path(__file__).parents[2]

ON_TWO_DEVICES = """
from tests.training.small_supernet import fit
from tests.training.small_training import train
from tfrcp.training import Recipe

recipe = Recipe(epochs=1, batch_size=8, warmup_epochs=0, distillation=0.5, label_smoothing=0.1)
whole = lambda epoch: train(epoch).take(3)
uneven = lambda epoch: train(epoch).unbatch().take(30).batch(8)  # its last batch is left out
single, one = fit(None, recipe=recipe, batches=whole)
double, two = fit(None, recipe=recipe, batches=uneven, strategy=both)
weights = zip(single.get_weights(), double.get_weights(), strict=True)
apart = max(float(np.abs(a - b).max()) for a, b in weights)
found = {"histories": [one, two], "apart": apart}
"""


def run(*arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )


def scores(history):
    return {name: values for name, values in history.items() if name != "seconds"}


@nightly
def test_killed_it_goes_on_as_if_nothing_had_been(tmp_path):
    killed = run("-m", "tests.training.small_supernet", str(tmp_path))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed, history = fit(tmp_path)
    model, undisturbed = fit(None)
    assert scores(history) == scores(undisturbed)
    assert len(history["loss"]) == RECIPE.epochs and min(history["seconds"]) > 0
    for ours, theirs in zip(resumed.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="belongs to another training: its recipe is"):
        fit(tmp_path, recipe=Recipe(epochs=3, batch_size=8))


@nightly
def test_two_devices_train_as_one_does():
    result = two_devices.run(ON_TWO_DEVICES)
    single, double = result["histories"]
    for name in scores(single):
        assert double[name] == pytest.approx(single[name], abs=1e-4)
    assert result["apart"] < 1e-4


def test_half_precision_reaches_the_model():
    before = network().get_weights()
    recipe = Recipe(epochs=1, batch_size=16, precision="mixed_bfloat16", warmup_epochs=0)
    model, history = fit(None, recipe=recipe, random_widths=1)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert any((a != b).any() for a, b in zip(model.get_weights(), before, strict=True))
    assert {weight.dtype for weight in model.get_weights()} == {np.dtype("float32")}
    assert np.isfinite(history["random_loss"]).all()


def test_no_epochs_and_no_random_widths():
    assert fit(None, recipe=Recipe(epochs=0))[1]["loss"] == []
    recipe = Recipe(epochs=1, batch_size=8)
    _, history = fit(None, recipe=recipe, batches=lambda e: train(e).take(1), random_widths=0)
    assert "random_loss" not in history and len(history["smallest_loss"]) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ema": 0.9}, "`ema` must be 0.0 in the recipe of a supernet. Received: 0.9"),
        ({"accumulate": 2}, "`accumulate` must be 1"),
        ({"patience": 3}, "`patience` must be 0"),
        ({"keep_best": True}, "`keep_best` must be False"),
        ({"jit_compile": True}, "`jit_compile` must be False"),
        ({"sparsity": "group_lasso"}, "`sparsity` must be "),
    ],
)
def test_recipes_that_do_not_apply(changes, message):
    with pytest.raises(ValueError, match=message):
        fit(None, recipe=Recipe(epochs=1, batch_size=8, **changes))


def test_weights_that_are_lost_are_an_error():
    def batches(epoch):
        return train(epoch).map(lambda x, y: (x * tf.constant(np.nan), y))

    with pytest.raises(FloatingPointError, match="not finite after epoch 1"):
        fit(None, batches=batches, recipe=Recipe(epochs=1, batch_size=8))
