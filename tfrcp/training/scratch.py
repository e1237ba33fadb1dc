"""Trains a supernet: resumable, with the same result, one line per epoch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import keras
import tensorflow as tf

from tfrcp.graph.compiling import compile_like
from tfrcp.scoring.losses import crossentropy
from tfrcp.scoring.objectives import has_own_loss, is_classifier, overrides_loss
from tfrcp.space.budget import Budget
from tfrcp.space.space import SearchSpace
from tfrcp.training.backup import Backup, History
from tfrcp.training.compiled import figures
from tfrcp.training.distribute import copy_variables, training_copy
from tfrcp.training.fit import check_finite, count_steps
from tfrcp.training.recipe import Recipe
from tfrcp.training.supernet import Supernet
from tfrcp.units import duration

ROLES = ("largest", "smallest", "random")


def fit_supernet(
    model: keras.Model,
    space: SearchSpace,
    train: Callable[[int], tf.data.Dataset],
    recipe: Recipe,
    *,
    budget: Budget | None = None,
    random_widths: int = 2,
    seed: int = 0,
    strategy: tf.distribute.Strategy | None = None,
    backup_dir: str | os.PathLike[str] | None = None,
    verbose: bool = True,
) -> History:
    """Trains `model` in place at all widths of a space; see `tfrcp.Supernet`.

    With `backup_dir` the whole state is stored before the first epoch and after each. An
    interrupted call that is repeated resumes after the last full epoch, with the widths and the
    result of an uninterrupted one. The backup stays when training ends.

    Args:
        model: Functional or Sequential, built: trained by what it is compiled with; a classifier
            [batch, ...] -> [batch, classes] need not be compiled, and is trained by cross-entropy.
        space: The search space of the model.
        train: Function from the epoch, counted from 0, to its batches (x, y), perhaps with sample
            weights, the same whenever they are iterated over. On several devices an incomplete
            batch is left out.
        recipe: How to train. `distillation` and `temperature` are those by which the narrower
            widths imitate the whole model. `ema`, `accumulate`, `patience`, `keep_best` and
            `jit_compile` do not apply.
        budget: What the random widths cost; `None` for all widths of the space.
        random_widths: Number of random widths in a step.
        seed: Of the random widths.
        strategy: Where to train, on one machine; by default on one device.
        backup_dir: Folder for the state of this one training; made if missing.
        verbose: Whether to print progress.

    Returns:
        One number per epoch, resumed ones included: `loss`, the mean in nats over all widths;
        `largest_loss`, for classifiers `largest_accuracy`, and likewise for `smallest` and, if
        there are any, `random`; what else the model is compiled with, of the whole model;
        `seconds`, the wall time.

    Raises:
        ValueError: A bad argument, or a backup that belongs to another training.
        FloatingPointError: Loss or weights are no longer finite.
    """
    strategy = strategy or tf.distribute.get_strategy()
    check_recipe(recipe, strategy)
    replicas = strategy.num_replicas_in_sync

    def batches_of(epoch: int) -> tf.data.Dataset:
        if replicas == 1:
            return train(epoch)
        return train(epoch).unbatch().batch(recipe.batch_size, drop_remainder=True)

    roles, own = ROLES if random_widths else ROLES[:2], has_own_loss(model)
    if own:
        _check_compiled(model, recipe)
    kinds = ("loss", "accuracy") if is_classifier(model) else ("loss",)
    names = ["loss", *(f"{role}_{kind}" for role in roles for kind in kinds)]
    if own and recipe.epochs:
        names += figures(model, batches_of(0))[1:]
    history: History = {name: [] for name in [*names, "seconds"]}
    if not recipe.epochs:
        return history
    steps = count_steps(batches_of(0))
    with strategy.scope():
        worker = training_copy(model, recipe.precision)
        supernet = Supernet(
            worker,
            space,
            budget=budget,
            random_widths=random_widths,
            distillation=recipe.distillation,
            temperature=recipe.temperature,
            seed=seed,
        )
        optimizer = recipe.optimizer(worker, steps)
        if own:
            compile_like(supernet, model, optimizer=optimizer)
        else:
            supernet.compile(
                optimizer, crossentropy(worker, label_smoothing=recipe.label_smoothing)
            )
        supernet.optimizer.build(supernet.trainable_variables)
    backup = None
    if backup_dir is not None:
        backup = Backup(backup_dir, recipe, supernet, writes=True)
        history, _ = backup.restore(history)
        backup.save(history, [])
    done = len(history["loss"])
    if done and verbose:
        print(f"{done} of {recipe.epochs} epochs restored from {backup.path}", flush=True)
    for epoch in range(done, recipe.epochs):
        start = time.perf_counter()
        logs = supernet.fit(
            batches_of(epoch),
            initial_epoch=epoch,
            epochs=epoch + 1,
            steps_per_epoch=steps,  # else several devices count an empty batch at the end
            shuffle=False,
            verbose=0,
        ).history
        for name in names:
            history[name].append(float(logs[name][0]))
        history["seconds"].append(time.perf_counter() - start)
        check_finite(supernet, history, recipe)
        if backup:
            backup.save(history, [])
        if verbose:
            print(_line(history, roles, recipe.epochs), flush=True)
    if replicas > 1 or recipe.precision != "float32":
        copy_variables(worker, model)
    return history


def check_recipe(recipe: Recipe, strategy: tf.distribute.Strategy) -> None:
    """Raises a ValueError for what a supernet cannot be trained with."""
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy | tf.distribute.TPUStrategy):
        raise ValueError(
            "A supernet is trained on one machine, on one device or several GPUs: its widths are "
            "known at run time only, which TPUs do not take, and Keras does not train on several "
            f"workers. Received: a {type(strategy).__name__}"
        )
    recipe.check(strategy.num_replicas_in_sync)
    for name, plain in (
        ("ema", 0.0),
        ("accumulate", 1),
        ("patience", 0),
        ("keep_best", False),
        ("jit_compile", False),
        ("sparsity", ""),
    ):
        value = getattr(recipe, name)
        if value != plain:
            raise ValueError(
                f"`{name}` must be {plain} in the recipe of a supernet. Received: {value!r}"
            )


def _check_compiled(model: keras.Model, recipe: Recipe) -> None:
    """Raises a ValueError for what a supernet cannot train a compiled model by."""
    if overrides_loss(model):
        raise ValueError(
            f"{type(model).__name__} has its own `compute_loss`, by which a supernet cannot be "
            "trained: compile a plain model with a loss."
        )
    if recipe.label_smoothing:
        raise ValueError(
            "`label_smoothing` is for classifiers of integer labels. This model is trained by the "
            "loss that it is compiled with: smooth the labels there. Received: "
            f"label_smoothing={recipe.label_smoothing}"
        )


def _line(history: History, roles: tuple[str, ...], epochs: int) -> str:
    """What is said of a finished epoch."""
    done = len(history["loss"])
    kind, style = ("accuracy", ".2%") if "largest_accuracy" in history else ("loss", ".4f")
    parts = [f"epoch {done}/{epochs}: loss {history['loss'][-1]:.4f}, {kind}"]
    parts.append(", ".join(f"{role} {history[f'{role}_{kind}'][-1]:{style}}" for role in roles))
    left = (epochs - done) * sorted(history["seconds"])[(done - 1) // 2]
    time_left = f", {duration(left)} left" if left else ""
    return f"{' '.join(parts)}, {duration(history['seconds'][-1])}{time_left}"
