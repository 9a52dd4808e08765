"""The dependence-aware detector: bets that errors are more frequent than a model of their dependence predicts.

Shin, Ramdas & Rinaldo (2024), "E-detectors", NEJSDS 2(2), Definition 2.6 (the sum over starting points), with the
prediction of a Bayesian mixture (`_blend.py`) for the null. `docs/detector-dependent.md` has the proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidObservation, InvalidSetting
from visutility.monitor.detectors._blend import (
    FEW,
    LEAST,
    BlendState,
    Prediction,
    blend,
    check_blend,
    forget,
    fresh_blend,
)
from visutility.monitor.detectors._lane import Lane
from visutility.monitor.detectors._rules import (
    BOTTOM,
    CLASSES,
    DROP_SHARE,
    DROPS,
    DUE,
    MEMORY,
    MORE,
    MOST,
    SHARES,
    SHIFT,
    SPANS,
    STRONG,
    TILTS,
    TOP,
    Rules,
    halved,
    inflation_class,
    rules,
)
from visutility.monitor.state import MANY, VAST, Bools, Floats, Ints, agree, between
from visutility.monitor.steps import StepDetector
from visutility.monitor.verdicts import Level, Verdicts
from visutility.monitor.windows import sum_rows

_BETS = len(TILTS)
_DRIFT = 1.01 / (1.0 - MEMORY)  # what sums of numbers up to 1 come to, of which a little is forgotten each time
_SHIFTS = np.array([*TILTS, *(-drop for drop in DROPS)])[:, None]
_SHARES, _SPANS = np.array(SHARES)[:, None], np.array(SPANS)[:, None]


@dataclass(frozen=True, slots=True)
class DependentState(BlendState):
    """Five bets on a rise, then four on a fall. Values are oriented: in [0, 1], larger is worse."""

    wealth: Floats  # (9, s) M, times the bet's share
    drift: Floats  # (6, s) of the errors of prediction: two averages, products with them, squares, and their number
    inflation: NDArray[np.uint8]  # (s,) class of the variance inflation that is left
    best: Floats  # (s,) the largest product of one bet's L over all starting points: CUSUM
    since: Ints  # (s,) the position that product starts at
    total: Floats  # (s,) the sum of the values from there on
    score: Floats  # (s,) the bets on a rise together
    half: Floats  # (s,) after an alarm, the errors when half of what is learnt was; -1 once that is long ago


@final
@dataclass(frozen=True, slots=True)
class Dependent(StepDetector[DependentState]):
    """Alarm when a bettor on more errors than the stream's own past predicts has won `arl` times the stake.

    For errors, `low` or `high` (0 or 1), that may depend on each other. The prediction is a Bayesian mixture of
    independence, dependence on the last value and hidden jumping rates. M <- (M + c) L, L the ratio of a raised rate's
    probability to the predicted one, c the stake: 0 for the first `learning` values, growing to 1 over six times as
    many, on a stream that only its last value explains to 7 over nine times as many, and less where the errors of
    prediction still hang together. After an alarm, or a fall more certain than one, the stream is learnt anew. A
    warning comes at `warning` times `arl`. 649 bytes a stream.
    """

    arl: float = 1.25e6
    learning: int = 512
    warning: float = 0.01
    low: float | None = 0.0
    high: float | None = 1.0

    name: ClassVar[str] = "dependent"
    state_type: ClassVar[type[DependentState]] = DependentState
    state_version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        StepDetector.__post_init__(self)
        if self.low is None or self.high is None:
            raise InvalidSetting(f"range [{self.low}, {self.high}] has an open end", hint="bets need low and high")
        rules(self.arl, self.learning, self.warning)

    def promise(self, reference_size: int) -> str:
        """Return the theorem in words, and what was measured."""
        learnt = f"The reference window of {reference_size} values only shortens what has to be learnt. "
        return (
            f"Let each value be 1 with the probability that the detector predicts from the past: a Bayesian mixture of "
            f"independence, dependence on the last value and hidden jumping rates, no weight below a share of "
            f"{LEAST:g}; before {FEW:g} errors their plain frequency, raised after an error. Then the mean of the "
            f"stakes until a false alarm is at least {self.arl:g}; a stake is at most 1 a value, and up to "
            f"{1.0 + MORE:g} where the last value explains a lag-1 autocorrelation of {STRONG:g} or more: a theorem. "
            f"{learnt if reference_size else ''}Measured at the default arl, false alarms per 1e6 values of streams of "
            f"10,000: at most 1 on independent errors of rates .0005 to .5; at most 5 on two-state chains of lag-1 "
            f"autocorrelation .5 and rates .005 to .3, and 8 at .8 and rates .02 to .1; 11 where the rate jumps "
            f"between two and stays for 100 values on average. More where dependence is slower: 69 where it stays 500."
        )

    def oriented(self, values: Floats) -> Floats:
        """Return 1 for the worse of the two values, else 0; `InvalidObservation` for any other value."""
        low, high = self._ends()
        wrong = (values != low) & (values != high)
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise InvalidObservation(
                f"{float(values[place])!r} at position {place[-1]} is neither {low:g} nor {high:g}",
                hint="this detector takes errors; give losses and scores to auto or ranks",
            )
        worse: Floats = (values == (high if self.direction == "rise" else low)).astype(np.float64)
        return worse

    def fresh(self, n: int) -> DependentState:
        """Return the state of n streams that learn from their first values."""
        return DependentState(
            seen=np.zeros(n, np.int64),
            **fresh_blend(n),
            wealth=np.zeros((len(_SHIFTS), n)),
            drift=np.zeros((6, n)),
            inflation=np.zeros(n, np.uint8),
            best=np.zeros(n),
            since=np.zeros(n, np.int64),
            total=np.zeros(n),
            score=np.zeros(n),
            half=np.full(n, -1.0),
        )

    def check(self, state: DependentState) -> None:
        """Refuse what no stream comes to."""
        check_blend(state)
        between(state, 0, VAST, "wealth", "best", "score")
        between(state, 0, MOST, "inflation")
        between(state, 0, MANY, "since", "total")
        between(state, -1, MANY, "half")
        between(state, -_DRIFT, _DRIFT, "drift")
        agree(state.drift[4:] >= 0.0, "a sum of squares below 0")

    def learn(self, references: Sequence[Floats]) -> DependentState:
        """Return the state after these reference windows."""
        return self.primed(references)

    def step(self, work: DependentState, values: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
        """Advance the first rows by one value each."""
        a, age = len(values), work.age[: len(values)].copy()
        known = blend(work, values)
        before = work.score[:a].copy()
        self._bet(work, values, age, known)
        _watch(work, values, known)
        score = work.score[:a].copy()
        levels = np.zeros(a, np.int8)
        warn = self._rules().warn
        levels[(score >= warn) & (before < warn)] = Level.WARNING
        levels[score >= self.arl] = Level.ALARM
        fell = (sum_rows(work.wealth[_BETS:, :a]) >= self._rules().fall) | _over(work, a)
        for row in np.flatnonzero(fell & (levels == Level.OK)).tolist():
            _anew(work, row)
        return levels, score, np.full(a, self.arl)

    def run(self, work: DependentState, values: Floats) -> tuple[int, Level, float, float]:
        """Advance row 0 through the values until something is to be said."""
        used, level = 0, Level.OK
        while used < len(values) and level == Level.OK:
            lane = Lane(work, self._rules())
            used, level, fell = lane.run(values, used, int(work.seen[0]))
            lane.put(work)
            if fell:
                _anew(work, 0)
        return used, level, float(work.score[0]), self.arl

    def restart(self, work: DependentState, row: int) -> None:
        """Forget the winnings; after an alarm also what was learnt, so that what is worse becomes the new normal."""
        if work.score[row] >= self.arl:
            _anew(work, row)
        _drop(work, row)

    def scores(self, state: DependentState) -> Floats:
        """Return what the bets on a rise have won, from 0 to `arl`."""
        return state.score.copy()

    def settled(
        self,
        state: DependentState,
        verdicts: Verdicts | None = None,
        spent: Bools | None = None,  # noqa: ARG002
    ) -> Floats:
        """Return the scores over the largest stake, under the law that the detector predicts, after an alarm too."""
        scores = self.scores(state) if verdicts is None else verdicts.at_alarms(state.score)
        return scores / (1.0 + MORE)

    def worth(self) -> float:
        """Return the limit over the largest stake."""
        return self.arl / (1.0 + MORE)

    def evidence(self, state: DependentState, stream: int = 0) -> dict[str, float]:
        """Return the score, the excursion that carries it, and what was learnt.

        `since` is the position that one bet's largest product starts at, an estimate of the change point; `mean_since`
        is the mean from there on, and `baseline_mean` the mean of what was learnt before.
        """
        since, seen = int(state.since[stream]), int(state.seen[stream])
        inside = min(float(seen - since), float(state.age[stream]))
        total, ones = float(state.total[stream]), float(state.ones[stream])
        rest = float(state.age[stream]) - inside
        return {
            "position": float(seen - 1),
            "score": float(state.score[stream]),
            "limit": self.arl,
            "since": float(since),
            "values_since": inside,
            "mean_since": self._people(total / max(inside, 1.0)),
            "baseline_mean": self._people((ones - total + 0.5) / (rest + 1.0)),
            **self._dependence(state, stream),
        }

    def learnt(self, state: DependentState, stream: int = 0) -> dict[str, float]:
        """Return how many values were learnt from, their mean, and how they depend on each other.

        `independent`, `last_value` and `changing` are the weights of the models, which sum to 1.
        """
        size, ones = float(state.age[stream]), float(state.ones[stream])
        return {
            "baseline_size": size,
            "baseline_mean": self._people((ones + 0.5) / (size + 1.0)),
            **self._dependence(state, stream),
        }

    def stake(self, age: Floats, known: Prediction, inflation: NDArray[np.uint8]) -> Floats:
        """Return c, what is laid on the next value of streams that have learnt from `age` values, shape (s,)."""
        told = self._rules()
        youth, later = np.minimum(age / told.grown, 1.0), np.minimum(age / told.later, 1.0)
        chain = np.where(known.autocorrelation >= STRONG, MORE * known.chain, 0.0)
        grown: Floats = youth * youth + (later * later) * chain
        grown *= np.array(told.calm)[np.where(known.few, 0, inflation)]
        return np.where(age >= self.learning, grown, 0.0)

    def _dependence(self, state: DependentState, stream: int) -> dict[str, float]:
        """Return the lag-1 autocorrelation, the weights of the models and the variance inflation that is left."""
        sum_0, count_0, sum_1, count_1 = state.pairs[:, stream].tolist()
        weights = state.weights[:, stream] / state.weights[:, stream].sum()
        return {
            "autocorrelation": (sum_1 + 0.5) / (count_1 + 1.0) - (sum_0 + 0.5) / (count_0 + 1.0),
            "independent": float(weights[0]),
            "last_value": float(weights[1]),
            "changing": float(weights[2:].sum()),
            "inflation": 1.0 + int(state.inflation[stream]) / CLASSES,
        }

    def _bet(self, work: DependentState, x: Floats, age: Floats, known: Prediction) -> None:
        """Multiply the winnings of the first rows, in place."""
        a = len(x)
        sd = np.sqrt(known.mean * (1.0 - known.mean))
        other = np.minimum(known.rate + _SHIFTS * sd, np.maximum(known.rate, TOP))
        other = np.maximum(other, known.rate * BOTTOM)
        gain = (x * other + (1.0 - x) * (1.0 - other)) / known.chance
        wealth = work.wealth[:, :a]
        wealth[:_BETS] += _SHARES * self.stake(age, known, work.inflation[:a])
        wealth[_BETS:] += DROP_SHARE * np.where(age >= self.learning, 1.0, 0.0)
        wealth *= gain
        work.score[:a] = sum_rows(wealth[:_BETS])
        best, since, total = work.best[:a], work.since[:a], work.total[:a]
        new: Bools = best <= 1.0
        np.copyto(best, 1.0, where=new)
        best *= gain[SHIFT]
        np.copyto(since, work.seen[:a], where=new)
        np.copyto(total, 0.0, where=new)
        total += x

    def _rules(self) -> Rules:
        return rules(self.arl, self.learning, self.warning)

    def _ends(self) -> tuple[float, float]:
        return (0.0 if self.low is None else self.low), (1.0 if self.high is None else self.high)

    def _people(self, value: float) -> float:
        """Return an oriented value in the units of the stream."""
        low, high = self._ends()
        return float(low + (high - low) * value if self.direction == "rise" else high - (high - low) * value)


def _watch(work: DependentState, x: Floats, known: Prediction) -> None:
    """Measure what is left of dependence: how errors of prediction go with their recent average. In place."""
    a, error = len(x), x - known.rate
    drift = work.drift[:, :a]
    drift[2:] *= MEMORY
    drift[2:4] += error * drift[:2]
    drift[4] += error * error
    drift[5] += 1.0
    drift[:2] += (error - drift[:2]) / _SPANS
    for row in np.flatnonzero(work.age[:a] % DUE == 0.0).tolist():
        _, _, *crosses, power, count = drift[:, row].tolist()
        work.inflation[row] = inflation_class(crosses, power, count)


def _over(work: DependentState, a: int) -> Bools:
    """Return which of the first rows were learnt from the end of an outage. Looks at the halves, in place."""
    found = np.zeros(a, np.bool_)
    for row in np.flatnonzero(work.half[:a] >= 0.0).tolist():
        found[row], work.half[row] = halved(float(work.age[row]), float(work.ones[row]), float(work.half[row]))
    return found


def _drop(work: DependentState, row: int) -> None:
    """Forget the winnings of one row, in place."""
    for array in (work.wealth, work.best, work.since, work.total, work.score):
        array[..., row] = 0


def _anew(work: DependentState, row: int) -> None:
    """Make one row know nothing but its position, in place."""
    forget(work, row)
    _drop(work, row)
    work.drift[:, row] = 0.0
    work.inflation[row] = 0
    work.half[row] = 0.0
