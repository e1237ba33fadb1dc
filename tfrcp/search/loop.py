"""The core of every search: a sampler proposes, a function scores, a file survives kills.

`run` is a search in one process. The keras-tuner oracles hand the same `Proposals` to several, and
keep the trials in keras-tuner's form; see `tfrcp.search.oracles`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfrcp import files
from tfrcp.space.sampling import Sampler
from tfrcp.space.sampling.base import Exhausted


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


class Proposals:
    """The channel vectors of a search by the numbers of their trials, whoever asks and when.

    Attributes:
        sampler: The sampler.
    """

    def __init__(self, sampler: Sampler, vectors: Iterable[np.ndarray] = ()) -> None:
        self.sampler, self._vectors = sampler, [np.asarray(vector) for vector in vectors]

    def __getitem__(self, index: int) -> np.ndarray:
        """The vector of a trial, int64 array [prunable groups].

        Raises:
            Exhausted: If there are not so many.
        """
        while len(self._vectors) <= index:
            self._vectors += [*self.sampler.suggest(1)]
        return self._vectors[index]

    def restart(self) -> None:
        """Begins anew where suggestions depend on scores, which are told again."""
        if self.sampler.adaptive:
            self.sampler, self._vectors = self.sampler.again(), []

    def restore(self, vector: np.ndarray) -> None:
        """Takes the vector of the next trial as an earlier process had it.

        Where suggestions depend on scores, those that it followed from may be unknown: several
        workers end their trials in any order.
        """
        if self.sampler.adaptive:
            self._vectors.append(vector)
            self.sampler.take(vector[None])

    def tell(self, vector: np.ndarray, score: float) -> None:
        """Tells the score of a vector, higher is better, where suggestions depend on it."""
        if self.sampler.adaptive:
            self.sampler.update(vector[None], np.array([score]))


class TrialFile:
    """Trials in a file, one line of JSON each; a line that a kill tore is not there."""

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

    Raises:
        ValueError: If the file holds the trials of another search.
    """
    before = [] if file is None else file.read()
    proposals = Proposals(sampler)
    vectors: list[np.ndarray] = []
    scores: list[float] = []
    while len(vectors) < trials and not sampler.converged:
        index = len(vectors)
        try:
            vector = proposals[index]
        except Exhausted:
            break
        if index < len(before):
            stored, value = before[index]
            if stored != vector.tolist():
                raise ValueError(
                    f"{file.path} holds another search: trial {index} has the channels {stored}, "
                    f"and this search would have {vector.tolist()}"
                )
        else:
            value = float(score(vector))
            if file is not None:
                file.add(vector, value)
        vectors.append(vector)
        scores.append(value)
        proposals.tell(vector, value)
    groups = len(sampler.space.choices)
    return History(np.array(vectors, dtype="int64").reshape(-1, groups), np.array(scores))
