"""The statistics of the studies: intervals over seeds, pools, rank correlations.

Intervals are of 95 % confidence. Those over seeds are Student's, for means of few values that are
spread normally; those of pools are percentile bootstraps (Efron and Tibshirani, "An Introduction to
the Bootstrap", 1993).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import scipy.stats

_CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean over seeds.

    Attributes:
        mean: The mean.
        deviation: Standard deviation of a single value, with n - 1; NaN for one value.
        low: Lower end of the 95 % interval of the mean; NaN for one value.
        high: Its upper end.
        count: Number of values.
    """

    mean: float
    deviation: float
    low: float
    high: float
    count: int


def mean(values: Sequence[float]) -> Mean:
    """Mean, standard deviation and Student's 95 % interval: mean ± t sd / sqrt(n).

    Raises:
        ValueError: If there is no value.
    """
    values = np.asarray(values, dtype=float)
    if not len(values):
        raise ValueError("`values` must hold one number or more. Received: none")
    middle, count = float(values.mean()), len(values)
    if count == 1:
        return Mean(middle, math.nan, math.nan, math.nan, 1)
    deviation = float(values.std(ddof=1))
    reach = t_quantile(0.5 + _CONFIDENCE / 2, count - 1) * deviation / math.sqrt(count)
    return Mean(middle, deviation, middle - reach, middle + reach, count)


def paired(values: Sequence[float], baseline: Sequence[float]) -> Mean:
    """Mean difference of pairs, such as runs of the same seed, with its interval.

    Args:
        values: One per pair.
        baseline: What each is compared with.
    """
    if len(values) != len(baseline):
        raise ValueError(f"Pairs are needed. Received: {len(values)} and {len(baseline)} values")
    return mean(np.asarray(values, dtype=float) - np.asarray(baseline, dtype=float))


def t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's distribution with so many degrees of freedom."""
    return float(scipy.stats.t.ppf(probability, freedom))


def best_of(scores: np.ndarray, values: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Expected value of the best-scored of m members that are drawn from a pool.

    Of the C(n, m) subsets, C(i, m - 1) have the member with i worse-scored ones as their best; so
    this is an unbiased estimate for m draws from what the pool was drawn from. Members of one score
    count in their order.

    Args:
        scores: Float array [n], by which the best is chosen.
        values: Float array [n], what is averaged; the scores themselves, or accuracies later on.
        counts: The numbers m, from 1 to n.

    Returns:
        Float array [counts].
    """
    ordered = np.asarray(values, dtype=float)[np.argsort(scores, kind="stable")]
    total = len(ordered)
    if not all(1 <= count <= total for count in counts):
        raise ValueError(f"`counts` must be from 1 to {total}. Received: {list(counts)}")
    return np.array(
        [
            sum(math.comb(i, count - 1) * value for i, value in enumerate(ordered))
            / math.comb(total, count)
            for count in counts
        ]
    )


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation, ties at their mean rank; NaN where all values are alike."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan  # SciPy would warn
    return float(scipy.stats.spearmanr(first, second).statistic)


def kendall(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b: concordant less discordant pairs, corrected for ties; NaN if all are."""
    return float(scipy.stats.kendalltau(first, second).statistic)


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray | float],
    count: int,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % percentile interval of a statistic of a pool.

    Args:
        statistic: Function of indices of members, int array [count], to a number or an array.
        count: Size of the pool.
        draws: Number of pools that are drawn, with replacement.
        seed: Seed.

    Returns:
        Lower and upper ends, each like the statistic. Draws without a value (NaN) are left out.
    """
    random = np.random.default_rng(seed)
    found = [statistic(random.integers(count, size=count)) for _ in range(draws)]
    tail = 100 * (1 - _CONFIDENCE) / 2
    low, high = np.nanpercentile(np.array(found, dtype=float), [tail, 100 - tail], axis=0)
    return low, high
