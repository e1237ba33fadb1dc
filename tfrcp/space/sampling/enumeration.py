"""Small spaces: all channel vectors that meet a budget, by trying every one."""

from __future__ import annotations

import numpy as np

from tfrcp.space.sampling.bounds import Bounds
from tfrcp.space.space import SearchSpace

LARGEST = 100_000  # vectors that are tried


def every_vector(space: SearchSpace) -> np.ndarray | None:
    """All channel vectors of a space, whatever they cost.

    Returns:
        int64 array [N, prunable groups], ascending; `None` if there are more than `LARGEST`.
    """
    if space.size > LARGEST:
        return None
    picks = np.indices([len(block.options) for block in space.blocks]).reshape(
        len(space.blocks), -1
    )
    vectors = np.empty((picks.shape[1], len(space.choices)), dtype="int64")
    for block, pick in zip(space.blocks, picks, strict=True):
        vectors[:, block.columns] = block.options[pick]
    return vectors


def feasible_vectors(space: SearchSpace, bounds: Bounds) -> np.ndarray | None:
    """Those of a small space that meet a budget.

    Returns:
        int64 array [N, prunable groups], ascending; `None` if the space is too large to try all.
    """
    vectors = every_vector(space)
    return None if vectors is None else vectors[bounds.violation(vectors) == 0]
