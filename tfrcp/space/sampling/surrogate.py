"""Bayesian optimisation: a regression of the scores tells which channel vector to try next."""

from __future__ import annotations

import dataclasses
import importlib.util
import warnings
from collections import deque
from typing import Any

import numpy as np

from tfrcp.arguments import check_int
from tfrcp.space.sampling.adaptive import AdaptiveSampler
from tfrcp.space.sampling.moves import mutate, project

_POOL = 512  # random candidates
_PARENTS, _CHILDREN = 5, 20
_MEMORY = 256


@dataclasses.dataclass(eq=False, repr=False)
class SurrogateSampler(AdaptiveSampler):
    """Proposes the candidate whose score is expected to improve most on the best one.

    The first vectors are random ones. After that a Gaussian process is fitted to the scores as a
    function of the kept shares of all groups (to the best 128 and the latest 128, where there are
    more), and the candidates are random vectors and small changes of the best ones. The next
    vector is the one with the largest expected improvement.

    Jones et al., "Efficient Global Optimization of Expensive Black-Box Functions", Journal of
    Global Optimization 13, 1998.

    Attributes:
        random_first: Number of random vectors at first.

    Raises:
        ImportError: If scikit-learn is not installed.
    """

    options = ("random_first",)
    _: dataclasses.KW_ONLY
    random_first: int = 20

    def __post_init__(self) -> None:
        if importlib.util.find_spec("sklearn") is None:
            raise ImportError(
                "The surrogate needs scikit-learn. Install it with "
                "`python -m pip install tfrcp[surrogate]`."
            )
        super().__post_init__()
        check_int("random_first", self.random_first, 2)
        self._pool: deque[np.ndarray] = deque()

    def propose(self) -> np.ndarray:
        """The candidate with the largest expected improvement, or a random vector."""
        count = len(self._vectors)
        vectors, scores = self.scored()
        if count < self.random_first or len(scores) < 2:
            self._fill(1)
            return self._pool[0]
        self._fill(_POOL)
        candidates = np.array([*self._pool, *self._near_best(vectors, scores, count)])
        return candidates[self._improvement(vectors, scores, candidates).argmax()]

    def _fill(self, count: int) -> None:
        """Makes the pool the first vectors of the random stream that are not known."""
        self._pool = deque(vector for vector in self._pool if not self.known(vector))
        while len(self._pool) < count:
            try:
                vector = self._random.suggest(1)[0]
            except ValueError:
                if not self._pool:
                    raise
                return
            if not self.known(vector):
                self._pool.append(vector)

    def _near_best(self, vectors: np.ndarray, scores: np.ndarray, count: int) -> list[np.ndarray]:
        random = np.random.default_rng([self.seed, count])
        children = []
        for parent in vectors[np.argsort(-scores, kind="stable")[:_PARENTS]]:
            for _ in range(_CHILDREN):
                changed = mutate(parent, self.space, random)
                child = project(changed, self.space, self.bounds, random)
                if child is not None and not self.known(child):
                    children.append(child)
        return children

    def _improvement(
        self, vectors: np.ndarray, scores: np.ndarray, candidates: np.ndarray
    ) -> np.ndarray:
        """Expected improvement on the best score, float array [candidates]."""
        from scipy.stats import norm
        from threadpoolctl import threadpool_limits  # comes with scikit-learn

        best = scores.max()
        if len(scores) > _MEMORY:
            order = np.argsort(-scores, kind="stable")
            latest = np.arange(len(scores))[-_MEMORY // 2 :]
            kept = np.unique(np.concatenate([order[: _MEMORY // 2], latest]))
            vectors, scores = vectors[kept], scores[kept]
        regressor = _regressor()
        full = self.space.graph.full
        # Warnings are of kernel parameters at their bounds. One thread: the matrices are small.
        with warnings.catch_warnings(action="ignore"), threadpool_limits(1):
            regressor.fit(vectors / full, scores)
            mean, deviation = regressor.predict(candidates / full, return_std=True)
        z = (mean - best) / np.maximum(deviation, 1e-12)
        return deviation * (z * norm.cdf(z) + norm.pdf(z))


def _regressor() -> Any:
    from sklearn.gaussian_process import GaussianProcessRegressor, kernels

    kernel = kernels.Matern(nu=2.5) + kernels.WhiteKernel(0.1, (1e-4, 10.0))
    return GaussianProcessRegressor(kernel, normalize_y=True)
