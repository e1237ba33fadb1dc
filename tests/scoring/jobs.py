"""Tiny networks for ten kinds of jobs, compiled, with made data of the right structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

COUNT = 260
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(COUNT, 6, 6, 2)).astype("float32")
LABELS = RNG.integers(0, 3, COUNT)
MASKS = RNG.integers(0, 3, (COUNT, 6, 6))
REAL = RNG.normal(size=(COUNT, 3)).astype("float32")
TOKENS = RNG.integers(0, 7, (COUNT, 5))
TAGS = RNG.integers(0, 3, (COUNT, 5))


@dataclass
class Job:
    """A network and its data."""

    model: keras.Model
    x: Any
    y: Any


def trunk(x, name="", channels=6):
    for index in range(2):
        x = layers.Conv2D(channels, 3, padding="same", name=f"{name}conv{index}")(x)
        x = layers.BatchNormalization(name=f"{name}norm{index}")(x)
        x = layers.ReLU()(x)
    return x


def vector(units, activation=None, *, loss, metrics=()):
    inputs = keras.Input((6, 6, 2))
    x = layers.GlobalAveragePooling2D()(trunk(inputs))
    return compiled(inputs, layers.Dense(units, activation, name="head")(x), loss, metrics)


def compiled(inputs, outputs, loss, metrics=(), **options):
    model = keras.Model(inputs, outputs)
    rng = np.random.default_rng(1)
    for weight in model.weights:
        shape = tuple(weight.shape)
        scale = np.sqrt(2 / np.prod(shape[:-1])) if len(shape) > 1 else 0.1
        weight.assign(scale * rng.normal(size=shape) + (weight.name == "gamma"))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_variance.assign(np.abs(layer.moving_variance) + 0.5)
    model.compile("sgd", loss, metrics=list(metrics) or None, **options)
    return model


def own(y, outputs):
    error = ops.abs(y - outputs)
    return ops.mean(ops.where(error < 1, error * error / 2, error - 0.5), axis=-1)


def overlap(y, outputs):
    """A Dice loss over the whole batch: one number, no mean over images."""
    outputs, y = ops.softmax(outputs), ops.one_hot(ops.cast(y, "int32"), 3)
    return 1 - 2 * ops.sum(outputs * y) / (ops.sum(outputs) + ops.sum(y))


def segmenter(loss, metrics=()):
    inputs = keras.Input((6, 6, 2))
    return compiled(inputs, layers.Conv2D(3, 1, name="head")(trunk(inputs)), loss, metrics)


def two_heads():
    inputs = keras.Input((6, 6, 2))
    x = layers.GlobalAveragePooling2D()(trunk(inputs))
    outputs = [layers.Dense(3, "softmax", name="kind")(x), layers.Dense(1, name="size")(x)]
    losses = ["sparse_categorical_crossentropy", "mse"]
    return compiled(inputs, outputs, losses, loss_weights=[1.0, 0.2])


def detector():
    inputs = keras.Input((6, 6, 2))
    x = trunk(inputs)
    outputs = {
        "boxes": layers.Conv2D(4, 1, name="box_head")(x),
        "classes": layers.Conv2D(3, 1, activation="softmax", name="class_head")(x),
    }
    losses = {"boxes": own, "classes": "sparse_categorical_crossentropy"}
    return compiled(inputs, outputs, losses, loss_weights={"boxes": 0.5, "classes": 1.0})


def tagger():
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 6, mask_zero=True)(inputs)
    x = layers.Dense(8, "relu", name="hidden")(x)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return compiled(inputs, layers.Dense(3, name="head")(x), loss, ["accuracy"])


def siamese():
    inputs = [keras.Input((6, 6, 2), name=name) for name in ("left", "right")]
    encoder = keras.Sequential([keras.Input((6, 6, 2)), layers.Conv2D(6, 3, name="conv")])
    ends = [layers.GlobalAveragePooling2D()(encoder(x)) for x in inputs]
    x = layers.Dense(8, "relu", name="hidden")(layers.Subtract()(ends))
    return compiled(inputs, layers.Dense(1, "sigmoid", name="head")(x), "binary_crossentropy")


SPARSE = keras.losses.SparseCategoricalCrossentropy
JOBS = {
    "sparse classes": lambda: Job(vector(3, loss=SPARSE(from_logits=True)), IMAGES, LABELS),
    "one-hot classes": lambda: Job(
        vector(3, "softmax", loss="categorical_crossentropy"), IMAGES, np.eye(3)[LABELS]
    ),
    "binary [N]": lambda: Job(
        vector(1, "sigmoid", loss="binary_crossentropy"), IMAGES, LABELS // 2
    ),
    "binary [N, 1]": lambda: Job(
        vector(1, loss=keras.losses.BinaryCrossentropy(from_logits=True)),
        IMAGES,
        (LABELS[:, None] // 2).astype("float32"),
    ),
    "multi-label": lambda: Job(
        vector(3, "sigmoid", loss="binary_crossentropy"), IMAGES, np.int64(REAL > 0)
    ),
    "regression [N]": lambda: Job(vector(1, loss=own), IMAGES, REAL[:, 0]),
    "regression [N, 1]": lambda: Job(vector(1, loss="mae"), IMAGES, REAL[:, :1]),
    "integer targets": lambda: Job(vector(1, loss="mse"), IMAGES, LABELS),
    "regularised": lambda: Job(regularised(), IMAGES, REAL),
    "segmentation": lambda: Job(segmenter(SPARSE(from_logits=True)), IMAGES, MASKS),
    "segmentation with ignored pixels": lambda: Job(
        segmenter(SPARSE(from_logits=True, ignore_class=255)),
        IMAGES,
        np.where(RNG.random(MASKS.shape) < 0.3 * (LABELS[:, None, None] > 0), 255, MASKS),
    ),
    "loss over the batch": lambda: Job(segmenter(overlap), IMAGES, MASKS),
    "autoencoder": lambda: Job(autoencoder(), IMAGES, IMAGES),
    "two heads": lambda: Job(two_heads(), IMAGES, [LABELS, REAL[:, 0]]),
    "detector": lambda: Job(
        detector(),
        IMAGES,
        {"boxes": RNG.normal(size=(COUNT, 6, 6, 4)).astype("float32"), "classes": MASKS},
    ),
    "tagger": lambda: Job(tagger(), TOKENS, TAGS),
    "siamese": lambda: Job(siamese(), [IMAGES, IMAGES[::-1].copy()], LABELS // 2),
}


def regularised():
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(6, 3, kernel_regularizer=keras.regularizers.L2(0.1), name="conv0")(inputs)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return compiled(inputs, layers.Dense(3, name="head")(x), "mse")


def autoencoder():
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="down")(inputs)
    x = layers.Conv2DTranspose(4, 3, 2, padding="same", activation="relu", name="up")(x)
    return compiled(inputs, layers.Conv2D(2, 1, name="head")(x), "mse")
