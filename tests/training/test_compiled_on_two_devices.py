"""What a model is compiled for is trained on two devices as on one, with losses of the user's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

# Runs in a process of its own, because the number of logical devices is set before TensorFlow's
# first use.
ON_TWO_DEVICES = """
import json
import keras
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from tests.scoring.jobs import JOBS
from tfrcp.data.trees import TreeSplit
from tfrcp.training import Recipe, fit, strategy

both = strategy("mirrored", devices=["CPU:0", "CPU:1"])
recipe = Recipe(epochs=1, batch_size=16, learning_rate=0.05, augment=None, weight_decay=0.0)
distances = {}

def apart(name, change=lambda model: None, count=40):  # the last batch has eight examples
    job, histories, models = JOBS[name](), [], []
    cut = lambda tree: keras.tree.map_structure(lambda a: a[:count], tree)
    data = TreeSplit((cut(job.x), cut(job.y))).dataset(16)
    for each in (None, both):
        model = JOBS[name]().model
        change(model)
        histories.append(fit(model, data, data, recipe, strategy=each, verbose=False))
        models.append(model)
    weights = zip(models[0].get_weights(), models[1].get_weights(), strict=True)
    distance = max(float(np.abs(a - b).max()) for a, b in weights)
    for key in ("loss", "val_loss"):
        distance = max(distance, abs(histories[0][key][0] - histories[1][key][0]))
    return distance

def own(y, outputs):
    return keras.ops.abs(keras.ops.reshape(y, (-1,)) - keras.ops.reshape(outputs, (-1,)))

for name in ("regularised", "detector"):
    distances[name] = apart(name)
distances["function without a name"] = apart(
    "regression [N]", lambda model: model.compile("sgd", lambda y, outputs: own(y, outputs))
)
distances["a batch of one"] = apart("regression [N]", count=33)
print(json.dumps(distances))
"""


def test_two_devices_train_as_one_does():
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    distances = json.loads(done.stdout.splitlines()[-1])
    uneven = distances.pop("a batch of one")
    assert distances == pytest.approx(dict.fromkeys(distances, 0.0), abs=1e-3)
    assert uneven < 0.1  # the other device's example is in the statistics of the last batch
