"""Regularised evolution inside the set of channel vectors that meet a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.sampling.base import Sampler
from tfrcp.space.sampling.moves import cross, mutate, project
from tfrcp.space.sampling.random import RandomSampler
from tfrcp.space.space import SearchSpace

if TYPE_CHECKING:
    from tfrcp.deployment.latency_model import LatencyModel

_TRIES = 50


class EvolutionarySampler(Sampler):
    """Regularised evolution: the best of a few of the latest vectors is changed a little.

    The first vectors are random ones. After that the population is the latest vectors that have
    scores. The best of a random few of them is the parent; with the probability `crossover` a
    second one is crossed with it; a width or two are drawn anew; and the child is projected onto
    the budget. Where that gives nothing new in 50 tries, a random vector comes instead.

    Real et al., "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019.

    Args:
        space: The allowed channel counts.
        cost: The cost model of the same graph.
        budget: The budget.
        seed: Int. Defaults to 0.
        population: Number of vectors that may be parents, and of random ones at first.
        tournament: How many of them compete.
        crossover: Probability of a second parent.
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
        population: int = 20,
        tournament: int = 5,
        crossover: float = 0.5,
        latency: LatencyModel | None = None,
    ) -> None:
        super().__init__(space, cost, budget, seed, latency=latency)
        if not 1 <= tournament <= population:
            raise ValueError(
                "Numbers must satisfy 1 <= tournament <= population. "
                f"Received: tournament={tournament}, population={population}"
            )
        if not 0 <= crossover <= 1:
            raise ValueError(f"`crossover` must be in [0, 1]. Received: crossover={crossover}")
        self._population, self._tournament = population, tournament
        self._crossover = crossover
        self._random = RandomSampler(space, cost, budget, seed, latency=latency)

    def get_config(self) -> dict[str, Any]:
        """What the suggestions depend on, scores aside: a nested dict."""
        return {
            **super().get_config(),
            "population": self._population,
            "tournament": self._tournament,
            "crossover": self._crossover,
        }

    def propose(self) -> np.ndarray:
        """A child of the population, or a random vector."""
        count = len(self._vectors)
        vectors, scores = self.scored(self._population)
        if count >= self._population and len(scores):
            random = np.random.default_rng([self.seed, count])
            for _ in range(_TRIES):
                child = self._child(vectors, scores, random)
                if child is not None and not self.known(child):
                    return child
        while self.known(vector := self._random.suggest(1)[0]):
            pass
        return vector

    def _child(
        self, vectors: np.ndarray, scores: np.ndarray, random: np.random.Generator
    ) -> np.ndarray | None:
        def parent() -> np.ndarray:
            few = random.integers(len(scores), size=self._tournament)
            return vectors[few[scores[few].argmax()]]

        child = parent()
        if random.random() < self._crossover:
            child = cross(child, parent(), self.space, random)
        return project(mutate(child, self.space, random), self.space, self.bounds, random)
