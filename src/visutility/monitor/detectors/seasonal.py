"""The rank detector with a baseline for each part of a season: day against day, night against night.

The bets and their promise are those of `ranks.py`: a rank among the past values of the same part of the season is
uniform as long as the values of each part are exchangeable, however different the parts are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidSetting
from visutility.monitor.detectors.ranks import Ranks, RankState
from visutility.monitor.state import Floats, Ints, StreamState
from visutility.monitor.steps import StepDetector
from visutility.monitor.verdicts import Level

_BASELINE = ("count", "hold", "edges", "below", "kept", "kept_below")  # what each part of the season has
_SHARED = tuple(one.name for one in fields(RankState) if one.name not in ("seen", *_BASELINE))


@dataclass(frozen=True, slots=True)
class SeasonalState(StreamState):
    """A `RankState` whose baseline has one row more: p parts of the season, e edges, k bets, m averages, s streams."""

    turn: Ints  # (s,) values taken, those of the reference window too: where in the season the next one falls
    count: Ints  # (p, s)
    hold: Ints  # (p, s)
    edges: Floats  # (e, p, s)
    below: NDArray[Any]  # (e, p, s)
    kept: Ints  # (p, s)
    kept_below: NDArray[Any]  # (e, p, s)
    wealth: Floats  # (k, s)
    score: Floats  # (s,)
    eased: Floats  # (s,)
    average: Floats  # (m, s)
    cross: Floats  # (m, s)
    power: Floats  # (s,)
    ranked: Ints  # (s,)
    inflation: NDArray[Any]  # (s,)
    best: Floats  # (s,)
    since: Ints  # (s,)
    total: Floats  # (s,)
    kept_cross: Floats  # (m, s)
    kept_power: Floats  # (s,)
    kept_ranked: Ints  # (s,)


@final
@dataclass(frozen=True, slots=True)
class Seasonal(StepDetector[SeasonalState]):
    """Alarm when values rank too high among those of the same part of earlier seasons.

    A season is `period` values long and has `phases` parts of equal length, which divide it: 1440 and 24 are the hours
    of a day of values that come once a minute. Positions stand for time: a stream has to come at a steady pace, and
    its reference window ends where the stream begins. Each part learns from its first `learning` values: with fewer,
    dependence is not known well enough when betting starts. Evidence is shared by all parts. 1,570 bytes a stream and
    part.
    """

    period: int = 1440
    phases: int = 24
    arl: float = 1e6
    learning: int = 256
    warning: float = 0.01

    name: ClassVar[str] = "seasonal"
    state_type: ClassVar[type[SeasonalState]] = SeasonalState
    state_version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        StepDetector.__post_init__(self)
        if not 2 <= self.phases <= 1000 or self.period < self.phases or self.period % self.phases:
            raise InvalidSetting(
                f"period {self.period!r} does not have {self.phases!r} equal parts",
                hint="2 to 1000 phases that divide the period; both are counted in values",
            )
        self._inner()

    def promise(self, reference_size: int) -> str:
        """Return the theorem in words."""
        return (
            f"As long as the values of each of the {self.phases} parts of the season, those of the reference window "
            f"({reference_size}) included, are independent draws from that part's one distribution without ties, "
            f"whatever these are: the mean time to a false alarm is at least {self.arl:g} values, and a false alarm "
            f"within any T values of a start has probability at most T/{self.arl:g}, on average over what is learnt, "
            f"however often it is read. A theorem (see the detector ranks)."
        )

    def oriented(self, values: Floats) -> Floats:
        """Return the values, negated where smaller is worse."""
        return self._inner().oriented(values)

    def fresh(self, n: int) -> SeasonalState:
        """Return the state of n streams that learn from their first values."""
        each = self._inner().fresh(n * self.phases)
        parts = {name: _array(each, name) for name in _BASELINE}
        shared = self._inner().fresh(n)
        return SeasonalState(
            seen=np.zeros(n, np.int64),
            turn=np.zeros(n, np.int64),
            **{name: array.reshape(*array.shape[:-1], self.phases, n) for name, array in parts.items()},
            **{name: _array(shared, name) for name in _SHARED},
        )

    def learn(self, references: Sequence[Floats]) -> SeasonalState:
        """Return the state after these reference windows."""
        return self.primed(references)

    def step(self, work: SeasonalState, values: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
        """Advance the first rows by one value each."""
        rows = np.arange(len(values))
        phase = self._phase(work, rows)
        part = _gather(work, phase, rows)
        said = self._inner().step(part, values)
        _scatter(work, phase, rows, part)
        anew = rows[part.count == 0]
        work.count[:, anew], work.hold[:, anew] = 0, self.learning
        work.turn[rows] += 1
        return said

    def run(self, work: SeasonalState, values: Floats) -> tuple[int, Level, float, float]:
        """Advance row 0 through the values until something is to be said."""
        for at in range(len(values)):
            levels, scores, limits = self.step(work, values[at : at + 1])
            work.seen[0] += 1
            if levels[0]:
                work.seen[0] -= at + 1
                return at + 1, Level(int(levels[0])), float(scores[0]), float(limits[0])
        work.seen[0] -= len(values)
        return len(values), Level.OK, float(work.score[0]), self.arl

    def restart(self, work: SeasonalState, row: int) -> None:
        """Forget the winnings; after an alarm, also what its part of the season learnt in the excursion."""
        rows = np.array([row])
        phase = self._phase(work, rows, back=1)
        part = _gather(work, phase, rows)
        self._inner().restart(part, 0)
        _scatter(work, phase, rows, part)

    def scores(self, state: SeasonalState) -> Floats:
        """Return the mixture of the bets' winnings, from 0 to `arl`."""
        return state.score.copy()

    def evidence(self, state: SeasonalState, stream: int = 0) -> dict[str, float]:
        """Return what `ranks` does for the part of the season that the last value fell in, and that part's number."""
        rows = np.array([stream])
        phase = self._phase(state, rows, back=1)
        return {**self._inner().evidence(_gather(state, phase, rows)), "phase": float(phase[0])}

    def learnt(self, state: SeasonalState, stream: int = 0) -> dict[str, float]:
        """Return the median of each part of the season, and the size of the least learnt baseline."""
        rows, inner = np.array([stream]), self._inner()
        each = [inner.learnt(_gather(state, np.array([phase]), rows)) for phase in range(self.phases)]
        medians = {f"median_{phase}": one["baseline_median"] for phase, one in enumerate(each)}
        return {"baseline_size": min(one["baseline_size"] for one in each), **medians}

    def _inner(self) -> Ranks:
        return Ranks(self.direction, self.low, self.high, self.arl, self.learning, self.warning)

    def _phase(self, state: SeasonalState, rows: Ints, back: int = 0) -> Ints:
        """Return the part of the season that each stream's next value falls in, or the one `back` before it."""
        turn = np.maximum(state.turn[rows] - back, 0)
        return np.asarray(turn % self.period * self.phases // self.period, np.int64)


def _array(state: StreamState, name: str) -> NDArray[Any]:
    array: NDArray[Any] = getattr(state, name)
    return array


def _gather(state: SeasonalState, phase: Ints, rows: Ints) -> RankState:
    """Return the streams' states with the baselines of these parts of the season: copies."""
    baseline = {name: _array(state, name)[..., phase, rows] for name in _BASELINE}
    return RankState(seen=state.seen[rows], **baseline, **{name: _array(state, name)[..., rows] for name in _SHARED})


def _scatter(state: SeasonalState, phase: Ints, rows: Ints, part: RankState) -> None:
    """Write states that `_gather` gave back, in place."""
    for name in _BASELINE:
        _array(state, name)[..., phase, rows] = _array(part, name)
    for name in _SHARED:
        _array(state, name)[..., rows] = _array(part, name)
