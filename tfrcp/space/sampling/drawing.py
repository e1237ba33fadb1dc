"""What samplers do that draw many vectors at a time and keep those that meet the budget."""

from __future__ import annotations

import dataclasses
from collections import deque

import numpy as np

from tfrcp.space.sampling.base import Sampler
from tfrcp.space.sampling.enumeration import feasible_vectors


@dataclasses.dataclass(eq=False, repr=False)
class DrawingSampler(Sampler):
    """Draws vectors until one that meets the budget is new. Subclasses implement `draw`.

    Attributes:
        max_draws: Number of draws in a row without a new vector that end the sampling.
        attempts: Number of vectors drawn so far.
        accepted: How many of them met the budget.
    """

    _: dataclasses.KW_ONLY
    max_draws: int = 1_000_000

    def __post_init__(self) -> None:
        super().__post_init__()
        self.attempts = self.accepted = 0
        self._random = np.random.default_rng(self.seed)
        self._drawn: deque[np.ndarray] = deque()

    @property
    def acceptance(self) -> float:
        """Share of the drawn vectors that met the budget."""
        return self.accepted / max(self.attempts, 1)

    def propose(self) -> np.ndarray:
        """The next vector."""
        before = self.attempts
        while True:
            while self._drawn:
                vector = self._drawn.popleft()
                if not self.known(vector):
                    return vector
            barren = self.attempts - before
            if barren >= self.max_draws:
                self._drawn.extend(self._left_over())
                if not self._drawn:
                    raise self.exhausted(barren)
                continue
            vectors, wanted = self.draw()
            fits = self.bounds.violation(vectors) == 0
            self.attempts += len(fits)
            self.accepted += int(fits.sum())
            self._drawn.extend(vectors[fits & wanted])

    def _left_over(self) -> np.ndarray:
        """What never came though it meets the budget, in random order; none in a large space."""
        found = feasible_vectors(self.space, self.bounds)
        if found is None:
            return np.empty((0, len(self.space.choices)), dtype="int64")
        return self._random.permutation([v for v in found if not self.known(v)])

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of any cost.

        Returns:
            Tuple of an int64 array [N, prunable groups] and a bool array [N], which of them are
            wanted if they meet the budget.
        """
        raise NotImplementedError
