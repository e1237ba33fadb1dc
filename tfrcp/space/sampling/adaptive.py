"""What samplers do that learn from scores: random vectors at first, then moves from the best."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from tfrcp.space.sampling.base import Sampler
from tfrcp.space.sampling.moves import project
from tfrcp.space.sampling.random import RandomSampler

_TRIES = 50

Move = Callable[[np.random.Generator], np.ndarray]


@dataclasses.dataclass(eq=False, repr=False)
class AdaptiveSampler(Sampler):
    """A sampler that learns from scores. Arguments as for `Sampler`."""

    adaptive = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._random = RandomSampler.like(self)

    def random_vector(self) -> np.ndarray:
        """The next random vector that is not known."""
        while self.known(vector := self._random.suggest(1)[0]):
            pass
        return vector

    def moved(self, move: Move) -> np.ndarray:
        """A move projected onto the budget; a random vector where 50 tries give nothing new."""
        random = np.random.default_rng([self.seed, len(self._vectors)])
        for _ in range(_TRIES):
            child = project(move(random), self.space, self.bounds, random)
            if child is not None and not self.known(child):
                return child
        return self.random_vector()
