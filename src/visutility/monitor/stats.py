"""What a reference window says about the values to come: bounds on its mean, quantiles of a later window's mean."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from visutility.monitor.state import Floats


def is_binary(values: Floats) -> bool:
    """Return whether every value is exactly 0 or 1."""
    return bool(np.all((values == 0.0) | (values == 1.0)))


def clopper_pearson_upper(ones: int, n: int, delta: float) -> float:
    """Return the upper bound of confidence 1 - delta on a probability after `ones` successes in `n` trials.

    Exact: the bound u solves P(Binomial(n, u) <= ones) = delta. Clopper & Pearson (1934).
    """
    if ones >= n:
        return 1.0
    return float(special.betaincinv(ones + 1.0, float(n - ones), 1.0 - delta))


def betting_upper(values: Floats, delta: float) -> float:
    """Return an upper bound of confidence 1 - delta on the mean of values in [0, 1], shape (n,).

    Waudby-Smith & Ramdas (2024), "Estimating means of bounded random variables by betting": with bets that depend on
    the past alone, K(m) = prod 1 - lambda_t(m) (x_t - m) has mean at most 1 when the conditional mean of every x_t,
    given the past, is m; by Markov's inequality K(mean) >= 1/delta has probability at most delta. K grows with m, so
    that all m with K(m) < 1/delta lie below one number, found by bisection. The bets are the paper's predictable
    plug-in for a fixed sample size, which adapt to the variance; they make the bound depend a little on the order of
    the values. The bound holds for any order fixed in advance. O(60 n).
    """
    n, wanted = len(values), math.log(1.0 / delta)
    t = np.arange(1, n + 1)
    means = (0.5 + np.cumsum(values)) / (t + 1)
    variances = (0.25 + np.cumsum((values - means) ** 2)) / (t + 1)
    bets = np.sqrt(2.0 * wanted / (n * np.concatenate(([0.25], variances[:-1]))))
    low, high = 0.0, 1.0
    for _ in range(60):
        m = (low + high) / 2.0
        if m >= 1.0:
            break
        capital = float(np.log1p(-np.minimum(bets, 0.9 / (1.0 - m)) * (values - m)).sum())
        low, high = (m, high) if capital < wanted else (low, m)
    return high


def mean_upper(values: Floats, delta: float) -> float:
    """Return an upper bound of confidence 1 - delta on the mean of values in [0, 1].

    Exact for values that are all 0 or 1, by betting for others. A stream of both kinds whose values strictly between
    are so rare that a reference window may hold none is covered by each bound separately, so with 1 - 2 delta.
    """
    if is_binary(values):
        return clopper_pearson_upper(int(values.sum()), len(values), delta)
    return betting_upper(values, delta)


def mean_quantile(upper: ArrayLike, sd: ArrayLike, skew: ArrayLike, n: ArrayLike, k: int) -> Floats:
    """Return how far the mean of `k` new values may lie above that of `n` reference values, at upper probability.

    With d = mean of the new - mean of the reference, s^2 the reference's variance, c^2 = 1/k + 1/n and g the skewness,
    the first terms of the cumulants of t = d / (s c) are g / (2 n c) and g ((1/k^2 - 1/n^2) / c^3 + 3 / (n c)): mean
    and variance of a skewed reference err together. Student's quantile is moved by them (Cornish & Fisher 1938):
    q = t + k1 + (t^2 - 1) k3 / 6. The skewness is taken two standard errors (6 / n)^(1/2) larger, and never narrows
    the quantile: a reference window without a rare large value does not show how rare it is. An approximation.
    """
    size = np.asarray(n, np.float64)
    t = -special.stdtrit(size - 1.0, upper)
    scale = np.sqrt(1.0 / k + 1.0 / size)
    likely = np.maximum(np.asarray(skew, np.float64) + 2.0 * np.sqrt(6.0 / size), 0.0)
    first = likely / (2.0 * size * scale)
    third = np.maximum(likely * ((1.0 / k**2 - 1.0 / size**2) / scale**3 + 3.0 / (size * scale)), 0.0)
    return np.asarray(sd * scale * (t + first + (t * t - 1.0) * third / 6.0), np.float64)


def count_quantile(upper: float, ones: int, n: int, k: int) -> int:
    """Return the least count c that `k` new 0/1 values reach with probability at most `upper`; k + 1 if none does.

    The predictive distribution after `ones` in `n` under Jeffreys' prior: beta-binomial with parameters ones + 1/2
    and n - ones + 1/2. The probability is an average over references, not one that holds given each.
    """
    counts = np.arange(k + 1)
    a, b = ones + 0.5, n - ones + 0.5
    logs = special.betaln(counts + a, k - counts + b) - special.betaln(a, b)
    logs -= math.log(k + 1) + special.betaln(k - counts + 1.0, counts + 1.0)
    tail = np.cumsum(np.exp(logs)[::-1])[::-1]
    return int(np.count_nonzero(tail > upper))
