"""Gibbs sampling of channel vectors whose costs lie around given values."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfrcp.space.space import Block, SearchSpace

_WARM_UP = 40


@dataclasses.dataclass(frozen=True, eq=False)
class _Block:
    """A block of a space, and what its draws depend on.

    Attributes:
        columns: int array [groups of the block].
        options: int64 array [options, groups of the block].
        partners: int array [n], the other columns that any cost couples with the block's.
        own: Indices of the block's own entries of a form.
        coupled: Indices of the entries that couple it with its partners.
        even: Whether it is a single group with evenly spaced counts.
    """

    columns: np.ndarray
    options: np.ndarray
    partners: np.ndarray
    own: tuple[np.ndarray, ...]
    coupled: tuple[np.ndarray, ...]
    even: bool

    @classmethod
    def of(cls, block: Block, forms: list[np.ndarray]) -> _Block:
        """Looks up what is coupled with a block."""
        columns, options = block.columns, block.options
        couples = sum(
            (form[columns] != 0).any(axis=0) | (form[:, columns] != 0).any(axis=1) for form in forms
        )
        partners = np.setdiff1d(np.flatnonzero(couples), columns)
        own = np.ix_(columns, columns)
        even = len(columns) == 1 and len(np.unique(np.diff(options[:, 0]))) == 1
        return cls(columns, options, partners, own, np.ix_(columns, partners), even)

    def draw(self, slope: np.ndarray, form: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Options of the block, [groups of the block, chains], drawn from exp(-energy).

        Args:
            slope: Float array [groups of the block, chains]: energy per channel.
            form: Float array [groups of the block, groups of the block]: energy per product of two.
            uniform: Float array [chains], draws in [0, 1).
        """
        options = self.options
        if self.even and not form.any():
            step = options[1, 0] - options[0, 0]
            picks = _geometric(slope[0] * step, len(options), uniform)
        else:
            energy = slope.T @ options.T + np.einsum("ki,ij,kj->k", options, form, options)
            edges = np.exp(energy.min(axis=1, keepdims=True) - energy).cumsum(axis=1)
            picks = (edges < uniform[:, None] * edges[:, -1:]).sum(axis=1)
        return options[picks].T


class Chains:
    """Markov chains that draw from exp(-sum over k of tilt_k x C_k(c)).

    The costs C_k are quadratic forms of the channel vector with a one appended; they are counted in
    shares of their value at the largest vector. So is the exponent, and the conditional
    distribution of one width, given the others, is discrete: a truncated geometric one where the
    group is coupled with itself nowhere and its counts are evenly spaced, which is inverted in
    closed form, and else a table.

    Args:
        space: The allowed channel counts.
        forms: For each cost its float array [groups + 1, groups + 1]; see `CostModel.forms`.
        ranges: For each cost the least and largest value that is wanted.
        count: Number of chains.
        random: Draws.
    """

    def __init__(
        self,
        space: SearchSpace,
        forms: list[np.ndarray],
        ranges: list[tuple[float, float]],
        count: int,
        random: np.random.Generator,
    ) -> None:
        self._random = random
        self._blocks = [_Block.of(block, forms) for block in space.blocks if len(block.options) > 1]
        self._vectors = np.ones((len(space.choices) + 1, count))
        self._vectors[:-1] = space.largest[:, None]
        units = [float(v @ form @ v) for form in forms for v in self._vectors.T[:1]]
        for block in self._blocks:
            self._vectors[block.columns] = random.choice(block.options, count).T
        self._forms = [form / unit for form, unit in zip(forms, units, strict=True)]
        self._ranges = [(a / unit, b / unit) for (a, b), unit in zip(ranges, units, strict=True)]
        self._tilts = np.zeros(len(forms))
        self._tilt()

    @property
    def state(self) -> np.ndarray:
        """The chains' vectors, int64 array [chains, groups]."""
        return self._vectors[:-1].T.astype("int64")

    def sweep(self) -> None:
        """Draws every width anew, given the others."""
        form = np.tensordot(self._tilts, self._forms, 1)
        slopes = form + form.T
        uniform = self._random.random((len(self._blocks), self._vectors.shape[1]))
        for block, draws in zip(self._blocks, uniform, strict=True):
            slope = slopes[block.coupled] @ self._vectors[block.partners]
            self._vectors[block.columns] = block.draw(slope, form[block.own], draws)

    def weights(self) -> np.ndarray:
        """Probability with which each vector is kept, so that those in the ranges are uniform."""
        energy = np.zeros(self._vectors.shape[1])
        for tilt, costs, (low, high) in zip(self._tilts, self._costs(), self._ranges, strict=True):
            energy += np.minimum(tilt * (costs - (high if tilt > 0 else low)), 0)
        return np.exp(energy)

    def _tilt(self) -> None:
        """Sets the tilts such that the mean of every cost lies in its range, by Newton steps.

        The derivative of the mean of a cost by its tilt is minus its variance. Steps are damped,
        and a mean that lies in its range already asks for none.
        """
        history = []
        for step in range(_WARM_UP):
            for k, (costs, (low, high)) in enumerate(zip(self._costs(), self._ranges, strict=True)):
                mean, deviation = costs.mean(), costs.std() + 1e-6
                inset = min((high - low) / 4, deviation)
                change = (mean - np.clip(mean, low + inset, high - inset)) / deviation**2
                damping = 1 if step < _WARM_UP / 2 else 0.3
                self._tilts[k] += np.clip(change, -1 / deviation, 1 / deviation) * damping
            history.append(self._tilts.copy())
            self.sweep()
        self._tilts = np.mean(history[-10:], axis=0)
        for _ in range(5):
            self.sweep()

    def _costs(self) -> list[np.ndarray]:
        return [((form.T @ self._vectors) * self._vectors).sum(axis=0) for form in self._forms]


def _geometric(rates: np.ndarray, count: int, uniform: np.ndarray) -> np.ndarray:
    """Draws k in [0, count) with probabilities proportional to exp(-rate k), by inversion.

    Args:
        rates: Float array [N], of either sign.
        count: Number of outcomes.
        uniform: Float array [N], draws in [0, 1).

    Returns:
        int64 array [N].
    """
    steep = np.maximum(np.abs(rates), 1e-9)  # below it is as good as uniform
    picks = (np.log1p(uniform * np.expm1(-steep * count)) / -steep).astype("int64")
    picks = np.minimum(picks, count - 1)
    return np.where(rates < 0, count - 1 - picks, picks)
