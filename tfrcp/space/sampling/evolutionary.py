"""Regularised evolution inside the set of channel vectors that meet a budget."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfrcp.arguments import check_number
from tfrcp.space.sampling.adaptive import AdaptiveSampler
from tfrcp.space.sampling.moves import cross, mutate


@dataclasses.dataclass(eq=False, repr=False)
class EvolutionarySampler(AdaptiveSampler):
    """Regularised evolution: the best of a few of the latest vectors is changed a little.

    The first vectors are random ones. After that the population is the latest vectors that have
    scores. The best of a random few of them is the parent; with the probability `crossover` a
    second one is crossed with it; a width or two are drawn anew; and the child is projected onto
    the budget. Where that gives nothing new in 50 tries, a random vector comes instead.

    Real et al., "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019.

    Attributes:
        population: Number of vectors that may be parents, and of random ones at first.
        tournament: How many of them compete.
        crossover: Probability of a second parent.
    """

    options = ("population", "tournament", "crossover")
    _: dataclasses.KW_ONLY
    population: int = 20
    tournament: int = 5
    crossover: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.tournament <= self.population:
            raise ValueError(
                "Numbers must satisfy 1 <= tournament <= population. "
                f"Received: tournament={self.tournament}, population={self.population}"
            )
        check_number("crossover", self.crossover, "[0, 1]")

    def propose(self) -> np.ndarray:
        """A child of the population, or a random vector."""
        vectors, scores = self.scored(self.population)
        if len(self._vectors) < self.population or not len(scores):
            return self.random_vector()
        return self.moved(lambda random: self._child(vectors, scores, random))

    def _child(
        self, vectors: np.ndarray, scores: np.ndarray, random: np.random.Generator
    ) -> np.ndarray:
        def parent() -> np.ndarray:
            few = random.integers(len(scores), size=self.tournament)
            return vectors[few[scores[few].argmax()]]

        child = parent()
        if random.random() < self.crossover:
            child = cross(child, parent(), self.space, random)
        return mutate(child, self.space, random)
