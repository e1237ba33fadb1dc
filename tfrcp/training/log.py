"""The epochs of a training as a table and as curves, epoch by epoch."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfrcp import files


class EpochLog(keras.callbacks.Callback):
    """Writes a line per epoch into a CSV file, and TensorBoard's curves.

    A training that resumes continues the same table, in which every epoch has one line.

    Args:
        path: The CSV file: epoch (from 1), learning_rate and the scores of each epoch.
        board: Folder for TensorBoard, or `None`.
    """

    def __init__(
        self, path: str | os.PathLike[str], board: str | os.PathLike[str] | None = None
    ) -> None:
        super().__init__()
        self._path, self._board = Path(path), board
        self._rows: list[dict[str, Any]] = []
        self._writer = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Reads what an interrupted training has left."""
        if self._path.exists():
            self._rows = self._read()
        if self._board is not None:
            self._writer = tf.summary.create_file_writer(os.fspath(self._board))

    def _read(self) -> list[dict[str, Any]]:
        """The rows of the table; those that were damaged are left out, which is told."""
        found = list(csv.DictReader(self._path.read_text(errors="replace").splitlines()))
        sound = [_is_row(row) for row in found]
        if not all(sound):
            print(
                f"training: {self._path} is damaged: {sound.count(False)} of its {len(found)} "
                "lines are left out",
                flush=True,
            )
        return [row for row, good in zip(found, sound, strict=True) if good]

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Adds an epoch."""
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"epoch": epoch + 1, "learning_rate": rate, **(logs or {})}
        self._rows = [old for old in self._rows if int(old["epoch"]) <= epoch] + [row]
        text = io.StringIO()
        table = csv.DictWriter(text, list(row), extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(self._rows)
        files.write_text(self._path, text.getvalue())
        if self._writer is not None:
            with self._writer.as_default(step=epoch + 1):
                for name, value in row.items():
                    if name != "epoch":
                        tf.summary.scalar(name, value)
            self._writer.flush()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Closes the files."""
        if self._writer is not None:
            self._writer.close()


def _is_row(row: dict[str, Any]) -> bool:
    """Whether what was read of a line is an epoch's."""
    epoch = str(row.get("epoch"))
    return epoch.isascii() and epoch.isdecimal() and "\ufffd" not in str(row)
