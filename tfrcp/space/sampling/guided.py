"""Moves around the best of given channel vectors, until nothing is gained any more."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tfrcp.arguments import check_int
from tfrcp.space.sampling.adaptive import AdaptiveSampler
from tfrcp.space.sampling.moves import blend, vary

_PARENTS = 5
_BLENDS = 0.4  # share of the moves that mix two vectors; the others vary one


@dataclasses.dataclass(eq=False, repr=False)
class GuidedSampler(AdaptiveSampler):
    """Tries given channel vectors first, then moves around the best ones.

    The first vectors are `starts`, such as allocations by several criteria. Each further one is
    made from the best five so far: a point on the line through two of them, or one of them with
    a few widths changed by some 20 %; and is projected onto the budget. Without starts the first
    ones are random, and so is one where nothing new is found in 50 tries.

    Attributes:
        starts: int array [N, prunable groups]: the vectors to begin with; those that do not meet
            the budget are left out.
        patience: Number of moves in a row without a better score after which nothing more is
            expected: see `converged`.
        random_first: Number of random vectors to begin with where there are no starts.
    """

    options = ("patience", "random_first")
    _: dataclasses.KW_ONLY
    starts: Any = ()
    patience: int = 6
    random_first: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.options:
            check_int(name, getattr(self, name), 1)
        starts, groups = np.asarray(self.starts, dtype="int64"), len(self.space.choices)
        if starts.size and starts.shape[1:] != (groups,):
            raise ValueError(
                f"`starts` must be an int array [N, {groups}]. "
                f"Received an array of shape {starts.shape}"
            )
        starts = starts.reshape(-1, groups)
        met = self.bounds.violation(starts) == 0
        self._starts = list(dict.fromkeys(map(tuple, starts[met].tolist())))

    @property
    def converged(self) -> bool:
        """Whether the last `patience` moves have scores, none of them better than those before."""
        _, scores = self.scored()
        moves = len(scores) - (len(self._starts) or self.random_first)
        if moves < self.patience:
            return False
        return scores[: -self.patience].max() >= scores[-self.patience :].max()

    def propose(self) -> np.ndarray:
        """The next start, then a move, else a random vector."""
        for start in self._starts:
            vector = np.array(start, dtype="int64")
            if not self.known(vector):
                return vector
        vectors, scores = self.scored()
        if not len(scores) or not (self._starts or len(self._vectors) >= self.random_first):
            return self.random_vector()
        best = vectors[np.argsort(-scores, kind="stable")[:_PARENTS]]
        return self.moved(lambda random: self._move(best, random))

    def _move(self, best: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """A move from the best vectors, of any cost."""
        ranks = np.arange(len(best), 0, -1.0)
        picks = random.choice(len(best), 2, replace=len(best) == 1, p=ranks / ranks.sum())
        if random.random() < _BLENDS and len(best) > 1:
            return blend(*best[picks], self.space, random)
        return vary(best[picks[0]], self.space, random)
