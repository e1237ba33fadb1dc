"""Moves around the best of given channel vectors, until nothing is gained any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.sampling.base import Sampler
from tfrcp.space.sampling.moves import blend, project, vary
from tfrcp.space.sampling.random import RandomSampler
from tfrcp.space.space import SearchSpace

if TYPE_CHECKING:
    from tfrcp.deployment.latency_model import LatencyModel

_TRIES = 50
_PARENTS = 5
_BLENDS = 0.4  # share of the moves that mix two vectors; the others vary one


class GuidedSampler(Sampler):
    """Tries given channel vectors first, then moves around the best ones.

    The first vectors are `starts`, such as allocations by several criteria. Each further one is
    made from the best five so far: a point on the line through two of them, or one of them with
    a few widths changed by some 20 %; and is projected onto the budget. Without starts the first
    ones are random, and so is one where nothing new is found in 50 tries.

    Args:
        space: The allowed channel counts.
        cost: The cost model of the same graph.
        budget: The budget.
        seed: Int. Defaults to 0.
        starts: int array [N, prunable groups]: the vectors to begin with; those that do not meet
            the budget are left out.
        patience: Number of moves in a row without a better score after which nothing more is
            expected: see `converged`.
        random_first: Number of random vectors to begin with where there are no starts.
        latency: See `Sampler`.

    Raises:
        ValueError: If the budget cannot be met by any vector of the space, or an argument is wrong.
    """

    adaptive = True

    def __init__(
        self,
        space: SearchSpace,
        cost: CostModel,
        budget: Budget,
        seed: int = 0,
        *,
        starts: Any = (),
        patience: int = 6,
        random_first: int = 20,
        latency: LatencyModel | None = None,
    ) -> None:
        super().__init__(space, cost, budget, seed, latency=latency)
        for name, value in (("patience", patience), ("random_first", random_first)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"`{name}` must be a positive int. Received: {name}={value!r}")
        self.patience, self._random_first = patience, random_first
        starts = np.asarray(starts, dtype="int64")
        if starts.size and starts.shape[1:] != (len(space.choices),):
            raise ValueError(
                f"`starts` must be an int array [N, {len(space.choices)}]. "
                f"Received an array of shape {starts.shape}"
            )
        starts = starts.reshape(-1, len(space.choices))
        met = self.bounds.violation(starts) == 0
        self._starts = list(dict.fromkeys(map(tuple, starts[met].tolist())))
        self._random = RandomSampler(space, cost, budget, seed, latency=latency)

    def get_config(self) -> dict[str, Any]:
        """What the suggestions depend on, scores and starts aside: a nested dict."""
        own = {"patience": self.patience, "random_first": self._random_first}
        return {**super().get_config(), **own}

    @property
    def converged(self) -> bool:
        """Whether the last `patience` moves have scores, none of them better than those before."""
        _, scores = self.scored()
        moves = len(scores) - (len(self._starts) or self._random_first)
        if moves < self.patience:
            return False
        return scores[: -self.patience].max() >= scores[-self.patience :].max()

    def propose(self) -> np.ndarray:
        """The next start, then a move, else a random vector."""
        for start in self._starts:
            vector = np.array(start, dtype="int64")
            if not self.known(vector):
                return vector
        count = len(self._vectors)
        vectors, scores = self.scored()
        if len(scores) and (self._starts or count >= self._random_first):
            best = vectors[np.argsort(-scores, kind="stable")[:_PARENTS]]
            random = np.random.default_rng([self.seed, count])
            for _ in range(_TRIES):
                child = project(self._moved(best, random), self.space, self.bounds, random)
                if child is not None and not self.known(child):
                    return child
        while self.known(vector := self._random.suggest(1)[0]):
            pass
        return vector

    def _moved(self, best: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """A move from the best vectors, of any cost."""
        ranks = np.arange(len(best), 0, -1.0)
        picks = random.choice(len(best), 2, replace=len(best) == 1, p=ranks / ranks.sum())
        if random.random() < _BLENDS and len(best) > 1:
            return blend(*best[picks], self.space, random)
        return vary(best[picks[0]], self.space, random)
