"""The likelihood-ratio scan: is there a start from which the values are worse than all before it?

Siegmund & Venkatraman (1995), "Using the generalized likelihood ratio statistic for sequential detection of a
change-point", Annals of Statistics 23(1), with both levels unknown; Lai (1995), "Sequential
changepoint detection in quality control and dynamical systems", JRSS B 57(4), section 3 (windows of geometric sizes);
Lai & Xing (2010), "Sequential change-point detection when the pre- and post-change parameters are unknown",
Sequential Analysis 29(2). `docs/detector-glr.md` has the statistic and its thresholds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from visutility.core.errors import InvalidSetting
from visutility.monitor.detectors._settings import check_warning
from visutility.monitor.moments import LARGEST, check_sums, tame
from visutility.monitor.state import MANY, VAST, Bools, Floats, Ints, StreamState, agree, between
from visutility.monitor.steps import StepDetector
from visutility.monitor.verdicts import Level
from visutility.monitor.windows import sum_rows

BLOCK = 4  # values between decisions, and between starting points at the finest
LEVELS = 17  # starting points 4, 8, …, 2^18 values apart
KEPT = 4  # the last starting points of each
_MARGIN = -2.0  # added to log(arl) for the limit: simulated, see the page
_BINARY_MARGIN = -1.5
_EVER = 2**40  # values that are never there
_LEVEL = np.repeat(np.arange(LEVELS), KEPT)[:, None]
_SLOT = np.tile(np.arange(KEPT), LEVELS)[:, None]


@dataclass(frozen=True, slots=True)
class ScanState(StreamState):
    """c = 68 starting points, s streams. Sums are of oriented values (larger is worse) relative to `origin`."""

    blocks: Ints  # (s,) whole blocks since the start of the baseline
    filled: Ints  # (s,) values in the unfinished block
    part: Floats  # (3, s) their sums, sums of squares and of cubes
    total: Floats  # (3, s) the same of all whole blocks
    start: NDArray[np.int32]  # (c, s) blocks before each starting point; -1: none
    before: Floats  # (3, c, s) the sums before it
    origin: Floats  # (s,) the first value, 0 if that was -1, 0 or 1; NaN: none yet
    unit: Bools  # (s,) every value was -1, 0 or 1: with one sign alone they are 0/1 values, turned or not
    hold: Ints  # (s,) values before the first starting point
    score: Floats  # (s,) the largest log likelihood ratio
    best: Ints  # (s,) the starting point it belongs to


@final
@dataclass(frozen=True, slots=True)
class Glr(StepDetector[ScanState]):
    """Alarm when the values from some starting point on are more likely under a worse level than under the old one.

    Both levels are estimated, the old one from all values before the starting point. Values that are all 0 or 1 are
    compared by the Bernoulli likelihood, others by one that takes the variance and skewness of the values into account.
    Decisions fall every 4 values; starting points lie 4, 8, 16, … values apart, the farther the longer ago they are,
    4 of each. 2,009 bytes a stream. The values have to be independent.
    """

    arl: float = 1e6
    learning: int = 256
    warning: float = 0.01
    low: float | None = -1e90  # sums of cubes stay finite
    high: float | None = 1e90

    name: ClassVar[str] = "glr"
    state_type: ClassVar[type[ScanState]] = ScanState

    def __post_init__(self) -> None:
        StepDetector.__post_init__(self)
        if not 10.0 <= self.arl <= 1e100:
            raise InvalidSetting(f"arl {self.arl!r} is not in [10, 1e100]", hint="give the mean run length in values")
        if not 20 <= self.learning <= _EVER:
            raise InvalidSetting(f"learning {self.learning!r} is not at least 20", hint="it is in values")
        check_warning(self.warning)

    def promise(self, reference_size: int) -> str:
        """Return what was simulated, under which assumptions."""
        return (
            f"Simulated, not proven: on independent values of one distribution (0/1, Beta, normal, uniform, "
            f"exponential), after at least {max(reference_size, self.learning)} values, the mean time to a false alarm "
            f"is at least {self.arl:g} values. It need not hold for heavy tails, for rare large values or for "
            f"dependent values."
        )

    def oriented(self, values: Floats) -> Floats:
        """Return the values, negated where smaller is worse."""
        return values if self.direction == "rise" else -values

    def fresh(self, n: int) -> ScanState:
        """Return the state of n streams that learn from their first values."""
        points = LEVELS * KEPT
        return ScanState(
            seen=np.zeros(n, np.int64),
            blocks=np.zeros(n, np.int64),
            filled=np.zeros(n, np.int64),
            part=np.zeros((3, n)),
            total=np.zeros((3, n)),
            start=np.full((points, n), -1, np.int32),
            before=np.zeros((3, points, n)),
            origin=np.full(n, math.nan),
            unit=np.ones(n, np.bool_),
            hold=np.full(n, self.learning, np.int64),
            score=np.zeros(n),
            best=np.zeros(n, np.int64),
        )

    def check(self, state: ScanState) -> None:
        """Refuse what no stream comes to."""
        between(state, 0, MANY, "blocks", "hold", "best")
        between(state, 0, BLOCK - 1, "filled")
        agree(np.maximum.reduce(state.start, axis=0) <= state.blocks, "a starting point that is still to come")
        if not tame(self.low, self.high):
            return
        agree((state.best == 0) | (state.start == state.best).any(axis=0), "a best starting point that is none")
        between(state, -LARGEST, LARGEST, "origin", missing=True)
        agree(
            np.isnan(state.origin) == (state.blocks + state.filled == 0), "a first value where there is none, or none"
        )
        between(state, 0, VAST, "score")
        between(state, -VAST, VAST, "before")
        whole = (BLOCK * state.blocks).astype(np.float64)
        check_sums(whole, state.total)
        check_sums(state.filled.astype(np.float64), state.part)
        binary = np.flatnonzero(_binary(state.unit, state.total))
        if len(binary):
            _check_errors(state.start[:, binary], state.before[0][:, binary], whole[binary], state.total[0, binary])

    def learn(self, references: Sequence[Floats]) -> ScanState:
        """Return the state after these reference windows, which are waited out, and 20 values at least."""
        work = replace(self, learning=_EVER).primed(references)
        sizes = np.array([len(window) for window in references], np.int64)
        work.hold[:] = np.clip(sizes, 20, self.learning)
        return work

    def step(self, work: ScanState, values: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
        """Advance the first rows by one value each; decide where a block ends."""
        a = len(values)
        new = np.isnan(work.origin[:a])
        if new.any():
            work.origin[:a][new] = _origin(values[new])
        moved = values - work.origin[:a]
        work.unit[:a] &= _is_unit(moved)
        work.part[:, :a] += _powers(moved)
        work.filled[:a] += 1
        levels = np.zeros(a, np.int8)
        ended = np.flatnonzero(work.filled[:a] == BLOCK)
        if len(ended):
            levels[ended] = self._decide(work, ended)
        return levels, work.score[:a].copy(), self._limits(work)[:a]

    def run(self, work: ScanState, values: Floats) -> tuple[int, Level, float, float]:
        """Advance row 0 through the values until something is to be said."""
        done, level, most = 0, 0, 16
        if math.isnan(work.origin[0]) and len(values):
            work.origin[0] = _origin(values[:1])[0]
        while done < len(values) and not level:
            open_by = int(work.filled[0])
            blocks = 0 if open_by else min((len(values) - done) // BLOCK, most)
            if blocks:
                moved = values[done : done + blocks * BLOCK].reshape(blocks, BLOCK).T - work.origin[0]
                used, level = self._run_blocks(work, moved)
                done += used * BLOCK
                most = min(2 * most, 256)  # what is computed in vain beyond a verdict stays in proportion
                continue
            moved = values[done : done + BLOCK - open_by] - work.origin[0]
            work.unit[0] &= _is_unit(moved).all()
            for power in _powers(moved).T:
                work.part[:, 0] += power
            work.filled[0] += len(moved)
            done += len(moved)
            if work.filled[0] == BLOCK:
                level = int(self._decide(work, np.zeros(1, np.int64))[0])
        return done, Level(level), float(work.score[0]), float(self._limits(work)[0])

    def restart(self, work: ScanState, row: int) -> None:
        """Forget the score; after an alarm, also everything since the starting point it belongs to."""
        if work.score[row] >= self._limits(work)[row]:
            best = int(work.best[row])
            at = int(np.argmax(work.start[:, row] == best))
            work.total[:, row] = work.before[:, at, row]
            work.blocks[row], work.filled[row] = best, 0
            work.part[:, row] = 0.0
            work.start[work.start[:, row] > best, row] = -1
        work.score[row], work.best[row] = 0.0, 0

    def scores(self, state: ScanState) -> Floats:
        """Return the largest log likelihood ratio at the last decision; 0 before there is one."""
        return state.score.copy()

    def evidence(self, state: ScanState, stream: int = 0) -> dict[str, float]:
        """Return the score, the estimated change point, and the means before and since."""
        found = {
            "position": float(state.seen[stream] - 1),
            "score": float(state.score[stream]),
            "limit": float(self._limits(state)[stream]),
        }
        best, blocks = int(state.best[stream]), int(state.blocks[stream])
        if 0 < best < blocks:
            at = int(np.argmax(state.start[:, stream] == best))
            old = float(state.before[0, at, stream])
            new = (float(state.total[0, stream]) - old) / (BLOCK * (blocks - best))
            since = BLOCK * (blocks - best) + int(state.filled[stream])
            found |= {
                "since": float(state.seen[stream] - since),
                "values_since": float(since),
                "mean_since": self._people(new, state, stream),
                "mean_before": self._people(old / (BLOCK * best), state, stream),
            }
        return found

    def learnt(self, state: ScanState, stream: int = 0) -> dict[str, float]:
        """Return the size, mean and standard deviation of all values that count as the baseline so far."""
        n = BLOCK * int(state.blocks[stream])
        mean, square = (state.total[:2, stream] / max(n, 1)).tolist()
        return {
            "baseline_size": float(n),
            "baseline_mean": self._people(mean, state, stream) if n else 0.0,
            "baseline_sd": math.sqrt(max(square - mean * mean, 0.0)),
        }

    def _limits(self, state: ScanState) -> Floats:
        """Return the limit of each stream's score."""
        return self._limits_of(_binary(state.unit, state.total))

    def _limits_of(self, binary: Bools) -> Floats:
        return np.asarray(np.where(binary, _BINARY_MARGIN, _MARGIN) + math.log(self.arl), np.float64)

    def _people(self, mean: float, state: ScanState, stream: int) -> float:
        """Return a mean in the units of the stream."""
        value = mean + float(state.origin[stream])
        return value if self.direction == "rise" else -value

    def _decide(self, work: ScanState, rows: Ints) -> NDArray[np.int8]:
        """Take the end of the last block for a starting point, close the next, and compare all starting points."""
        blocks, total = work.blocks[rows], work.total[:, rows]
        lands = (blocks % (1 << _LEVEL) == 0) & ((blocks >> _LEVEL) % KEPT == _SLOT) & (blocks > 0)
        at, which = np.nonzero(lands)
        work.start[at, rows[which]] = blocks[which]
        work.before[:, at, rows[which]] = total[:, which]
        blocks, total = blocks + 1, total + work.part[:, rows]
        work.blocks[rows], work.total[:, rows] = blocks, total
        work.part[:, rows], work.filled[rows] = 0.0, 0
        start, binary = work.start[:, rows].astype(np.int64), _binary(work.unit[rows], total)
        ratio = _ratios(start, work.before[0][:, rows], blocks, total, binary, work.hold[rows])
        before = work.score[rows]
        top = np.argmax(ratio, axis=0)
        each = np.arange(len(rows))
        work.score[rows] = ratio[top, each]
        work.best[rows] = np.maximum(start[top, each], 0)
        return self._levels(work.score[rows], before, self._limits_of(binary))

    def _run_blocks(self, work: ScanState, moved: Floats) -> tuple[int, int]:
        """Do what `_decide` does for row 0, for many whole blocks (4, n) at once: (blocks used, level)."""
        first, n = int(work.blocks[0]), moved.shape[1]
        sums = sum_rows(np.moveaxis(_powers(moved), 1, 0))
        total = np.add.accumulate(np.concatenate((work.total[:, :1], sums), axis=1), axis=1)
        unit = np.logical_and.accumulate(np.concatenate((work.unit[:1], _is_unit(moved).all(axis=0))))[1:]
        binary = _binary(unit, total[:, 1:])
        blocks = first + 1 + np.arange(n)
        start, before = _points(work, first, blocks, total)
        ratio = _ratios(start, before[0], blocks, total[:, 1:], binary, work.hold[:1])
        top = np.argmax(ratio, axis=0)
        each = np.arange(n)
        score = ratio[top, each]
        levels = self._levels(score, np.concatenate((work.score[:1], score[:-1])), self._limits_of(binary))
        said = np.flatnonzero(levels)
        used = int(said[0]) + 1 if len(said) else n
        work.score[0], work.best[0] = score[used - 1], max(int(start[top[used - 1], used - 1]), 0)
        start, before = _points(work, first, blocks[used - 1 : used], total[:, :used])
        work.start[:, 0], work.before[:, :, 0] = start[:, 0], before[:, :, 0]
        work.blocks[0], work.unit[0], work.total[:, 0] = first + used, unit[used - 1], total[:, used]
        return used, int(levels[used - 1])

    def _levels(self, score: Floats, before: Floats, limits: Floats) -> NDArray[np.int8]:
        """ALARM at the limit; WARNING where the score has just come to that of a share of `arl`."""
        low = limits + math.log(self.warning)
        levels = np.where((score >= low) & (before < low), Level.WARNING, Level.OK)
        return np.where(score >= limits, Level.ALARM, levels).astype(np.int8)


def _origin(values: Floats) -> Floats:
    """Return what values are taken relative to, given the first ones: 0 where those may be 0/1 values."""
    return np.where(_is_unit(values), 0.0, values)


def _is_unit(values: Floats) -> Bools:
    return np.asarray(np.abs(values) == values * values, np.bool_)


def _binary(unit: Bools, total: Floats) -> Bools:
    """Return whether all values were 0 or 1, or all 0 or -1."""
    return np.asarray(unit & (np.abs(total[0]) == total[1]), np.bool_)


def _check_errors(start: NDArray[np.int32], before: Floats, n: Floats, total: Floats) -> None:
    """Raise `Invalid` unless there are that many 0/1 values, all turned or none, before starting points and after."""
    ones, all_ones, old = np.where(total < 0.0, -before, before), np.abs(total), start * float(BLOCK)
    fits = (ones >= 0.0) & (ones <= old) & (all_ones >= ones) & (all_ones - ones <= n - old)
    agree((start <= 0) | fits, "more errors than values")


def _powers(moved: Floats) -> Floats:
    """Return the values, their squares and their cubes, stacked."""
    square = moved * moved
    return np.stack([moved, square, square * moved])


def _points(work: ScanState, first: int, blocks: Ints, total: Floats) -> tuple[Ints, Floats]:
    """Return starting points (c, n) and sums before them (3, c, n) as they are when block number `blocks` (n,) closes.

    `total` (3, n + 1) has the sums after block `first` and each later one; row 0 holds what there was before that.
    """
    last = (blocks - 1) >> _LEVEL
    start = (last - (last - _SLOT) % KEPT) << _LEVEL
    fresh = (start >= first) & (start > 0)
    at = np.clip(start - first, 0, total.shape[1] - 1)
    before = np.where(fresh, total[:, at], work.before[:, :, :1])
    return np.where(fresh, start, work.start[:, :1]), before


def _ratios(start: Ints, before: Floats, blocks: Ints, total: Floats, binary: Bools, hold: Ints) -> Floats:
    """Return the log likelihood ratio of every starting point (c, n); 0 where there is none or nothing is worse.

    `before` (c, n) are sums before them, `total` (3, n) the sums of values, squares and cubes of all blocks (n,).
    """
    n, old = (BLOCK * blocks).astype(np.float64), np.maximum(BLOCK * start, 1).astype(np.float64)
    new = n - old
    rise = (total[0] - before) / new - before / old
    good = (BLOCK * start >= hold) & (start > 0) & (rise > 0.0)
    ratio = np.zeros(good.shape)
    if binary.any():
        turned = np.where(binary & (total[0] < 0.0), 1.0, 0.0)  # 0/-1 values, counted from -1
        ones, all_ones = np.where(binary, before, 0.0) + turned * old, total[0] * binary + turned * n
        ratio = np.where(good & binary, _bernoulli(old, ones, n, all_ones), ratio)
    if not binary.all():
        ratio = np.where(good & ~binary, _skewed(old * new / n, np.maximum(rise, 0.0), n, total), ratio)
    return ratio


def _bernoulli(old: Floats, before: Floats, n: Floats, total: Floats) -> Floats:
    """Return the log likelihood ratio of two error rates against one."""

    def likelihood(ones: Floats, n: Floats) -> Floats:
        return np.asarray(special.xlogy(ones, ones / n) + special.xlogy(n - ones, (n - ones) / n))

    return np.asarray(likelihood(before, old) + likelihood(total - before, n - old) - likelihood(total, n))


def _skewed(weight: Floats, rise: Floats, n: Floats, total: Floats) -> Floats:
    """Return the log likelihood ratio of two means against one, for values with the variance and skewness of all.

    With x the rise in standard deviations and g the skewness, I = (4 / g^2)(y - log(1 + y)), y = g x / 2, is the rate
    at which means of gamma values deviate (Cramer); for g = 0 it is x^2 / 2. With w the harmonic size of the two parts,
    unknown variance makes w I into -(n / 2) log(1 - 2 w I / n), which is exact for normal values. The skewness is taken
    two standard errors (6 / n)^(1/2) larger.
    """
    mean, square, cube = total / n
    variance = np.maximum(square - mean * mean, 1e-200)
    third = cube - 3.0 * mean * square + 2.0 * mean * mean * mean
    sd = np.sqrt(variance)
    skew = np.maximum(third / (variance * sd) + 2.0 * np.sqrt(6.0 / n), 1e-3)
    y = skew * rise / (2.0 * sd)
    rate = (4.0 / (skew * skew)) * (y - special.log1p(y))
    return np.asarray(-0.5 * n * special.log1p(-np.minimum(2.0 * weight * rate / n, 1.0 - 1e-12)), np.float64)
