"""A run of the whole job in seconds: a small network, made images, few epochs and trials."""

from __future__ import annotations

import pathlib

import numpy as np

from configs import digits_resnet20
from tests.search.small_search import images, network

REPOSITORY = pathlib.Path(__file__).parents[1]
STAGES = ("train", "search", "finetune", "evaluate", "export")
CHANGES = {
    "train.epochs": 2,
    "train.batch_size": 32,
    "train.warmup_epochs": 0,
    "search.flops": 0.5,
    "search.divisor": 1,
    "search.sampler": "random",
    "search.criterion": "l1",
    "search.max_trials": 3,
    "search.tolerance": 0.05,
    "finetune.epochs": 2,
    "finetune.batch_size": 32,
    "finetune.distillation": 0.0,
    "export.format": ("tf_saved_model",),
}


def write_inputs(folder):
    """Writes `base.keras`, a network to start from, and `data.npz`, 180 images of 3 classes."""
    network().save(folder / "base.keras")
    x_train, y_train = images(140, seed=0)
    x_test, y_test = images(40, seed=1)
    np.savez(folder / "data.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return folder


def changes(folder, **more):
    """What differs from `configs/digits_resnet20.py`, by field; `__` stands for a dot."""
    inputs = {"data.name": str(folder / "data.npz"), "model.base": str(folder / "base.keras")}
    return inputs | CHANGES | {name.replace("__", "."): value for name, value in more.items()}


def config(folder, **more):
    """The configuration as a nested dict."""
    whole = digits_resnet20.get_config().to_dict()
    for name, value in changes(folder, **more).items():
        part = whole
        *parents, last = name.split(".")
        for parent in parents:
            part = part[parent]
        part[last] = value
    return whole


def arguments(folder, workdir, **more):
    """The same on the command line."""
    fields = [
        f"--config.{name}={','.join(value) if isinstance(value, tuple) else value}"
        for name, value in changes(folder, **more).items()
    ]
    return [
        f"--config={REPOSITORY / 'configs' / 'digits_resnet20.py'}",
        f"--workdir={workdir}",
        *fields,
    ]
