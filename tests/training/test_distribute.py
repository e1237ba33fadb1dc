from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from tests.nightly import nightly
from tests.training import two_devices
from tests.training.small_training import holdout, network, train
from tfrcp.training import Recipe, fit, strategy

REPOSITORY = Path(__file__).parents[2]

ON_TWO_DEVICES = """
from tests.training.small_training import holdout, network, train
from tfrcp.training import Recipe, evaluate, fit

recipe = Recipe(epochs=3, batch_size=8, warmup_epochs=1, label_smoothing=0.1)
single, double, uneven = network(), network(), network()
histories = [fit(single, train, holdout(), recipe, verbose=False)]
histories.append(fit(double, train, holdout(), recipe, strategy=both, verbose=False))
weights = zip(single.get_weights(), double.get_weights(), strict=True)
taught = Recipe(epochs=1, batch_size=8, distillation=0.5)
lessons = [
    fit(network(), train, None, taught, teacher=network(seed=1), strategy=each, verbose=False)
    for each in (None, both)
]
rest = lambda epoch: train(epoch).unbatch().take(17).batch(8)  # a batch of one at the end
odd = fit(uneven, rest, None, Recipe(epochs=1, batch_size=8), strategy=both, verbose=False)
try:
    fit(network(), train, None, Recipe(epochs=1, batch_size=7), strategy=both)
except ValueError as error:
    refusal = str(error)
found = {
    "replicas": both.num_replicas_in_sync,
    "histories": histories,
    "apart": max(float(np.abs(a - b).max()) for a, b in weights),
    "evaluated": evaluate(double, holdout()),
    "odd": odd["loss"][0],
    "taught": [lesson["loss"][0] for lesson in lessons],
    "refusal": refusal,
}
"""


def test_two_devices_train_as_one_does():
    result = two_devices.run(ON_TWO_DEVICES)
    assert result["replicas"] == 2
    single, double = result["histories"]
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert double[name] == pytest.approx(single[name], abs=1e-4)
    assert result["apart"] < 1e-4
    assert result["evaluated"]["accuracy"] == double["val_accuracy"][-1]
    assert 0 < result["odd"] < 10
    assert result["taught"][1] == pytest.approx(result["taught"][0], abs=1e-4)
    assert "`batch_size` must be a multiple of the number of devices, 2" in result["refusal"]


def test_one_device_gets_no_strategy():
    for name in ("none", "auto"):
        found = strategy(name)
        assert found is tf.distribute.get_strategy()
        assert found.num_replicas_in_sync == 1


@pytest.mark.parametrize(
    "name, devices, message",
    [
        ("multi_worker", None, "needs the environment variable TF_CONFIG, which is not set"),
        ("tpu", None, "needs a machine with a TPU"),
        ("parameter_server", None, "Keras 3 does not support parameter servers"),
        (
            "fast",
            None,
            r"`name` must be one of \('auto', 'none', 'mirrored'.*Received: name='fast'",
        ),
        ("multi_worker", ["CPU:0", "CPU:1"], "`devices` must be two or more .* for 'mirrored'"),
        ("mirrored", None, "needs two GPUs or `devices`.*CPU:0"),
        ("mirrored", ["CPU:0"], "`devices` must be two or more"),
        ("auto", ["CPU:0", "CPU:7"], "TensorFlow sees: CPU:0"),
        ("none", ["CPU:0", "CPU:0"], "`devices` must be two or more"),
    ],
)
def test_bad_strategies_are_refused(name, devices, message):
    with pytest.raises(ValueError, match=message):
        strategy(name, devices=devices)


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "cannot be used .JSONDecodeError"),
        ("[]", "cannot be used .TypeError"),
        ('{"cluster": {"worker": ["a:1"]}}', "KeyError: 'task'"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "index is 1"),
        ('{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}', "HOST:PORT"),
        (
            '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, '
            '"task": {"type": "worker", "index": 0}}',
            "its cluster has .'ps'.",
        ),
    ],
)
def test_a_wrong_cluster_is_refused(monkeypatch, text, message):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=f"TF_CONFIG, which .*{message}.*On each machine set"):
        strategy("multi_worker")


# A worker of two: trains, evaluates and says what it has. Dies on request in its second epoch.
WORKER = """
import json, os, sys
import numpy as np
from tfrcp.training import Recipe, fit, strategy
both = strategy("multi_worker")  # before anything else
from tests.training.small_training import holdout, network, train
from tests.training.test_fit import Interrupt
folder, dies = sys.argv[1:]
recipe = Recipe(epochs=3, batch_size=8, warmup_epochs=1, label_smoothing=0.1)
model = network(seed=int(os.environ["SEED"]))
callbacks = [Interrupt(1, lambda: os._exit(9))] if dies == "dies" else []
history = fit(
    model, train, holdout(), recipe, strategy=both, backup_dir=folder, callbacks=callbacks
)
print("RESULT" + json.dumps([both.num_replicas_in_sync, history, sum(
    float(np.abs(w).astype("float64").sum()) for w in model.get_weights())]))
"""


def run_workers(folder, dying=None):
    """Runs two workers in processes of their own; returns exit statuses and outputs."""
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    hosts = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    processes = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        environment = {
            "PYTHONPATH": str(REPOSITORY),
            "TF_CONFIG": json.dumps({"cluster": {"worker": hosts}, "task": task}),
            "SEED": str(index),  # what the first worker has counts
        }
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", WORKER, folder, "dies" if dying == index else "lives"],
                env=os.environ | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    outputs = [process.communicate() for process in processes]
    return [process.returncode for process in processes], outputs


def result_of(out):
    return json.loads(next(line for line in out.splitlines() if line.startswith("RESULT"))[6:])


@nightly
def test_two_workers_train_as_one_does_even_if_one_is_killed(tmp_path):
    statuses, outputs = run_workers(tmp_path / "killed", dying=1)
    assert statuses[1] == 9 and statuses[0] != 0
    assert outputs[0][0].count("epoch ") == 1  # and the survivor does not go on alone
    statuses, outputs = run_workers(tmp_path / "killed")
    assert statuses == [0, 0], outputs
    assert "1 of 3 epochs restored" in outputs[0][0] and "epoch 2/3" in outputs[0][0]
    assert "epoch" not in outputs[1][0]  # the first speaks for all
    (replicas, history, weights), (_, other, others) = (result_of(out) for out, _ in outputs)
    assert replicas == 2
    assert weights == others
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    assert {n: history[n] for n in names} == {n: other[n] for n in names}
    recipe = Recipe(epochs=3, batch_size=8, warmup_epochs=1, label_smoothing=0.1)
    alone = fit(network(), train, holdout(), recipe, verbose=False)
    for name in names:
        assert history[name] == pytest.approx(alone[name], abs=1e-4)
