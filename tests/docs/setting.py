"""What the code of the pages takes for granted: a trained model, its data, files beside it."""

from __future__ import annotations

import functools
from typing import Any

import keras
import keras_tuner
import numpy as np
import tensorflow as tf

import tfrcp
from tests.networks import head, unit
from tests.search.small_search import images, network
from tfrcp.search import RandomSampler


def quick(prune):
    """`tfrcp.prune` with few trials and a wide window."""

    @functools.wraps(prune)
    def call(*args, **options):
        wide = {} if "budget" in options else {"tolerance": 0.3}
        return prune(*args, **{"max_trials": 2, "verbose": False} | wide | options)

    return call


def readme(folder) -> dict[str, Any]:
    """The names that README.md uses: colour images of ten classes, and a saved network."""
    tfrcp.models.resnet8().save(folder / "trained.keras")
    rng = np.random.default_rng(0)

    def dataset(count):
        x, y = rng.normal(size=(count, 32, 32, 3)), rng.integers(0, 10, count)
        return tf.data.Dataset.from_tensor_slices((x.astype("float32"), y)).batch(16)

    names = {"train_ds": dataset(48), "holdout_ds": dataset(32)}
    return {"tfrcp": tfrcp, "keras": keras, "keras_tuner": keras_tuner, **names}


def small(folder) -> dict[str, Any]:
    """A small classifier and its data, by the names of most pages."""
    (x, y), holdout = images(64, seed=0), images(48, seed=1)
    inputs = keras.Input((8, 8, 1), name="image")
    features = inputs
    for name, width in (("stem", 8), ("block1", 32), ("block2", 32), ("block3_a", 8)):
        features = unit(features, width, name)
    model = keras.Model(inputs, head(features), name="small")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    graph = tfrcp.trace(model)
    sampler = RandomSampler(
        tfrcp.SearchSpace(graph), tfrcp.CostModel(graph), tfrcp.Budget(0.5, tolerance=0.3), seed=0
    )
    return {
        "tfrcp": tfrcp,
        "keras": keras,
        "keras_tuner": keras_tuner,
        "np": np,
        "model": model,
        "x": x,
        "y": y,
        "x_holdout": holdout[0],
        "y_holdout": holdout[1],
        "holdout": holdout,
        "train": tf.data.Dataset.from_tensor_slices((x, y)).batch(16),
        "sampler": sampler,
        "score": lambda channels: float(-np.sum(channels)),
    }


def exported(folder) -> dict[str, Any]:
    """The files of a network that takes images by the name "image"."""
    model, (x, _) = network(), images(8, seed=0)
    (folder / "export").mkdir()
    for name, kind in (
        ("saved_model", "tf_saved_model"),
        ("model.tflite", "litert"),
        ("model.onnx", "onnx"),
    ):
        tfrcp.export(model, folder / "export" / name, format=kind, sample=x)
    return {"images": x, "tfrcp": tfrcp}
