"""A search in TensorBoard: its scores as curves, and one run of the HParams table per trial."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import tensorflow as tf


def check_tensorboard(argument: str) -> None:
    """Raises an ImportError that names an argument, if the package `tensorboard` is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError(
            f"`{argument}` needs TensorBoard. Install it with "
            f"`python -m pip install tfrcp[tensorboard]`, or leave `{argument}` out."
        )


class TensorBoardLogger:
    """Writes what TensorBoard shows.

    Raises:
        ImportError: If the package `tensorboard` is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str], objective: str) -> None:
        check_tensorboard("log_dir")
        self._folder, self._objective = os.fspath(folder), objective
        self._writer = tf.summary.create_file_writer(self._folder)

    def add(self, trial: Any, done: int, best: float | None) -> None:
        """Adds a finished trial."""
        from tensorboard.plugins.hparams import api

        with self._writer.as_default(step=done):
            for name, score in ((self._objective, trial.score), (f"best_{self._objective}", best)):
                if score is not None:
                    tf.summary.scalar(name, score)
        self._writer.flush()
        writer = tf.summary.create_file_writer(os.path.join(self._folder, trial.trial_id))
        with writer.as_default(step=0):
            api.hparams(dict(trial.hyperparameters.values), trial_id=trial.trial_id)
            if trial.score is not None:
                tf.summary.scalar(self._objective, trial.score)
        writer.close()
