"""Successive halving without waiting: trials are compared at rungs, and one in `factor` goes on.

`Asha`: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020), algorithm 2. A rung is a step,
`first`, `first · factor`, `first · factor²` and so on. A trial that reaches one goes on when its value there is among
the best 1/factor of all that reached it. One that does not is pruned, or paused: a paused trial goes on later, once
enough others were worse (`promote`).

`Hyperband`: Li et al., "Hyperband" (JMLR 2018), algorithm 1. How early to halve is not known beforehand, so brackets
begin at different rungs: bracket s at `longest · factor^-s`. Trials are dealt to brackets by number, in the paper's
proportions, and are compared within their own.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, Final, final

from visutility.core.errors import InvalidSetting
from visutility.tune.fidelity.contract import AbstractStopping, Curve, Seen
from visutility.tune.fidelity.median import whole_number

FARTHEST: Final = 2**53


@final
@dataclass(frozen=True, slots=True)
class Asha(AbstractStopping):
    """Asynchronous successive halving: of the trials that reach a rung, the best 1/`factor` go on.

    With `promote`, a rung's best ⌊n/factor⌋ go on, which none does before `factor` trials came there, and a paused
    trial that has come to be among them is handed out again before any new one (the paper's algorithm). Without, the
    first to come to a rung always goes on: meant for studies whose trials are pruned and cannot be taken up again.
    """

    first: int = 1
    factor: int = 3
    promote: bool = False
    kind: ClassVar[str] = "asha"
    resumes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        whole_number("first", self.first, 1)
        whole_number("factor", self.factor, 2)
        _true_or_false("promote", self.promote)

    def goes_on(self, seen: Seen, now: Curve) -> bool:
        """Return whether the trial is not at a rung, or is among the best there. O(curves)."""
        rung = _rung_reached(now, self.first, self.factor)
        return rung is None or _among_best(seen.curves, now, rung, self.factor, strict=self.promote)

    def resume(self, seen: Seen, *, closing: bool) -> int | None:
        """Return the paused trial to promote: the best one of the highest rung that has one.

        When no new trials will come and none is complete, the best of those that came farthest.
        """
        found = _promoted(seen.curves, self.first, self.factor) if self.promote else None
        return _farthest(seen) if found is None and closing else found


@final
@dataclass(frozen=True, slots=True)
class Hyperband(AbstractStopping):
    """Brackets of asynchronous successive halving, for trials of at most `longest` steps."""

    longest: int
    factor: int = 3
    promote: bool = False
    kind: ClassVar[str] = "hyperband"
    resumes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        whole_number("longest", self.longest, 1)
        whole_number("factor", self.factor, 2)
        _true_or_false("promote", self.promote)

    @property
    def brackets(self) -> tuple[tuple[int, int], ...]:
        """(trials, first rung in steps) of each bracket, from s_max down to 0: n and r of the paper's algorithm 1."""
        return brackets(self.longest, self.factor)

    def bracket(self, number: int) -> int:
        """Return the place in `brackets` of the bracket that a trial is dealt to."""
        place = number % sum(trials for trials, _ in self.brackets)
        starts = accumulate((trials for trials, _ in self.brackets), initial=0)
        return bisect_right(list(starts), place) - 1

    def goes_on(self, seen: Seen, now: Curve) -> bool:
        """Return whether the trial is not at a rung of its bracket, or is among the bracket's best there."""
        mine = self.bracket(now.number)
        first = self.brackets[mine][1]
        rung = _rung_reached(now, first, self.factor)
        if rung is None or rung >= self.longest:
            return True
        rivals = [curve for curve in seen.curves if self.bracket(curve.number) == mine]
        return _among_best(rivals, now, rung, self.factor, strict=self.promote)

    def resume(self, seen: Seen, *, closing: bool) -> int | None:
        """Return the paused trial to promote, of the first bracket that has one."""
        for at, (_, first) in enumerate(self.brackets if self.promote else ()):
            mine = [curve for curve in seen.curves if self.bracket(curve.number) == at]
            found = _promoted(mine, first, self.factor)
            if found is not None:
                return found
        return _farthest(seen) if closing else None


def brackets(longest: int, factor: int) -> tuple[tuple[int, int], ...]:
    """Return (n, r) of each bracket, s from s_max = ⌊log_factor longest⌋ down to 0.

    n = ⌈(s_max + 1) / (s + 1) · factor^s⌉ trials start with r = longest · factor^-s steps, rounded down, at least 1.
    """
    top = 0
    while factor ** (top + 1) <= longest:
        top += 1
    return tuple((-(-(top + 1) * factor**s // (s + 1)), max(1, longest // factor**s)) for s in range(top, -1, -1))


def rungs(first: int, factor: int, until: int) -> list[int]:
    """Return the rungs from `first` to at most `until`."""
    found, rung = [], first
    while rung <= min(until, FARTHEST):
        found.append(rung)
        rung *= factor
    return found


def _rung_reached(now: Curve, first: int, factor: int) -> int | None:
    """The highest rung that the last report was the first to reach."""
    before = now.steps[-2] if len(now.steps) > 1 else -1
    reached = [rung for rung in rungs(first, factor, now.steps[-1]) if rung > before]
    return reached[-1] if reached else None


def _among_best(curves: Iterable[Curve], now: Curve, rung: int, factor: int, *, strict: bool) -> bool:
    """Whether the trial is among the best ⌊n/factor⌋ at a rung, of n with itself; at least 1 if not strict."""
    there = [v for c in curves if c.number != now.number and (v := c.at(rung)) is not None]
    own = now.at(rung)
    if own is None:
        return True
    places = (len(there) + 1) // factor
    return sum(v < own for v in there) < (places if strict else max(1, places))


def _promoted(curves: Sequence[Curve], first: int, factor: int) -> int | None:
    """`get_job` of algorithm 2: from the highest rung down, a paused trial that is among the best ⌊n/factor⌋ there."""
    paused = [curve for curve in curves if curve.state == "paused" and curve.steps]
    for rung in reversed(rungs(first, factor, max((c.steps[-1] for c in paused), default=0))):
        there = sorted((v, c.number) for c in curves if (v := c.at(rung)) is not None)
        best = {number for _, number in there[: len(there) // factor]}
        waiting = [c for c in paused if c.number in best and c.steps[-1] < rung * factor]
        if waiting:
            return min(waiting, key=lambda c: (c.at(rung), c.number)).number
    return None


def _farthest(seen: Seen) -> int | None:
    """The paused trial that came farthest, the best of several; None when there is none, or a trial is complete."""
    paused = [curve for curve in seen.paused if curve.steps]
    if not paused or any(curve.state == "complete" for curve in seen.curves):
        return None
    return min(paused, key=lambda c: (-c.steps[-1], c.values[-1], c.number)).number


def _true_or_false(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidSetting(f"{name} is {value!r}", hint="say True or False")
