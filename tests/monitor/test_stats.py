"""Bounds and quantiles against scipy, brute force and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from visutility.core.rng import rng
from visutility.monitor.moments import moments, sums_of
from visutility.monitor.stats import (
    betting_upper,
    clopper_pearson_upper,
    count_quantile,
    is_binary,
    mean_quantile,
    mean_upper,
)


@pytest.mark.parametrize(("ones", "n"), [(0, 10), (3, 150), (75, 150), (149, 150)])
def test_clopper_pearson_solves_its_equation(ones, n):
    assert stats.binom.cdf(ones, n, clopper_pearson_upper(ones, n, 0.01)) == pytest.approx(0.01, rel=1e-9)


def test_clopper_pearson_of_all_ones_is_one():
    assert clopper_pearson_upper(7, 7, 0.01) == 1.0


FAMILIES = {
    "uniform": lambda g, n: g.random(n),
    "skewed": lambda g, n: g.beta(0.5, 4.5, n),
    "narrow": lambda g, n: g.beta(60, 140, n),
    "three points": lambda g, n: g.choice([0.0, 0.5, 1.0], n, p=[0.9, 0.05, 0.05]),
}
MEANS = {"uniform": 0.5, "skewed": 0.1, "narrow": 0.3, "three points": 0.075}


@pytest.mark.parametrize("n", [10, 60])
@pytest.mark.parametrize("family", FAMILIES)
def test_betting_bound_covers_the_mean(family, n):
    """Misses at most delta of the time: a right one fails with probability at most 1e-6."""
    runs, delta, g = 1000, 0.05, rng(0, "cover", family, n)
    bounds = [betting_upper(FAMILIES[family](g, n), delta) for _ in range(runs)]
    assert sum(bound < MEANS[family] for bound in bounds) <= stats.binom.isf(1e-6, runs, delta)


def test_the_plain_mean_does_not_cover():
    """So that the test above can fail: the mean itself misses half of the time."""
    g = rng(0, "plain")
    misses = sum(FAMILIES["uniform"](g, 60).mean() < 0.5 for _ in range(1000))
    assert misses > stats.binom.isf(1e-6, 1000, 0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_betting_bound_is_tighter_than_the_classical_ones(family):
    """Hoeffding (1963) Theorem 2 and Maurer & Pontil (2009) Theorem 4, on average over windows of 150."""
    g, n, delta = rng(0, "tight", family), 150, 0.01
    windows = [FAMILIES[family](g, n) for _ in range(50)]
    ours = np.mean([betting_upper(x, delta) for x in windows])
    hoeffding = np.mean([x.mean() for x in windows]) + math.sqrt(math.log(1 / delta) / (2 * n))
    wide = math.log(2 / delta)
    pontil = [x.mean() + math.sqrt(2 * x.var(ddof=1) * wide / n) + 7 * wide / (3 * (n - 1)) for x in windows]
    assert ours < min(hoeffding, np.mean(pontil))


@pytest.mark.parametrize("values", [[0.0] * 30, [1.0] * 25 + [0.0] * 5, [0.5] * 30, [1.0] * 30], ids=sum)
def test_betting_bound_lies_between_mean_and_one(values):
    bound = betting_upper(np.array(values), 0.01)
    assert np.mean(values) <= bound <= 1.0
    assert (bound == 1.0) == (min(values) == 1.0)


def test_the_kind_of_values_chooses_the_bound():
    zeros, mixed = np.zeros(40), np.array([0.0] * 39 + [0.5])
    assert mean_upper(zeros, 0.01) == clopper_pearson_upper(0, 40, 0.01)
    assert mean_upper(mixed, 0.01) == betting_upper(mixed, 0.01)
    assert is_binary(np.array([0.0, 1.0]))
    assert not is_binary(np.array([0.0, 1.0 + 1e-12]))


def test_moments_are_those_of_the_values_whatever_their_mean():
    values = rng(0, "moments").gamma(2.0, size=500)
    for shift in (0.0, 1e6, -3e8):
        count, mean, sd, skew = moments(sums_of(shift + values)[:, None])
        assert count[0] == 500
        assert mean[0] + values[0] == pytest.approx(values.mean(), rel=1e-6)
        assert sd[0] == pytest.approx(values.std(ddof=1), rel=1e-6)
        assert skew[0] == pytest.approx(stats.skew(values), rel=1e-5)
    assert moments(sums_of(np.full(9, 0.3))[:, None])[2:] == (0.0, 0.0)


@pytest.mark.parametrize(("ones", "n", "k"), [(0, 20, 50), (3, 150, 100), (100, 150, 10)])
@pytest.mark.parametrize("upper", [0.3, 1e-2, 1e-5])
def test_count_quantile_is_the_beta_binomials(ones, n, k, upper):
    found = count_quantile(upper, ones, n, k)
    later = stats.betabinom(k, ones + 0.5, n - ones + 0.5)
    assert later.sf(found - 1) <= upper
    assert later.sf(found - 2) > upper


def test_count_quantile_when_no_count_is_rare_enough():
    assert count_quantile(1e-30, 10, 20, 5) == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("draw", "least", "most"),
    [
        (lambda g, shape: g.standard_normal(shape), 0.1, 1.0),
        (lambda g, shape: -g.standard_exponential(shape), 0.0, 1.0),
        (lambda g, shape: g.standard_exponential(shape), 0.1, 2.0),
    ],
    ids=["normal", "negative exponential", "exponential"],
)
def test_mean_quantile_is_passed_as_rarely_as_it_says(draw, least, most):
    """200,000 references and windows at 1e-3: at most that, twice that where skewed (1e-6 at the edge); not absurdly
    rarely where it is meant to be exact."""
    runs, n, k, upper, g = 200_000, 60, 40, 1e-3, rng(0, "quantile")
    passed = 0
    for _ in range(20):
        reference, window = draw(g, (runs // 20, n)), draw(g, (runs // 20, k))
        centred = reference - reference.mean(axis=1, keepdims=True)
        skews = (centred**3).mean(axis=1) / (centred**2).mean(axis=1) ** 1.5
        limit = mean_quantile(upper, reference.std(axis=1, ddof=1), skews, n, k)
        passed += (window.mean(axis=1) > reference.mean(axis=1) + limit).sum()
    assert least * runs * upper <= passed <= stats.binom.isf(1e-6, runs, most * upper)
