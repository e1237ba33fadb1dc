"""Trains and evaluates a classifier: resumable, with the same result, one line per epoch."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from tfrcp.training.distribute import copy_variables, divisible, stand_in
from tfrcp.training.recipe import Recipe, crossentropy


def fit(
    model: keras.Model,
    train: tf.data.Dataset | Callable[[int], tf.data.Dataset],
    holdout: tf.data.Dataset | None,
    recipe: Recipe,
    *,
    strategy: tf.distribute.Strategy | None = None,
    backup_dir: str | os.PathLike[str] | None = None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    verbose: bool = True,
) -> dict[str, list[float]]:
    """Trains `model` in place by `recipe`, and leaves its compilation as it was.

    With `backup_dir` the whole state is stored before the first epoch and after each. When a call
    that was interrupted at any point is repeated, it goes on after the last full epoch and ends
    as an undisturbed call would have, provided that `train` is a function of the epoch: the order
    of a shuffled `tf.data.Dataset` starts anew. The state of `callbacks` is not stored. The backup
    stays when training ends; remove it when the model has been saved.

    Args:
        model: Functional or Sequential classifier, [batch, ...] -> [batch, classes], built; logits,
            or probabilities by a final softmax.
        train: Batches (x, y) with integer labels y [batch]; or a function from the epoch, counted
            from 0, to the batches of that epoch, the same whenever they are iterated over.
        holdout: Batches (x, y) that are scored after each epoch, or `None`.
        recipe: How to train. `augment` and `batch_size` are for whoever makes `train`.
        strategy: Where to train, from `tfrcp.training.strategy`; by default on one device.
        backup_dir: Folder for the state of this one training; made if missing.
        callbacks: Keras callbacks. Their `model` shares its weights with `model` on one device.
        verbose: Whether to print a line per epoch.

    Returns:
        One number per epoch, resumed ones included, under `loss`, `accuracy`, with a holdout
        `val_loss` and `val_accuracy`, and `seconds`, the wall time. Losses are in nats and include
        label smoothing; accuracies lie in [0, 1].

    Raises:
        ValueError: A bad argument, or a backup that belongs to another recipe or model.
        FloatingPointError: Loss or weights are no longer finite.
    """
    if not callable(train) and not isinstance(train, tf.data.Dataset):
        raise ValueError(
            "`train` must be a tf.data.Dataset or a function from the epoch to one. "
            f"Received: {train!r} of type {type(train).__name__}"
        )
    strategy = strategy or tf.distribute.get_strategy()
    replicas = strategy.num_replicas_in_sync
    if recipe.batch_size % replicas:
        raise ValueError(
            f"`batch_size` must be a multiple of the number of devices, {replicas}. "
            f"Received: batch_size={recipe.batch_size}"
        )
    scores = ["loss", "accuracy"] + (["val_loss", "val_accuracy"] if holdout is not None else [])
    history = {name: [] for name in [*scores, "seconds"]}
    with strategy.scope():
        worker = stand_in(model)
        loss = recipe.loss(worker)
        if not recipe.epochs:
            return history
        batches_of = train if callable(train) else lambda epoch: train
        steps = _steps(batches_of(0))
        worker.compile(optimizer=recipe.optimizer(worker, steps), loss=loss, metrics=[_accuracy()])
        worker.optimizer.build(worker.trainable_variables)
    backup = None
    if backup_dir is not None:
        backup = _Backup(backup_dir, recipe, worker)
        history = backup.restore(history)
        backup.save(history)
    done = len(history["loss"])
    if done and verbose:
        print(f"{done} of {recipe.epochs} epochs restored from {backup.path}", flush=True)
    listeners = _OneTraining(
        list(callbacks), add_history=True, model=worker, epochs=recipe.epochs, verbose=0
    )
    listeners.begin()
    for epoch in range(done, recipe.epochs):
        started = time.perf_counter()
        batches = divisible(batches_of(epoch), replicas)
        # Without a known number of batches Keras takes one more step at the end, with no data: the
        # weights decay and the schedule moves on.
        batches = batches.apply(tf.data.experimental.assert_cardinality(steps))
        logs = worker.fit(
            batches,
            validation_data=holdout,
            initial_epoch=epoch,
            epochs=epoch + 1,
            callbacks=listeners,
            shuffle=False,
            verbose=0,
        ).history
        for name in scores:
            history[name].append(float(logs[name][-1]))
        history["seconds"].append(time.perf_counter() - started)
        if not _is_finite(worker, [history[name][-1] for name in scores]):
            raise FloatingPointError(
                f"Loss or weights are not finite after epoch {epoch + 1} of {recipe.epochs}. Lower "
                "`learning_rate` or raise `warmup_epochs`, and start anew; if that does not help, "
                "look for NaN in the images and labels outside the classes. "
                f"Received: {recipe}"
            )
        if backup:
            backup.save(history)
        if verbose:
            print(_line(history, recipe.epochs), flush=True)
        if worker.stop_training:
            break
    listeners.end()
    if replicas > 1:
        copy_variables(worker, model)
    return history


def evaluate(
    model: keras.Model, data: tf.data.Dataset | keras.utils.PyDataset | tuple
) -> dict[str, float]:
    """Scores `model`, which need not be compiled and is left as it is.

    Args:
        model: As for `fit`.
        data: Batches (x, y) with integer labels y [batch], or two arrays (x, y).

    Returns:
        `loss`, the mean cross-entropy in nats, and `accuracy` in [0, 1].

    Raises:
        ValueError: `model` is no such classifier.
    """
    worker = stand_in(model)
    worker.compile(loss=crossentropy(worker), metrics=[_accuracy()])
    x, y = data if isinstance(data, tuple) else (data, None)
    return worker.evaluate(x, y, verbose=0, return_dict=True)


class _OneTraining(keras.callbacks.CallbackList):
    """The callbacks of a training that calls `Model.fit` once per epoch.

    `Model.fit` announces a training's begin and end in each call, which would set callbacks back;
    here they hear of it once.
    """

    def on_train_begin(self, logs=None):
        """Says nothing; see `begin`."""

    def on_train_end(self, logs=None):
        """Says nothing; see `end`."""

    def begin(self) -> None:
        """Tells the callbacks that training begins."""
        super().on_train_begin()

    def end(self) -> None:
        """Tells the callbacks that training ends."""
        super().on_train_end()


class _Backup:
    """The variables and the history of a training in one file that is always whole.

    `keras.callbacks.BackupAndRestore` writes two files in place: killed meanwhile, it leaves a
    broken one, or the weights of one epoch with the number of another; and no history.
    """

    def __init__(self, folder, recipe: Recipe, model: keras.Model):
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, "training.npz")
        self._recipe = dataclasses.asdict(recipe)
        self._variables = model.variables + model.optimizer.variables

    def save(self, history: dict[str, list[float]]) -> None:
        """Replaces the file."""
        header = json.dumps({"recipe": self._recipe, "history": history})
        values = {str(i): variable.numpy() for i, variable in enumerate(self._variables)}
        with open(f"{self.path}.tmp", "wb") as file:
            np.savez(file, header=header, **values)
        os.replace(f"{self.path}.tmp", self.path)

    def restore(self, history: dict[str, list[float]]) -> dict[str, list[float]]:
        """Sets the variables and returns the stored history; `history` if there is no file.

        Raises:
            ValueError: The file belongs to another recipe or model, or has other scores.
        """
        if not os.path.exists(self.path):
            return history
        with np.load(self.path) as file:
            header = json.loads(str(file["header"]))
            values = [file[str(i)] for i in range(len(file.files) - 1)]
        if [value.shape for value in values] != [tuple(v.shape) for v in self._variables]:
            other = "its weights have other shapes"
        elif header["recipe"] != self._recipe:
            other = f"its recipe is {header['recipe']}, not {self._recipe}"
        elif header["history"].keys() != history.keys():
            other = f"it scored {list(header['history'])}, not {list(history)}"
        else:
            other = None
        if other:
            raise ValueError(
                f"{self.path} belongs to another training: {other}. Remove it to start anew, or "
                "pass another `backup_dir`."
            )
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)
        return header["history"]


def _accuracy() -> keras.metrics.Metric:
    return keras.metrics.SparseCategoricalAccuracy(name="accuracy")


def _is_finite(model: keras.Model, scores: list[float]) -> bool:
    # ReLU may make 0 of NaN, and so hide behind a fair loss that the weights are lost.
    return all(math.isfinite(score) for score in scores) and all(
        np.isfinite(weight.numpy()).all() for weight in model.weights
    )


def _steps(dataset: tf.data.Dataset) -> int:
    steps = int(dataset.cardinality())
    if steps == tf.data.UNKNOWN_CARDINALITY:
        steps = sum(1 for _ in dataset)
    if steps <= 0:
        raise ValueError(
            "`train` must hold at least one batch and come to an end within an epoch. "
            f"Received: {'an endless data set' if steps else 'an empty data set'}"
        )
    return steps


def _line(history: dict[str, list[float]], epochs: int) -> str:
    last = {name: values[-1] for name, values in history.items()}
    done = len(history["loss"])
    line = f"epoch {done}/{epochs}: loss {last['loss']:.4f}, accuracy {last['accuracy']:.2%}"
    if "val_accuracy" in last:
        line += f", holdout accuracy {last['val_accuracy']:.2%}"
    line += f", {_duration(last['seconds'])}"
    left = (epochs - done) * statistics.median(history["seconds"])
    return f"{line}, {_duration(left)} left" if left else line


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
