"""Linear equations of one layer: streamed sums in float64, and their regularized solution.

All arrays begin with an axis of blocks: a layer that mixes all its inputs has one block, a grouped
or depthwise convolution has one for each group or channel, solved each on its own.
"""

from __future__ import annotations

import warnings

import numpy as np
from threadpoolctl import ThreadpoolController

# Threads of many small solves, and TensorFlow's, would wait for the same cores most of the time.
_THREADS = ThreadpoolController()
_LEAST_PIVOT = 1e-12  # of the largest: a system with a smaller one is ill-conditioned


class Moments:
    """First and second moments of variables, summed up chunk by chunk in float64.

    Attributes:
        count: Number of samples.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sums: np.ndarray | float = 0.0
        self._products: np.ndarray | float = 0.0

    def add(self, rows: np.ndarray) -> None:
        """Adds samples, array [blocks, samples, variables]."""
        rows = rows.astype("float64", copy=False)
        self.count += rows.shape[1]
        self._sums = self._sums + rows.sum(axis=1)
        self._products = self._products + rows.swapaxes(1, 2) @ rows

    def centered(self, intercept: bool) -> tuple[np.ndarray, np.ndarray]:
        """Means and covariances, for equations with an intercept, which takes the means away.

        Args:
            intercept: Whether there is one. Without, the means are 0 and the second moments are
                about 0.

        Returns:
            Tuple of arrays [blocks, variables] and [blocks, variables, variables].
        """
        means = self._sums / self.count
        if not intercept:
            return np.zeros_like(means), self._products / self.count
        return means, self._products / self.count - means[:, :, None] * means[:, None, :]


class Unsolvable(ValueError):
    """The equations do not determine the weights; the message says why."""


class LeftOut(dict[str, str]):
    """Maps the path of every layer that keeps inherited weights to the reason."""

    def add(self, path: str, reason: object) -> None:
        """Adds a layer, the first time with a warning."""
        if path not in self:
            warnings.warn(f"Layer '{path}' keeps its inherited weights: {reason}.", stacklevel=3)
        self[path] = str(reason)


def check_options(ridge: float, samples: int | None, memory_limit: int) -> None:
    """Checks the options of a fit.

    Raises:
        ValueError: If one is out of range.
    """
    if not (np.isfinite(ridge) and ridge >= 0):
        raise ValueError(f"`ridge` must be a number of at least 0. Received: ridge={ridge!r}")
    if samples is not None and not samples > 0:
        raise ValueError(f"`samples` must be above 0, or None. Received: samples={samples!r}")
    if not memory_limit > 0:
        raise ValueError(
            f"`memory_limit` must be a number of bytes above 0. Received: {memory_limit!r}"
        )


def solve(gram: np.ndarray, cross: np.ndarray, count: int, ridge: float) -> np.ndarray:
    """Solves (gram + eps I) x = cross, eps being `ridge` times the mean of gram's diagonal.

    Args:
        gram: Second moments of the inputs [blocks, inputs, inputs].
        cross: Second moments of inputs and targets [blocks, inputs, outputs].
        count: Number of samples behind them.
        ridge: Float, not negative.

    Returns:
        Array [blocks, inputs, outputs].

    Raises:
        Unsolvable: If there are no more samples than inputs, moments are not finite, or the system
            is ill-conditioned.
    """
    inputs = gram.shape[1]
    if count <= inputs:
        raise Unsolvable(f"too few samples: {count} for {inputs} inputs; give more images")
    if not (np.isfinite(gram).all() and np.isfinite(cross).all()):
        raise Unsolvable("its inputs or outputs are not finite")
    scale = np.trace(gram, axis1=1, axis2=2)[:, None, None] / inputs
    # Where all inputs are always zero, so are the second moments with the targets: nothing to do.
    dead = scale <= 0
    scale = np.where(dead, 1, scale)
    system = gram / scale + np.where(dead, 1, ridge) * np.eye(inputs)
    # The largest eigenvalue is at most the trace, the smallest at least the ridge.
    with _THREADS.limit(limits=1, user_api="blas"):
        if ridge < _LEAST_PIVOT * inputs and _smallest_pivot(system) < _LEAST_PIVOT:
            raise Unsolvable(
                f"ill-conditioned: some of its {inputs} inputs follow from others; raise `ridge` "
                f"above {ridge:g}"
            )
        return np.linalg.solve(system, cross / scale)


def _smallest_pivot(system: np.ndarray) -> float:
    """The smallest pivot of the Cholesky decompositions, relative to the largest of each."""
    try:
        factors = np.linalg.cholesky(system)
    except np.linalg.LinAlgError:
        return 0.0
    pivots = np.diagonal(factors, axis1=1, axis2=2) ** 2
    return float((pivots.min(axis=1) / pivots.max(axis=1)).min())
