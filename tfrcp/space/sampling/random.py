"""Uniform draws from all channel vectors that meet a budget."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfrcp.space.sampling.base import Sampler
from tfrcp.space.sampling.chains import Chains
from tfrcp.space.sampling.drawing import DrawingSampler

_CHAINS = 512


@dataclasses.dataclass(eq=False, repr=False)
class RandomSampler(DrawingSampler):
    """Random channel vectors, uniform over all that the space allows and the budget accepts.

    Plain rejection hardly ever hits a narrow window, because the cost of many independent widths
    concentrates. So Markov chains draw from p(c) ~ exp(-tilt x F(c)), F being the MACs, by
    Gibbs sampling: F is a quadratic form of the widths, so that its conditional distributions are
    discrete and cheap. The tilt is found by Newton steps such that the mean of F meets the target;
    further costs that are bounded have tilts of their own. Draws inside the window are kept, with a
    probability that undoes what is left of the tilt there. Successive draws of a chain are not
    independent, only nearly so: `effective_size` says how nearly.

    The n-th vector depends on the space, the budget and the seed alone. Arguments as for `Sampler`.
    """

    _: dataclasses.KW_ONLY
    max_draws: int = 200 * _CHAINS

    def __post_init__(self) -> None:
        super().__post_init__()
        latency = {"latency": self.latency.form} if self.latency else {}
        self._forms = self.cost.forms._asdict() | latency
        self._chains: Chains | None = None
        self._correlations: list[float] = []

    @classmethod
    def like(cls, sampler: Sampler) -> RandomSampler:
        """A new one of the same space, costs, budget and seed as another sampler's."""
        arguments = sampler.space, sampler.cost, sampler.budget, sampler.seed
        return cls(*arguments, latency=sampler.latency)

    @property
    def effective_size(self) -> float:
        """Number of independent draws that the accepted ones are worth, as to single widths.

        From the correlation r between successive draws of a chain in the worst group:
        accepted x (1 - r) / (1 + r), as in an autoregressive process of order one.
        """
        r = max(float(np.mean(self._correlations or [0.0])), 0.0)
        return self.accepted * (1 - r) / (1 + r)

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """The states of all chains after a sweep, and which undo what is left of the tilt."""
        if self._chains is None:
            names = list(self.bounds.ranges)
            self._chains = Chains(
                self.space,
                [self._forms[name] for name in names],
                [self.bounds.reachable(name) for name in names],
                _CHAINS,
                self._random,
            )
        before = self._chains.state
        self._chains.sweep()
        state = self._chains.state
        self._correlations.append(_correlation(before, state))
        return state, self._random.random(len(state)) < self._chains.weights()


def _correlation(before: np.ndarray, after: np.ndarray) -> float:
    """The largest correlation of a group's width with itself one sweep before."""
    x, y = before - before.mean(axis=0), after - after.mean(axis=0)
    scale = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    return float(((x * y).sum(axis=0) / np.maximum(scale, 1e-12)).max())
