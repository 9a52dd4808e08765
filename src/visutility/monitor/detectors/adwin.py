"""ADWIN: a window that grows while its values agree, and loses its old end when two parts of it do not.

Bifet & Gavaldà (2007), "Learning from time-changing data with adaptive windowing", SIAM International Conference on
Data Mining: the test of section 3 with the bound of equation (3.1), on the exponential histogram of section 4 (ADWIN2).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidSetting
from visutility.monitor.detector import Level
from visutility.monitor.ranges import ends, scaled, unscaled
from visutility.monitor.state import VAST, Bools, Floats, Ints, StreamState, between
from visutility.monitor.steps import StepDetector

LEVELS = 16  # buckets of 1, 2, 4, … blocks; the oldest goes when the last level is full
BUCKETS = 5  # of each size, as in the paper's M
_SLOTS = BUCKETS + 1  # one more until two are joined
_BLOCKS = np.repeat(2.0 ** np.arange(LEVELS)[::-1], _SLOTS)[:, None]  # blocks in a bucket, by slot: the oldest first


@dataclass(frozen=True, slots=True)
class AdwinState(StreamState):
    """Values in [0, 1], larger is worse. 96 slots of buckets, the oldest first; those not filled hold 0. 1.6 kB."""

    inside: Ints  # (s,) values in the unfinished block
    part: Floats  # (2, s) their sum and sum of squares
    filled: NDArray[np.int8]  # (levels, s) buckets of each size, from one block up
    total: Floats  # (slots, s) sum of the values in each bucket
    square: Floats  # (slots, s) sum of their squares
    score: Floats  # (s,) evidence at the last decision; NaN: none yet


class _Cuts(NamedTuple):
    """What every way to cut the windows in two says: (slots, r) but for width, mean and spread, (r,)."""

    width: Floats  # values in the window
    mean: Floats
    spread: Floats  # variance
    older: Floats  # values before the cut
    rise: Floats  # mean after the cut less the mean before
    evidence: Floats  # the ln(2 ln n / delta) at which the cut would just be made


@final
@dataclass(frozen=True, slots=True)
class Adwin(StepDetector[AdwinState]):
    """Alarm when the newer part of a window of all recent values is worse than the older part; then drop the older.

    Every `block` values, each cut of the window into older values W0 and newer ones W1 is judged by
    e_cut = sqrt(2 v l / m) + 2 l / (3 m), with l = ln(2 ln n / `delta`), 1/m = 1/n0 + 1/n1 and v the window's variance.
    Where the means differ by e_cut or more, what lies before the cut for which that is clearest is dropped: the new
    normal is what is left. Improvements shorten the window without an alarm. A warning comes at `delta` / `warning`.
    Values in [`low`, `high`]. 1.6 kB a stream.
    """

    delta: float = 0.002
    block: int = 16
    warning: float = 0.01
    low: float | None = 0.0
    high: float | None = 1.0

    name: ClassVar[str] = "adwin"
    state_type: ClassVar[type[AdwinState]] = AdwinState
    smallest_reference: ClassVar[int] = 1

    def __post_init__(self) -> None:
        StepDetector.__post_init__(self)
        ends(self)
        if not 0.0 < self.delta < 1.0:
            raise InvalidSetting(f"delta {self.delta!r} is not in (0, 1)", hint="0.002 is the usual one")
        if not 1 <= self.block <= 10_000:
            raise InvalidSetting(f"block {self.block!r} is not in [1, 10000]", hint="it is values between decisions")
        if not 0.0 < self.warning <= 1.0:
            raise InvalidSetting(f"warning {self.warning!r} is not in (0, 1]", hint="delta is divided by it")

    def promise(self, reference_size: int) -> str:
        """Return what the paper bounds and what was measured."""
        return (
            f"Measured, not proven: on independent values, starting with {reference_size}, fewer than one false alarm "
            f"in a million values with delta 0.002. The paper bounds each decision, not the run length (Bifet & "
            f"Gavalda 2007, Theorem 3.1: without a change it drops values with probability at most delta, here "
            f"{self.delta:g}, for a wider bound than this). Dependent values break it."
        )

    def oriented(self, values: Floats) -> Floats:
        """Return the values scaled to [0, 1], larger is worse."""
        return scaled(self, values)

    def fresh(self, n: int) -> AdwinState:
        """Return the state of n streams with empty windows."""
        return AdwinState(
            seen=np.zeros(n, np.int64),
            inside=np.zeros(n, np.int64),
            part=np.zeros((2, n)),
            filled=np.zeros((LEVELS, n), np.int8),
            total=np.zeros((LEVELS * _SLOTS, n)),
            square=np.zeros((LEVELS * _SLOTS, n)),
            score=np.full(n, math.nan),
        )

    def check(self, state: AdwinState) -> None:
        """Refuse what no stream comes to."""
        between(state, 0, self.block - 1, "inside")
        between(state, 0, self.block, "part")
        between(state, 0, BUCKETS, "filled")
        between(state, 0, self.block * 2.0**LEVELS, "total", "square")
        between(state, 0, VAST, "score", missing=True)

    def learn(self, references: Sequence[Floats]) -> AdwinState:
        """Return the state of streams whose windows saw these values."""
        return self.primed(references)

    def step(self, work: AdwinState, values: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
        """Advance the first rows by one value each; decide where a block ends."""
        a = len(values)
        work.part[0, :a] += values
        work.part[1, :a] += values * values
        work.inside[:a] += 1
        levels, limits = np.zeros(a, np.int8), np.full(a, math.nan)
        ended = np.flatnonzero(work.inside[:a] >= self.block)
        if len(ended):
            levels[ended], limits[ended] = self._decide(work, ended)
        return levels, work.score[:a].copy(), limits

    def run(self, work: AdwinState, values: Floats) -> tuple[int, Level, float, float]:
        """Advance row 0 through the values until something is to be said."""
        used, row = 0, np.zeros(1, np.int64)
        while used < len(values):
            piece = values[used : used + self.block - int(work.inside[0])]
            for at, parts in enumerate((piece, piece * piece)):
                work.part[at, 0] = np.add.accumulate(np.concatenate((work.part[at, :1], parts)))[-1]
            work.inside[0] += len(piece)
            used += len(piece)
            if work.inside[0] >= self.block:
                levels, limits = self._decide(work, row)
                if levels[0]:
                    return used, Level(int(levels[0])), float(work.score[0]), float(limits[0])
        return used, Level.OK, float(work.score[0]), math.nan

    def restart(self, work: AdwinState, row: int) -> None:
        """Drop the old end of a window that has been cut; what is left is the new normal."""
        rows = np.array([row], np.int64)
        if work.filled[:, row].any():
            self._shrink(work, rows, self._cuts(work, rows))
        work.score[row] = math.nan

    def scores(self, state: AdwinState) -> Floats:
        """Return the evidence of each window's worst cut, the ln(2 ln n / delta) it would bear; NaN: none yet."""
        return state.score.copy()

    def evidence(self, state: AdwinState, stream: int = 0) -> dict[str, float]:
        """Return the worst cut of the window; `since` is where its newer part begins."""
        seen = int(state.seen[stream])
        found = {"position": float(seen - 1), "score": float(state.score[stream])}
        if state.filled[:, stream].any():
            cuts = self._cuts(state, np.array([stream]))
            at = int(np.argmax(np.where(cuts.rise[:, 0] > 0.0, cuts.evidence[:, 0], -1.0)))
            width, older = float(cuts.width[0]), float(cuts.older[at, 0])
            newer = float(cuts.mean[0] + cuts.rise[at, 0] * older / width)
            found |= {"limit": float(self._limit(cuts.width)[0]), "values": width, "mean": self._people(cuts.mean[0])}
            if 0.0 < older < width:
                found |= {"since": max(seen - int(state.inside[stream]) - (width - older), 0.0)}
                found |= {"mean_since": self._people(newer)}
                found |= {"mean_before": self._people(newer - float(cuts.rise[at, 0]))}
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def learnt(self, state: AdwinState, stream: int = 0) -> dict[str, float]:
        """Return how many values the window holds, their mean and their standard deviation."""
        if not state.filled[:, stream].any():
            return {"values": 0.0}
        low, high = ends(self)
        cuts = self._cuts(state, np.array([stream]))
        sd = (high - low) * math.sqrt(float(cuts.spread[0]))
        return {"values": float(cuts.width[0]), "mean": self._people(cuts.mean[0]), "sd": sd}

    def _decide(self, work: AdwinState, rows: Ints) -> tuple[NDArray[np.int8], Floats]:
        """Put these rows' finished blocks into their windows and judge every cut: levels and limits."""
        _insert(work, rows)
        cuts = self._cuts(work, rows)
        limit = self._limit(cuts.width)
        score = np.where(cuts.rise > 0.0, cuts.evidence, 0.0).max(axis=0)
        warned = work.score[rows] >= limit + math.log(self.warning)
        levels = np.where((score >= limit + math.log(self.warning)) & ~warned, Level.WARNING, Level.OK)
        levels[score >= limit] = Level.ALARM
        better = np.flatnonzero((score < limit) & (cuts.evidence.max(axis=0) >= limit))
        if len(better):
            self._shrink(work, rows[better], self._cuts(work, rows[better]))
        work.score[rows] = score
        return levels.astype(np.int8), limit

    def _shrink(self, work: AdwinState, rows: Ints, cuts: _Cuts) -> None:
        """Drop what lies before these rows' worst cuts until no cut is left to be made, in place."""
        while True:
            made = np.flatnonzero(cuts.evidence.max(axis=0) >= self._limit(cuts.width))
            if len(made) == 0:
                return
            rows = rows[made]
            _drop(work, rows, cuts.older[np.argmax(cuts.evidence[:, made], axis=0), made] / self.block)
            cuts = self._cuts(work, rows)

    def _limit(self, width: Floats) -> Floats:
        """Return ln(2 ln n / delta), the l of equation (3.1); ln 2 at least for ln n."""
        return np.log(2.0 * np.log(np.maximum(width, 2.0)) / self.delta)

    def _cuts(self, work: AdwinState, rows: Ints) -> _Cuts:
        """Judge every cut of these rows' windows; one after a slot that is not filled repeats the cut before it."""
        used = int(np.flatnonzero(work.filled[:, rows].any(axis=1))[-1]) + 1  # the larger sizes hold nothing but 0
        first = (LEVELS - used) * _SLOTS
        held: Bools = np.arange(_SLOTS)[None, :, None] < work.filled[used - 1 :: -1, None, rows]
        older = np.add.accumulate(held.reshape(-1, len(rows)) * (_BLOCKS[first:] * self.block), axis=0)
        total = np.add.accumulate(work.total[first:, rows], axis=0)
        squares = np.add.accumulate(work.square[first:, rows], axis=0)[-1]
        width, mean = older[-1], total[-1] / older[-1]
        spread = np.maximum(squares / width - mean * mean, 0.0)
        newer = width - older
        inner: Bools = (older > 0.0) & (newer > 0.0)
        n0, n1 = np.where(inner, older, 1.0), np.where(inner, newer, 1.0)
        rise = np.where(inner, (total[-1] - total) / n1 - total / n0, 0.0)
        share = 1.0 / n0 + 1.0 / n1  # 1/m
        # e_cut = root sqrt(l) + 2 share l / 3 equals the difference at sqrt(l) = 2 |rise| / (root + sqrt(…)).
        square = 2.0 * share * spread
        below = np.sqrt(square) + np.sqrt(square + (8.0 / 3.0) * share * np.abs(rise))
        bears = np.divide(2.0 * np.abs(rise), below, out=np.zeros_like(rise), where=below > 0.0)
        return _Cuts(width, mean, spread, older, rise, bears * bears)

    def _people(self, value: float) -> float:
        """Return an oriented value in the units of the stream."""
        return float(unscaled(self, value))


def _first(level: int) -> int:
    """The slot of the oldest bucket of a size."""
    return (LEVELS - 1 - level) * _SLOTS


def _insert(work: AdwinState, rows: Ints) -> None:
    """Make a bucket of these rows' finished blocks; join the two oldest of a size where there is one too many."""
    total, square = work.part[0, rows], work.part[1, rows]
    work.part[:, rows], work.inside[rows] = 0.0, 0
    for level in range(LEVELS):
        slot = _first(level) + work.filled[level, rows]
        work.total[slot, rows], work.square[slot, rows] = total, square
        work.filled[level, rows] += 1
        rows = rows[work.filled[level, rows] > BUCKETS]
        if len(rows) == 0:
            return
        if level == LEVELS - 1:
            _shift(work, rows, level, 1)
            return
        at = _first(level)
        total = work.total[at, rows] + work.total[at + 1, rows]
        square = work.square[at, rows] + work.square[at + 1, rows]
        _shift(work, rows, level, 2)


def _shift(work: AdwinState, rows: Ints, level: int, by: int) -> None:
    """Take the `by` oldest buckets of a size away from these rows."""
    at = _first(level)
    for array in (work.total, work.square):
        for slot in range(_SLOTS):
            array[at + slot, rows] = array[at + slot + by, rows] if slot + by < _SLOTS else 0.0
    work.filled[level, rows] -= np.int8(by)


def _drop(work: AdwinState, rows: Ints, blocks: Floats) -> None:
    """Drop that many of the oldest blocks of each of these rows; they end at the end of a bucket."""
    left = blocks.copy()
    for level in range(LEVELS - 1, -1, -1):
        for _ in range(BUCKETS):
            some = np.flatnonzero((left > 0.0) & (work.filled[level, rows] > 0))
            if len(some) == 0:
                break
            _shift(work, rows[some], level, 1)
            left[some] -= 2.0**level
