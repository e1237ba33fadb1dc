"""A small network with batch norm and dropout, and made images that it can learn."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

_rng = np.random.default_rng(0)
LABELS = _rng.integers(0, 4, 64).astype("int32")
IMAGES = (_rng.normal(size=(64, 8, 8, 1)) + 0.5 * LABELS[:, None, None, None]).astype("float32")


def network(*, seed=0, dropout=0.0, activation=None):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, use_bias=False)(inputs)
    x = keras.layers.BatchNormalization(momentum=0.8)(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2D(6, 3, strides=2)(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(dropout)(x)
    return keras.Model(inputs, keras.layers.Dense(4, activation=activation)(x))


def train(epoch):
    order = np.random.default_rng(epoch).permutation(64)
    return tf.data.Dataset.from_tensor_slices((IMAGES[order], LABELS[order])).batch(8)


def holdout():
    return tf.data.Dataset.from_tensor_slices((IMAGES[:16], LABELS[:16])).batch(8)
