"""Two-sample tests on counts: all that is left of two windows is how many values each has in each of the same bins.

Under "no change" the windows are one sample, cut at random: given the totals per bin, the current counts are
multivariate hypergeometric. The tests are of that permutation null, ties included, so they hold for discrete, tied and
heavy-tailed columns alike. Edges that are values of a small reference window fix its counts, so that these are no such
draw: location and spread then rank what lies between two of them one by one (`_untied`), shape has larger cells, spike
looks for too many values alone. That their sizes hold there is simulated, not proven.
"""

import math
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy import special

from visutility.monitor.state import Floats, Ints

# Shares of the level of a numeric column; most goes to where the column lies, which moves most often.
WEIGHTS = {"location": 0.6, "spread": 0.15, "shape": 0.15, "spike": 0.1}
SKEWNESS = 1.0  # of a linear statistic up to which its tails are taken for those of a gamma law
KURTOSIS = 0.2  # of a linear statistic, beyond that of a gamma law, up to which its tails are taken for one
LEAST_EXPECTED = 5.0  # in a cell of a chi-square test, in the smaller window
LEAST_REFERENCE = 30.0  # in a cell of numbers, in the reference window: its edges may be values of that window
SHAPE_CELLS = 24
PARTS = 4096  # that bins without reference values are cut into, all together
EXACT = 20_000  # cases of an exact test of a share; above, the normal tail


Counts: TypeAlias = Ints | Floats


class Tested(NamedTuple):
    """One test: its name, its statistic and its two-sided p-value."""

    test: str
    statistic: float
    p_value: float


def numeric(reference: Ints, current: Ints) -> list[Tested]:
    """Return the tests of a numeric column from its counts per bin, both shape (b,), bins in rising order.

    location: van der Waerden's normal scores, never less efficient than the t-test (Chernoff & Savage 1958).
    spread: squares of those scores, made uncorrelated with them. shape: chi-square over at most 24 cells.
    spike: the one bin with most too many values, Bonferroni over the bins; too few are left to the shape, since edges
    that are values of a small reference window make bins that a large current one must leave nearly empty. A column
    with two different values has one test, Fisher's exact one; a column with one has none. A linear statistic whose law
    hangs on a few rare values is left out. O(b).
    """
    reference, current = _occupied(reference, current)
    if len(reference) < 2:
        return []
    if len(reference) == 2:
        return [share(int(reference[1]), int(reference.sum()), int(current[1]), int(current.sum()))]
    old, new = _untied(reference, current)
    total = old + new
    location = special.ndtri(_ranks(total))
    location -= _mean(location, total)
    spread = location**2
    spread -= _mean(spread, total)
    spread -= location * (_mean(spread * location, total) / _mean(location**2, total))
    tests = [
        Tested(test, *linear(scores, total, new))
        for test, scores in (("location", location), ("spread", spread))
        if is_settled(scores, total, int(current.sum()))
    ]
    cells = np.floor(_ranks(reference + current) * SHAPE_CELLS).astype(np.int64)
    tests.append(Tested("shape", *chi_square(*_cells(reference, current, cells))))
    tests.append(Tested("spike", *spike(reference, current, too_few=False)))
    return tests


def combine(tests: list[Tested]) -> tuple[Tested, float]:
    """Return the test that decides and the p-value of them together: Bonferroni with `WEIGHTS`.

    Each test has its share of the level, so that together they reject with the level at most, whatever their
    dependence. One test alone has all of it; no test at all, of a column with one value, says 1.
    """
    if not tests:
        return Tested("none", 0.0, 1.0), 1.0
    if len(tests) == 1:
        return tests[0], tests[0].p_value
    whole = sum(WEIGHTS[one.test] for one in tests)
    weighted = [(one.p_value * whole / WEIGHTS[one.test], one) for one in tests]
    least, decided = min(weighted, key=lambda pair: pair[0])
    return decided, min(least, 1.0)


def categorical(reference: Ints, current: Ints) -> list[Tested]:
    """Return the tests of label counts, both shape (l,): one per label; rare labels come in merged.

    labels: chi-square over all of them. spike: the one label that changed most, Bonferroni over the labels.
    Two labels have one test, Fisher's exact one; one has none.
    """
    reference, current = _occupied(reference, current)
    if len(reference) < 2:
        return []
    if len(reference) == 2:
        return [share(int(reference[1]), int(reference.sum()), int(current[1]), int(current.sum()))]
    return [Tested("shape", *chi_square(reference, current)), Tested("spike", *spike(reference, current))]


def linear(scores: Floats, total: Counts, current: Counts) -> tuple[float, float]:
    """Return (z, two-sided p) of T = sum of scores over the current window, given the totals per bin.

    The first three moments of T are those of a sample of m of N scores without replacement, exactly; the tails are
    those of the gamma law with these moments (Pearson's type III; Mielke & Berry 2007, "Permutation methods", section
    2.2). The skewness matters for windows of different size and columns of rare large values, where a normal tail is
    too light.
    """
    n, m = float(total.sum()), float(current.sum())
    a = scores - _mean(scores, total)
    scale = math.sqrt(_mean(a * a, total))
    if scale == 0.0 or n < 3.0 or m in (0.0, n):
        return 0.0, 1.0
    a = a / scale
    z = float((a * current).sum()) / math.sqrt(m * (n - m) / (n - 1.0))
    skew = _mean(a**3, total) * (n - 2.0 * m) / math.sqrt(m * (n - m)) * math.sqrt(n - 1.0) / (n - 2.0)
    return z, min(1.0, 2.0 * min(_upper(z, skew), _upper(-z, -skew)))


def is_settled(scores: Floats, total: Counts, m: int) -> bool:
    """Return whether the gamma law fits the tails of T, judged by its fourth moment.

    For a small sample of m the excess kurtosis of T is (E a^4 / (E a^2)^2 - 3) / m and the squared skewness
    (E a^3)^2 / m (E a^2)^3; the gamma law's kurtosis is 1.5 times that. A column that is zero but for a few values of
    both signs has far more. Of a T skewed beyond 1 the gamma law calls values impossible that do occur, as in small
    windows of counts. Looks at the totals alone: how these are split between the windows matters only where `_untied`
    has cut bins up, which it does to those without reference values.
    """
    n = float(total.sum())
    a = scores - _mean(scores, total)
    two, three, four = (_mean(a**power, total) for power in (2, 3, 4))
    if two <= 1e-12:
        return False
    m_eff = min(float(m), n - m) * max(float(m), n - m) / n
    skewed = three**2 / two**3 / m_eff
    return skewed <= SKEWNESS**2 and (four / (two * two) - 3.0) / m_eff <= 1.5 * skewed + KURTOSIS


def _upper(z: float, skew: float) -> float:
    """Return P(Z >= z) of the gamma law with mean 0, variance 1 and this skewness."""
    if abs(skew) < 1e-5:
        return float(special.ndtr(-z))
    k = 4.0 / skew**2
    if skew > 0.0:
        return float(special.gammaincc(k, max(k + z * math.sqrt(k), 0.0)))
    return float(special.gammainc(k, max(k - z * math.sqrt(k), 0.0)))


def chi_square(reference: Ints, current: Ints) -> tuple[float, float]:
    """Return (statistic, p) of Pearson's chi-square over cells, scaled by (N - 1)/N to its permutation mean."""
    total = reference + current
    n, m = float(total.sum()), float(current.sum())
    if len(total) < 2 or m in (0.0, n):
        return 0.0, 1.0
    expected = total * (m / n)
    statistic = float(((current - expected) ** 2 / expected).sum()) * n / (n - m) * (n - 1.0) / n
    return statistic, float(special.chdtrc(len(total) - 1, statistic))


def spike(reference: Ints, current: Ints, *, too_few: bool = True) -> tuple[float, float]:
    """Return (z, p) of the bin whose share changed most, or rose most (not `too_few`), Bonferroni over the bins.

    Given its total a bin's current count is hypergeometric; the binomial tail used is never smaller beyond the mean.
    Edges that are reference values leave the upper tail right: the current values between two of those are negative
    hypergeometric, with no larger one. All bins count, small ones too, since which are small depends on the edges.
    """
    t, x = reference + current, current.astype(np.float64)  # SciPy warns of a t that is not whole
    n, m = float(t.sum()), float(x.sum())
    if m in (0.0, n):
        return 0.0, 1.0
    p = m / n
    above = np.where(x > 0, special.bdtrc(np.maximum(x - 1.0, 0.0), t, p), 1.0)
    tails = np.minimum(2.0 * np.minimum(special.bdtr(x, t, p), above), 1.0) if too_few else above
    at = int(np.argmin(tails))
    z = (x[at] - t[at] * p) / math.sqrt(t[at] * p * (1.0 - p))
    return float(z), min(1.0, float(tails[at]) * len(tails))


def share(ones: int, n: int, ones_current: int, m: int) -> Tested:
    """Return Fisher's exact test of a share, `ones` of `n` against `ones_current` of `m`; twice the smaller tail.

    Sums the hypergeometric law; with more than 20,000 cases in it, the normal tail with continuity correction.
    """
    whole, marked = n + m, ones + ones_current
    mean = marked * m / whole if whole else 0.0
    variance = mean * (whole - marked) / whole * n / max(whole - 1, 1) if whole else 0.0
    if variance <= 0.0:
        return Tested("share", 0.0, 1.0)
    z = (ones_current - mean) / math.sqrt(variance)
    low, high = max(0, marked - n), min(marked, m)
    if high - low > EXACT:
        corrected = max(abs(ones_current - mean) - 0.5, 0.0) / math.sqrt(variance)
        return Tested("share", z, min(1.0, 2.0 * float(special.ndtr(-corrected))))
    cases = np.arange(low, high + 1, dtype=np.float64)
    logs = -special.gammaln(cases + 1) - special.gammaln(marked - cases + 1)
    logs -= special.gammaln(m - cases + 1) + special.gammaln(n - marked + cases + 1)
    law = np.exp(logs - logs.max())
    law /= law.sum()
    tail = min(float(law[: ones_current - low + 1].sum()), float(law[ones_current - low :].sum()))
    return Tested("share", z, min(1.0, 2.0 * tail))


def delta(reference: Ints, current: Ints) -> float:
    """Return Cliff's delta: the probability that a current value lies above a reference value, minus below."""
    n, m = float(reference.sum()), float(current.sum())
    below = np.cumsum(reference) - reference
    above = n - below - reference
    return float((current * (below - above)).sum()) / (n * m) if n and m else 0.0


def distance(reference: Ints, current: Ints) -> float:
    """Return the Kolmogorov-Smirnov distance of the two windows over the edges of the bins."""
    n, m = reference.sum(), current.sum()
    return float(np.abs(np.cumsum(reference) / n - np.cumsum(current) / m).max()) if n and m else 0.0


def variation(reference: Ints, current: Ints) -> float:
    """Return the total variation distance: the share of rows that would have to move."""
    n, m = reference.sum(), current.sum()
    return float(np.abs(reference / n - current / m).sum() / 2.0) if n and m else 0.0


def _mean(values: Floats, weights: Counts) -> float:
    return float((values * weights).sum() / weights.sum())


def _occupied(reference: Ints, current: Ints) -> tuple[Ints, Ints]:
    some = (reference + current) > 0
    return reference[some], current[some]


def _ranks(total: Counts) -> Floats:
    """Return the middle of the ranks of each bin's values, as shares."""
    return np.asarray((np.cumsum(total) - total / 2.0) / total.sum(), np.float64)


def _untied(reference: Ints, current: Ints) -> tuple[Floats, Floats]:
    """Return the counts with bins that hold no reference value cut up, since their values rank one after the other.

    Edges of a small reference window are its own values: whatever lies between two of them is of the current window.
    With one rank for all of that the scores of both windows together vary less than the reference's do by chance.
    """
    alone = reference == 0
    parts = np.where(alone, np.minimum(current, max(PARTS // max(int(alone.sum()), 1), 1)), 1)
    return np.repeat(reference / parts, parts), np.repeat(current / parts, parts)


def _cells(reference: Ints, current: Ints, cells: Ints) -> tuple[Ints, Ints]:
    """Return the counts per cell of neighbouring bins, each with at least 5 values to expect in each window.

    At least 30 in the reference window: between edges that are its own values its count is fixed, and the current one
    negative hypergeometric, with a longer tail the fewer these are.
    """
    first = np.flatnonzero(np.diff(cells, prepend=-1))
    old, new = np.add.reduceat(reference, first), np.add.reduceat(current, first)
    n, m = max(int(old.sum()), 1), max(int(new.sum()), 1)
    return merged(old, new, max(LEAST_EXPECTED / min(n, m), LEAST_REFERENCE / n) * (n + m))


def merged(reference: Ints, current: Ints, wanted: float) -> tuple[Ints, Ints]:
    """Return counts with neighbours merged until each cell has at least `wanted` values in both windows together.

    Less than that in all is one cell; nothing is none.
    """
    starts: list[int] = []
    held = math.inf
    for at, count in enumerate((reference + current).tolist()):
        if held >= wanted:
            starts.append(at)
            held = 0
        held += count
    if len(starts) > 1 and held < wanted:
        starts.pop()
    if not (reference.any() or current.any()):
        return reference[:0], current[:0]
    return np.add.reduceat(reference, starts), np.add.reduceat(current, starts)


def cramers_v(reference: Ints, current: Ints) -> float:
    """Return Cramér's V of window and label, from 0 to 1: the root of chi-square over N - 1."""
    n = float(reference.sum() + current.sum())
    return math.sqrt(min(chi_square(*_occupied(reference, current))[0] / (n - 1.0), 1.0)) if n > 1.0 else 0.0
