"""Greedy narrowing by measured sensitivity.

Yang et al., "NetAdapt: Platform-Aware Neural Network Adaptation for Mobile Applications" (ECCV
2018, arXiv 1804.03230).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfrcp.allocation.base import Allocation, Problem
from tfrcp.arguments import check_int


class Greedy(Allocation):
    """Narrows in some rounds the group that costs least.

    A round removes an equal part of the cost that is to go, at least: for each group the widest
    count is found that does so on its own, the network is scored, and the best of these networks is
    where the next round begins. The paper fine-tunes each of them for a moment; here they inherit
    and are reconstructed, as every candidate of every method is, where `score` measures them.
    Without a `score` it is the sum of the scores of the channels that are kept, those of each group
    divided by their root mean square. The paper also lets the step shrink from round to round; here
    it stays.

    Args:
        rounds: Number of rounds.
    """

    ranks = True

    def __init__(self, rounds: int = 10) -> None:
        check_int("rounds", rounds, 1)
        self.rounds = rounds

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {"rounds": self.rounds}

    def allocate(self, problem: Problem) -> np.ndarray:
        """The channel vector, int64 array [prunable groups]."""
        score = problem.score or _kept_scores(problem)
        least, most = problem.bounds.ranges[problem.budget.target]
        middle = (least + most) / 2
        vector = problem.space.largest.copy()
        cost = problem.spent(vector[None])[0]
        stride = (cost - middle) / self.rounds
        while cost > most:
            goal = min(max(cost - stride, middle), cost - 1 if cost > 1 else cost)
            candidates = list(_narrowed(problem, vector, goal))
            if not candidates:  # No group on its own: what is left to go is shared.
                break
            scores = [score(candidate) for candidate in candidates]
            vector = candidates[int(np.argmax(scores))]
            cost = problem.spent(vector[None])[0]
        return problem.projected(vector)


def _kept_scores(problem: Problem):
    """A function of a channel vector to the sum of the scores that it keeps."""
    sums = []
    for group in problem.graph.prunable:
        scores = np.sort(np.asarray(problem.scores[group.name], dtype=float))[::-1]
        scores = scores / (np.sqrt(np.mean(scores**2)) or 1.0)
        sums.append(np.concatenate([[0.0], scores.cumsum()]))
    return lambda channels: float(sum(s[n] for s, n in zip(sums, channels, strict=True)))


def _narrowed(problem: Problem, vector: np.ndarray, goal: float) -> Iterator[np.ndarray]:
    """Yields the vectors that meet the goal by narrowing one block as little as possible."""
    for block in problem.space.blocks:
        options = block.options[(block.options < vector[block.columns]).any(axis=1)]
        if not len(options):
            continue
        tried = np.repeat(vector[None], len(options), axis=0)
        tried[:, block.columns] = options
        fits = np.flatnonzero(problem.spent(tried) <= goal)
        if len(fits):
            yield tried[fits[-1]]
