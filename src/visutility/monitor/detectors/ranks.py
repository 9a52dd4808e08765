"""The rank detector: bets that values rank too high among all that came before. For any continuous values.

Vovk, Gammerman & Shafer (2005), "Algorithmic Learning in a Random World", section 7.1 (bets on conformal ranks are
martingales); Vovk (2021), "Testing randomness online", Statistical Science 36(4); Shin, Ramdas & Rinaldo (2024),
"E-detectors", NEJSDS 2(2), Definition 2.6 (the sum over starting points). `docs/detector-ranks.md` has the proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidSetting
from visutility.monitor.detectors._bins import (
    EDGES,
    FULL,
    bins,
    check_bins,
    edges_of,
    quantile,
    rank_run,
    rank_step,
    tally,
)
from visutility.monitor.detectors._settings import check_arl, check_warning
from visutility.monitor.detectors._sums import follow, levels_of, sums
from visutility.monitor.detectors._tilts import INFLATIONS, STAKES, gains, tempering
from visutility.monitor.state import MANY, VAST, Bools, Floats, Ints, StreamState, arrays, between, put, take
from visutility.monitor.steps import StepDetector
from visutility.monitor.verdicts import Level, Verdicts, first_alarms
from visutility.monitor.windows import sum_rows

_SHIFT = 1  # the bet that tells since when
_SPANS = np.array([2.0, 8.0, 32.0, 128.0, 512.0])  # of the averages that dependence is measured against
_SURE = 3.0  # standard errors that a measured inflation must exceed 1 by to count; half of that at first
_OLD = 2400  # values after which it is all of it
_CALM = 10.0  # the largest product of one bet below which no excursion is under way
_EASED = 100.0  # times `arl`: what the bet on low ranks wins until the row starts anew
_EVER = 2**31  # values that are never there
_PIECE = 128  # values between measurements of dependence
_STILL = 1e-3  # variance of ranks below which nearly all values are one: that tells nothing of dependence


@dataclass(frozen=True, slots=True)
class RankState(StreamState):
    """e = 96 edges, k = 5 bets, m = 5 averages, s streams. Values are oriented: larger is worse."""

    count: Ints  # (s,) values in the baseline, those of the reference window too
    hold: Ints  # (s,) how many of them are only learnt from
    edges: Floats  # (e, s) the first values, sorted once there are all; before, as they came
    below: NDArray[np.uint32]  # (e, s) how many of the baseline and one more lie below each edge
    wealth: Floats  # (k, s) M of each bet, times its stake
    score: Floats  # (s,) the mean of M over the bets, weighted by stake
    eased: Floats  # (s,) M of the bet that values rank too low
    average: Floats  # (m, s) exponential averages of past ranks - 1/2
    cross: Floats  # (m, s) sums of a rank - 1/2 times the average before it
    power: Floats  # (s,) sum of squares of ranks - 1/2
    ranked: Ints  # (s,) how many ranks these sums are of
    inflation: NDArray[np.uint8]  # (s,) index into INFLATIONS
    best: Floats  # (s,) the largest product of one bet's L over all starting points: CUSUM
    since: Ints  # (s,) the position that product starts at
    total: Floats  # (s,) the sum of ranks - 1/2 from there on
    kept: Ints  # (s,) `count` when no excursion was under way, and of then also:
    kept_below: NDArray[np.uint32]  # (e, s)
    kept_cross: Floats  # (m, s)
    kept_power: Floats  # (s,)
    kept_ranked: Ints  # (s,)


@final
@dataclass(frozen=True, slots=True)
class Ranks(StepDetector[RankState]):
    """Alarm when a bettor on the ranks of values among all earlier ones has won `arl` times the stake.

    For numbers of any range. On exchangeable values each rank is uniform given the ranks before, whatever the
    distribution, so that no bet on it has a mean above 1: M <- (M + 1) L is the Shiryaev-Roberts sum over all starting
    points, and the alarm comes when the mean of M over five bets reaches 1.5 `arl` (the score, which is two thirds of
    it, `arl`). The baseline is the stream's own past, the reference window included where one is given; the first
    `learning` values are only learnt from, and so are those after values got lower for good. Where ranks depend on the
    ranks before them, the bets are tempered by the measured inflation of the variance. A warning comes at `warning`
    times `arl`. 1,801 bytes a stream.
    """

    arl: float = 1e6
    learning: int = 512
    warning: float = 0.01

    name: ClassVar[str] = "ranks"
    state_type: ClassVar[type[RankState]] = RankState
    state_version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        StepDetector.__post_init__(self)
        check_arl(self.arl)
        if not EDGES <= self.learning <= _EVER:
            raise InvalidSetting(
                f"learning {self.learning!r} is not in [{EDGES}, {_EVER}]", hint="the ranks need that many values"
            )
        check_warning(self.warning)

    def promise(self, reference_size: int) -> str:
        """Return the theorem in words."""
        return (
            f"As long as the values, those of the reference window ({reference_size}) included, are independent draws "
            f"from one distribution without ties, whatever it is: the mean time to a false alarm is at least "
            f"{self.arl:g} values, and a false alarm within any T values of a start has probability at most "
            f"T/{self.arl:g}, on average over what is learnt, however often it is read. A theorem, with half as much "
            f"again to spare (Vovk 2021; Shin, Ramdas & Rinaldo 2024, Theorem 2.4). Simulated, not proven: the same "
            f"for values with ties; and for autocorrelated values whose dependence fades within tens of values, once "
            f"it is learnt. Not covered: states or a spread of the values that last for hundreds of values, outliers "
            f"that come in bursts, seasons and trends."
        )

    def oriented(self, values: Floats) -> Floats:
        """Return the values, negated where smaller is worse."""
        return values if self.direction == "rise" else -values

    def fresh(self, n: int) -> RankState:
        """Return the state of n streams that learn from their first values."""
        many, few = (EDGES, n), np.zeros(n)
        return RankState(
            seen=np.zeros(n, np.int64),
            count=np.zeros(n, np.int64),
            hold=np.full(n, self.learning, np.int64),
            edges=np.zeros(many),
            below=np.zeros(many, np.uint32),
            wealth=np.zeros((len(STAKES), n)),
            score=few,
            eased=few.copy(),
            average=np.zeros((len(_SPANS), n)),
            cross=np.zeros((len(_SPANS), n)),
            power=few.copy(),
            ranked=np.zeros(n, np.int64),
            inflation=np.zeros(n, np.uint8),
            best=few.copy(),
            since=np.zeros(n, np.int64),
            total=few.copy(),
            kept=np.zeros(n, np.int64),
            kept_below=np.zeros(many, np.uint32),
            kept_cross=np.zeros((len(_SPANS), n)),
            kept_power=few.copy(),
            kept_ranked=np.zeros(n, np.int64),
        )

    def check(self, state: RankState) -> None:
        """Refuse what no stream comes to."""
        between(state, 0, FULL, "count", "kept")
        between(state, 0, MANY, "hold", "ranked", "kept_ranked", "since", "power", "kept_power")
        between(state, 0, VAST, "wealth", "score", "eased", "best")
        between(state, -1, 1, "average")
        between(state, -MANY, MANY, "cross", "kept_cross", "total")
        between(state, 0, len(INFLATIONS) - 1, "inflation")
        check_bins(state.edges, state.below, state.count)
        check_bins(state.edges, state.kept_below, np.minimum(state.kept, state.count))

    def learn(self, references: Sequence[Floats]) -> RankState:
        """Return the state after these reference windows, which are waited out, and 96 values at least."""
        work = replace(self, learning=_EVER).primed(references)
        sizes = np.array([len(window) for window in references], np.int64)
        work.hold[:] = np.clip(sizes, EDGES, self.learning)
        return work

    def step(self, work: RankState, values: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
        """Advance the first rows by one value each."""
        a = len(values)
        levels = np.zeros(a, np.int8)
        ready = work.count[:a] >= EDGES
        if ready.all():
            part = RankState(**{name: array[..., :a] for name, array in arrays(work).items()})
            levels[:] = self._each(part, values, part.seen)
        else:
            rows = np.flatnonzero(ready)
            if len(rows):
                some = take(work, rows)
                levels[rows] = self._each(some, values[rows], some.seen)
                put(work, rows, some)
            rows = np.flatnonzero(~ready)
            work.edges[work.count[rows], rows] = values[rows]
            work.count[rows] += 1
            _sort(work, rows[work.count[rows] == EDGES])
        return levels, work.score[:a].copy(), np.full(a, self.arl)

    def run(self, work: RankState, values: Floats) -> tuple[int, Level, float, float]:
        """Advance row 0 through the values until something is to be said."""
        done = 0
        while done < len(values):
            count = int(work.count[0])
            if count < EDGES:
                piece = values[done : done + EDGES - count]
                work.edges[count : count + len(piece), 0] = piece
                work.count[0] += len(piece)
                _sort(work, np.flatnonzero(work.count[:1] == EDGES))
                done += len(piece)
                continue
            if count > FULL - _PIECE:
                used, level = 1, int(self._each(work, values[done : done + 1], work.seen + done)[0])
            else:
                piece = values[done : done + _PIECE - count % _PIECE]
                used, level = self._along(work, piece, int(work.seen[0]) + done)
            done += used
            if level:
                return done, Level(level), float(work.score[0]), self.arl
        return len(values), Level.OK, float(work.score[0]), self.arl

    def restart(self, work: RankState, row: int) -> None:
        """Forget the winnings; after an alarm, also what was learnt in the excursion that led to it."""
        if work.score[row] >= self.arl:
            work.count[row] = work.kept[row]
            work.below[:, row] = work.kept_below[:, row]
            work.cross[:, row] = work.kept_cross[:, row]
            work.power[row] = work.kept_power[row]
            work.ranked[row] = work.kept_ranked[row]
        for array in (work.wealth, work.score, work.eased, work.best, work.since, work.total):
            array[..., row] = 0

    def scores(self, state: RankState) -> Floats:
        """Return the bets' winnings, from 0 to `arl`; on an unchanged stream their mean is two thirds of its age."""
        return state.score.copy()

    def settled(self, state: RankState, verdicts: Verdicts | None = None, spent: Bools | None = None) -> Floats:
        """Return the scores; none after an alarm, as the values that led to it are missing from the baseline then."""
        return first_alarms(self.scores(state), verdicts, spent)

    def evidence(self, state: RankState, stream: int = 0) -> dict[str, float]:
        """Return the score and the excursion that carries it.

        `since` is an estimate of the change point, `rank_since` the mean rank from there on (.5 when unchanged),
        `value_since` the baseline's value at that rank; `inflation` is the variance inflation the bets are tempered by.
        """
        since, seen = int(state.since[stream]), int(state.seen[stream])
        rank = 0.5 + float(state.total[stream]) / max(seen - since, 1)
        return {
            "position": float(seen - 1),
            "score": float(state.score[stream]),
            "limit": self.arl,
            "since": float(since),
            "values_since": float(seen - since),
            "rank_since": rank,
            "value_since": self._quantile(state, stream, rank),
            "baseline_size": float(state.count[stream]),
            "baseline_median": self._quantile(state, stream, 0.5),
            "inflation": float(INFLATIONS[state.inflation[stream]]),
        }

    def learnt(self, state: RankState, stream: int = 0) -> dict[str, float]:
        """Return the baseline's size and quantiles, and how much dependence inflates the variance of sums."""
        return {
            "baseline_size": float(state.count[stream]),
            "baseline_best": self._quantile(state, stream, 0.1),
            "baseline_median": self._quantile(state, stream, 0.5),
            "baseline_worst": self._quantile(state, stream, 0.9),
            "inflation": float(INFLATIONS[state.inflation[stream]]),
        }

    def _quantile(self, state: RankState, stream: int, share: float) -> float:
        """Return a quantile of the baseline in the units of the stream; 0 before there are ranks."""
        count = int(state.count[stream])
        if count < EDGES:
            return 0.0
        value = quantile(state.edges[:, stream], state.below[:, stream], count, share)
        return value if self.direction == "rise" else -value

    def _each(self, work: RankState, values: Floats, position: Ints) -> NDArray[np.int8]:
        """Advance all rows, which have their edges, by one value each, at these positions."""
        low, high = rank_step(work.edges, work.below, work.count, values)
        gain = gains(work.inflation, low, high, work.count + 1)
        gain[:, work.count < work.hold] = 0.0  # nothing is staked yet
        opens = _opens(low, high, work.count + 1)
        work.wealth[:] = (work.wealth + STAKES[:, None] * opens) * gain[:-1]
        work.eased[:] = (work.eased + opens) * gain[-1]
        before = work.score.copy()
        work.score[:] = sum_rows(work.wealth)
        rank = _ranks(low, high, work.count + 1)
        fresh = work.best <= 1.0
        np.copyto(work.since, position, where=fresh)
        np.copyto(work.total, 0.0, where=fresh)
        work.total[:] += rank
        work.best[:] = np.where(fresh, 1.0, work.best) * gain[_SHIFT]
        work.cross[:] += rank * work.average
        work.average[:] += (rank - work.average) / _SPANS[:, None]
        work.power[:] += rank * rank
        work.ranked[:] += 1
        work.count[:] = np.minimum(work.count + 1, FULL)
        due = np.flatnonzero(work.count % _PIECE == 0)
        if len(due):
            self._measure(work, due)
        levels = self._levels(work.score, before)
        self._renew(work, levels, due)
        return levels

    def _along(self, work: RankState, values: Floats, position: int) -> tuple[int, int]:
        """Do what `_each` does for row 0, for as many values as fit before dependence is measured again."""
        count, kind = int(work.count[0]), work.inflation[:1]
        found, alone = bins(work.edges[:, 0], values)
        low, high = rank_run(work.below[:, 0], count, found, alone)
        whole = count + 1 + np.arange(len(values))
        gain = gains(kind, low, high, whole)
        gain[:, : max(int(work.hold[0]) - count, 0)] = 0.0
        opens = _opens(low, high, whole)
        starts, stakes = work.wealth[:, 0].tolist(), (STAKES[:, None] * opens).tolist()
        wealth = np.array([sums(*bet) for bet in zip(gain[:-1], starts, stakes, strict=True)])
        eased = np.array(sums(gain[-1], float(work.eased[0]), opens.astype(np.float64).tolist()))
        score = sum_rows(wealth)
        levels = self._levels(score, np.concatenate((work.score[:1], score[:-1])))
        said = np.flatnonzero((levels != Level.OK) | (eased >= _EASED * self.arl))
        used = int(said[0]) + 1 if len(said) else len(values)
        rank = _ranks(low, high, whole)[:used]
        work.wealth[:, 0], work.score[0], work.eased[0] = wealth[:, used - 1], score[used - 1], eased[used - 1]
        best, start, total = follow(float(work.best[0]), float(work.total[0]), gain[_SHIFT, :used], rank)
        work.best[0], work.total[0] = best, total
        if start is not None:
            work.since[0] = position + start
        _remember(work, rank)
        tally(work.below[:, 0], count, found[:used])
        work.count[0] += used
        due = np.flatnonzero(work.count[:1] % _PIECE == 0)
        if len(due):
            self._measure(work, due)
        self._renew(work, levels[used - 1 : used], due)
        return used, int(levels[used - 1])

    def _renew(self, work: RankState, levels: NDArray[np.int8], due: Ints) -> None:
        """Start rows anew whose values got lower for good: what was learnt would hide a later rise.

        The bet on low ranks has won, or, where dependence is measured, most values lie below all edges. With 96 edges
        that has probability below 1e-10 on exchangeable values.
        """
        over = (work.eased >= _EASED * self.arl) & (levels == Level.OK)
        if len(due):
            sunk = 2 * (work.below[0, due].astype(np.int64) - 1) > work.count[due] - EDGES
            over[due] |= sunk & (levels[due] == Level.OK)
        if over.any():
            for name, array in arrays(work).items():
                if name != "seen":
                    array[..., over] = self.learning if name == "hold" else 0

    def _measure(self, work: RankState, rows: Ints) -> None:
        """Learn how much dependence inflates the variance of sums, where no excursion is under way.

        For an average with weights (1/T)(1 - 1/T)^(k-1), 2 T times its covariance with the next rank is a sum of the
        autocovariances, the far ones damped (Abel). The largest over T counts that is surely above 1.
        """
        _keep(work, rows[work.best[rows] < _CALM])
        rows = rows[work.score[rows] < self.arl ** (2.0 / 3.0)]
        n = np.maximum(work.ranked[rows], 1)
        excess = 2.0 * _SPANS[:, None] * work.cross[:, rows] / np.maximum(work.power[rows], _STILL * n)
        error = 2.0 * _SPANS[:, None] / np.sqrt((2.0 * _SPANS[:, None] - 1.0) * n)
        sure = np.where(excess > _SURE * np.clip(n / _OLD, 0.5, 1.0) * error, excess, 0.0)
        work.inflation[rows] = tempering(1.0 + np.maximum.reduce(sure, axis=0))

    def _levels(self, score: Floats, before: Floats) -> NDArray[np.int8]:
        return levels_of(score, before, self.arl, self.warning * self.arl)


def _sort(work: RankState, rows: Ints) -> None:
    """Turn the first values of these rows into edges."""
    if len(rows):
        work.edges[:, rows], work.below[:, rows] = edges_of(work.edges[:, rows])
        _keep(work, rows)


def _keep(work: RankState, rows: Ints) -> None:
    """Note what is known now, to come back to after an alarm."""
    work.kept[rows] = work.count[rows]
    work.kept_below[:, rows] = work.below[:, rows]
    work.kept_cross[:, rows] = work.cross[:, rows]
    work.kept_power[rows] = work.power[rows]
    work.kept_ranked[rows] = work.ranked[rows]


def _ranks(low: Ints, high: Ints, whole: Ints) -> Floats:
    """Return the middle of each rank - 1/2."""
    return np.asarray((low + high) / (2.0 * whole) - 0.5, np.float64)


def _opens(low: Ints, high: Ints, whole: Ints) -> Bools:
    """Return whether bets are opened on each value: not on one that half of the baseline equals, which tells little."""
    return np.asarray(2 * (high - low) <= whole, np.bool_)


def _remember(work: RankState, rank: Floats) -> None:
    """Advance the averages, their products with the ranks and the ranks' power in row 0, in place."""
    each = rank.tolist()
    for at, span in enumerate(_SPANS.tolist()):
        mean = float(work.average[at, 0])
        past = [mean, *[mean := mean + (value - mean) / span for value in each]]
        products = np.concatenate((work.cross[at, :1], rank * np.array(past[:-1])))
        work.cross[at, 0] = np.add.accumulate(products)[-1]
        work.average[at, 0] = past[-1]
    work.power[0] = np.add.accumulate(np.concatenate((work.power[:1], rank * rank)))[-1]
    work.ranked[0] += len(rank)
