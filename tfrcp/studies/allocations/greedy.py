"""Greedy narrowing by measured sensitivity.

Yang et al., "NetAdapt: Platform-Aware Neural Network Adaptation for Mobile Applications" (ECCV
2018, arXiv 1804.03230).
"""

from __future__ import annotations

import numpy as np

from tfrcp.studies.allocations.base import Step, deterministic, into_window

_ROUNDS = 10


@deterministic
def greedy(step: Step) -> np.ndarray:
    """Narrows in ten rounds the group that costs least accuracy.

    A round removes the tenth part of the multiply-adds that are to go, at least: for each group the
    widest count is found that does so on its own, the network is scored, and the best of these
    networks is where the next round begins. The paper fine-tunes each of them for a moment; here
    they inherit and are updated, as every candidate of every method is. It also lets the step
    shrink from round to round; here it stays.

    Args:
        step: The inputs.

    Returns:
        int64 array [prunable groups].
    """
    least, most = step.budget.window(step.cost.full.flops)
    vector = step.space.largest.copy()
    cost = step.cost(vector).flops[0]
    stride = (cost - (least + most) / 2) / _ROUNDS
    while cost > most:
        goal = max(cost - stride, (least + most) / 2)
        candidates = list(_narrowed(step, vector, min(goal, cost - 1)))
        if not candidates:  # No group on its own: what is left to go is shared.
            break
        scores = [step.score(candidate) for candidate in candidates]
        vector = candidates[int(np.argmax(scores))]
        cost = step.cost(vector).flops[0]
    return into_window(step, vector)


def _narrowed(step: Step, vector: np.ndarray, goal: float):
    """Yields the vectors that meet the goal by narrowing one block as little as possible."""
    for block in step.space.blocks:
        options = block.options[(block.options < vector[block.columns]).any(axis=1)]
        if not len(options):
            continue
        tried = np.repeat(vector[None], len(options), axis=0)
        tried[:, block.columns] = options
        fits = np.flatnonzero(step.cost(tried).flops <= goal)
        if len(fits):
            yield tried[fits[-1]]
