"""The table and the curves of a training."""

import csv
import types

import keras
import pytest

from tests.training.small_training import holdout, network, train
from tfrcp.training import EpochLog, Recipe, fit

RECIPE = Recipe(epochs=3, batch_size=8, warmup_epochs=1)


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


class Stop(Exception):
    pass


class Interrupted(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise Stop


def test_every_epoch_is_a_row(tmp_path):
    path = tmp_path / "log.csv"
    history = fit(network(), train, holdout(), RECIPE, callbacks=[EpochLog(path)], verbose=False)
    found = rows(path)
    assert [row["epoch"] for row in found] == ["1", "2", "3"]
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert [float(row[name]) for row in found] == pytest.approx(history[name])
    rates = [float(row["learning_rate"]) for row in found]
    assert rates[0] > rates[-1] >= 0


def test_a_training_that_goes_on_goes_on_in_its_table(tmp_path):
    path, other = tmp_path / "log.csv", tmp_path / "other.csv"
    options = {"backup_dir": tmp_path / "backup", "verbose": False}
    with pytest.raises(Stop):
        callbacks = [EpochLog(path), Interrupted()]
        fit(network(), train, holdout(), RECIPE, callbacks=callbacks, **options)
    assert len(rows(path)) == 2  # the second epoch will be trained again
    fit(network(), train, holdout(), RECIPE, callbacks=[EpochLog(path)], **options)
    fit(network(), train, holdout(), RECIPE, callbacks=[EpochLog(other)], verbose=False)
    assert path.read_text() == other.read_text()


class Heard(keras.callbacks.Callback):
    """Remembers what it is told."""

    def __init__(self):
        super().__init__()
        self.told = []


WHAT = ("train", "epoch", "train_batch", "test", "test_batch")
for hook in [f"on_{what}_{end}" for what in WHAT for end in ("begin", "end")]:
    setattr(Heard, hook, lambda self, *_, hook=hook, **__: self.told.append(hook))


def test_keras_callbacks_hear_of_every_step():
    heard, steps, tests = Heard(), len(list(train(0))), len(list(holdout()))
    recipe = Recipe(epochs=1, batch_size=8)
    fit(network(), train, holdout(), recipe, callbacks=[heard], verbose=False)
    assert heard.told == [
        "on_train_begin",
        "on_epoch_begin",
        *["on_train_batch_begin", "on_train_batch_end"] * steps,
        "on_test_begin",
        *["on_test_batch_begin", "on_test_batch_end"] * tests,
        "on_test_end",
        "on_epoch_end",
        "on_train_end",
    ]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.replace(b"\n1,", b"\n\xff,"),
        lambda content: content.replace(b"\n1,", b"\n1x,"),
        lambda content: content.replace(b"epoch", b"epocj"),
    ],
)
def test_a_damaged_table_ends_no_training(tmp_path, damage, capsys):
    path = tmp_path / "log.csv"
    path.write_bytes(damage(b"epoch,learning_rate,loss\n1,0.1,2.0\n2,0.1,1.0\n"))
    log = EpochLog(path)
    log.set_model(types.SimpleNamespace(optimizer=keras.optimizers.SGD(0.1)))
    log.on_train_begin()
    log.on_epoch_end(2, {"loss": 0.5})
    log.on_train_end()
    assert "log.csv is damaged: " in capsys.readouterr().out
    last = rows(path)[-1]
    assert (last["epoch"], last["loss"]) == ("3", "0.5")
