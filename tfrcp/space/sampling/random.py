"""Uniform draws from all channel vectors that meet a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.sampling.chains import Chains
from tfrcp.space.sampling.drawing import DrawingSampler
from tfrcp.space.space import SearchSpace

if TYPE_CHECKING:
    from tfrcp.deployment.latency_model import LatencyModel

_CHAINS = 512
_MAX_DRAWS = 200 * _CHAINS


class RandomSampler(DrawingSampler):
    """Random channel vectors, uniform over all that the space allows and the budget accepts.

    Plain rejection hardly ever hits a narrow window, because the cost of many independent widths
    concentrates. So Markov chains draw from p(c) ~ exp(-tilt x F(c)), F being the MACs, by
    Gibbs sampling: F is a quadratic form of the widths, so that its conditional distributions are
    discrete and cheap. The tilt is found by Newton steps such that the mean of F meets the target;
    further costs that are bounded have tilts of their own. Draws inside the window are kept, with a
    probability that undoes what is left of the tilt there. Successive draws of a chain are not
    independent, only nearly so: `effective_size` says how nearly.

    The n-th vector depends on the space, the budget and the seed alone.

    Args:
        space: The allowed channel counts.
        cost: The cost model of the same graph.
        budget: The budget.
        seed: Int. Defaults to 0.
        latency: See `Sampler`.

    Attributes:
        attempts: Number of vectors drawn so far.
        accepted: How many of them met the budget.

    Raises:
        ValueError: If the budget cannot be met by any vector of the space.
    """

    def __init__(
        self,
        space: SearchSpace,
        cost: CostModel,
        budget: Budget,
        seed: int = 0,
        *,
        latency: LatencyModel | None = None,
    ) -> None:
        super().__init__(space, cost, budget, seed, max_draws=_MAX_DRAWS, latency=latency)
        self._forms = cost.forms._asdict() | ({"latency": latency.form} if latency else {})
        self._chains: Chains | None = None
        self._correlations: list[float] = []

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
    spread = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    return float(((x * y).sum(axis=0) / np.maximum(spread, 1e-12)).max())
