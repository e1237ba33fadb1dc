"""Samplers: which channel vectors are tried. NumPy only."""

from __future__ import annotations

from collections import deque

import numpy as np

from tfrcp.cost import CostModel
from tfrcp.space import Budget, SearchSpace

_CHAINS = 512
_WARM_UP = 40
_PATIENCE = 200


class RandomSampler:
    """Random channel vectors, uniform over all that the space allows and the budget accepts.

    Plain rejection hardly ever hits a narrow window, because the cost of many independent widths
    concentrates. So Markov chains draw from p(c) ~ exp(-tilt x F(c)), F being the multiply-adds, by
    Gibbs sampling: F is a polynomial of low order in every single width, so that its conditional
    distributions are discrete and cheap. The tilt is found by Newton steps such that the mean of F
    meets the target. Draws inside the window are kept, with a probability that undoes what is
    left of the tilt there. Successive draws of a chain are not independent, only nearly so.

    The n-th vector depends on the space, the budget and the seed alone, not on how many are asked
    for at a time.

    Args:
        space: The allowed channel counts.
        cost: The cost model of the same graph.
        budget: The budget.
        seed: Int. Defaults to 0.

    Attributes:
        attempts: Number of vectors drawn so far.
        accepted: How many of them met the budget.

    Raises:
        ValueError: If the budget cannot be met by any vector of the space.
    """

    def __init__(self, space: SearchSpace, cost: CostModel, budget: Budget, seed: int = 0) -> None:
        self.space, self.cost, self.budget = space, cost, budget
        self.attempts = self.accepted = 0
        self._low, self._high = budget.window(cost.full.flops)
        self._params_limit = budget.params_limit(cost.full.params)
        self._check_reachable()
        self._random = np.random.default_rng(seed)
        self._seen: set[bytes] = set()
        self._ready: deque[np.ndarray] = deque()
        self._chains: _Chains | None = None

    @property
    def acceptance(self) -> float:
        """Share of the drawn vectors that met the budget."""
        return self.accepted / max(self.attempts, 1)

    def suggest(self, count: int) -> np.ndarray:
        """The next channel vectors, none of which was suggested before.

        Args:
            count: How many.

        Returns:
            int64 array [count, prunable groups].

        Raises:
            ValueError: If so many distinct vectors that meet the budget could not be found.
        """
        barren = 0
        while len(self._ready) < count:
            barren = 0 if self._draw() else barren + 1
            if barren >= _PATIENCE:
                raise ValueError(
                    f"Found {len(self._seen)} distinct channel vectors that meet {self.budget}, "
                    f"and no further one in {barren * _CHAINS} draws. Ask for fewer, or widen the "
                    f"tolerance or the ratios. {self._range()}"
                )
        return np.array([self._ready.popleft() for _ in range(count)]).reshape(count, -1)

    def _draw(self) -> int:
        """One sweep of all chains. Returns the number of new vectors."""
        if self._chains is None:
            self._chains = _Chains(self.space, self.cost, self._random)
            self._chains.tilt_to((self._low + self._high) / 2)
        chains = self._chains
        chains.sweep()
        costs = self.cost(chains.state)
        fits = (costs.flops >= self._low) & (costs.flops <= self._high)
        if self._params_limit is not None:
            fits &= costs.params <= self._params_limit
        self.attempts += len(fits)
        self.accepted += int(fits.sum())
        reference = self._high if chains.tilt > 0 else self._low
        weight = np.exp(np.minimum(chains.tilt * (costs.flops - reference) / chains.unit, 0))
        fits &= self._random.random(len(fits)) < weight
        before = len(self._seen)
        for vector in chains.state[fits]:
            key = vector.tobytes()
            if key not in self._seen:
                self._seen.add(key)
                self._ready.append(vector)
        return len(self._seen) - before

    def _check_reachable(self) -> None:
        ends = self.cost(np.stack([self.space.smallest, self.space.largest]))
        if ends.flops[0] > self._high or ends.flops[1] < self._low:
            raise ValueError(f"{self.budget} cannot be met. {self._range()}")
        if self._params_limit is not None and ends.params[0] > self._params_limit:
            raise ValueError(f"{self.budget} cannot be met. {self._range()}")

    def _range(self) -> str:
        ends = self.cost(np.stack([self.space.smallest, self.space.largest]))
        full = self.cost.full
        return (
            f"The space reaches {ends.flops[0]:,} to {ends.flops[1]:,} multiply-adds "
            f"({ends.flops[0] / full.flops:.3f} to {ends.flops[1] / full.flops:.3f} of the "
            f"unpruned {full.flops:,}) and {ends.params[0]:,} to {ends.params[1]:,} weights "
            f"({ends.params[0] / full.params:.3f} to {ends.params[1] / full.params:.3f})."
        )


class _Chains:
    """Gibbs sampling of channel vectors from exp(-tilt x F(c) / unit)."""

    def __init__(self, space: SearchSpace, cost: CostModel, random: np.random.Generator) -> None:
        self._choices, self._random = space.choices, random
        self.unit, self.tilt = cost.full.flops, 0.0
        self.state = np.stack([random.choice(c, _CHAINS) for c in space.choices], axis=1)
        left, right = cost.flops_terms
        self._terms = []
        for group in range(len(space.choices)):
            rows = np.flatnonzero((left[:, group] != 0) | (right[:, group] != 0))
            self._terms.append((rows, left[rows, group], right[rows, group]))
        self._left, self._right = left, right

    def sweep(self) -> None:
        """Draws every width anew, given the others."""
        ones = np.ones((_CHAINS, 1))
        state = np.concatenate([self.state, ones], axis=1)
        left, right = state @ self._left.T, state @ self._right.T
        for group, (rows, a, b) in enumerate(self._terms):
            choices = self._choices[group]
            if len(choices) == 1:
                continue
            old = self.state[:, group, None]
            slope = (left[:, rows] - a * old) @ b + (right[:, rows] - b * old) @ a
            energy = (slope[:, None] * choices + (a @ b) * choices**2) * (self.tilt / self.unit)
            weights = np.exp(energy.min(axis=1, keepdims=True) - energy)
            edges = weights.cumsum(axis=1)
            target = self._random.random((_CHAINS, 1)) * edges[:, -1:]
            new = choices[(edges < target).sum(axis=1)]
            step = (new - self.state[:, group])[:, None]
            left[:, rows] += step * a
            right[:, rows] += step * b
            self.state[:, group] = new

    def tilt_to(self, target: float) -> None:
        """Sets the tilt such that the mean of F meets the target, by damped Newton steps.

        The derivative of the mean of F by the tilt is minus its variance.
        """
        history = []
        for step in range(_WARM_UP):
            flops = self._flops()
            spread = flops.std() + 1e-6
            change = (flops.mean() - target / self.unit) / spread**2
            self.tilt += float(np.clip(change, -1 / spread, 1 / spread)) * (1 if step < 20 else 0.3)
            history.append(self.tilt)
            self.sweep()
        self.tilt = float(np.mean(history[-10:]))
        for _ in range(5):
            self.sweep()

    def _flops(self) -> np.ndarray:
        state = np.concatenate([self.state, np.ones((_CHAINS, 1))], axis=1)
        return ((state @ self._left.T) * (state @ self._right.T)).sum(axis=1) / self.unit
