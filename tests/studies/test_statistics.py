from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tfrcp.studies import statistics


def test_quantiles_are_those_of_the_closed_forms():
    for p in (0.75, 0.9, 0.975, 0.995):
        # Cauchy's distribution, and the one with two degrees of freedom.
        assert statistics.t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)))
        assert statistics.t_quantile(p, 2) == pytest.approx(
            (2 * p - 1) / math.sqrt(2 * p * (1 - p))
        )


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(4, 2.776445), (9, 2.262157), (29, 2.045230), (1000, 1.962339)]
)
def test_quantiles_are_those_of_published_tables(freedom, quantile):
    assert statistics.t_quantile(0.975, freedom) == pytest.approx(quantile, abs=2e-6)


def test_mean_and_its_interval():
    found = statistics.mean([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.mean, found.count) == (3.0, 5)
    assert found.deviation == pytest.approx(math.sqrt(2.5))
    reach = 2.776445 * math.sqrt(2.5 / 5)
    assert (found.low, found.high) == pytest.approx((3 - reach, 3 + reach), abs=1e-5)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(0)
    found = [statistics.mean(random.normal(size=4)) for _ in range(1000)]
    covered = np.mean([f.low <= 0 <= f.high for f in found])
    assert 0.93 < covered < 0.97


def test_one_value_has_no_interval_and_none_is_refused():
    found = statistics.mean([0.5])
    assert found.mean == 0.5 and math.isnan(found.deviation) and math.isnan(found.low)
    with pytest.raises(ValueError, match="one number or more"):
        statistics.mean([])


def test_pairs_cancel_what_they_share():
    shared = np.random.default_rng(0).normal(size=6)
    found = statistics.paired(shared + 1, shared)
    assert found.mean == pytest.approx(1) and found.deviation == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="Pairs"):
        statistics.paired([1.0], [1.0, 2.0])


def test_best_of_m_is_the_mean_over_all_subsets():
    random = np.random.default_rng(0)
    scores, values = random.normal(size=7), random.normal(size=7)
    for m in range(1, 8):
        subsets = itertools.combinations(range(7), m)
        expected = np.mean([values[max(subset, key=lambda i: scores[i])] for subset in subsets])
        assert statistics.best_of(scores, values, [m])[0] == pytest.approx(expected)
    # One is any, all is the best-scored one.
    ends = statistics.best_of(scores, values, [1, 7])
    assert ends == pytest.approx([values.mean(), values[scores.argmax()]])
    for m in (0, 8):
        with pytest.raises(ValueError, match="from 1 to 7"):
            statistics.best_of(scores, values, [m])


def test_best_of_m_of_uniform_draws():
    # The largest of m uniform numbers is m / (m + 1) on average.
    values = np.random.default_rng(0).random(4000)
    counts = [1, 2, 5, 20]
    found = statistics.best_of(values, values, counts)
    assert found == pytest.approx([m / (m + 1) for m in counts], abs=0.02)


def test_rank_correlations_of_known_orders():
    up = np.arange(6.0)
    for correlation in (statistics.spearman, statistics.kendall):
        assert correlation(up, np.exp(up)) == pytest.approx(1)
        assert correlation(up, -up) == pytest.approx(-1)
        assert math.isnan(correlation(up, np.ones(6)))
    # Without ties: 1 - 6 sum d^2 / (n (n^2 - 1)); 8 pairs agree and 2 do not.
    first, second = np.array([1, 2, 3, 4, 5]), np.array([2, 1, 4, 3, 5])
    assert statistics.spearman(first, second) == pytest.approx(1 - 6 * 4 / (5 * 24))
    assert statistics.kendall(first, second) == pytest.approx((8 - 2) / 10)


def test_rank_correlations_with_ties():
    first, second = np.array([1, 1, 2, 3]), np.array([1, 2, 2, 3])
    ranks = np.corrcoef([1.5, 1.5, 3, 4], [1, 2.5, 2.5, 4])[0, 1]
    assert statistics.spearman(first, second) == pytest.approx(ranks)
    assert statistics.kendall(first, second) == pytest.approx(4 / math.sqrt(5 * 5))


def test_bootstrap_of_a_mean_is_its_normal_interval():
    values = np.random.default_rng(0).normal(size=400)
    low, high = statistics.bootstrap(lambda i: values[i].mean(), 400)
    reach = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=0.015)
    again = statistics.bootstrap(lambda i: values[i].mean(), 400)
    assert again == (low, high)


def test_shares_have_intervals_from_0_to_1():
    values = [0.97, 1.0, 0.99]
    found, free = statistics.proportion(values), statistics.mean(values)
    assert free.high > 1 == found.high and found.low == free.low and found.mean == free.mean
    assert statistics.proportion([0.0, 0.02]).low == 0
    assert math.isnan(statistics.proportion([0.5]).low)
    wide = statistics.paired_proportions([0.1, 0.9], [0.9, 0.1])
    assert (wide.mean, wide.low, wide.high) == pytest.approx((0, -1, 1))
    with pytest.raises(ValueError, match="shares"):
        statistics.proportion([0.5, 1.2])


def test_bases_are_the_sample_where_there_are_several():
    values, bases = [1.0, 3.0, 5.0, 5.0, 5.0], ["a", "a", "b", "b", "b"]
    assert statistics.mean(values, bases) == statistics.mean([2.0, 5.0])
    assert statistics.mean(values, ["a"] * 5) == statistics.mean(values)
    assert statistics.paired(values, [1.0] * 5, bases) == statistics.mean([1.0, 4.0])
    with pytest.raises(ValueError, match="needs a base"):
        statistics.mean(values, ["a", "b"])


def test_p_values_are_those_of_tables():
    # Mean 2, standard error 1: t = 2 with 3 degrees of freedom, p = 0.1393 two-sided.
    found = statistics.Mean(2.0, 2.0, math.nan, math.nan, 4)
    assert statistics.difference_test(found) == pytest.approx(0.13933, abs=1e-5)
    # At margin 5 the tests have t = 7 and t = 3, p = 0.0030 and 0.0288: the greater counts.
    assert statistics.equivalence_test(found, 5) == pytest.approx(0.02883, abs=1e-5)
    assert statistics.equivalence_test(found, 2) == pytest.approx(0.5)
    mirrored = statistics.Mean(-2.0, 2.0, math.nan, math.nan, 4)
    assert statistics.equivalence_test(mirrored, 5) == statistics.equivalence_test(found, 5)
    with pytest.raises(ValueError, match="margin"):
        statistics.equivalence_test(found, 0)


def test_equivalence_is_a_90_percent_interval_within_the_margin():
    found = statistics.mean([0.1, -0.2, 0.4, 0.3, 0.0, 0.2])
    reach = statistics.t_quantile(0.95, 5) * found.deviation / math.sqrt(6)
    edge = abs(found.mean) + reach
    assert statistics.equivalence_test(found, 1.001 * edge) < 0.05
    assert statistics.equivalence_test(found, 0.999 * edge) > 0.05


@pytest.mark.parametrize("values", [[0.2], [0.2, 0.2, 0.2], [0.0, 0.0]])
def test_without_spread_there_is_no_test(values):
    found = statistics.mean(values)
    assert math.isnan(statistics.difference_test(found))
    assert math.isnan(statistics.equivalence_test(found, 1))


def test_holm_by_hand():
    # Sorted: 4 x 0.005, 3 x 0.01, 2 x 0.03 and then no less than that: 1 x 0.04.
    found = statistics.holm([0.01, 0.04, 0.03, 0.005])
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.02, math.nan]) == pytest.approx([0.04, 1])
    assert list(statistics.holm([])) == []


def test_intervals_of_best_of_m_stand_where_they_hold():
    random, counts = np.random.default_rng(0), [1, 3, 4, 30]
    hits = np.zeros(2)
    for _ in range(300):
        values = random.random(30)
        scores = values + random.normal(size=30) / 1e6  # the same order
        low, high = statistics.best_of_interval(scores, values, counts)
        assert np.isnan(low[2:]).all() and np.isnan(high[2:]).all()
        truth = np.array([1 / 2, 3 / 4])  # m / (m + 1)
        hits += (low[:2] <= truth) & (truth <= high[:2])
    assert (hits / 300 > 0.9).all()
    low, high = statistics.best_of_interval(values, values, [1])
    assert (low[0], high[0]) == pytest.approx(
        (statistics.mean(values).low, statistics.mean(values).high)
    )
