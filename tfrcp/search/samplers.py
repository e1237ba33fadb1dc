"""Samplers: which channel vectors are tried. NumPy only."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from tfrcp.cost import CostModel
from tfrcp.space import Budget, SearchSpace

if TYPE_CHECKING:
    from tfrcp.latency_model import LatencyModel

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
        latency: `tfrcp.LatencyModel` of the same graph, needed where the budget bounds the latency.

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
        self.space, self.cost, self.budget, self.latency = space, cost, budget, latency
        if budget.latency is not None and latency is None:
            raise ValueError(
                "A budget of latency needs `latency`, a tfrcp.LatencyModel of the same graph. "
                f"Received: {budget}, latency=None"
            )
        self._latency_window = budget.latency_window(latency.full) if latency else None
        self.attempts = self.accepted = 0
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise ValueError(f"`seed` must be an int of at least 0. Received: seed={seed!r}")
        self._low, self._high = budget.window(cost.full.flops)
        self._params_limit = budget.params_limit(cost.full.params)
        self._check_reachable()
        # What lies outside of what the space reaches means nothing.
        ends = cost(np.stack([space.smallest, space.largest]))
        self._low, self._high = max(self._low, ends.flops[0]), min(self._high, ends.flops[1])
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
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
            raise ValueError(f"`count` must be an int of at least 0. Received: count={count!r}")
        barren = 0
        while len(self._ready) < count:
            barren = 0 if self._draw() else barren + 1
            if barren >= _PATIENCE:
                raise ValueError(
                    f"Found {len(self._seen)} distinct channel vectors that meet {self.budget}, "
                    f"and no further one in {barren * _CHAINS} draws. Ask for fewer, or widen the "
                    f"tolerance or the ratios. {self._range()}"
                )
        vectors = [self._ready.popleft() for _ in range(count)]
        return np.array(vectors, dtype="int64").reshape(count, len(self.space.choices))

    def _draw(self) -> int:
        """One sweep of all chains. Returns the number of new vectors."""
        if self._chains is None:
            terms, ranges = [self.cost.flops_terms], [(self._low, self._high)]
            if self._params_limit is not None:
                terms.append(self.cost.params_terms)
                ranges.append((0, self._params_limit))
            if self._latency_window is not None:
                terms.append((self.latency.form, np.eye(len(self.latency.form))))
                ranges.append(self._latency_window)
            self._chains = _Chains(self.space, terms, self._random)
            self._chains.tilt_into(ranges)
        chains = self._chains
        chains.sweep()
        costs = self.cost(chains.state)
        fits = (costs.flops >= self._low) & (costs.flops <= self._high)
        if self._params_limit is not None:
            fits &= costs.params <= self._params_limit
        fits &= self._in_time(chains.state)
        self.attempts += len(fits)
        self.accepted += int(fits.sum())
        fits &= self._random.random(len(fits)) < chains.weights()
        before = len(self._seen)
        for vector in chains.state[fits]:
            key = vector.tobytes()
            if key not in self._seen:
                self._seen.add(key)
                self._ready.append(vector)
        return len(self._seen) - before

    def _in_time(self, channels: np.ndarray) -> np.ndarray:
        """Whether channel vectors meet the budget of latency, bool array [N]."""
        if self._latency_window is None:
            return np.ones(len(channels), dtype=bool)
        times, (low, high) = self.latency(channels), self._latency_window
        return (times >= low) & (times <= high)

    def _check_reachable(self) -> None:
        ends = self.cost(np.stack([self.space.smallest, self.space.largest]))
        if ends.flops[0] > self._high or ends.flops[1] < self._low:
            raise ValueError(f"{self.budget} cannot be met. {self._range()}")
        if self._params_limit is not None and ends.params[0] > self._params_limit:
            raise ValueError(f"{self.budget} cannot be met. {self._range()}")
        if self._latency_window is not None:
            least, most = self.latency(np.stack([self.space.smallest, self.space.largest]))
            low, high = self._latency_window
            if least > high or most < low:
                full = self.latency.full
                raise ValueError(
                    f"{self.budget} cannot be met. The space reaches {least / full:.3f} to "
                    f"{most / full:.3f} of the unpruned {full:.4g} ms per image."
                )

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
    """Gibbs sampling of channel vectors from exp(-sum over k of tilt_k x C_k(c)).

    The costs C_k are sums of products of two linear functions of the channel vector; they are
    counted in shares of their value at the largest vector.

    Args:
        space: The allowed channel counts.
        terms: For each cost its linear functions, two float arrays [T, groups + 1].
        random: Draws.
    """

    def __init__(
        self,
        space: SearchSpace,
        terms: list[tuple[np.ndarray, np.ndarray]],
        random: np.random.Generator,
    ) -> None:
        self._choices, self._random = space.choices, random
        self.state = np.stack([random.choice(c, _CHAINS) for c in space.choices], axis=1)
        largest = np.append(space.largest, 1.0)
        self._units = [float(((a @ largest) * (b @ largest)).sum()) for a, b in terms]
        self._terms = [(a, b / u) for (a, b), u in zip(terms, self._units, strict=True)]
        self._tilts = np.zeros(len(terms))
        self._ranges = [(0.0, 1.0)] * len(terms)

    def sweep(self) -> None:
        """Draws every width anew, given the others."""
        state = np.concatenate([self.state, np.ones((_CHAINS, 1))], axis=1)
        values = [(state @ a.T, state @ b.T) for a, b in self._terms]
        for group, choices in enumerate(self._choices):
            if len(choices) == 1:
                continue
            old = self.state[:, group, None]
            energy = np.zeros((_CHAINS, len(choices)))
            for tilt, (a, b), (left, right) in zip(self._tilts, self._terms, values, strict=True):
                a, b = a[:, group], b[:, group]
                slope = (left - a * old) @ b + (right - b * old) @ a
                energy += tilt * (slope[:, None] * choices + (a @ b) * choices**2)
            weights = np.exp(energy.min(axis=1, keepdims=True) - energy)
            edges = weights.cumsum(axis=1)
            target = self._random.random((_CHAINS, 1)) * edges[:, -1:]
            new = choices[(edges < target).sum(axis=1)]
            step = (new - self.state[:, group])[:, None]
            for (a, b), (left, right) in zip(self._terms, values, strict=True):
                left += step * a[:, group]
                right += step * b[:, group]
            self.state[:, group] = new

    def tilt_into(self, ranges: list[tuple[float, float]]) -> None:
        """Sets the tilts such that the mean of every cost lies in its range, by Newton steps.

        The derivative of the mean of a cost by its tilt is minus its variance. Steps are damped,
        and a mean that lies in its range already asks for none.
        """
        self._ranges = [
            (low / unit, high / unit) for (low, high), unit in zip(ranges, self._units, strict=True)
        ]
        history = []
        for step in range(_WARM_UP):
            for k, (costs, (low, high)) in enumerate(zip(self._costs(), self._ranges, strict=True)):
                mean, spread = costs.mean(), costs.std() + 1e-6
                inset = min((high - low) / 4, spread)
                change = (mean - np.clip(mean, low + inset, high - inset)) / spread**2
                damping = 1 if step < _WARM_UP / 2 else 0.3
                self._tilts[k] += np.clip(change, -1 / spread, 1 / spread) * damping
            history.append(self._tilts.copy())
            self.sweep()
        self._tilts = np.mean(history[-10:], axis=0)
        for _ in range(5):
            self.sweep()

    def weights(self) -> np.ndarray:
        """Probability with which each vector is kept, so that those in the ranges are uniform."""
        energy = np.zeros(_CHAINS)
        for tilt, costs, (low, high) in zip(self._tilts, self._costs(), self._ranges, strict=True):
            energy += np.minimum(tilt * (costs - (high if tilt > 0 else low)), 0)
        return np.exp(energy)

    def _costs(self) -> list[np.ndarray]:
        state = np.concatenate([self.state, np.ones((_CHAINS, 1))], axis=1)
        return [((state @ a.T) * (state @ b.T)).sum(axis=1) for a, b in self._terms]
