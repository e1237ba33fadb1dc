"""The state of a training on disk, in one file that is always whole."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import keras
import numpy as np

from tfrcp import files
from tfrcp.training.recipe import Recipe

History = dict[str, list[float]]


class Backup:
    """Variables and history of a training.

    `keras.callbacks.BackupAndRestore` writes two files in place: killed meanwhile, it leaves a
    broken one, or the weights of one epoch with the number of another; and no history.

    Attributes:
        path: The file.
    """

    def __init__(
        self, folder: str | os.PathLike[str], recipe: Recipe, model: keras.Model, *, writes: bool
    ) -> None:
        self.path = os.path.join(folder, "training.npz")
        self._writes = writes
        if writes:
            os.makedirs(folder, exist_ok=True)
        self._recipe = dataclasses.asdict(recipe)
        self._variables = model.variables + model.optimizer.variables

    def save(self, history: History, best: list[np.ndarray]) -> None:
        """Replaces the file.

        Args:
            history: One number per epoch under each name.
            best: Weights of the best epoch so far, where they are kept; else an empty list.
        """
        if not self._writes:
            return
        header = json.dumps({"recipe": self._recipe, "history": history})
        values = {str(i): variable.numpy() for i, variable in enumerate(self._variables)}
        values |= {f"best{i}": array for i, array in enumerate(best)}
        path = Path(self.path)
        with files.replacing(path) as unfinished, open(unfinished, "wb") as file:
            np.savez(file, header=header, **values)

    def restore(self, history: History) -> tuple[History, list[np.ndarray]]:
        """Sets the variables, and returns the stored history and best weights.

        Args:
            history: What is returned, with no weights, if there is no file; its names must be those
                of the stored one.

        Raises:
            ValueError: The file belongs to another recipe or model, or has other scores. A damaged
                file is set aside, and told of.
        """
        if not os.path.exists(self.path):
            return history, []
        try:
            with open(self.path, "rb") as stored, np.load(stored, allow_pickle=False) as file:
                header = json.loads(str(file["header"]))
                best = [file[f"best{i}"] for i in range(sum("best" in name for name in file.files))]
                values = [file[str(i)] for i in range(len(file.files) - len(best) - 1)]
        except MemoryError:
            raise
        except (
            Exception
        ) as error:  # whatever a damaged archive leads to: zipfile's, zlib's, NumPy's
            self._set_aside(error)
            return history, []
        if [value.shape for value in values] != [tuple(v.shape) for v in self._variables]:
            other = "its weights have other shapes"
        elif header["recipe"] != self._recipe:
            other = f"its recipe is {header['recipe']}, not {self._recipe}"
        elif header["history"].keys() != history.keys():
            other = f"it scored {list(header['history'])}, not {list(history)}"
        else:
            other = None
        if other:
            raise ValueError(
                f"{self.path} belongs to another training: {other}. Remove it to start over, or "
                "pass another `backup_dir`."
            )
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)
        return header["history"], best

    def _set_aside(self, error: Exception) -> None:
        """Renames a damaged file, and says so; the training then starts anew."""
        if self._writes:
            os.replace(self.path, f"{self.path}.damaged")
        text = " ".join(str(error).split())[:200] or type(error).__name__
        print(
            f"training: {self.path} is damaged: {text}. The training starts over; the old file is "
            f"now {os.path.basename(self.path)}.damaged",
            flush=True,
        )
