"""Reinforcement learning: an agent that walks through the network and is paid in accuracy.

He et al., "AMC: AutoML for Model Compression and Acceleration on Mobile Devices" (ECCV 2018, arXiv
1802.03494), learn a deterministic policy by DDPG, with a replay buffer and two networks, in some
hundreds of episodes. With as few episodes as a search scores candidates here a critic learns
nothing, so the policy gradient is estimated without one: REINFORCE (Williams, "Simple Statistical
Gradient-Following Algorithms for Connectionist Reinforcement Learning", Machine Learning 8, 1992)
over the same states, actions and reward.
"""

from __future__ import annotations

import numpy as np

from tfrcp.allocation.base import nearest
from tfrcp.studies.allocations.base import Step, meet_budget

_RATE = 0.3  # of the gradient, whose advantages have a standard deviation of 1
_NOISE = 0.6  # standard deviation of an action, before the sigmoid
_FORGETTING = 0.8  # of the baseline


def reinforcement(step: Step) -> np.ndarray:
    """The best of `step.samples` episodes of a policy gradient.

    An episode goes from the first group to the last. The state of a group is AMC's: its place, its
    size, its share of the cost, what has been pruned so far and the action before. The action is
    the share of channels to keep, the sigmoid of a normal variable whose mean is linear in the
    state. A common factor brings the shares onto the budget, where AMC bounds the actions. The
    reward of all actions is the accuracy.
    """
    random = np.random.default_rng(step.seed)
    policy = _Policy(step, random)
    best, best_reward, baseline, spread = None, -np.inf, None, 0.0
    for _ in range(step.samples):
        ratios, gradient = policy.episode()
        vector = _on_budget(step, ratios)
        reward = step.score(vector)
        if reward > best_reward:
            best, best_reward = vector, reward
        if baseline is None:
            baseline = reward
            continue
        advantage = reward - baseline
        spread = max(_FORGETTING * spread, abs(advantage))
        if spread:
            policy.weights += _RATE * advantage / spread * gradient
        baseline = _FORGETTING * baseline + (1 - _FORGETTING) * reward
    return best


class _Policy:
    """Means of actions, linear in the state.

    Attributes:
        weights: Float array [features].
    """

    def __init__(self, step: Step, random: np.random.Generator) -> None:
        graph, self._random = step.space.graph, random
        full = graph.full
        # What a group costs: what is saved by halving it alone.
        halves = np.tile(full, (len(full), 1))
        np.fill_diagonal(halves, np.maximum(full // 2, 1))
        saved = step.cost(full[None]).flops[0] - step.cost(halves).flops
        self._shares = saved / saved.sum()
        count = len(full)
        self._fixed = np.stack(
            [
                np.ones(count),
                np.linspace(-1, 1, count) if count > 1 else np.zeros(1),
                np.log(full) - np.log(full).mean(),
                self._shares * count - 1,
            ],
            axis=1,
        )
        self.weights = np.zeros(self._fixed.shape[1] + 2)

    def episode(self) -> tuple[np.ndarray, np.ndarray]:
        """Ratios of all groups, and the gradient of their log-likelihood in the weights."""
        gradient, ratios = np.zeros_like(self.weights), np.empty(len(self._fixed))
        pruned, before = 0.0, 0.5
        for group, fixed in enumerate(self._fixed):
            state = np.array([*fixed, pruned, before - 0.5])
            noise = _NOISE * self._random.normal()
            ratios[group] = before = 1 / (1 + np.exp(-(state @ self.weights + noise)))
            gradient += noise / _NOISE**2 * state / len(ratios)
            pruned += (1 - before) * self._shares[group]
        return ratios, gradient


def _on_budget(step: Step, ratios: np.ndarray) -> np.ndarray:
    """The channel vector of ratios times a common factor that meets the budget."""
    return meet_budget(
        step,
        lambda factor: nearest(step.space, np.minimum(factor * ratios, 1)),
        1 / ratios.min(),
    )
