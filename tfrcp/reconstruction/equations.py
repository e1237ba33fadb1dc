"""Linear equations of one layer: streamed sums in float64, and their regularized solution.

All arrays begin with an axis of blocks: a layer that mixes all its inputs has one block, a grouped
or depthwise convolution has one for each group or channel, solved each on its own.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np

from tfrcp.arguments import check_number
from tfrcp.reconstruction.solving import Unsolvable, solve, solve_samples

_WIDE = 128  # inputs from which products are formed in float32
_LEAST_SAMPLES, _MOST_SAMPLES = 1024, 4096  # of such a product
_AT_ONCE = 2**22  # bytes of inputs of small blocks that are cast and multiplied at a time
LEAST_RIDGE = 1e-6
"""The ridge from which products are formed in float32."""


class Moments:
    """Samples of a layer's inputs and targets, added chunk by chunk.

    They are kept as they are while they are no more than the inputs, and as second moments, summed
    up in float64, beyond.

    Args:
        fast: Whether products of wide float32 inputs are formed in float32, of some thousand
            samples at a time, about the mean of the first samples. What that rounds is far below a
            ridge of 1e-6.
        limit: Bytes that second moments may take. Where they take more, the first samples are kept,
            as many as fit into half of it (`most`), and the others ignored.

    Attributes:
        count: Number of samples that are used.
        ignored: Number of samples that are not.
    """

    def __init__(self, limit: float = np.inf, *, fast: bool = False) -> None:
        self.count = self.ignored = 0
        self._limit, self._fast = limit, fast
        self._rows: list[tuple[np.ndarray, np.ndarray]] = []
        self._waiting = 0
        self._origins: tuple[Any, Any] = (0.0, 0.0)  # what sums and products are about
        self._sums: tuple[Any, Any] = (0.0, 0.0)
        self._products: tuple[Any, Any] | None = None

    def most(self, blocks: int, inputs: int, outputs: int) -> int | None:
        """How many samples of so many values fit; `None` if their number does not matter."""
        bytes_of_a_sample = 8 * blocks * (inputs + outputs)
        if inputs * bytes_of_a_sample <= self._limit:
            return None
        return int(self._limit // (2 * bytes_of_a_sample))

    def add(self, x: np.ndarray, y: np.ndarray | None = None) -> None:
        """Adds samples.

        Args:
            x: Inputs, array [blocks, samples, inputs].
            y: Targets, array [blocks, samples, outputs]; none by default.
        """
        blocks, size, inputs = x.shape
        y = np.zeros((blocks, size, 0), "float32") if y is None else y
        most = self.most(blocks, inputs, y.shape[2])
        if most is not None:
            left = max(0, most - self.count)
            self.ignored += max(0, size - left)
            x, y = x[:, :left], y[:, :left]
        self.count += x.shape[1]
        self._waiting += x.shape[1]
        self._rows.append((x, y))
        enough = 0 if self._products is None else _LEAST_SAMPLES
        if most is None and self.count > inputs and self._waiting >= enough:
            self._collapse()

    def equations(self, intercept: bool) -> Equations:
        """The equations of all samples.

        Args:
            intercept: Whether there is one, which takes the means away. Without, the means are 0
                and the second moments are about 0.

        Raises:
            Unsolvable: If the limit leaves room for less than two samples.
        """
        if self.count < 2:
            raise Unsolvable("`memory_limit` leaves no room for two samples of its inputs")
        if self._products is None:
            x, y = (
                np.concatenate(parts, axis=1).astype("float64")
                for parts in zip(*self._rows, strict=True)
            )
            means, targets = (
                a.mean(axis=1) if intercept else np.zeros((len(a), a.shape[2])) for a in (x, y)
            )
            x, y = x - means[:, None], y - targets[:, None]
            return Equations(self.count, means, targets, x, y)
        self._collapse()
        (x, y), (means, targets) = self._origins, (s / self.count for s in self._sums)
        gram, cross = (p / self.count for p in self._products)
        gram -= means[:, :, None] * means[:, None, :]
        cross -= means[:, :, None] * targets[:, None, :]
        means, targets = x + means, y + targets
        if not intercept:
            gram += means[:, :, None] * means[:, None, :]
            cross += means[:, :, None] * targets[:, None, :]
            means, targets = np.zeros_like(means), np.zeros_like(targets)
        return Equations(self.count, means, targets, None, None, gram, cross)

    def _collapse(self) -> None:
        """Adds the samples that wait to the sums and second moments."""
        while self._rows:
            x, y = self._rows.pop()
            fast = self._fast and x.dtype == "float32" and x.shape[2] >= _WIDE
            if fast and x.shape[1] < _LEAST_SAMPLES and self._rows:  # few large products
                parts = zip((x, y), *self._rows, strict=True)
                x, y = (np.concatenate(list(part), axis=1) for part in parts)
                self._rows.clear()
            dtype = "float32" if fast else "float64"
            if self._products is None:
                self._begin(x, y, about_means=fast)
            step = _MOST_SAMPLES if fast else max(1, x.shape[1])
            few = max(1, _AT_ONCE // (8 * max(1, x[0].size)))
            for start in range(0, x.shape[1], step):
                for first in range(0, len(x), few):
                    blocks = slice(first, first + few)
                    some = [
                        a[blocks, start : start + step].astype(dtype, copy=False) for a in (x, y)
                    ]
                    if fast:
                        about = (origin[blocks, None] for origin in self._origins)
                        some = [a - origin for a, origin in zip(some, about, strict=True)]
                    across = some[0].swapaxes(1, 2)
                    for values, total, product in zip(
                        some, self._sums, self._products, strict=True
                    ):
                        total[blocks] += values.sum(axis=1, dtype="float64")
                        product[blocks] += across @ values
        self._waiting = 0

    def _begin(self, x: np.ndarray, y: np.ndarray, *, about_means: bool) -> None:
        """Makes room for sums and products, and chooses what they are about."""
        (blocks, _, inputs), outputs = x.shape, y.shape[2]
        self._origins = tuple(
            a.mean(axis=1, dtype="float64").astype("float32")
            if about_means
            else np.zeros((blocks, a.shape[2]))
            for a in (x, y)
        )
        self._sums = np.zeros((blocks, inputs)), np.zeros((blocks, outputs))
        self._products = np.zeros((blocks, inputs, inputs)), np.zeros((blocks, inputs, outputs))


@dataclasses.dataclass(frozen=True, eq=False)
class Equations:
    """Linear equations of one layer: either samples, or their second moments.

    Attributes:
        count: Number of samples.
        means: Means of the inputs [blocks, inputs].
        targets_mean: Means of the targets [blocks, outputs].
        rows: Inputs about their means [blocks, samples, inputs]; `None` beside second moments.
        targets: Targets likewise [blocks, samples, outputs].
        gram: Second moments of the inputs [blocks, inputs, inputs]; `None` beside samples.
        cross: Second moments of inputs and targets [blocks, inputs, outputs].
    """

    count: int
    means: np.ndarray
    targets_mean: np.ndarray
    rows: np.ndarray | None
    targets: np.ndarray | None
    gram: np.ndarray | None = None
    cross: np.ndarray | None = None

    def change(self, ridge: float) -> np.ndarray:
        """The weights that give the targets, array [blocks, inputs, outputs].

        Raises:
            Unsolvable: As of `solve` and `solve_samples`.
        """
        if self.rows is not None:
            return solve_samples(self.rows, self.targets, ridge)
        return solve(self.gram, self.cross, ridge)

    def regain(
        self, kept: np.ndarray, old: np.ndarray, ridge: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The change of the weights of kept inputs that makes up for the others best.

        Args:
            kept: Which inputs are kept, bool array [inputs].
            old: The weights of all [blocks, inputs, outputs].
            ridge: As of `solve`.

        Returns:
            Tuple of an array [blocks, kept inputs, outputs], and the variances of the outputs that
            the kept inputs then give [blocks x outputs].

        Raises:
            Unsolvable: As of `solve` and `solve_samples`.
        """
        lost = old[:, ~kept]
        if self.rows is not None:
            rows = self.rows[:, :, kept]
            change = solve_samples(rows, self.rows[:, :, ~kept] @ lost, ridge)
            outputs = rows @ (old[:, kept] + change)
            return change, np.square(outputs).mean(axis=1).reshape(-1)
        rows = self.gram[:, kept]
        own, cross = rows[:, :, kept], rows[:, :, ~kept] @ lost
        change = solve(own, cross, ridge)
        new = old[:, kept] + change
        return change, np.einsum("bio,bio->bo", new, own @ new).reshape(-1)

    def variances(self, matrix: np.ndarray) -> np.ndarray:
        """Variances of what inputs give with these weights.

        Args:
            matrix: Array [blocks, inputs, outputs].

        Returns:
            Array [blocks x outputs].
        """
        if self.rows is not None:
            return np.square(self.rows @ matrix).mean(axis=1).reshape(-1)
        return np.einsum("bio,bio->bo", matrix, self.gram @ matrix).reshape(-1)


def moments(limit: float, ridge: float) -> Moments:
    """Moments within a limit, as exact as a ridge asks for; see `Moments` and `solve`."""
    return Moments(limit, fast=ridge >= LEAST_RIDGE)


class LeftOut(dict[str, str]):
    """Maps the path of every layer that keeps inherited weights to the reason."""

    def add(self, path: str, reason: object) -> None:
        """Adds a layer, the first time with a warning."""
        if path not in self:
            warnings.warn(f"Layer '{path}' keeps its inherited weights: {reason}.", stacklevel=3)
        self[path] = str(reason)


def warn_of_ignored(path: str, moments: Moments) -> None:
    """Warns where a layer is fitted to some of its samples for want of memory."""
    if moments.ignored:
        warnings.warn(
            f"Layer '{path}' is fitted to {moments.count:,} of "
            f"{moments.count + moments.ignored:,} samples, as many as `memory_limit` allows.",
            stacklevel=3,
        )


def check_options(ridge: float, samples: int | None, memory_limit: int) -> None:
    """Checks the options of a fit.

    Raises:
        ValueError: If one is out of range.
    """
    check_number("ridge", ridge, "[0, inf)")
    if samples is not None:
        check_number("samples", samples, "(0, inf)")
    check_number("memory_limit", memory_limit, "(0, inf]")
