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
from visutility.monitor.detector import AbstractDetector, Level
from visutility.monitor.state import Bools, Floats, Ints, StreamState
from visutility.monitor.stats import count_quantile, is_binary, mean_quantile, skewness
from visutility.monitor.steps import StepDetector
from visutility.monitor.windows import sum_rows

_LUCK = 0.01  # probability, over the whole life of an unchanged stream, that its best window lowers the limit


@dataclass(frozen=True, slots=True)
class RollingState(StreamState):
    """Oriented units: larger is worse. p parts to a window, s streams."""

    size: Ints  # (s,) values in the reference window
    mean: Floats  # (s,) their mean
    sd: Floats  # (s,) their standard deviation
    skew: Floats  # (s,) their skewness
    bands: Floats  # (2, s) how far a window's mean may rise by chance: before a warning, before an alarm
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
    the limit only by what it is better than chance over that many windows explains. Values of any range; a warning
    comes where the band of `warning` times `arl` is passed. 120 + 8 `parts` bytes a stream.
    """

    window: int = 100
    allowed: float = 0.05
    arl: float = 1e5
    parts: int = 10
    warning: float = 0.01

    name: ClassVar[str] = "rolling"
    state_type: ClassVar[type[RollingState]] = RollingState
    smallest_reference: ClassVar[int] = 20

    def __post_init__(self) -> None:
        AbstractDetector.__post_init__(self)
        if self.parts < 1 or self.window < 2 or self.window % self.parts:
            raise InvalidSetting(
                f"window {self.window!r} is not at least 2 and a multiple of parts {self.parts!r}",
                hint="a decision falls every window / parts values",
            )
        if not 0.0 <= self.allowed < math.inf:
            raise InvalidSetting(f"allowed {self.allowed!r} is not 0 or more", hint="0.05 allows 5 % of the reference")
        if not self.window < self.arl <= 1e15:
            raise InvalidSetting(f"arl {self.arl!r} is not above the window and at most 1e15", hint="it is in values")
        if not 0.0 < self.warning <= 1.0:
            raise InvalidSetting(f"warning {self.warning!r} is not in (0, 1]", hint="a share of arl; 1 for none")

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
        """Raise `EmptyWindow`: the limits come from a reference window alone."""
        raise EmptyWindow(
            f"{n} streams came without reference windows", hint=f"give {self.name} one per stream, or use eprocess"
        )

    def learn(self, references: Sequence[Floats]) -> RollingState:
        """Return the fresh state; `EmptyWindow` where no window could ever pass the limit."""
        n = len(references)
        size = np.array([len(window) for window in references], np.int64)
        mean = np.array([window.mean() for window in references])
        sd = np.array([window.std(ddof=1) for window in references])
        skew = np.array([skewness(window) for window in references])
        rate = self._block / (2.0 * self.arl)
        rates = (min(rate / self.warning, 0.05), rate)
        bands = np.stack([mean_quantile(r, sd, skew, size, self.window) for r in rates])
        worst = np.full(n, math.inf if (end := self._worst()) is None else end)
        for at, values in enumerate(references):
            bad = values if self.direction == "rise" else values + 1.0
            if is_binary(bad):
                ones = int(bad.sum())
                counts = [count_quantile(r, ones, len(values), self.window) for r in rates]
                bands[:, at] = (np.array(counts) - 0.5) / self.window - bad.mean()
                worst[at] = 1.0 if self.direction == "rise" else 0.0
        limits = np.maximum(bands, self.allowed * np.abs(mean))
        if (mean + limits[1] > worst).any():
            at = int(np.argmax(mean + limits[1] > worst))
            raise EmptyWindow(
                f"no window of {self.window} could be worse than reference window {at} of {size[at]} values by more "
                f"than {limits[1, at]:.4g}, which is allowed or may be chance",
                hint="give a longer reference window, a longer window, or a smaller arl or allowed share",
            )
        none = np.full(n, math.inf)
        return RollingState(
            seen=np.zeros(n, np.int64),
            size=size,
            mean=mean,
            sd=sd,
            skew=skew,
            bands=bands,
            count=np.zeros(n, np.int64),
            part=np.zeros(n),
            ring=np.zeros((self.parts, n)),
            last=none,
            best=none.copy(),
            windows=np.zeros(n, np.int64),
            score=np.full(n, math.nan),
            limits=limits,
        )

    def step(self, work: RollingState, values: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
        """Advance the first rows by one value each; decide where a block ends."""
        a = len(values)
        work.part[:a] += values
        work.count[:a] += 1
        levels = np.zeros(a, np.int8)
        ended = np.flatnonzero(work.count[:a] % self._block == 0)
        if len(ended):
            levels[ended] = self._decide(work, ended)
        return levels, work.score[:a], work.limits[1, :a]

    def run(self, work: RollingState, values: Floats) -> tuple[int, Level, float, float]:
        """Advance row 0 through the values until something is to be said."""
        done, level, most = 0, 0, 16
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
        """Return the reference's size, mean and spread, and the window mean that raises an alarm."""
        mean = float(state.mean[stream])
        fresh = max(float(state.bands[1, stream]), self.allowed * abs(mean))
        return {
            "reference_size": float(state.size[stream]),
            "reference_mean": self._people(mean),
            "reference_sd": float(state.sd[stream]),
            "band": float(state.bands[1, stream]),
            "limit_mean": self._people(mean + fresh),
        }

    @property
    def _block(self) -> int:
        """Values between decisions."""
        return self.window // self.parts

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
        luck = mean_quantile(_LUCK / (k * (k + 1.0)), work.sd[rows], -work.skew[rows], work.size[rows], self.window)
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
