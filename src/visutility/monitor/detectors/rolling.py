"""The rolling window: its mean against the reference mean and against the best mean seen since.

Decisions fall at the ends of fixed blocks of each stream, `parts` of them to a window. Three choices keep slow decay
visible: the reference never moves; the best is taken over windows that do not overlap each other or the current one;
and both are compared with limits learnt from the reference window's spread.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import EmptyWindow, InvalidSetting
from visutility.monitor.detector import Level
from visutility.monitor.detectors._settings import check_warning
from visutility.monitor.moments import LARGEST, check_sums, moments, sums_of, tame
from visutility.monitor.state import MANY, VAST, Bools, Floats, Ints, StreamState, agree, between
from visutility.monitor.stats import count_quantile, mean_quantile
from visutility.monitor.steps import StepDetector
from visutility.monitor.windows import sum_rows

_SKEWED = 1e8  # no skewness is larger: it is at most the root of the number of values
_LUCK = 0.01  # probability, over the whole life of an unchanged stream, that its best window lowers the limit


@dataclass(frozen=True, slots=True)
class RollingState(StreamState):
    """Oriented units: larger is worse. p parts to a window, s streams."""

    first: Floats  # (s,) the first value of the reference window
    sums: Floats  # (4, s) how many it has, and sums of d, d^2 and d^3 with d = value - `first`
    binary: Bools  # (s,) all of them are 0 or 1
    due: Ints  # (s,) how many there have to be before limits are tried
    mean: Floats  # (s,) their mean; NaN while learning, as the next two
    sd: Floats  # (s,) their standard deviation
    skew: Floats  # (s,) their skewness
    bands: Floats  # (2, s) how far a window's mean may rise by chance: before a warning, before an alarm; inf: learning
    count: Ints  # (s,) values since the start or the last alarm
    part: Floats  # (s,) sum of the unfinished block
    ring: Floats  # (p, s) sums of the last p blocks
    last: Floats  # (s,) mean of the last window that ended on a multiple of `window`; inf: none
    best: Floats  # (s,) the least such mean before that; inf: none
    windows: Ints  # (s,) how many windows `best` is the least of
    score: Floats  # (s,) the window's mean over the reference mean; NaN: no full window yet
    limits: Floats  # (2, s) what that score was compared with


@final
@dataclass(frozen=True, slots=True)
class Rolling(StepDetector[RollingState]):
    """Alarm when a window's mean is worse than the reference mean, or than the best window's, by more than allowed.

    Allowed is the larger of two: the share `allowed` of what is compared with, and the learnt band that the mean of
    `window` unchanged values passes at a rate of (`window` / `parts`) / (2 `arl`) a decision. The best window lowers
    the limit only by what it is better than chance over that many windows explains. Values of any range up to 1e90; a
    warning comes where the band of `warning` times `arl` is passed. A stream without a reference window takes its first
    `reference` values for one, or as many more as it takes until a window could pass the limit. 160 + 8 `parts` bytes
    a stream.
    """

    window: int = 100
    allowed: float = 0.05
    arl: float = 1e5
    parts: int = 10
    warning: float = 0.01
    reference: int = 200
    low: float | None = -1e90  # sums of cubes stay finite
    high: float | None = 1e90

    name: ClassVar[str] = "rolling"
    state_type: ClassVar[type[RollingState]] = RollingState
    smallest_reference: ClassVar[int] = 20

    def __post_init__(self) -> None:
        StepDetector.__post_init__(self)
        if self.parts < 1 or self.window < 2 or self.window % self.parts:
            raise InvalidSetting(
                f"window {self.window!r} is not at least 2 and a multiple of parts {self.parts!r}",
                hint="a decision falls every window / parts values",
            )
        if not 0.0 <= self.allowed < math.inf:
            raise InvalidSetting(f"allowed {self.allowed!r} is not 0 or more", hint="0.05 allows 5 % of the reference")
        if not self.window < self.arl <= 1e15:
            raise InvalidSetting(f"arl {self.arl!r} is not above the window and at most 1e15", hint="it is in values")
        check_warning(self.warning)
        if not self.smallest_reference <= self.reference <= 10**9:
            raise InvalidSetting(
                f"reference {self.reference!r} is not in [{self.smallest_reference}, 1e9]",
                hint="it is a number of values",
            )

    def promise(self, reference_size: int) -> str:
        """Return what was simulated, under which assumptions."""
        return (
            f"Simulated, not proven: on independent values with the reference window's distribution, averaged over "
            f"reference windows of {reference_size} values, the mean time to a false alarm is at least {self.arl:g} "
            f"values. It need not hold for one unlucky reference window, for heavy tails, or for dependent values."
        )

    def oriented(self, values: Floats) -> Floats:
        """Return the values, negated where smaller is worse."""
        return values if self.direction == "rise" else -values

    def fresh(self, n: int) -> RollingState:
        """Return the state of n streams that take their first values for reference windows."""
        unknown, none = np.full(n, math.nan), np.full(n, math.inf)
        return RollingState(
            seen=np.zeros(n, np.int64),
            first=unknown,
            sums=np.zeros((4, n)),
            binary=np.ones(n, np.bool_),
            due=np.full(n, self.reference, np.int64),
            mean=unknown.copy(),
            sd=unknown.copy(),
            skew=unknown.copy(),
            bands=np.full((2, n), math.inf),
            count=np.zeros(n, np.int64),
            part=np.zeros(n),
            ring=np.zeros((self.parts, n)),
            last=none,
            best=none.copy(),
            windows=np.zeros(n, np.int64),
            score=unknown.copy(),
            limits=np.full((2, n), math.inf),
        )

    def check(self, state: RollingState) -> None:
        """Refuse what no stream comes to."""
        between(state, 0, MANY, "count", "windows")
        between(state, self.smallest_reference, 2.0 * MANY, "due")
        if not tame(self.low, self.high):
            return
        check_sums(state.sums[0], state.sums[1:])
        between(state, -LARGEST, LARGEST, "first", missing=True)
        between(state, -VAST, VAST, "mean", "score", missing=True)
        between(state, -VAST, VAST, "part", "ring")
        between(state, -VAST, math.inf, "bands", "limits", "last", "best")
        between(state, 0, 4.0 * LARGEST, "sd", missing=True)
        between(state, -_SKEWED, _SKEWED, "skew", missing=True)
        known: Bools = np.isfinite(state.bands[1])
        count, ones = state.sums[0], self._one * (state.sums[1] + state.sums[0] * state.first)
        missing = np.isnan(state.mean) | np.isnan(state.sd) | np.isnan(state.skew)
        agree(np.where(known, ~missing & (count >= self.smallest_reference), count < state.due), "no whole reference")
        agree((state.windows == 0) | np.isfinite(state.best), "windows of which none is the best")
        open_errors = ~known & state.binary & (count > 0.0)
        agree(~open_errors | ((ones >= 0.0) & (ones <= count)), "more errors than values")

    def learn(self, references: Sequence[Floats]) -> RollingState:
        """Return the fresh state; `EmptyWindow` where no window could ever pass the limit."""
        work = self.fresh(len(references))
        for at, window in enumerate(references):
            work.first[at] = window[0]
            work.binary[at] = bool(np.all((window == 0.0) | (window == self._one)))
            work.sums[:, at] = sums_of(window)
            needed = self._know(work, at)
            if math.isinf(work.bands[1, at]):
                raise EmptyWindow(
                    f"no window of {self.window} could be worse than reference window {at} of {len(window)} values by "
                    f"more than {needed:.4g}, which is allowed or may be chance",
                    hint="give a longer reference window, a longer window, or a smaller arl or allowed share",
                )
        return work

    def step(self, work: RollingState, values: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
        """Advance the first rows by one value each; decide where a block ends."""
        a = len(values)
        watching: Bools = np.isfinite(work.bands[1, :a])
        if watching.all():
            work.part[:a] += values
            work.count[:a] += 1
        else:
            self._gather(work, np.flatnonzero(~watching), values[~watching])
            work.part[:a] += np.where(watching, values, 0.0)
            work.count[:a] += watching
        levels = np.zeros(a, np.int8)
        ended = np.flatnonzero(watching & (work.count[:a] % self._block == 0))
        if len(ended):
            levels[ended] = self._decide(work, ended)
        return levels, work.score[:a], work.limits[1, :a]

    def run(self, work: RollingState, values: Floats) -> tuple[int, Level, float, float]:
        """Advance row 0 through the values until something is to be said."""
        done, level, most = self._run_learning(work, values), 0, 16
        while done < len(values) and not level:
            open_by = int(work.count[0]) % self._block
            blocks = 0 if open_by else min((len(values) - done) // self._block, most)
            if blocks:
                piece = values[done : done + blocks * self._block].reshape(blocks, self._block)
                used, level = self._run_blocks(work, sum_rows(piece.T))
                done += used * self._block
                most = min(2 * most, 4096)  # what is computed in vain beyond a verdict stays in proportion
            else:
                piece = values[done : done + self._block - open_by]
                work.part[0] = np.add.accumulate(np.concatenate((work.part[:1], piece)))[-1]
                work.count[0] += len(piece)
                done += len(piece)
                if work.count[0] % self._block == 0:
                    level = int(self._decide(work, np.zeros(1, np.int64))[0])
        return done, Level(level), float(work.score[0]), float(work.limits[1, 0])

    def restart(self, work: RollingState, row: int) -> None:
        """Forget the windows; what was learnt from the reference stays."""
        for array in (work.count, work.part, work.ring, work.windows):
            array[..., row] = 0
        work.last[row] = work.best[row] = math.inf
        work.score[row] = math.nan
        work.limits[:, row] = np.maximum(work.bands[:, row], self.allowed * abs(work.mean[row]))

    def scores(self, state: RollingState) -> Floats:
        """Return how much worse the last window's mean is than the reference mean; NaN before the first window."""
        return state.score.copy()

    def evidence(self, state: RollingState, stream: int = 0) -> dict[str, float]:
        """Return the last window and what it was compared with; `best_mean` only once there is one."""
        seen, mean = int(state.seen[stream]), float(state.mean[stream])
        score, limit, best = float(state.score[stream]), float(state.limits[1, stream]), float(state.best[stream])
        found = {
            "position": float(seen - 1),
            "since": float(max(seen - self.window, 0)),
            "score": score,
            "limit": limit,
            "window_mean": self._people(mean + score),
            "limit_mean": self._people(mean + limit),
            "reference_mean": self._people(mean),
            "best_mean": self._people(best),
        }
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def learnt(self, state: RollingState, stream: int = 0) -> dict[str, float]:
        """Return the reference's size, mean and spread, and the window mean that raises an alarm, once it is known."""
        if math.isinf(state.bands[1, stream]):
            return {"reference_size": float(state.sums[0, stream])}
        mean = float(state.mean[stream])
        fresh = max(float(state.bands[1, stream]), self.allowed * abs(mean))
        return {
            "reference_size": float(state.sums[0, stream]),
            "reference_mean": self._people(mean),
            "reference_sd": float(state.sd[stream]),
            "band": float(state.bands[1, stream]),
            "limit_mean": self._people(mean + fresh),
        }

    @property
    def _block(self) -> int:
        """Values between decisions."""
        return self.window // self.parts

    @property
    def _one(self) -> float:
        """What a 1 is in oriented units."""
        return 1.0 if self.direction == "rise" else -1.0

    def _gather(self, work: RollingState, rows: Ints, values: Floats) -> None:
        """Add a value to each of these rows' reference windows; learn the limits where they are due."""
        work.first[rows] = np.where(work.sums[0, rows] == 0.0, values, work.first[rows])
        work.binary[rows] &= (values == 0.0) | (values == self._one)
        d = values - work.first[rows]
        square = d * d
        for at, more in enumerate((np.ones(len(rows)), d, square, square * d)):
            work.sums[at, rows] += more
        for row in rows[work.sums[0, rows] >= work.due[rows]].tolist():
            self._know(work, row)

    def _run_learning(self, work: RollingState, values: Floats) -> int:
        """Add values to row 0's reference window until its limits are known: how many were used."""
        used = 0
        while used < len(values) and math.isinf(work.bands[1, 0]):
            piece = values[used : used + int(work.due[0]) - int(work.sums[0, 0])]
            if work.sums[0, 0] == 0.0:
                work.first[0] = piece[0]
            work.binary[0] &= bool(np.all((piece == 0.0) | (piece == self._one)))
            d = piece - work.first[0]
            square = d * d
            for at, more in enumerate((np.ones(len(piece)), d, square, square * d)):
                work.sums[at, 0] = np.add.accumulate(np.concatenate((work.sums[at, :1], more)))[-1]
            used += len(piece)
            if work.sums[0, 0] >= work.due[0]:
                self._know(work, 0)
        return used

    def _know(self, work: RollingState, row: int) -> float:
        """Learn a row's limits from its reference window, unless no window could pass them: then try again later.

        Returns the rise that is allowed.
        """
        count, mean, sd, skew = (float(part[0]) for part in moments(work.sums[:, [row]]))
        mean += float(work.first[row])
        rate = self._block / (2.0 * self.arl)
        rates = (min(rate / self.warning, 0.05), rate)
        if work.binary[row]:
            rise = self.direction == "rise"
            share = mean if rise else mean + 1.0
            counts = [count_quantile(r, round(share * count), int(count), self.window) for r in rates]
            bands, worst = (np.array(counts) - 0.5) / self.window - share, 1.0 if rise else 0.0
        else:
            bands = np.array([float(mean_quantile(r, sd, skew, count, self.window)) for r in rates])
            worst = math.inf if (end := self._worst()) is None else end
        limits = np.maximum(bands, self.allowed * abs(mean))
        work.due[row] = int(count)
        if mean + limits[1] > worst:
            work.due[row] += 1 + int(count) // 8
            return float(limits[1])
        work.mean[row], work.sd[row], work.skew[row] = mean, sd, skew
        work.bands[:, row], work.limits[:, row] = bands, limits
        return float(limits[1])

    def _decide(self, work: RollingState, rows: Ints) -> NDArray[np.int8]:
        """Close the blocks that these rows have filled and compare the windows that are full."""
        newest = work.count[rows] // self._block - 1
        work.ring[newest % self.parts, rows] = work.part[rows]
        work.part[rows] = 0.0
        levels = np.zeros(len(rows), np.int8)
        full: Bools = work.count[rows] >= self.window
        rows = rows[full]
        if len(rows) == 0:
            return levels
        oldest_first = (newest[full] + 1 + np.arange(self.parts)[:, None]) % self.parts
        mean = sum_rows(work.ring[oldest_first, rows]) / self.window
        warned = work.score[rows] >= work.limits[0, rows]
        whole: Bools = work.count[rows] % self.window == 0
        if whole.any():
            ended = rows[whole]
            work.windows[ended] += np.isfinite(work.last[ended])
            work.best[ended] = np.minimum(work.best[ended], work.last[ended])
            work.last[ended] = mean[whole]
            work.limits[:, ended] = self._limits(work, ended, work.windows[ended], work.best[ended])
        work.score[rows] = mean - work.mean[rows]
        levels[full] = _levels(work.score[rows], work.limits[:, rows], warned)
        return levels

    def _run_blocks(self, work: RollingState, sums: Floats) -> tuple[int, int]:
        """Do what `_decide` does for row 0, for many closed blocks at once: (blocks used, level)."""
        before = int(work.count[0]) // self._block
        ring = work.ring[(before + np.arange(self.parts)) % self.parts, 0]  # the oldest first
        sums = np.concatenate((ring, sums))
        mean = sum_rows(np.lib.stride_tricks.sliding_window_view(sums[1:], self.parts).T) / self.window
        closed = before + 1 + np.arange(len(mean))  # blocks closed since the start, after each
        # The windows that end on a multiple of the window's length, and the best before each of them.
        ends = np.flatnonzero(closed % self.parts == 0)
        wholes = np.concatenate((work.last[:1], mean[ends]))
        best = np.minimum(np.minimum.accumulate(wholes), work.best[0])
        count = work.windows[0] + np.cumsum(np.isfinite(wholes))
        row = np.zeros(len(ends), np.int64)
        after = np.concatenate((work.limits[:, :1], self._limits(work, row, count[:-1], best[:-1])), axis=1)
        limits = after[:, np.searchsorted(ends, np.arange(len(mean)), side="right")]
        score = np.where(closed >= self.parts, mean - work.mean[0], math.nan)
        passed = np.concatenate((work.score[:1] >= work.limits[0, :1], score >= limits[0]))
        levels = _levels(score, limits, passed[:-1])
        said = np.flatnonzero(levels)
        used = int(said[0]) + 1 if len(said) else len(mean)
        whole = int(np.searchsorted(ends, used))
        slots = (before + used + np.arange(self.parts)) % self.parts
        work.ring[slots, 0] = sums[used : used + self.parts]
        work.count[0] += used * self._block
        work.last[0] = wholes[whole]
        if whole:
            work.best[0], work.windows[0] = best[whole - 1], count[whole - 1]
        work.limits[:, 0], work.score[0] = limits[:, used - 1], score[used - 1]
        return used, int(levels[used - 1])

    def _limits(self, work: RollingState, rows: Ints, windows: Ints, best: Floats) -> Floats:
        """Return (2, r): how far these rows' windows may rise over the reference, given the best of so many windows."""
        reference, bands = work.mean[rows], work.bands[:, rows]
        limits = np.maximum(bands, self.allowed * np.abs(reference))
        k, best = np.maximum(windows, 1), np.where(windows > 0, best, reference)
        luck = mean_quantile(_LUCK / (k * (k + 1.0)), work.sd[rows], -work.skew[rows], work.sums[0, rows], self.window)
        with_best = best - reference + np.maximum(bands + luck, self.allowed * np.abs(best))
        return np.where(windows > 0, np.minimum(limits, with_best), limits)

    def _worst(self) -> float | None:
        """Return the worst value that can come, oriented; None where it was not declared."""
        end = self.high if self.direction == "rise" else self.low
        return None if end is None else (end if self.direction == "rise" else -end)

    def _people(self, value: float) -> float:
        """Return an oriented value in the units of the stream."""
        return value if self.direction == "rise" else -value


def _levels(score: Floats, limits: Floats, warned: Bools) -> NDArray[np.int8]:
    """ALARM at the limit; WARNING where the score has just come to the lower one."""
    levels = np.where((score >= limits[0]) & ~warned, Level.WARNING, Level.OK)
    return np.where(score >= limits[1], Level.ALARM, levels).astype(np.int8)
