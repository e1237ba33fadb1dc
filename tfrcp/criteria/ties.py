"""Breaks ties between scores by a second score."""

from __future__ import annotations

import numpy as np

_SAME = 1e-4  # of the largest score: what rounding, in single precision, may make of equal ones
_MARGIN = 0.02  # of the largest score: what a tie may be raised by


def break_ties(scores: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Orders equal scores by a second score; the order of the others stays.

    Args:
        scores: float64 array [size], not negative.
        second: float64 array [size], not negative.

    Returns:
        float64 array [size]: `scores`, raised where they are equal to others (to within 1e-4 of the
        largest) by at most 2 % of the largest and half of what the next higher score is away.
        Scores of zero stay zero.
    """
    found = scores.astype("float64", copy=True)
    most = scores.max(initial=0.0)
    order = np.argsort(scores, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        if end < len(order) and scores[order[end]] - scores[order[start]] <= _SAME * most:
            continue
        tied = order[start:end]
        start = end
        top = scores[tied[-1]]
        if len(tied) == 1 or top <= _SAME * most:
            continue
        room = _MARGIN * most
        if end < len(order):
            room = min(room, (scores[order[end]] - top) / 2)
        found[tied] = top + room * second[tied] / (second[tied].max() or 1.0)
    return found
