"""Moves in the set of channel vectors: change, vary, cross, blend; and projection onto a budget.

Vectors are int64 arrays [prunable groups]; a move gives one of any cost.
"""

from __future__ import annotations

import numpy as np

from tfrcp.space.sampling.bounds import Bounds
from tfrcp.space.space import Block, SearchSpace

_DEVIATION = 0.2  # of a width that is varied, as a standard deviation of its logarithm


def mutate(vector: np.ndarray, space: SearchSpace, random: np.random.Generator) -> np.ndarray:
    """Draws a few widths anew: two on average, one at least."""
    child = vector.copy()
    for block in _some_blocks(space, 1, random):
        child[block.columns] = random.choice(block.options)
    return child


def cross(
    one: np.ndarray, other: np.ndarray, space: SearchSpace, random: np.random.Generator
) -> np.ndarray:
    """Takes every block's widths from one of two vectors."""
    child = one.copy()
    for block in space.blocks:
        if random.random() < 0.5:
            child[block.columns] = other[block.columns]
    return child


def vary(vector: np.ndarray, space: SearchSpace, random: np.random.Generator) -> np.ndarray:
    """Makes a few groups wider or narrower by some 20 %: three on average, one at least."""
    child = vector.copy()
    for block in _some_blocks(space, 2, random):
        factor = np.exp(random.normal(0, _DEVIATION))
        child[block.columns] = _option(block, vector[block.columns] * factor)
    return child


def blend(
    one: np.ndarray, other: np.ndarray, space: SearchSpace, random: np.random.Generator
) -> np.ndarray:
    """A point on the line through two vectors, between them or a little beyond."""
    child, share = one.copy(), random.uniform(-0.5, 1.0)
    for block in space.blocks:
        a, b = one[block.columns], other[block.columns]
        child[block.columns] = _option(block, a + share * (b - a))
    return child


def _some_blocks(space: SearchSpace, mean: float, random: np.random.Generator) -> list[Block]:
    """A random one of the blocks with a choice, and each other with probability mean / number."""
    blocks = [block for block in space.blocks if len(block.options) > 1]
    if not blocks:
        return []
    chosen = random.random(len(blocks)) < mean / len(blocks)
    chosen[random.integers(len(blocks))] = True
    return [block for block, changed in zip(blocks, chosen, strict=True) if changed]


def _option(block: Block, wanted: np.ndarray) -> np.ndarray:
    """What a block may be that is nearest to wanted counts."""
    return block.options[np.abs(block.options - wanted).sum(axis=1).argmin()]


def project(
    vector: np.ndarray, space: SearchSpace, bounds: Bounds, random: np.random.Generator
) -> np.ndarray | None:
    """Changes widths until the budget is met, block by block in random order.

    Each block takes the width that brings the costs nearest to their ranges, and of several such
    the one that changes least. What the first blocks settle the others keep. `None` if no block
    could settle it.
    """
    vector = vector.copy()
    for index in random.permutation(len(space.blocks)):
        if bounds.violation(vector[None])[0] == 0:
            return vector
        block = space.blocks[index]
        tried = np.repeat(vector[None], len(block.options), axis=0)
        tried[:, block.columns] = block.options
        change = np.abs(block.options - vector[block.columns]).sum(axis=1)
        vector = tried[np.lexsort((change, bounds.violation(tried)))[0]]
    return vector if bounds.violation(vector[None])[0] == 0 else None
