"""Holdout images that do not fit into memory are read once, and give the same network."""

import numpy as np
import pytest
import tensorflow as tf

import tfrcp
from tests.search.small_search import HOLDOUT, TRAIN, images, network
from tfrcp.data import RowFile
from tfrcp.search.scorer import Scorer

MANY = images(300, seed=2)  # more than two looks of a race


def prune(holdout, **options):
    model = network()
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    options = {"flops": 0.6, "search": "random", "max_trials": 4, "verbose": False, **options}
    return tfrcp.prune(model, *TRAIN, validation_data=holdout, **options)


@pytest.mark.parametrize("objective", ["val_accuracy", "val_loss", "agreement"])
def test_the_same_network(objective):
    dataset = tf.data.Dataset.from_tensor_slices(MANY).batch(32)
    found = [
        prune(dataset, objective=objective, memory_limit=limit).get_weights()
        for limit in (2**28, 0)
    ]
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_batches_are_read_once_and_not_held(monkeypatch):
    read, given = [], {}

    def batches():
        for start in range(0, 300, 50):
            read.append(start)
            yield MANY[0][start : start + 50], MANY[1][start : start + 50]

    signature = tf.TensorSpec((None, 8, 8, 1)), tf.TensorSpec((None,), "int32")
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    original = Scorer.read

    def look(self, *args):
        given["data"] = original(self, *args)
        return given["data"]

    monkeypatch.setattr(Scorer, "read", look)
    prune(dataset, memory_limit=100 * 8 * 8 * 4)
    assert read == list(range(0, 300, 50))
    assert isinstance(given["data"].holdout.x, RowFile)


def test_nothing_is_given_to_select():
    x, y = (np.concatenate(pair) for pair in zip(TRAIN, HOLDOUT, strict=True))
    found = []
    for data, limit in (
        ((x, y), 2**28),
        ((tf.data.Dataset.from_tensor_slices((x, y)).batch(9),), 0),
    ):
        model = network()
        model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        options = {"flops": 0.6, "max_trials": 3, "verbose": False, "memory_limit": limit}
        found.append(tfrcp.prune(model, *data, search="random", **options).get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_limit_below_zero():
    with pytest.raises(ValueError, match="`memory_limit` must be an int of at least 0"):
        prune(HOLDOUT, memory_limit=-1)
