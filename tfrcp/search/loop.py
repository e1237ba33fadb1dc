"""The core of every search: a sampler proposes, a function scores, a file survives kills.

The keras-tuner searches do the same over several processes; see `tfrcp.search.oracles`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfrcp import files
from tfrcp.space.sampling import Sampler


class History(NamedTuple):
    """The trials of a search, in their order.

    Attributes:
        channels: int64 array [N, prunable groups].
        scores: Float array [N], higher is better; NaN where there is none.
    """

    channels: np.ndarray
    scores: np.ndarray

    @property
    def best(self) -> np.ndarray:
        """The channel vector with the highest score, the first of several."""
        if not np.isfinite(self.scores).any():
            raise ValueError(f"None of {len(self.scores)} candidates has a score that is a number.")
        return self.channels[int(np.nanargmax(self.scores))]


class TrialFile:
    """Trials in a file, one line of JSON each; a line that a kill tore is not there.

    Args:
        path: The file; made with the first trial.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def read(self) -> list[tuple[list[int], float]]:
        """Channel vectors and scores, in the order in which they were added."""
        found = []
        text = self.path.read_text() if self.path.exists() else ""
        for line in text.splitlines():
            try:
                trial = json.loads(line)
                found.append((trial["channels"], float(trial["score"])))
            except (ValueError, KeyError, TypeError):
                break  # What comes after it was added by no search of ours.
        whole = "".join(line + "\n" for line in text.splitlines()[: len(found)])
        if whole != text:
            files.write_text(self.path, whole)
        return found

    def add(self, channels: np.ndarray, score: float) -> None:
        """Adds a trial; it is on the disk when this returns."""
        line = json.dumps({"channels": channels.tolist(), "score": score})
        with self.path.open("a") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())


def run(
    sampler: Sampler,
    score: Callable[[np.ndarray], float],
    trials: int,
    file: TrialFile | None = None,
) -> History:
    """Runs a search in this process.

    Args:
        sampler: A new sampler.
        score: Function of a channel vector, int array [prunable groups], to its score, higher is
            better.
        trials: Number of trials; fewer if there are no more candidates, or the sampler expects
            nothing better.
        file: Where trials are kept: those that stand there are not scored again.

    Returns:
        `History`.

    Raises:
        ValueError: If the file holds the trials of another search.
    """
    before = [] if file is None else file.read()
    vectors: list[np.ndarray] = []
    scores: list[float] = []
    while len(vectors) < trials and not sampler.converged:
        found = sampler.suggest_up_to(1)
        if not len(found):
            break
        if len(vectors) < len(before):
            stored, value = before[len(vectors)]
            if stored != found[0].tolist():
                raise ValueError(
                    f"{file.path} holds another search: trial {len(vectors)} has the channels "
                    f"{stored}, and this search would have {found[0].tolist()}"
                )
        else:
            value = float(score(found[0]))
            if file is not None:
                file.add(found[0], value)
        vectors.append(found[0])
        scores.append(value)
        sampler.update(found, np.array([value]))
    groups = len(sampler.space.choices)
    return History(np.array(vectors, dtype="int64").reshape(-1, groups), np.array(scores))
