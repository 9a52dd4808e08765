"""The rank detector with a baseline for each part of a season: day against day, night against night.

The bets and their promise are those of `ranks.py`: a rank among the past values of the same part of the season is
uniform as long as the values of each part are exchangeable, however different the parts are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visutility.core.errors import InvalidSetting
from visutility.monitor.detector import Values
from visutility.monitor.detectors.ranks import Ranks, RankState
from visutility.monitor.state import MANY, Floats, Ints, StreamState, between
from visutility.monitor.steps import StepDetector
from visutility.monitor.times import Clock, seconds
from visutility.monitor.verdicts import Level, Verdicts

_MINUTES = 1440  # of a day: the default period
_BASELINE = ("count", "hold", "edges", "below", "kept", "kept_below")  # what each part of the season has
_WON = ("wealth", "score", "eased", "best", "hold")
_SHARED = tuple(one.name for one in fields(RankState) if one.name not in ("seen", *_BASELINE))


@dataclass(frozen=True, slots=True)
class SeasonalState(StreamState):
    """A `RankState` whose baseline has one row more: p parts of the season, e edges, k bets, m averages, s streams."""

    turn: Ints  # (s,) values taken, those of the reference window too; by the clock, the part of the last value
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

    By the clock: `season` is "hour", "day", "week" or a number of seconds, and `phases` how many equal parts it has, as
    clocks show it in `zone`. Each value is given its time (`update(…, at=…)`), on which alone its part depends: times
    may repeat, skip and go backwards. A reference window has no times, and nothing is learnt of it.

    By position, without `season`: a season is `period` values long, which `phases` divides: 1440 and 24 are the hours
    of a day of values that come once a minute. A stream has to come at a steady pace, and its reference window ends
    where it begins.

    Each part learns from its first `learning` values: with fewer, dependence is not known well enough when betting
    starts. Evidence is shared by all parts. 1,570 bytes a stream and part.
    """

    period: int = _MINUTES
    phases: int = 24
    arl: float = 1e6
    learning: int = 256
    warning: float = 0.01
    season: str | float | None = None
    zone: str = "UTC"

    name: ClassVar[str] = "seasonal"
    state_type: ClassVar[type[SeasonalState]] = SeasonalState
    state_version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        StepDetector.__post_init__(self)
        self._inner()
        if self.clocked:
            self._clock()
            if self.period != _MINUTES:
                raise InvalidSetting(
                    f"season {self.season!r} came with period {self.period}",
                    hint="season goes by the clock and period by position: give one of them",
                )
            if not 2 <= self.phases <= 1000:
                raise InvalidSetting(f"phases {self.phases!r} is not in [2, 1000]", hint="24 are the hours of a day")
        elif self.zone != "UTC":
            raise InvalidSetting(
                f"zone {self.zone!r:.80} came without a season",
                hint='season="day" goes by the clock, period by position',
            )
        elif not 2 <= self.phases <= 1000 or self.period < self.phases or self.period % self.phases:
            raise InvalidSetting(
                f"period {self.period!r} does not have {self.phases!r} equal parts",
                hint="2 to 1000 phases that divide the period; both are counted in values",
            )

    @property
    def clocked(self) -> bool:
        """Whether seasons go by the clock, so that each value needs its time."""
        return self.season is not None

    def promise(self, reference_size: int) -> str:
        """Return the theorem in words."""
        which, window, when = "season", f", those of the reference window ({reference_size}) included,", ""
        if self.season is not None:
            named = self.season if isinstance(self.season, str) else f"{self.season:g} seconds"
            which = f"season ({named}, {self.zone})"
            window = f" (of the reference window, {reference_size} values without times, nothing is learnt)"
            when = ", at times that do not depend on the values"
        return (
            f"As long as the values of each of the {self.phases} parts of the {which}{window} "
            f"are independent draws from that part's one distribution without ties, "
            f"whatever these are{when}: the mean time to a false alarm is at least {self.arl:g} values, and a false "
            f"alarm within any T values of a start has probability at most T/{self.arl:g}, on average over what is "
            f"learnt, however often it is read. A theorem (see the detector ranks)."
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
        """Return the state after these reference windows. By the clock these teach nothing: they have no times."""
        return self.fresh(len(references)) if self.clocked else self.primed(references)

    def absorb_at(self, work: SeasonalState, values: Values, ids: Ints | None, at: ArrayLike | None) -> Verdicts:
        """Take a batch whose values have these times into the state, in place."""
        oriented = self.oriented(self.checked(values))
        parts = self._clock().part(seconds(at, oriented.shape)) if oriented.size or at is not None else oriented
        return self.stepped(work, np.stack((oriented, parts), axis=-1), ids)

    def step(self, work: SeasonalState, values: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
        """Advance the first rows by one value each; by the clock, (a, 2): each value and its part of the season."""
        rows = np.arange(len(values))
        if self.clocked:
            values, phase = values[:, 0], values[:, 1].astype(np.int64)
            work.turn[rows] = phase
        else:
            phase = self._phase(work, rows)
            work.turn[rows] += 1
        part = _gather(work, phase, rows)
        said = _beside(self._inner(), part, values) if self.clocked else self._inner().step(part, values)
        _scatter(work, phase, rows, part)
        anew = rows[part.count == 0]
        work.count[:, anew], work.hold[:, anew], work.edges[..., anew] = 0, self.learning, 0.0
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

    def check(self, state: SeasonalState) -> None:
        """Refuse what no stream comes to."""
        between(state, 0, self.phases - 1 if self.clocked else MANY, "turn")
        rows = np.arange(len(state.seen))
        for phase in range(self.phases):
            self._inner().check(_gather(state, np.full(len(rows), phase), rows))

    def scores(self, state: SeasonalState) -> Floats:
        """Return the mixture of the bets' winnings, from 0 to `arl`."""
        return state.score.copy()

    def evidence(self, state: SeasonalState, stream: int = 0) -> dict[str, float]:
        """Return what `ranks` does for the part of the season that the last value fell in, and that part's number.

        `values_since` counts the values of all parts. By the clock a value whose part still learns counts in
        `rank_since` as the mean of those before it; `value_since` and `baseline_median` are 0 as long as the part of
        the last value has fewer than 96 values.
        """
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

    def _clock(self) -> Clock:
        season: Any = self.season
        return Clock(season, self.phases, self.zone)

    def _phase(self, state: SeasonalState, rows: Ints, back: int = 0) -> Ints:
        """Return the part of the season that each stream's next value falls in, or the one `back` before it.

        By the clock it is known of the last value alone.
        """
        if self.clocked:
            return state.turn[rows]
        turn = np.maximum(state.turn[rows] - back, 0)
        return np.asarray(turn % self.period * self.phases // self.period, np.int64)


def _beside(inner: Ranks, part: RankState, values: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
    """Step; a value of a part that still learns leaves what the other parts have won as it is, and says nothing.

    `ranks` itself drops all winnings while it learns: it has none. A part of little traffic learns for months.
    """
    learns = np.flatnonzero(part.count < part.hold)
    won = {name: _array(part, name)[..., learns] for name in _WON}
    won |= _onward(part, learns)
    part.hold[learns], part.eased[learns] = 0, 0.0
    levels, _, limits = inner.step(part, values)
    levels[learns] = Level.OK
    still = part.count[learns] > 0  # else its values got lower for good, and the row was started anew
    for name, array in won.items():
        _array(part, name)[..., learns[still]] = array[..., still]
    return levels, part.score.copy(), limits


def _onward(part: RankState, rows: Ints) -> dict[str, NDArray[Any]]:
    """Return since when ranks are summed and their sum, after a value in these rows that counts as the mean before."""
    position, since, total = part.seen[rows], part.since[rows], part.total[rows]
    under_way = (part.best[rows] > 1.0) & (position > since)
    mean = np.clip(total / np.maximum(position - since, 1), -0.5, 0.5)
    return {"since": np.where(under_way, since, position), "total": np.where(under_way, total + mean, 0.0)}


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
