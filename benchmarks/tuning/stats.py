"""What the tables say: scores, ranks, paired tests. Lower losses and higher scores are better."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from visutility.core.rng import rng

LEAST = -1.0  # no run scores less, so that one hopeless run does not decide a mean
RESAMPLES = 2000


def running_best(losses: Sequence[float]) -> list[float]:
    """The best loss after each trial; infinite before the first trial that did not fail."""
    found = np.where(np.isnan(losses), np.inf, losses)
    return [float(value) for value in np.minimum.accumulate(found)]


def median_of_best(pool: Sequence[float], trials: int) -> float:
    """The median of the best of `trials` random draws, from a pool of many; NaN in the pool is a failed trial.

    The best of n draws is below the q-quantile with probability 1 - (1 - q)^n: its median is the quantile at
    1 - 2^(-1/n).
    """
    found = np.sort(np.where(np.isnan(pool), np.inf, pool))
    place = (1.0 - 0.5 ** (1.0 / trials)) * (len(found) - 1)
    low, high = found[math.floor(place)], found[math.ceil(place)]
    share = place - math.floor(place)
    return float(low if share == 0.0 or low == high else (1.0 - share) * low + share * high)


def score(best: float, zero: float, one: float) -> float:
    """0 at `zero`, the median of random search, and 1 at `one`, the best known loss; at least -1."""
    if not math.isfinite(best):
        return LEAST
    if zero <= one:  # random search finds the best known: nothing can be gained here, and nothing lost by being equal
        return 0.0 if best <= one else LEAST
    return max(LEAST, (zero - best) / (zero - one))


def ranks(scores: Mapping[str, float]) -> dict[str, float]:
    """The rank of each, 1 for the highest score; equal ones share the mean of their ranks."""
    from scipy.stats import rankdata

    found = rankdata([-value for value in scores.values()])
    return {name: float(rank) for name, rank in zip(scores, found, strict=True)}


def mean_ranks(by_task: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Mean over tasks of the rank among the same competitors."""
    each = [ranks(scores) for scores in by_task.values()]
    return {name: float(np.mean([found[name] for found in each])) for name in each[0]}


def paired(a: Sequence[float], b: Sequence[float]) -> tuple[int, int, float]:
    """Wins and losses of `a`, and the two-sided p of Wilcoxon's signed-rank test; equal pairs are split evenly."""
    from scipy.stats import wilcoxon

    off = np.round(np.subtract(a, b), 12)
    won, lost = int((off > 0).sum()), int((off < 0).sum())
    if won + lost == 0:
        return won, lost, 1.0
    return won, lost, float(wilcoxon(off, zero_method="zsplit").pvalue)


def gain(by_task: Mapping[str, Sequence[tuple[float, float]]]) -> tuple[float, float, float]:
    """Mean of a - b over all pairs, and its 95 % interval when tasks, not pairs, are drawn again: (mean, low, high).

    Pairs of one task are no independent evidence about another task; drawing whole tasks says so.
    """
    off = [[x - y for x, y in pairs] for pairs in by_task.values()]
    sums, counts = np.array([sum(each) for each in off]), np.array([len(each) for each in off])
    drawn = rng(0, "gain", len(off)).integers(len(off), size=(RESAMPLES, len(off)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(sums.sum() / counts.sum()), float(low), float(high)
