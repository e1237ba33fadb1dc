"""When a candidate is surely worse than the best so far, so that no more examples are needed."""

from __future__ import annotations

import numpy as np

RACING_Z = 3.0
"""Standard errors of the paired difference by which a candidate must be behind."""

RACING_INTERVAL = 100
"""Examples between two looks at who is ahead; fewer of examples of which fewer run at a time."""

RACING_LEAST = 32
"""Examples before the first look, at least."""


def surely_positive(differences: np.ndarray, total: int) -> bool:
    """Whether the mean over all `total` examples is surely above 0, given the first ones.

    Args:
        differences: float array [examples seen], in random order.
        total: Number of all examples.
    """
    count = len(differences)
    if count < RACING_LEAST:
        return False
    left = 1 - count / total  # drawn from a finite set
    error = np.sqrt(differences.var(ddof=1) / count * left)
    return bool(differences.mean() > RACING_Z * error + 1 / count)
