"""What an allocation is: a function from one step's inputs to a channel vector.

An allocation says how many channels every group keeps; the criterion says which. All meet the same
budget in the same space, and what they choose inherits, is reconstructed and fine-tuned alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from tfrcp.allocation import Problem
from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.sampling.bounds import Bounds
from tfrcp.space.space import SearchSpace


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """The inputs of an allocation.

    Attributes:
        space: The allowed channel counts; `space.graph` is the trace of the network.
        cost: The cost model of the same graph.
        budget: What the pruned network may cost.
        scores: Scores of the channels by the criterion, float arrays [size] by group name; higher
            is kept.
        score: Function of a channel vector, int array [prunable groups], to the accuracy in [0, 1]
            on holdout images of the network that inherits and is reconstructed, but not trained.
            Every call is counted.
        samples: How many networks a search scores; of no meaning to methods that do not search.
        seed: Seed of whatever is random.
        criterion: Name of the criterion that the scores are by.
    """

    space: SearchSpace
    cost: CostModel
    budget: Budget
    scores: Mapping[str, np.ndarray]
    score: Callable[[np.ndarray], float]
    samples: int
    seed: int
    criterion: str = ""


Allocation = Callable[[Step], np.ndarray]
"""Gives a channel vector, int array [prunable groups], that the space allows and whose cost meets
the budget. One whose attribute `deterministic` is true does not depend on the seed."""


def deterministic(allocation: Allocation) -> Allocation:
    """Says that an allocation does not depend on the seed, so that one run serves all seeds."""
    allocation.deterministic = True
    return allocation


def of_step(step: Step) -> Problem:
    """The inputs of a step as those of `tfrcp.allocation`."""
    graph = step.space.graph
    return Problem(graph, step.scores, step.space, step.cost, step.budget, step.score)


def meet_budget(step: Step, vector_at: Callable[[float], np.ndarray], most: float) -> np.ndarray:
    """The member of a family of channel vectors that meets the budget; see `Problem.scaled`."""
    return of_step(step).scaled(vector_at, most)


def into_window(step: Step, vector: np.ndarray) -> np.ndarray:
    """Changes as few channels as possible until the budget is met; see `Problem.projected`."""
    return of_step(step).projected(vector)


def check(vector: np.ndarray, step: Step) -> None:
    """Refuses what an allocation may not give.

    Args:
        vector: What it gave.
        step: The inputs that it had.

    Raises:
        ValueError: If this is no channel vector of the space, or its cost does not meet the budget.
    """
    groups = len(step.space.choices)
    if vector.shape != (groups,) or vector.dtype.kind not in "iu":
        raise ValueError(
            f"An allocation must give an int array [{groups}], one count for each prunable group. "
            f"Received: {vector!r}"
        )
    for block in step.space.blocks:
        if not (block.options == vector[block.columns]).all(axis=1).any():
            name = step.space.graph.prunable[block.columns[0]].name
            raise ValueError(
                f"The allocation gave {vector[block.columns]} channels to '{name}' (and what is "
                "tied to it), which the space does not allow: see `step.space.choices`"
            )
    bounds = Bounds(step.space, step.cost, step.budget)
    if bounds.violation(vector[None])[0] > 0:
        least, most = bounds.ranges["flops"]
        flops = int(step.cost(vector).flops[0])
        raise ValueError(
            f"The allocation gave a network of {flops:,} MACs. The budget is {least:,} to "
            f"{most:,}; `tfrcp.studies.into_window(step, vector)` brings a vector there"
        )
