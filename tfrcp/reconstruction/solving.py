"""Regularized solutions of linear equations, in the space of inputs or of samples."""

from __future__ import annotations

import numpy as np
from threadpoolctl import ThreadpoolController

# Threads of many small solves, and TensorFlow's, would wait for the same cores most of the time.
_THREADS = ThreadpoolController()
_LEAST_PIVOT = 1e-12  # of the largest: a system with a smaller one is ill-conditioned


class Unsolvable(ValueError):
    """The equations do not determine the weights; the message says why."""


def solve_samples(rows: np.ndarray, targets: np.ndarray, ridge: float) -> np.ndarray:
    """Minimizes the mean over samples of |x W - y|^2 + eps |W|^2, where samples may be few.

    With X the n rows and T the targets, W = (X^T X / n + eps I)^-1 X^T T / n
    = X^T (X X^T / n + eps I)^-1 T / n: the smaller of both systems is solved. The second is in the
    space of samples; without a ridge it would have many solutions.

    Args:
        rows: Inputs [blocks, samples, inputs].
        targets: Array [blocks, samples, outputs].
        ridge: Float, not negative; eps is `ridge` times the mean square of the inputs.

    Returns:
        Array [blocks, inputs, outputs].

    Raises:
        Unsolvable: If there are no more samples than inputs and no ridge, samples are not finite,
            or the system is ill-conditioned.
    """
    _, count, inputs = rows.shape
    across = rows.swapaxes(1, 2)
    if count > inputs:
        return solve(across @ rows / count, across @ targets / count, ridge)
    if ridge < _LEAST_PIVOT * inputs:
        raise Unsolvable(
            f"too few samples: {count} for {inputs} inputs without a ridge; give more images or "
            f"raise `ridge` above {ridge:g}"
        )
    if not (np.isfinite(rows).all() and np.isfinite(targets).all()):
        raise Unsolvable("its inputs or outputs are not finite")
    scale = (rows**2).mean(axis=(1, 2), keepdims=True)
    scale = np.where(scale <= 0, 1, scale) * count
    with _THREADS.limit(limits=1, user_api="blas"):
        system = rows @ across / scale + ridge * np.eye(count)
        return across @ np.linalg.solve(system, targets / scale)


def solve(gram: np.ndarray, cross: np.ndarray, ridge: float) -> np.ndarray:
    """Solves (gram + eps I) x = cross, eps being `ridge` times the mean of gram's diagonal.

    Args:
        gram: Second moments of the inputs [blocks, inputs, inputs].
        cross: Second moments of inputs and targets [blocks, inputs, outputs].
        ridge: Float, not negative.

    Returns:
        Array [blocks, inputs, outputs].

    Raises:
        Unsolvable: If moments are not finite, or the system is ill-conditioned.
    """
    inputs = gram.shape[1]
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
