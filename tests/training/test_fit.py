from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training.small_training import IMAGES, LABELS, holdout, network, train
from tfrcp.training import Recipe, evaluate, fit

RECIPE = Recipe(epochs=4, batch_size=8, learning_rate=0.05, warmup_epochs=1)
REPOSITORY = Path(__file__).parents[2]


class Interrupt(keras.callbacks.Callback):
    """Does something in the middle of an epoch."""

    def __init__(self, epoch, action):
        super().__init__()
        self.epoch, self.action = epoch, action

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch == 3:
            self.action()


def _interrupt():
    raise KeyboardInterrupt


def _assert_same_weights(model, other):
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Network, history and backup of a training."""
    model, folder = network(dropout=0.2), tmp_path_factory.mktemp("backup")
    history = fit(model, train, holdout(), RECIPE, backup_dir=folder, verbose=False)
    return model, history, (folder / "training.npz").read_bytes()


def _assert_undisturbed(model, history, undisturbed):
    _assert_same_weights(model, undisturbed[0])
    assert list(history) == list(undisturbed[1])
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert history[name] == undisturbed[1][name]
    assert len(history["seconds"]) == RECIPE.epochs and min(history["seconds"]) > 0


def test_fit_learns_and_prints_a_line_per_epoch(capsys):
    model = network()
    history = fit(model, train, holdout(), Recipe(epochs=3, batch_size=8))
    assert history["loss"][-1] < history["loss"][0]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith(f"epoch 2/3: loss {history['loss'][1]:.4f}, accuracy ")
    assert "holdout accuracy" in lines[1] and lines[1].endswith(" s left")


def test_fit_leaves_the_compilation_alone_and_evaluate_needs_none():
    model = network()
    history = fit(model, train, holdout(), Recipe(epochs=1, batch_size=8), verbose=False)
    assert not model.compiled
    scores = evaluate(model, holdout())
    assert scores["loss"] == pytest.approx(history["val_loss"][0], rel=1e-6)
    assert scores["accuracy"] == history["val_accuracy"][0]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss)
    assert evaluate(model, (IMAGES[:16], LABELS[:16])) == pytest.approx(scores)
    assert model.loss is loss


def test_softmax_and_logits_train_alike():
    recipe = Recipe(epochs=2, batch_size=8, label_smoothing=0.1)
    by_logits = fit(network(), train, None, recipe, verbose=False)
    by_softmax = fit(network(activation="softmax"), train, None, recipe, verbose=False)
    assert list(by_logits) == ["loss", "accuracy", "seconds"]
    assert by_softmax["loss"] == pytest.approx(by_logits["loss"], abs=1e-4)


def test_no_epochs_change_nothing():
    model, before = network(), network()
    history = fit(model, train, holdout(), Recipe(epochs=0))
    assert history == {
        name: [] for name in ("loss", "accuracy", "val_loss", "val_accuracy", "seconds")
    }
    _assert_same_weights(model, before)


def test_a_data_set_of_unknown_length_takes_no_step_without_data():
    model, other = network(), network()
    recipe = Recipe(epochs=2, batch_size=8, weight_decay=0.05)
    fit(model, train, None, recipe, verbose=False)
    fit(other, lambda epoch: train(epoch).filter(lambda x, y: True), None, recipe, verbose=False)
    _assert_same_weights(model, other)


def test_callbacks_see_one_training():
    calls = []

    class Listener(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            calls.append("begin")

        def on_epoch_end(self, epoch, logs=None):
            calls.append(epoch)
            if epoch == 1:
                self.model.stop_training = True

        def on_train_end(self, logs=None):
            calls.append("end")

    history = fit(network(), train, None, RECIPE, callbacks=[Listener()], verbose=False)
    assert calls == ["begin", 0, 1, "end"]
    assert len(history["loss"]) == 2


@pytest.mark.parametrize("epoch", [0, 2])
def test_repeated_after_ctrl_c_it_ends_as_if_undisturbed(tmp_path, undisturbed, epoch, capsys):
    with pytest.raises(KeyboardInterrupt):
        fit(
            network(dropout=0.2),
            train,
            holdout(),
            RECIPE,
            backup_dir=tmp_path / "backup",
            callbacks=[Interrupt(epoch, _interrupt)],
            verbose=False,
        )
    model = network(seed=1, dropout=0.2)  # what is stored counts, first weights included
    history = fit(model, train, holdout(), RECIPE, backup_dir=tmp_path / "backup")
    _assert_undisturbed(model, history, undisturbed)
    assert ("2 of 4 epochs restored" in capsys.readouterr().out) == (epoch == 2)

    again = network(seed=2, dropout=0.2)
    assert fit(again, train, holdout(), RECIPE, backup_dir=tmp_path / "backup") == history
    _assert_same_weights(again, model)


def test_repeated_after_kill_9_it_ends_as_if_undisturbed(tmp_path, undisturbed):
    script = (
        "import os, signal\n"
        "from tests.training.small_training import holdout, network, train\n"
        "from tests.training.test_fit import RECIPE, Interrupt, fit\n"
        "kill = Interrupt(1, lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
        f"fit(network(dropout=0.2), train, holdout(), RECIPE, backup_dir={str(tmp_path)!r},\n"
        "    callbacks=[kill])\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert killed.stdout.count("epoch ") == 1
    model = network(seed=1, dropout=0.2)
    history = fit(model, train, holdout(), RECIPE, backup_dir=tmp_path, verbose=False)
    _assert_undisturbed(model, history, undisturbed)


def test_a_backup_that_fails_half_way_leaves_the_one_before(tmp_path, undisturbed, monkeypatch):
    savez = np.savez
    saves = []

    def full_disk(file, **arrays):
        saves.append(1)
        if len(saves) == 3:
            file.write(b"half a file")
            raise OSError("No space left on device")
        savez(file, **arrays)

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="No space"):
        fit(network(dropout=0.2), train, holdout(), RECIPE, backup_dir=tmp_path, verbose=False)
    model = network(dropout=0.2)
    history = fit(model, train, holdout(), RECIPE, backup_dir=tmp_path, verbose=False)
    assert len(saves) == 7  # the start, one epoch, the failure; the restored state, three epochs
    _assert_undisturbed(model, history, undisturbed)
    assert os.listdir(tmp_path) == ["training.npz"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: b"not " + content[4:],
        lambda content: content[:3000] + bytes([content[3000] ^ 1]) + content[3001:],
    ],
    ids=["empty", "cut", "start", "bit"],
)
def test_a_damaged_backup_is_set_aside_and_told_of(tmp_path, undisturbed, capsys, damage):
    content = damage(undisturbed[2])
    file = tmp_path / "training.npz"
    file.write_bytes(content)
    model = network(dropout=0.2)
    history = fit(model, train, holdout(), RECIPE, backup_dir=tmp_path, verbose=False)
    assert f"{file} is damaged" in capsys.readouterr().out
    _assert_undisturbed(model, history, undisturbed)
    assert (tmp_path / "training.npz.damaged").read_bytes() == content


def test_a_backup_of_another_training_is_refused(tmp_path):
    recipe = Recipe(epochs=1, batch_size=8)
    fit(network(), train, None, recipe, backup_dir=tmp_path, verbose=False)
    with pytest.raises(ValueError, match="another training: its recipe .* Remove it"):
        fit(network(), train, None, Recipe(epochs=2, batch_size=8), backup_dir=tmp_path)
    wider = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    with pytest.raises(ValueError, match="another training: its weights have other shapes"):
        fit(wider, train, None, recipe, backup_dir=tmp_path)
    with pytest.raises(ValueError, match="another training: it scored"):
        fit(network(), train, holdout(), recipe, backup_dir=tmp_path)


def test_what_is_not_finite_stops_and_says_when(tmp_path):
    # On some CPUs ReLU makes 0 of NaN: the weights are lost, the loss looks well.
    images = np.where(np.arange(64)[:, None, None, None] == 40, math.nan, IMAGES)
    bad = tf.data.Dataset.from_tensor_slices((images, LABELS)).batch(8)
    batches = [train(0), bad, train(2), train(3)]
    with pytest.raises(
        FloatingPointError, match="not finite after epoch 2 of 4. Lower `learning_rate`"
    ):
        fit(network(), batches.__getitem__, None, RECIPE, backup_dir=tmp_path, verbose=False)
    with np.load(tmp_path / "training.npz") as file:
        assert all(np.isfinite(file[name]).all() for name in file.files if name != "header")


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="`train` must be a tf.data.Dataset or a function"):
        fit(network(), (IMAGES, LABELS), None, RECIPE)
    with pytest.raises(ValueError, match="Received: an empty data set"):
        fit(network(), train(0).take(0), None, RECIPE)
    with pytest.raises(ValueError, match="Received: an endless data set"):
        fit(network(), train(0).repeat(), None, RECIPE)
    with pytest.raises(ValueError, match="`model` must be a Functional or Sequential"):
        fit(keras.Sequential([keras.layers.Dense(4)]), train, None, RECIPE)
    with pytest.raises(ValueError, match="`model` must be a Functional or Sequential"):
        evaluate("resnet20", holdout())
