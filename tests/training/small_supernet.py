"""A supernet that is trained until it is killed; run as a program it kills itself."""

from __future__ import annotations

import os
import signal
import sys

import keras

from tests.training.small_training import network, train
from tfrcp.graph.trace import trace
from tfrcp.space.space import SearchSpace
from tfrcp.training import Recipe, fit_supernet

RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=0.05, warmup_epochs=1)


def fit(backup_dir, *, batches=train, model=None, recipe=RECIPE, **options):
    """Trains a small supernet; returns the model and the history."""
    model = model or network()
    space = SearchSpace(trace(model), min_ratio=0.2)
    history = fit_supernet(
        model, space, batches, recipe, seed=3, backup_dir=backup_dir, verbose=False, **options
    )
    return model, history


if __name__ == "__main__":
    keras.utils.set_random_seed(0)

    def batches(epoch):
        """Kills the process in the middle of the second epoch."""
        taken = train(epoch)
        if epoch < 1:
            return taken

        def numpy_kill(x):
            os.kill(os.getpid(), signal.SIGKILL)
            return x

        import tensorflow as tf

        def kill(x, y):
            return tf.ensure_shape(tf.numpy_function(numpy_kill, [x], "float32"), x.shape), y

        return taken.take(4).concatenate(taken.skip(4).map(kill))

    fit(sys.argv[1], batches=batches)
