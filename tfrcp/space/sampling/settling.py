"""Small spaces and narrow windows: what is tried where less meets a budget than was asked for."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfrcp.space.budget import Budget
from tfrcp.space.sampling.base import Sampler
from tfrcp.space.sampling.bounds import Bounds
from tfrcp.space.sampling.enumeration import every_vector
from tfrcp.space.sampling.random import RandomSampler


@dataclasses.dataclass(frozen=True, eq=False)
class Settled:
    """What a search can try.

    Attributes:
        sampler: The sampler, of a wider budget where nothing met the one that was asked for.
        vectors: int64 array [N, prunable groups]: random vectors that meet the budget, at most as
            many as were asked for.
        note: What differs from what was asked for, one line; empty if nothing does.
    """

    sampler: Sampler
    vectors: np.ndarray
    note: str


def settle(sampler: Sampler, count: int) -> Settled:
    """Makes sure that a sampler has something to suggest.

    With fewer vectors in the window of the budget than asked for, all are to be tried. With none,
    the tolerance is doubled until there is one: the nearest ones are tried.

    Args:
        sampler: A new sampler. It is not asked for anything, unless it is a `RandomSampler`.
        count: How many vectors are wanted.

    Raises:
        ValueError: If no vector meets the upper bounds of the budget.
    """
    asked, sampler = sampler.budget, _widened(sampler)
    while True:
        is_random = type(sampler) is RandomSampler
        random = sampler if is_random else RandomSampler.like(sampler)
        vectors = random.suggest_up_to(count)
        if len(vectors):
            break
        wider = _doubled(sampler.budget)
        if wider is None:
            raise random.exhausted(random.attempts)
        sampler = sampler.again(wider)
    notes = []
    if sampler.budget != asked:
        notes.append(
            f"no channel vector is within {asked.tolerance:g} of the target "
            f"({asked.target}={getattr(asked, asked.target)!r}); the nearest are tried, within "
            f"{sampler.budget.tolerance:g}"
        )
    if len(vectors) < count:
        notes.append(f"there are only {len(vectors)} candidates, all of which are tried")
    return Settled(sampler, vectors, "; ".join(notes))


def _widened(sampler: Sampler) -> Sampler:
    """The sampler with the least wider tolerance, where the space is small enough to tell."""
    vectors = every_vector(sampler.space)
    budget = sampler.budget
    while vectors is not None and budget is not None:
        bounds = Bounds(sampler.space, sampler.cost, budget, sampler.latency)
        if (bounds.violation(vectors) == 0).any():
            return sampler if budget is sampler.budget else sampler.again(budget)
        budget = _doubled(budget)
    return sampler


def _doubled(budget: Budget) -> Budget | None:
    """The budget with twice its tolerance; `None` where that would be no target any more."""
    tolerance = max(2 * budget.tolerance, 0.001)
    return dataclasses.replace(budget, tolerance=tolerance) if tolerance < 0.5 else None
