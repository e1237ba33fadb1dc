"""Gibbs sampling of channel vectors whose costs lie around given values."""

from __future__ import annotations

import numpy as np

from tfrcp.space.space import Block, SearchSpace

_WARM_UP = 40


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
        self._blocks = [block for block in space.blocks if len(block.options) > 1]
        self._vectors = np.ones((count, len(space.choices) + 1))
        self._vectors[:, :-1] = space.largest
        units = [float(v @ form @ v) for form in forms for v in self._vectors[:1]]
        for block in self._blocks:
            self._vectors[:, block.columns] = random.choice(block.options, count)
        self._forms = [form / unit for form, unit in zip(forms, units, strict=True)]
        self._ranges = [(a / unit, b / unit) for (a, b), unit in zip(ranges, units, strict=True)]
        self._tilts = np.zeros(len(forms))
        self._tilt()

    @property
    def state(self) -> np.ndarray:
        """The chains' vectors, int64 array [chains, groups]."""
        return self._vectors[:, :-1].astype("int64")

    def sweep(self) -> None:
        """Draws every width anew, given the others."""
        form = np.tensordot(self._tilts, self._forms, 1)
        slopes = form + form.T
        for block in self._blocks:
            columns = block.columns
            own = self._vectors[:, columns]
            slope = self._vectors @ slopes[:, columns] - own @ slopes[np.ix_(columns, columns)]
            self._vectors[:, columns] = self._draw(block, slope, form[np.ix_(columns, columns)])

    def _draw(self, block: Block, slope: np.ndarray, form: np.ndarray) -> np.ndarray:
        """Options of a block, [chains, groups of the block], drawn from exp(-energy).

        Args:
            block: The block.
            slope: Float array [chains, groups of the block]: energy per channel.
            form: Float array [groups of the block, groups of the block]: energy per product of two.
        """
        options = block.options
        uniform = self._random.random(len(slope))
        steps = np.diff(options[:, 0])
        if options.shape[1] == 1 and not form.any() and (steps == steps[0]).all():
            picks = _geometric(slope[:, 0] * steps[0], len(options), uniform)
        else:
            energy = slope @ options.T + np.einsum("ki,ij,kj->k", options, form, options)
            edges = np.exp(energy.min(axis=1, keepdims=True) - energy).cumsum(axis=1)
            picks = (edges < uniform[:, None] * edges[:, -1:]).sum(axis=1)
        return options[picks]

    def weights(self) -> np.ndarray:
        """Probability with which each vector is kept, so that those in the ranges are uniform."""
        energy = np.zeros(len(self._vectors))
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
        return [((self._vectors @ form) * self._vectors).sum(axis=1) for form in self._forms]


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
