"""Searches: the best of some channel vectors, by the accuracy before any training.

`random` is random pruning itself: Li et al., "Revisiting Random Channel Pruning for Neural Network
Compression" (CVPR 2022, arXiv 2205.05676). `evolutionary` is regularised evolution: Real et al.,
"Regularized Evolution for Image Classifier Architecture Search" (AAAI 2019, arXiv 1802.01548).
"""

from __future__ import annotations

import numpy as np

from tfrcp.space.sampling import EvolutionarySampler, RandomSampler, Sampler
from tfrcp.studies.allocations.base import Step


def random(step: Step) -> np.ndarray:
    """The best of `step.samples` uniform draws from all that meets the budget."""
    return _search(RandomSampler(step.space, step.cost, step.budget, step.seed), step)


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
    return _search(sampler, step)


def _search(sampler: Sampler, step: Step) -> np.ndarray:
    vectors, scores = [], []
    for _ in range(step.samples):
        vectors.append(sampler.suggest(1)[0])
        scores.append(step.score(vectors[-1]))
        sampler.update(vectors[-1][None], np.array(scores[-1:]))
    return vectors[int(np.argmax(scores))]
