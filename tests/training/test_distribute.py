from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from tfrcp.training import strategy

REPOSITORY = Path(__file__).parents[2]

# Runs in a process of its own, because the number of logical devices is set before TensorFlow's
# first use.
ON_TWO_DEVICES = """
import json
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from tests.training.small_training import holdout, network, train
from tfrcp.training import Recipe, evaluate, fit, strategy

both = strategy("mirrored", devices=["CPU:0", "CPU:1"])
recipe = Recipe(epochs=2, batch_size=8, warmup_epochs=1, label_smoothing=0.1)
single, double, uneven = network(), network(), network()
histories = [fit(single, train, holdout(), recipe, verbose=False)]
histories.append(fit(double, train, holdout(), recipe, strategy=both, verbose=False))
weights = zip(single.get_weights(), double.get_weights(), strict=True)
rest = lambda epoch: train(epoch).unbatch().take(17).batch(8)  # a batch of one at the end
odd = fit(uneven, rest, None, Recipe(epochs=1, batch_size=8), strategy=both, verbose=False)
try:
    fit(network(), train, None, Recipe(epochs=1, batch_size=7), strategy=both)
except ValueError as error:
    refusal = str(error)
print(json.dumps({
    "replicas": both.num_replicas_in_sync,
    "histories": histories,
    "apart": max(float(np.abs(a - b).max()) for a, b in weights),
    "evaluated": evaluate(double, holdout()),
    "odd": odd["loss"][0],
    "refusal": refusal,
}))
"""


def test_two_devices_train_as_one_does():
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["replicas"] == 2
    single, double = result["histories"]
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert double[name] == pytest.approx(single[name], abs=1e-4)
    assert result["apart"] < 1e-4
    assert result["evaluated"]["accuracy"] == double["val_accuracy"][-1]
    assert 0 < result["odd"] < 10
    assert "`batch_size` must be a multiple of the number of devices, 2" in result["refusal"]


def test_one_device_gets_no_strategy():
    for name in ("none", "auto"):
        found = strategy(name)
        assert found is tf.distribute.get_strategy()
        assert found.num_replicas_in_sync == 1


@pytest.mark.parametrize(
    "name, devices, message",
    [
        ("multi_worker", None, "several machines is not supported yet"),
        ("tpu", None, "TPUs is not supported yet"),
        ("parameter_server", None, "Keras 3 does not support parameter servers"),
        ("fast", None, "`name` must be 'none', 'mirrored' or 'auto'. Received: name='fast'"),
        ("mirrored", None, "needs two GPUs or `devices`.*CPU:0"),
        ("mirrored", ["CPU:0"], "`devices` must be two or more"),
        ("auto", ["CPU:0", "CPU:7"], "TensorFlow sees: CPU:0"),
        ("none", ["CPU:0", "CPU:0"], "`devices` must be two or more"),
    ],
)
def test_bad_strategies_are_refused(name, devices, message):
    with pytest.raises(ValueError, match=message):
        strategy(name, devices=devices)
