"""Searches: the best of some channel vectors, by the accuracy before any training.

`random` is random pruning itself: Li et al., "Revisiting Random Channel Pruning for Neural Network
Compression" (CVPR 2022, arXiv 2205.05676). `evolutionary` is regularised evolution: Real et al.,
"Regularized Evolution for Image Classifier Architecture Search" (AAAI 2019, arXiv 1802.01548).
`surrogate` is Bayesian optimisation: Jones et al., "Efficient Global Optimization of Expensive
Black-Box Functions" (Journal of Global Optimization 13, 1998).
"""

from __future__ import annotations

import numpy as np

from tfrcp.allocation.starts import starting_points
from tfrcp.search import loop
from tfrcp.space.sampling import EvolutionarySampler, GuidedSampler, RandomSampler, SurrogateSampler
from tfrcp.studies.allocations.base import Step


def random(step: Step) -> np.ndarray:
    """The best of `step.samples` uniform draws from all that meets the budget."""
    sampler = RandomSampler(step.space, step.cost, step.budget, step.seed)
    return loop.run(sampler, step.score, step.samples).best


def evolutionary(step: Step) -> np.ndarray:
    """The best of `step.samples` vectors, of which the first quarter is drawn and the rest bred."""
    population = max(step.samples // 4, 2)
    sampler = EvolutionarySampler(
        step.space,
        step.cost,
        step.budget,
        step.seed,
        population=population,
        tournament=max(population // 2, 1),
    )
    return loop.run(sampler, step.score, step.samples).best


def surrogate(step: Step) -> np.ndarray:
    """The best of `step.samples` vectors, the first half of them drawn, the others proposed."""
    first = max(step.samples // 2, 2)
    sampler = SurrogateSampler(step.space, step.cost, step.budget, step.seed, random_first=first)
    return loop.run(sampler, step.score, step.samples).best


def guided(step: Step) -> np.ndarray:
    """The best of the allocations by the step's scores and of moves around them.

    As `tfrcp.GuidedChannelSearch`, but that the winner is reconstructed as every candidate is.
    """
    graph = step.space.graph
    starts = starting_points(
        graph, {step.criterion: step.scores}, step.space, step.cost, step.budget
    )
    sampler = GuidedSampler(
        step.space, step.cost, step.budget, step.seed, starts=[*starts.values()]
    )
    return loop.run(sampler, step.score, step.samples).best
