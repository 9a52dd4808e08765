"""What CUSUM and Page-Hinkley share: a score that starts again at 0, and a baseline that holds what came before.

An *excursion* is the stretch since the score was last 0. Its values join the baseline when the score comes back to 0
and are dropped at an alarm, so that what raised an alarm never becomes normal.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidSetting
from visutility.monitor.detector import Level
from visutility.monitor.moments import LARGEST, check_sums, moments, sums_of, tame
from visutility.monitor.state import MANY, VAST, Bools, Floats, Ints, StreamState, agree, between
from visutility.monitor.steps import StepDetector

GROWTH = 32  # limits are learnt anew each time that the baseline has grown by one part in so many
ROW = np.zeros(1, np.int64)  # of a lane that runs alone
_FINEST = 1e170  # of what a step is multiplied with: less than 1 over the least standard deviation


@dataclass(frozen=True, slots=True)
class ExcursionState(StreamState):
    """Oriented units: larger is worse. 129 bytes a stream.

    `base` and `open` hold the count of the values of the baseline and of the excursion, and the sums of d, d^2 and d^3
    with d = value - `first`: a distance, so that a large mean costs no digits.
    """

    first: Floats  # (s,) the first value; NaN: none yet
    binary: Bools  # (s,) all values were 0 or 1
    base: Floats  # (4, s)
    open: Floats  # (4, s)
    score: Floats  # (s,)
    scale: Floats  # (s,) what a step is multiplied with; 0: still learning
    centre: Floats  # (s,) what is taken off a step
    limits: Floats  # (2, s) of the score: for a warning, for an alarm
    due: Floats  # (s,) how many values have to be there before the limits are learnt anew


@dataclass(frozen=True, slots=True)
class ExcursionDetector(StepDetector[ExcursionState]):
    """Base of both: `size` is the rise, in standard deviations, that it is quickest for.

    The baseline begins with the first `reference` values, or with a reference window. A warning comes where the limit
    for `warning` times `arl` is passed. Values of any range up to 1e90. A detector adds `step`, `run` and `relearn`.
    """

    size: float = 0.2
    arl: float = 1e6
    reference: int = 100
    warning: float = 0.01
    low: float | None = -LARGEST
    high: float | None = LARGEST

    state_type: ClassVar[type[ExcursionState]] = ExcursionState
    smallest_reference: ClassVar[int] = 20

    def __post_init__(self) -> None:
        StepDetector.__post_init__(self)
        check_settings(self.size, self.arl, self.reference, self.warning)

    @abstractmethod
    def relearn(self, work: ExcursionState, rows: Ints) -> None:
        """Learn the scale, centre and limits of these rows from what their sums hold, in place."""

    def promise(self, reference_size: int) -> str:
        """Return what was measured, under which assumptions."""
        return (
            f"Measured, not proven: on independent values, with a baseline that starts with {reference_size} values "
            f"and grows with the stream, the mean time to a false alarm is about {self.arl:g} values or more. It does "
            f"not hold for dependent values, nor where a few rare values are far larger than the others."
        )

    def oriented(self, values: Floats) -> Floats:
        """Return the values, negated where smaller is worse."""
        return values if self.direction == "rise" else -values

    def fresh(self, n: int) -> ExcursionState:
        """Return the state of n streams that learn from their first values."""
        return ExcursionState(
            seen=np.zeros(n, np.int64),
            first=np.full(n, math.nan),
            binary=np.ones(n, np.bool_),
            base=np.zeros((4, n)),
            open=np.zeros((4, n)),
            score=np.zeros(n),
            scale=np.zeros(n),
            centre=np.zeros(n),
            limits=np.full((2, n), math.inf),
            due=np.full(n, float(self.reference)),
        )

    def learn(self, references: Sequence[Floats]) -> ExcursionState:
        """Return the state of streams whose baselines are these windows."""
        work = self.fresh(len(references))
        for row, window in enumerate(references):
            work.first[row] = window[0]
            work.binary[row] = bool(np.all((window == 0.0) | (window == self.sign)))
            work.base[:, row] = sums_of(window)
            work.due[row] = len(window)
        self.relearn(work, np.arange(len(references)))
        return work

    def check(self, state: ExcursionState) -> None:
        """Refuse what no stream comes to."""
        if not tame(self.low, self.high):
            return
        check_sums(state.base[0], state.base[1:])
        check_sums(state.open[0], state.open[1:])
        between(state, -LARGEST, LARGEST, "first", missing=True)
        between(state, 0, VAST, "score")
        between(state, 0, _FINEST, "scale")
        between(state, -VAST, VAST, "centre")
        between(state, 0, math.inf, "limits")
        between(state, 0, 2.0 * MANY, "due")
        agree((state.base[0] >= 1.0) | (state.scale == 0.0), "a scale that was learnt from no value")

    def restart(self, work: ExcursionState, row: int) -> None:
        """Forget the excursion; the baseline is what it was before it."""
        drop(work, row)

    def scores(self, state: ExcursionState) -> Floats:
        """Return the scores, in the unit of their limit; NaN while learning."""
        return np.where(np.isfinite(state.limits[1]), state.score, math.nan)

    def evidence(self, state: ExcursionState, stream: int = 0) -> dict[str, float]:
        """Return the score and the excursion that carries it; `since` is where it began."""
        seen, (count, total) = int(state.seen[stream]), state.open[:2, stream].tolist()
        found = {
            "position": float(seen - 1),
            "score": float(state.score[stream]),
            "limit": float(state.limits[1, stream]),
            "since": max(seen - count, 0.0),
            "values_since": count,
            "mean_since": self.sign * (float(state.first[stream]) + total / count) if count else math.nan,
            **self.learnt(state, stream),
        }
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def learnt(self, state: ExcursionState, stream: int = 0) -> dict[str, float]:
        """Return what the baseline holds: its size, mean and spread, and the limit of the score once there is one."""
        found = {"reference_size": float(state.base[0, stream])}
        if found["reference_size"]:
            _, mean, sd, _ = moments(state.base[:, [stream]])
            found["reference_mean"] = self.sign * float(state.first[stream] + mean[0])
            found["reference_sd"] = float(sd[0])
        limit = float(state.limits[1, stream])
        return found | ({"limit": limit} if math.isfinite(limit) else {})

    @property
    def sign(self) -> float:
        """What a 1 is in oriented units."""
        return 1.0 if self.direction == "rise" else -1.0


def gather(work: ExcursionState, values: Floats, one: float) -> Floats:
    """Add one value to each of the first rows' excursions, in place; d of each."""
    a = len(values)
    first = work.first[:a]
    np.copyto(first, values, where=np.isnan(first))
    work.binary[:a] &= (values == 0.0) | (values == one)
    d = values - first
    square = d * d
    now = work.open[:, :a]
    now[0] += 1.0
    now[1] += d
    now[2] += square
    now[3] += square * d
    return d


def settle(work: ExcursionState, score: Floats) -> NDArray[np.int8]:
    """Store the new scores (a,), end the excursions that came back to 0, and say which levels were reached."""
    a = len(score)
    back: Bools = score <= 0.0
    score[back] = 0.0
    ended = np.flatnonzero(back)
    work.base[:, ended] += work.open[:, ended]
    work.open[:, ended] = 0.0
    low, high = work.limits[0, :a], work.limits[1, :a]
    levels = np.where((score >= low) & (work.score[:a] < low), Level.WARNING, Level.OK).astype(np.int8)
    levels[score >= high] = Level.ALARM
    work.score[:a] = score
    return levels


def run_lane(
    work: ExcursionState, values: Floats, one: float, renew: Callable[[Floats], tuple[int, int]], *, moving: bool
) -> tuple[int, Level]:
    """Do to row 0 what `gather`, the step of a score and `settle` do, value by value until a verdict that is not OK.

    With `moving` a step is (d - mean of all) * scale - centre, and the limits are due with the value that completes
    their count; without it a step is (d - centre) * scale, and they are due once the baseline has that count. `renew`
    is then given the values that are left and returns how many of them it used, and the level. Returns the same of
    all. In plain floats, which are many times faster than arrays of one number, and the same numbers.
    """
    used, level = 0, Level.OK
    while used < len(values) and level == Level.OK:
        if math.isnan(work.first[0]):
            work.first[0] = values[0]
        first, due, score = float(work.first[0]), float(work.due[0]), float(work.score[0])
        scale, centre, (low, high) = float(work.scale[0]), float(work.centre[0]), work.limits[:, 0].tolist()
        (b0, b1, b2, b3), (o0, o1, o2, o3) = work.base[:, 0].tolist(), work.open[:, 0].tolist()
        binary, stale = bool(work.binary[0]), False
        for x in values[used : used + 4096].tolist():
            if moving and b0 + o0 + 1.0 >= due:
                stale = True
                break
            used += 1
            d = x - first
            if binary and x != 0.0 and x != one:
                binary = False
            square = d * d
            o0, o1, o2, o3 = o0 + 1.0, o1 + d, o2 + square, o3 + square * d
            last = score
            score = (score + (d - (b1 + o1) / (b0 + o0)) * scale) - centre if moving else score + (d - centre) * scale
            if score <= 0.0:
                b0, b1, b2, b3 = b0 + o0, b1 + o1, b2 + o2, b3 + o3
                score = o0 = o1 = o2 = o3 = 0.0
                if not moving and b0 >= due:
                    stale = True
                    break
            elif score >= high or (score >= low and last < low):
                level = Level.ALARM if score >= high else Level.WARNING
                break
        work.base[:, 0], work.open[:, 0] = (b0, b1, b2, b3), (o0, o1, o2, o3)
        work.score[0], work.binary[0] = score, binary
        if stale:
            more, said = renew(values[used:])
            used, level = used + more, Level(said)
    return used, level


def drop(work: ExcursionState, row: int) -> None:
    """Forget the excursion of one row, in place."""
    work.open[:, row] = 0.0
    work.score[row] = 0.0


def set_limits(work: ExcursionState, rows: Ints, limits: Floats) -> None:
    """Write what was just learnt, limits (2, r), and when to learn again."""
    count = work.base[0, rows] + work.open[0, rows]
    work.limits[:, rows] = limits
    work.due[rows] = count + np.floor(count / GROWTH) + 1.0


def check_settings(size: float, arl: float, reference: int, warning: float) -> None:
    """Raise `InvalidSetting` for a setting out of its range."""
    if not 0.01 <= size <= 10.0:
        raise InvalidSetting(f"size {size!r} is not in [0.01, 10]", hint="it is a rise, in standard deviations")
    if not 1.0 < warning * arl <= arl <= 1e100:
        raise InvalidSetting(
            f"arl {arl!r} with warning {warning!r}: not 1 < warning x arl <= arl <= 1e100",
            hint="arl is a mean run length in values, warning a share of it; 1 for none",
        )
    if not 20 <= reference <= 10**9:
        raise InvalidSetting(f"reference {reference!r} is not in [20, 1e9]", hint="it is a number of values")


def wald_limit(run_length: Floats) -> Floats:
    """Return h with e^h - h - 1 = y: the limit of a CUSUM of log-likelihood ratios, for y = ARL0 times their mean loss.

    Wald's approximation of the mean run length without the overshoot (Siegmund 1985, "Sequential Analysis", section
    II.6), so on the safe side.
    """
    h = np.log1p(2.0 * run_length + np.sqrt(2.0 * run_length))  # above the root of a convex function: Newton comes down
    for _ in range(8):
        rise = np.expm1(h)
        h = h - (rise - h - run_length) / rise
    return h


def exponent(size: float, skew: Floats) -> Floats:
    """Return the R > 0 with E exp(R (size z - size^2 / 2)) = 1, for z of mean 0, variance 1 and that skewness.

    1 for normal z; less where large values are likelier than normal, and the limit is then 1/R times as far away. From
    the third-order expansion of the cumulant function: 1 = R + R^2 size skew / 3. Lundberg's exponent (Asmussen &
    Albrecher 2010, "Ruin Probabilities", ch. III). A skewness below 0 counts as 0.
    """
    return np.asarray(2.0 / (1.0 + np.sqrt(1.0 + 4.0 * size * np.maximum(skew, 0.0) / 3.0)), np.float64)


def exponent_of_errors(size: float, rate: Floats) -> Floats:
    """Return the same R for 0/1 values with that rate of ones, exactly; at most 1, which holds for rates above a half.

    Newton's method on the logarithm of rate e^(R up) = 1 - (1 - rate) e^(R down): the difference of the two sides is
    convex, and from 1, where that is above its root, it comes down to that and never passes it. 1 where the root is
    above 1, or where even an error lowers the score, since `size` is more than twice what it is above the mean.
    """
    rare = np.minimum(rate, 0.5)
    sd = np.sqrt(rare * (1.0 - rare))
    up, down = size * (1.0 - rare) / sd - size * size / 2.0, -size * rare / sd - size * size / 2.0
    found = np.ones_like(rare)
    below = up + np.log(rare) < np.log(-np.expm1(down + np.log1p(-rare)))  # 1 is no more than the root, if there is one
    for _ in range(10):
        zero = found * down + np.log1p(-rare)
        excess = found * up + np.log(rare) - np.log(-np.expm1(zero))
        next_one = np.minimum(found - excess / (up - down * np.exp(zero) / np.expm1(zero)), 1.0)
        found = np.where(below, 1.0, next_one)
    return found


def rate_of(sums: Floats, first: Floats, one: float) -> Floats:
    """Return the rate of the worse of two outcomes, (ones + 1) / (n + 2): Laplace's rule, never 0 or 1."""
    ones = sums[1] + sums[0] * first if one > 0.0 else sums[1] + sums[0] * (first + 1.0)
    return np.asarray((np.clip(ones, 0.0, sums[0]) + 1.0) / (sums[0] + 2.0), np.float64)
