"""What samplers do that draw many vectors at a time and keep those that meet the budget."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.sampling.base import Sampler
from tfrcp.space.sampling.enumeration import feasible_vectors
from tfrcp.space.space import SearchSpace

if TYPE_CHECKING:
    from tfrcp.deployment.latency_model import LatencyModel


class DrawingSampler(Sampler):
    """Draws vectors until one that meets the budget is new. Subclasses implement `draw`.

    Args:
        space: See `Sampler`.
        cost: See `Sampler`.
        budget: See `Sampler`.
        seed: See `Sampler`.
        max_draws: Number of draws in a row without a new vector that end the sampling.
        latency: See `Sampler`.

    Attributes:
        attempts: Number of vectors drawn so far.
        accepted: How many of them met the budget.
    """

    def __init__(
        self,
        space: SearchSpace,
        cost: CostModel,
        budget: Budget,
        seed: int = 0,
        *,
        max_draws: int,
        latency: LatencyModel | None = None,
    ) -> None:
        super().__init__(space, cost, budget, seed, latency=latency)
        self.attempts = self.accepted = 0
        self._max_draws = max_draws
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
            if barren >= self._max_draws:
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
