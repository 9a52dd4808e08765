"""Bets that the mean has risen above that of a fixed reference window; the false-alarm rate is a theorem.

Shin, Ramdas & Rinaldo (2024), "E-detectors: a nonparametric framework for sequential change detection", NEJSDS 2(2):
the e-SR procedure (Definition 2.6) and its average run length (Theorem 2.4). `docs/e-detector.md` has the proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import EmptyWindow, InvalidObservation, InvalidSetting
from visutility.monitor.detector import AbstractDetector, Level, Verdicts
from visutility.monitor.detectors._blend import halves
from visutility.monitor.detectors._settings import check_arl, check_warning
from visutility.monitor.detectors._sums import follow, levels_of, sums
from visutility.monitor.ranges import ends, scaled, unscaled
from visutility.monitor.state import MANY, VAST, Bools, Floats, Ints, StreamState, agree, between
from visutility.monitor.stats import mean_upper
from visutility.monitor.steps import StepDetector
from visutility.monitor.windows import growing

BETS = 8  # a power of two: sums over bets are taken in halves
_WEIGHT = 1.0 / BETS


@dataclass(frozen=True, slots=True)
class BettingState(StreamState):
    """Rows of k = 8 bets. Everything is in oriented units: values in [0, 1], larger is worse."""

    size: Ints  # (s,) values in the reference window
    mean: Floats  # (s,) their mean
    bound: Floats  # (s,) m0, the upper confidence bound on it
    bets: Floats  # (k, s) lambda, each in (0, 1 / m0)
    wealth: Floats  # (k, s) M, times the bet's weight 1/k
    best: Floats  # (k, s) the largest product of L over all starting points: CUSUM
    since: Ints  # (k, s) the position that product starts at
    total: Floats  # (k, s) the sum of the values from there on
    score: Floats  # (s,) the mixture of M over the bets


@final
@dataclass(frozen=True, slots=True)
class EDetector(StepDetector[BettingState]):
    """Alarm when a bettor who is wrong as long as the mean has not risen has won `arl` times the stake.

    For values in [`low`, `high`]. For each bet lambda, L = 1 + lambda (x - m0) has mean at most 1 as long as the
    conditional mean of x given the past is at most m0; M <- (M + 1) L is the Shiryaev-Roberts sum over all starting
    points, and the alarm comes when the average of M over eight bets reaches `arl`. m0 is an upper confidence bound,
    of confidence 1 - `delta`, on the mean of the reference window. A warning comes at `warning` times `arl`.
    Eight bets a value; 360 bytes a stream. M stays below 8 arl / m0: no overflow.
    """

    arl: float = 1e6
    delta: float = 0.01
    warning: float = 0.01
    low: float | None = 0.0
    high: float | None = 1.0

    name: ClassVar[str] = "e-detector"
    state_type: ClassVar[type[BettingState]] = BettingState

    def __post_init__(self) -> None:
        AbstractDetector.__post_init__(self)
        ends(self)
        check_arl(self.arl)
        if not 0.0 < self.delta < 1.0:
            raise InvalidSetting(f"delta {self.delta!r} is not in (0, 1)", hint="0.01 holds for 99 references of 100")
        check_warning(self.warning)

    def promise(self, reference_size: int) -> str:
        """Return the theorem in words."""
        return (
            f"With probability at least {1 - self.delta:g} over the reference window of {reference_size} values, as "
            f"long as the mean of each value given the past is no worse than the reference's mean: the mean time to a "
            f"false alarm is at least {self.arl:g} values, and a false alarm within any T values of a start has "
            f"probability at most T/{self.arl:g}, for any distribution on [{self.low:g}, {self.high:g}], dependent or "
            f"not, however often it is read. A theorem (Shin, Ramdas & Rinaldo 2024, Theorem 2.4)."
        )

    def oriented(self, values: Floats) -> Floats:
        """Return the values scaled to [0, 1], larger is worse."""
        return scaled(self, values)

    def fresh(self, n: int) -> BettingState:
        """Raise `EmptyWindow`: the bound comes from a reference window alone."""
        raise EmptyWindow(
            f"{n} streams came without reference windows", hint=f"give {self.name} one per stream, or use eprocess"
        )

    def learn(self, references: Sequence[Floats]) -> BettingState:
        """Return the fresh state; `InvalidObservation` where nothing worse than the reference is possible."""
        bound = np.array([mean_upper(window, self.delta) for window in references])
        if not (bound < 1.0).all():
            at = int(np.argmax(bound >= 1.0))
            raise InvalidObservation(
                f"reference window {at} may be as bad as values can be (mean {self._people(references[at].mean())!r})",
                hint=f"direction is {self.direction!r}: larger values count as "
                f"{'worse' if self.direction == 'rise' else 'better'}",
            )
        return self._fresh([len(window) for window in references], [window.mean() for window in references], bound)

    def _fresh(self, sizes: Sequence[int], means: Sequence[float], bound: Floats) -> BettingState:
        """Return streams that have seen nothing but their reference windows."""
        n, shape = len(bound), (BETS, len(bound))
        return BettingState(
            seen=np.zeros(n, np.int64),
            size=np.array(sizes, np.int64),
            mean=np.array(means, np.float64),
            bound=bound,
            bets=shares(bound) / bound,
            wealth=np.zeros(shape),
            best=np.zeros(shape),
            since=np.zeros(shape, np.int64),
            total=np.zeros(shape),
            score=np.zeros(n),
        )

    def blank(self) -> BettingState:
        """Return the state of one stream."""
        return self._fresh([1], [0.5], np.full(1, 0.5))

    def check(self, state: BettingState) -> None:
        """Refuse what no stream comes to."""
        between(state, 0, 1, "mean", "bound")
        between(state, 0, VAST, "bets", "wealth", "best", "score")
        between(state, 0, MANY, "size", "since", "total")
        agree(state.bets * state.bound < 1.0, "a bet of all that there is, or more")

    def step(self, work: BettingState, values: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
        """Advance the first rows by one value each."""
        a = len(values)
        wealth, best, since, total = work.wealth[:, :a], work.best[:, :a], work.since[:, :a], work.total[:, :a]
        gain = work.bets[:, :a] * (values - work.bound[:a]) + 1.0
        wealth += _WEIGHT
        wealth *= gain
        fresh: Bools = best <= 1.0
        np.copyto(best, 1.0, where=fresh)
        best *= gain
        np.copyto(since, work.seen[:a], where=fresh)
        np.copyto(total, 0.0, where=fresh)
        total += values
        score = halves(wealth)
        levels = self._levels(score, work.score[:a])
        work.score[:a] = score
        return levels, score, np.full(a, self.arl)

    def run(self, work: BettingState, values: Floats) -> tuple[int, Level, float, float]:
        """Advance row 0 through the values until something is to be said."""
        stakes = repeat(_WEIGHT)
        for first, last in growing(len(values), 64, 4096):
            chunk = values[first:last]
            gains = work.bets[:, :1] * (chunk - work.bound[0]) + 1.0
            wealth = np.array([sums(*bet, stakes) for bet in zip(gains, work.wealth[:, 0].tolist(), strict=True)])
            score = halves(wealth)
            levels = self._levels(score, np.concatenate((work.score[:1], score[:-1])))
            said = np.flatnonzero(levels)
            used = int(said[0]) + 1 if len(said) else len(chunk)
            for bet, gain in enumerate(gains[:, :used]):
                best, start, total = follow(float(work.best[bet, 0]), float(work.total[bet, 0]), gain, chunk[:used])
                work.best[bet, 0], work.total[bet, 0] = best, total
                if start is not None:
                    work.since[bet, 0] = int(work.seen[0]) + first + start
            work.wealth[:, 0] = wealth[:, used - 1]
            work.score[0] = score[used - 1]
            if len(said):
                return first + used, Level(int(levels[used - 1])), float(score[used - 1]), self.arl
        return len(values), Level.OK, float(work.score[0]), self.arl

    def restart(self, work: BettingState, row: int) -> None:
        """Forget the bets' winnings; the bound stays."""
        for array in (work.wealth, work.best, work.since, work.total):
            array[:, row] = 0
        work.score[row] = 0.0

    def scores(self, state: BettingState) -> Floats:
        """Return the mixture of the bets' winnings, from 0 to `arl`; on an unchanged stream its mean is its age."""
        return state.score.copy()

    def settled(
        self,
        state: BettingState,
        verdicts: Verdicts | None = None,
        spent: Bools | None = None,  # noqa: ARG002
    ) -> Floats:
        """Return the scores: they are evidence as they are, after an alarm as before."""
        return self.scores(state) if verdicts is None else verdicts.at_alarms(state.score)

    def evidence(self, state: BettingState, stream: int = 0) -> dict[str, float]:
        """Return the score and the excursion that carries it.

        `since` is the position that the winning bet's largest product starts at, an estimate of the change point;
        `mean_since` is the mean from there on, `bet_mean` the mean that the winning bet is best against.
        """
        row = state.best[:, stream]
        won = int(np.argmax(row))
        since, seen = int(state.since[won, stream]), int(state.seen[stream])
        bound, bet = float(state.bound[stream]), float(state.bets[won, stream])
        return {
            "position": float(seen - 1),
            "score": float(state.score[stream]),
            "limit": self.arl,
            "since": float(since),
            "values_since": float(seen - since),
            "mean_since": self._people(float(state.total[won, stream]) / max(seen - since, 1)),
            "bet_mean": self._people(bound + bet * bound * (1.0 - bound)),
            "reference_mean": self._people(float(state.mean[stream])),
            "bound": self._people(bound),
        }

    def learnt(self, state: BettingState, stream: int = 0) -> dict[str, float]:
        """Return the reference's size and mean, and `bound`, the worst mean that counts as no worse."""
        return {
            "reference_size": float(state.size[stream]),
            "reference_mean": self._people(float(state.mean[stream])),
            "bound": self._people(float(state.bound[stream])),
        }

    def _levels(self, score: Floats, before: Floats) -> NDArray[np.int8]:
        return levels_of(score, before, self.arl, self.warning * self.arl)

    def _people(self, value: float) -> float:
        """Return an oriented value in the units of the stream."""
        return float(unscaled(self, value))


def shares(bound: Floats) -> Floats:
    """Return lambda m0 of each bet, shape (k, s): geometric from half of m0 (within [1e-4, .1]) to .9.

    A bet is best against the mean m0 + (lambda m0)(1 - m0); a factor of two to either side costs a sixth of its
    speed, so that eight reach from barely to as bad as can be.
    """
    low = np.clip(0.5 * bound, 1e-4, 0.1)
    steps = np.arange(BETS)[:, None] / (BETS - 1)
    return np.asarray(low ** (1.0 - steps) * 0.9**steps, np.float64)
