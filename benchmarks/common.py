"""What the benchmarks share: arguments for the network and its images, and where results go."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def parser(description: str) -> argparse.ArgumentParser:
    """Arguments of every benchmark that scores a network."""
    arguments = plain_parser(description)
    arguments.add_argument("--network", default="resnet56", help="a CIFAR ResNet in tfrcp.models")
    arguments.add_argument("--weights", help="PyTorch arrays (.npz); without, random weights")
    arguments.add_argument("--model", help="a trained classifier (.keras) instead of --network")
    arguments.add_argument("--mean", type=_numbers, default=MEAN, help="of pixels in [0, 1]")
    arguments.add_argument("--std", type=_numbers, default=STD)
    arguments.add_argument("--data_dir", help="tfds folder; without, made-up images")
    arguments.add_argument("--data", default="cifar10", help="tfds name")
    return arguments


def plain_parser(description: str) -> argparse.ArgumentParser:
    """Arguments of every benchmark."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--out", default="runs/benchmarks", help="folder of the results")
    arguments.add_argument("--seed", type=int, default=0)
    return arguments


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split(",")))


def network(arguments: argparse.Namespace) -> Any:
    """The network: a saved one, or one of tfrcp's with published or random weights."""
    import keras

    from tfrcp import models

    if arguments.model:
        return keras.models.load_model(arguments.model, compile=False)
    model = getattr(models, arguments.network)(seed=arguments.seed)
    if arguments.weights:
        models.load_pytorch_cifar_resnet(model, arguments.weights)
    return model


def load_splits(arguments: argparse.Namespace) -> Any:
    """The data set, `tfrcp.data.Splits`."""
    from tfrcp.data import load

    options = {"mean": arguments.mean, "std": arguments.std}
    return load(arguments.data, data_dir=arguments.data_dir, **options)


def images(arguments: argparse.Namespace, calibration: int, holdout: int) -> tuple[Any, Any]:
    """Calibration images, and holdout images with labels."""
    if arguments.data_dir:
        splits = load_splits(arguments)
        return splits.train.arrays(calibration)[0], splits.holdout.arrays(holdout)
    random = np.random.default_rng(arguments.seed)
    x = random.normal(size=(calibration + holdout, 32, 32, 3)).astype("float32")
    return x[:calibration], (x[calibration:], random.integers(0, 10, holdout))


def write(arguments: argparse.Namespace, name: str, results: dict[str, Any]) -> Path:
    """Writes the results, with how they were made, as JSON."""
    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    about = {"arguments": vars(arguments), "machine": platform.machine(), "cpus": _cpus()}
    file = folder / f"{name}.json"
    file.write_text(json.dumps({**about, **results}, indent=1))
    print(f"results: {file}")
    return file


@contextlib.contextmanager
def picture(file: Path, width: float, height: float, **options: Any) -> Iterator[Any]:
    """Axes to draw on, saved when the block ends; `options` are those of `pyplot.subplots`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained", **options)
    yield axes
    for each in figure.axes:
        each.spines[["top", "right"]].set_visible(False)
    temporary = file.with_suffix(".tmp.png")
    figure.savefig(temporary, dpi=150)
    pyplot.close(figure)
    os.replace(temporary, file)
    print(f"plot: {file}")


def _cpus() -> int:
    return len(os.sched_getaffinity(0))
