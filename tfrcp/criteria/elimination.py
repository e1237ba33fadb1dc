"""Backward elimination of a layer's inputs, the others making up for each that goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from threadpoolctl import ThreadpoolController

_THREADS = ThreadpoolController()
_LEAST_RIDGE = 1e-9
_ROUNDS = 16  # a sixteenth of the channels that are left goes at a time


class Reader(Protocol):
    """A layer that reads the channels that are removed."""

    def losses(self, alive: np.ndarray) -> np.ndarray:
        """What the removal of each channel alone costs, with what is left of the others.

        Args:
            alive: int array [n] of channels.

        Returns:
            Float array [n]: half the weighted sum over outputs of the mean squared errors.
        """

    def remove(self, channels: np.ndarray) -> None:
        """Removes channels, int array [n]."""


class Elimination:
    """A layer whose other inputs make up for what is removed.

    Args:
        matrix: The kernel [blocks, inputs, outputs].
        gram: Second moments of the inputs [blocks, inputs, inputs].
        weights: What a squared error of an output costs, float array [blocks, outputs].
        places: int array [channels, k]: the inputs of each channel.
        ridge: Float, not negative, relative to the mean of gram's diagonal.
    """

    def __init__(
        self,
        matrix: np.ndarray,
        gram: np.ndarray,
        weights: np.ndarray,
        places: np.ndarray,
        *,
        ridge: float,
    ) -> None:
        self._matrix, self._weights, self._places = matrix, weights, places
        scale = np.trace(gram, axis1=1, axis2=2) / gram.shape[1]
        eps = np.where(scale > 0, max(ridge, _LEAST_RIDGE) * scale, 1.0)[:, None, None]
        with _THREADS.limit(limits=1, user_api="blas"):
            self._inverse = np.linalg.inv(gram + eps * np.eye(gram.shape[1]))

    def losses(self, alive: np.ndarray) -> np.ndarray:
        """See `Reader`."""
        places = self._places[alive]
        inner = self._inverse[:, places[:, :, None], places[:, None, :]]  # [blocks, n, k, k]
        rows = self._matrix[:, places]  # [blocks, n, k, outputs]
        changes = np.linalg.solve(inner, rows)
        return np.einsum("bnko,bnko,bo->n", rows, changes, self._weights, optimize=True) / 2

    def remove(self, channels: np.ndarray) -> None:
        """See `Reader`."""
        gone = self._places[channels].reshape(-1)
        inverse, matrix = self._inverse, self._matrix
        kept = np.setdiff1d(np.arange(matrix.shape[1]), gone)
        across = inverse[:, kept[:, None], gone]
        with _THREADS.limit(limits=1, user_api="blas"):
            share = across @ np.linalg.inv(inverse[:, gone[:, None], gone])
            self._matrix = matrix[:, kept] - share @ matrix[:, gone]
            self._inverse = inverse[:, kept[:, None], kept] - share @ across.swapaxes(1, 2)
        moved = np.full(matrix.shape[1], -1)
        moved[kept] = np.arange(len(kept))
        self._places = moved[self._places]


class Fixed:
    """A layer with too many inputs for that: each channel costs what it contributes.

    Args:
        matrix: The kernel [blocks, inputs, outputs].
        rows: Inputs about their means [blocks, samples, inputs].
        weights: What a squared error of an output costs, float array [blocks, outputs].
        places: int array [channels, k]: the inputs of each channel.
    """

    def __init__(
        self, matrix: np.ndarray, rows: np.ndarray, weights: np.ndarray, places: np.ndarray
    ) -> None:
        self._losses = np.array(
            [
                (((rows[:, :, own] @ matrix[:, own]) ** 2).mean(axis=1) * weights).sum() / 2
                for own in places
            ]
        )

    def losses(self, alive: np.ndarray) -> np.ndarray:
        """See `Reader`."""
        return self._losses[alive]

    def remove(self, channels: np.ndarray) -> None:
        """See `Reader`."""


def eliminate(layers: Sequence[Reader], size: int) -> np.ndarray:
    """Removes the channels that several layers read, the cheapest first, down to one.

    Args:
        layers: The layers, new ones.
        size: Number of channels.

    Returns:
        Float array [size]: what each cost when it was removed, never less than what went before;
        the one that is left counts twice as much as the last.
    """
    alive, scores, last = np.arange(size), np.zeros(size), 0.0
    while len(alive) > 1:
        costs = sum(layer.losses(alive) for layer in layers)
        order = np.argsort(costs, kind="stable")[: max(1, len(alive) // _ROUNDS)]
        gone = alive[order]
        # The least step keeps the order where costs are equal.
        for channel, cost in zip(gone, costs[order], strict=True):
            last = max(cost, np.nextafter(last, np.inf))
            scores[channel] = last
        for layer in layers:
            layer.remove(gone)
        alive = np.delete(alive, order)
    scores[alive] = 2 * last
    return scores
