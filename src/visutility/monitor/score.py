"""How good a detector was on streams whose changes are known. Pure functions; NaN where a number is undefined."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from visutility.core.errors import Invalid


@dataclass(frozen=True, slots=True)
class Score:
    """What alarms were worth over `unchanged` + changed values.

    `delays` has one entry per change: values from its start to the first alarm in it, counting both, NaN if missed.
    `repeats` counts further alarms within a change: neither delays nor false.
    """

    delays: tuple[float, ...]
    false_alarms: int
    repeats: int
    unchanged: int

    @property
    def median_delay(self) -> float:
        """Median over all changes, a missed one being later than any; NaN when half or more were missed."""
        if not self.delays:
            return math.nan
        middle = float(np.median([math.inf if math.isnan(delay) else delay for delay in self.delays]))
        return middle if math.isfinite(middle) else math.nan

    @property
    def missed_rate(self) -> float:
        """Share of changes without an alarm; NaN when there were none."""
        return sum(map(math.isnan, self.delays)) / len(self.delays) if self.delays else math.nan

    @property
    def false_alarms_per_million(self) -> float:
        """False alarms per 1e6 unchanged values; NaN when there were none."""
        return 1e6 * self.false_alarms / self.unchanged if self.unchanged else math.nan

    @property
    def mean_time_between(self) -> float:
        """Unchanged values per false alarm; NaN when there was no false alarm."""
        return self.unchanged / self.false_alarms if self.false_alarms else math.nan


def judge(alarms: Iterable[int], changes: Sequence[tuple[int, int]], n: int) -> Score:
    """Judge the alarm positions on one stream of `n` values that is changed in [start, end) of each change.

    Raises `Invalid` when an alarm lies outside the stream, or changes are out of order, overlap or leave it.
    """
    at = sorted(alarms)
    if at and not 0 <= at[0] <= at[-1] < n:
        raise Invalid(f"alarms at {at[0]} to {at[-1]} on a stream of {n} values", hint="positions count from 0")
    edges = [edge for change in changes for edge in change]
    if any(a > b for a, b in zip([0, *edges], [*edges, n], strict=True)) or any(a == b for a, b in changes):
        raise Invalid(f"changes {list(changes)!r} do not fit a stream of {n} values", hint="give [start, end) in order")
    delays: list[float] = []
    repeats = 0
    for start, end in changes:
        inside = [alarm for alarm in at if start <= alarm < end]
        delays.append(float(inside[0] - start + 1) if inside else math.nan)
        repeats += max(len(inside) - 1, 0)
    caught = sum(not math.isnan(delay) for delay in delays)
    unchanged = n - sum(end - start for start, end in changes)
    return Score(tuple(delays), len(at) - caught - repeats, repeats, unchanged)


def pooled(scores: Iterable[Score]) -> Score:
    """Return one score for many streams."""
    each = list(scores)
    return Score(
        tuple(delay for one in each for delay in one.delays),
        sum(one.false_alarms for one in each),
        sum(one.repeats for one in each),
        sum(one.unchanged for one in each),
    )


def run_length(watched: float, alarms: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return (estimate, lower bound) of the mean run length to a false alarm: `alarms` in `watched` values.

    The bound takes the alarms for a Poisson process: watched / (chi-square quantile / 2), exact for that; with no
    alarm the estimate is NaN and the bound is watched / -log(1 - confidence).
    """
    from scipy import special

    if watched <= 0 or alarms < 0 or not 0.0 < confidence < 1.0:
        raise Invalid(
            f"watched {watched!r}, alarms {alarms!r}, confidence {confidence!r}",
            hint="watched is above 0, alarms 0 or more, confidence in (0, 1)",
        )
    bound = watched / float(special.gammaincinv(alarms + 1.0, confidence))
    return (watched / alarms if alarms else math.nan), bound
