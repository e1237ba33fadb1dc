"""Trains and evaluates a classifier: resumable, with the same result, one line per epoch."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrcp.data import Batches
from tfrcp.data.batches import as_dataset
from tfrcp.scoring.losses import crossentropy
from tfrcp.scoring.meters import CompiledMeter
from tfrcp.scoring.objectives import Objective, has_own_loss
from tfrcp.scoring.running import run_model
from tfrcp.training.backup import Backup, History
from tfrcp.training.compiled import CompiledLoop, figures
from tfrcp.training.distribute import is_chief, training_copy
from tfrcp.training.loop import Loop
from tfrcp.training.progress import Progress
from tfrcp.training.recipe import Recipe


def fit(
    model: keras.Model,
    train: tf.data.Dataset | Batches | Callable[[int], tf.data.Dataset | Batches],
    holdout: tf.data.Dataset | Batches | None,
    recipe: Recipe,
    *,
    teacher: keras.Model | None = None,
    strategy: tf.distribute.Strategy | None = None,
    objective: Objective | None = None,
    fixed: Iterable[Any] = (),
    backup_dir: str | os.PathLike[str] | None = None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    verbose: bool = True,
) -> History:
    """Trains `model` in place by `recipe`, and leaves its compilation as it was.

    With `backup_dir` the whole state is stored before the first epoch and after each. An
    interrupted call that is repeated resumes after the last full epoch, with the result of an
    uninterrupted one, provided that `train` is a function of the epoch: the order of a shuffled
    `tf.data.Dataset` starts anew. The state of `callbacks` is not stored. The backup stays when
    training ends; remove it when the model has been saved.

    On several workers every process makes the same call, with the same `backup_dir`, which the
    first one writes and all of them read; the model is the same in all of them afterwards.

    Args:
        model: Functional or Sequential, built. What is compiled is trained by its own loss and
            scored by its own metrics, whatever the structure of its data; a classifier,
            [batch, ...] -> [batch, classes], that is not compiled, or for sparse labels, by the
            cross-entropy: logits, or probabilities by a final softmax.
        train: Batches (x, y) or (x, y, sample_weight), of a classifier with integer labels y
            [batch]; a `tf.data.Dataset` or `tfrcp.data.Batches`; or a function from the epoch,
            counted from 0, to the batches of that epoch, the same whenever they are iterated over.
        holdout: Batches (x, y) that are scored after each epoch, or `None`.
        recipe: How to train. `augment` and `batch_size` are for whoever makes `train`.
        teacher: A classifier of the same images and classes, such as the unpruned one, which
            `recipe.distillation` says how far to imitate; it is not changed.
        strategy: Where to train, from `tfrcp.training.strategy`; by default on one device.
        objective: What `recipe.patience` and `recipe.keep_best` go by: among what the model is
            compiled for. Defaults to the accuracy of a classifier, else to the loss.
        fixed: What `recipe.sparsity` does not punish: groups, layers, or names or patterns of them,
            as for `tfrcp.SearchSpace`.
        backup_dir: Folder for the state of this one training; made if missing.
        callbacks: Keras callbacks. Their `model` shares its weights with `model` on one device.
        verbose: Whether to print progress; only the first of several workers does.

    Returns:
        One number per epoch, resumed ones included, under `loss`, `accuracy`, with a holdout
        `val_loss` and `val_accuracy`, with sparsity `sparsity`, the share of what is punished that
        is zero, and `seconds`, the wall time. Losses are in nats; `loss` includes label smoothing,
        distillation and the penalty of sparsity. Accuracies lie in [0, 1]. Of a model that is
        trained by its own loss `loss`, `val_loss` and `val_NAME` of all its metrics.

    Raises:
        ValueError: A bad argument, or a backup that belongs to another recipe or model.
        FloatingPointError: Loss or weights are no longer finite.
    """
    if not callable(train) and not isinstance(train, tf.data.Dataset | Batches):
        raise ValueError(
            "`train` must be a tf.data.Dataset or a function from the epoch to one (or to "
            f"tfrcp.data.Batches). Received: {type(train).__name__}"
        )
    strategy = strategy or tf.distribute.get_strategy()
    _check(model, holdout, recipe, teacher, strategy)
    chief = is_chief(strategy)
    compiled = has_own_loss(model)
    found = figures(model, as_dataset(holdout)) if compiled and holdout is not None else []
    scores = ["loss"] if compiled else ["loss", "accuracy"]
    if holdout is not None:
        scores += [f"val_{name}" for name in found or scores]
    if recipe.sparsity:
        scores.append("sparsity")
    monitor, is_higher_better = _monitor(model, objective, scores)
    history: History = {name: [] for name in [*scores, "seconds"]}
    if not recipe.epochs:
        return history
    batches_of = train if callable(train) else lambda epoch: train
    steps = count_steps(batches_of(0))
    kind = CompiledLoop if compiled else Loop
    loop = kind(model, recipe, steps, strategy, teacher if recipe.distillation else None, fixed)
    if loop.sparsity is not None and verbose and chief:
        print(f"sparsity: {loop.sparsity}", flush=True)
    loop.prepare(batches_of(0))
    worker, best, backup = loop.model, [], None
    if backup_dir is not None:
        backup = Backup(backup_dir, recipe, worker, writes=chief)
        history, best = backup.restore(history)
        backup.save(history, best)
    done = len(history["loss"])
    progress = Progress(recipe.epochs, steps, verbose=verbose and chief)
    if done and verbose and chief:
        print(f"{done} of {recipe.epochs} epochs restored from {backup.path}", flush=True)
    listeners = keras.callbacks.CallbackList(
        list(callbacks),
        add_history=False,
        model=worker,
        epochs=recipe.epochs,
        steps=steps,
        verbose=0,
    )
    worker.stop_training = False
    listeners.on_train_begin()
    for epoch in range(done, recipe.epochs):
        if worker.stop_training or _is_over(history.get(monitor, []), is_higher_better, recipe):
            break
        started = time.perf_counter()
        progress.begin_epoch(epoch)
        listeners.on_epoch_begin(epoch)

        logs = loop.train(batches_of(epoch), _Steps(listeners, "train", progress))
        if holdout is not None:
            listeners.on_test_begin()
            found = loop.evaluate(holdout, _Steps(listeners, "test"))
            listeners.on_test_end(found)
            logs |= {f"val_{name}": score for name, score in found.items()}
        for name in scores:
            history[name].append(logs[name])
        history["seconds"].append(time.perf_counter() - started)
        check_finite(worker, history, recipe)
        if recipe.keep_best and logs[monitor] == _best(history[monitor], is_higher_better):
            best = loop.kept_weights()
        listeners.on_epoch_end(epoch, logs)
        if backup:
            backup.save(history, best)
        progress.end_epoch(history)
    listeners.on_train_end()
    loop.finish(model, best)
    return history


class _Steps:
    """Tells progress and Keras callbacks of the steps of an epoch, or of a scoring."""

    def __init__(
        self, listeners: keras.callbacks.CallbackList, kind: str, progress: Progress | None = None
    ) -> None:
        self._progress, self._heard = progress, bool(listeners.callbacks)
        self.begin = getattr(listeners, f"on_{kind}_batch_begin")
        self._end = getattr(listeners, f"on_{kind}_batch_end")

    def end(self, step: int, means: Callable[[], dict[str, float]]) -> None:
        if self._progress is not None:
            self._progress.step(step, means)
        if self._heard:
            self._end(step, means())


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
    if has_own_loss(model):
        batches = [data] if isinstance(data, tuple) else data
        meter = CompiledMeter(model, "all")
        run = run_model(model)
        for batch in batches:
            x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
            meter.update(y, run(x), weight, x)
        return meter.results()
    worker = training_copy(model)
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    worker.compile(loss=crossentropy(worker), metrics=[accuracy])
    x, y = data if isinstance(data, tuple) else (data, None)
    return worker.evaluate(x, y, verbose=0, return_dict=True)


def _check(
    model: keras.Model,
    holdout: tf.data.Dataset | Batches | None,
    recipe: Recipe,
    teacher: keras.Model | None,
    strategy: tf.distribute.Strategy,
) -> None:
    """Refuses what does not go together."""
    recipe.check(strategy.num_replicas_in_sync)
    if holdout is None and (recipe.keep_best or recipe.patience):
        raise ValueError("`keep_best` and `patience` need a holdout. Received: holdout=None")
    if recipe.distillation and teacher is None:
        raise ValueError(
            "`distillation` needs a teacher. "
            f"Received: distillation={recipe.distillation}, teacher=None"
        )
    if teacher is not None and recipe.distillation:
        shapes = [[tuple(x.shape) for x in (*m.inputs, *m.outputs)] for m in (teacher, model)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"`teacher` must take and give what the model does, {shapes[1]}. "
                f"Received: {shapes[0]}"
            )


def _monitor(
    model: keras.Model, objective: Objective | None, scores: list[str]
) -> tuple[str, bool]:
    """The holdout score that the best epoch is told by, and whether more of it is better.

    Raises:
        ValueError: If it is not among what is scored.
    """
    if objective is None:
        name = "val_accuracy" if "val_accuracy" in scores else "val_loss"
        return name, name == "val_accuracy"
    if objective.name not in scores:  # such as the agreement, which training does not measure
        return _monitor(model, None, scores)
    return objective.name, objective.higher_is_better


def _best(scores: list[float], is_higher_better: bool) -> float:
    return max(scores) if is_higher_better else min(scores)


def _is_over(scores: list[float], is_higher_better: bool, recipe: Recipe) -> bool:
    """Whether the holdout score has not become better for too long."""
    if not (recipe.patience and scores):
        return False
    return len(scores) - 1 - scores.index(_best(scores, is_higher_better)) >= recipe.patience


def check_finite(model: keras.Model, history: History, recipe: Recipe) -> None:
    """Raises a FloatingPointError if the last scores or the weights are not finite."""
    # ReLU may make 0 of NaN, and so hide behind a fair loss that the weights are lost.
    scores = [values[-1] for values in history.values()]
    if not all(map(math.isfinite, scores)) or not all(
        np.isfinite(weight.numpy()).all() for weight in model.weights
    ):
        raise FloatingPointError(
            f"Loss or weights are not finite after epoch {len(history['loss'])} of "
            f"{recipe.epochs}. Lower `learning_rate` or raise `warmup_epochs`, and start over; if "
            "that does not help, look for NaN in the images and labels outside the classes. "
            f"Received: {recipe}"
        )


def count_steps(batches: tf.data.Dataset | Batches) -> int:
    """Number of batches; refuses a data set without any or without an end."""
    dataset = batches.stored if isinstance(batches, Batches) else batches
    steps = int(dataset.cardinality())
    if steps == tf.data.UNKNOWN_CARDINALITY:
        steps = sum(1 for _ in dataset)
    if steps <= 0:
        raise ValueError(
            "`train` must hold at least one batch and come to an end within an epoch. "
            f"Received: {'an endless data set' if steps else 'an empty data set'}"
        )
    return steps
