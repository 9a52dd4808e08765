"""Halving by forecast: trials are compared at rungs by where their curves are going, and a fixed share goes on.

Asynchronous successive halving (Li et al., 2020) compares trials by what they reported at a rung; where learning
curves cross, that stops the slow starters that end best. Here each curve is extrapolated with the model of `model.py`,
learnt from all curves of the study as in Swersky et al., "Freeze-thaw Bayesian optimization" (2014), and trials are
compared by that forecast. Rungs are a factor of 1.45 apart and 1 in 1.45 goes on, so that every stretch of the
curves gets an equal share of the epochs, as in a bracket of Hyperband; no horizon has to be known beforehand, as
forecasts reach as far as the farthest trial so far. How sure a forecast is counts too: where the ends are known after
a few steps, most trials are unlikely to become the best one, and of those fewer go on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidSetting
from visutility.tune.fidelity.contract import AbstractStopping, Curve, Seen
from visutility.tune.fidelity.median import whole_number
from visutility.tune.fidelity.model import RATIO, Array, CurveModel, Indices, at_knots, fitted, knots_between

FARTHEST: Final = 2**53  # steps
LEARNT: Final = 200  # curves, the latest, that the model is fitted to
KNOWN: Final = 0.5  # share of the variance from the final value
UNKNOWN: Final = 32  # latest trials of which less than that may be known
UNLIKELY: Final = 2.0  # deviations by which a forecast is worse than the best: a chance of one in 40 to be better
POWER: Final = 1.5  # of the share that goes on, for those
SPARED: Final = 3  # one trial in so many is never taken to be unlikely: the model may be wrong
HOPEFUL: Final = 0.8  # deviations: what has a chance of one in five to become the best is not lost


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Facts:
    """Of the curves that have a report: number, last step, and the farthest a complete one came."""

    curves: Sequence[Curve]
    numbers: Indices  # (n,)
    lasts: Indices  # (n,)
    first: int  # the first step of any
    complete: int
    farthest: int | None  # the last step of the longest complete one


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Standing:
    """The model of the curves so far, and the forecast of each of them, compressed: (n,), in the order of `_Facts`."""

    model: CurveModel
    ends: Array
    unlikely: NDArray[np.bool_]  # which of them are not likely to become the best
    order: Indices  # the best forecast first, then by number


@final
@dataclass(frozen=True, slots=True)
class CurveStopping(AbstractStopping):
    """A trial goes on from a rung when its forecast is among the best 1/1.45 of the trials that came there.

    `pauses` says that trials which stop are paused and may go on later: then a rung's best ⌊n/1.45⌋ go on, of those
    that become the best with a chance below one in 40 only the best ⌊n/1.45^1.5⌋ (one trial in three is spared that),
    the first trial of all is paused at its first report, and a paused trial that has come to be among the best is
    handed out before any new one. Otherwise what stops is lost: then the first at a rung goes on, and so does whatever
    becomes the best with a chance of one in five; none stops before `startup` complete trials reported. None: a study
    that has a paused trial can pause.
    """

    pauses: bool | None = None
    startup: int = 1
    kind: ClassVar[str] = "curves"
    resumes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        whole_number("startup", self.startup, 1)
        if self.pauses is not None and not isinstance(self.pauses, bool):
            raise InvalidSetting(f"pauses is {self.pauses!r}", hint="say True, False, or None: see whether any is")

    def goes_on(self, seen: Seen, now: Curve) -> bool:
        """Return whether the trial is not at a rung, or its forecast is among the best there."""
        facts = seen.kept("facts", _facts_of)
        pausing = bool(seen.paused) if self.pauses is None else self.pauses
        if not pausing and facts.complete < self.startup:
            return True
        first = min(facts.first, now.steps[0])
        rung = _reached(now, first)
        if rung is None or (facts.farthest is not None and now.steps[-1] >= facts.farthest):
            return True
        count, after = rung
        there = (facts.lasts >= count + first - 1) & (facts.numbers != now.number)
        standing = self._standing(seen)
        if standing is None or not there.any():
            return not pausing
        (own, doubt), best = standing.model.final(now), standing.model.best
        ends = standing.ends[there]
        if not pausing:
            places = max(1, _places(len(ends) + 1, count, after))
            return own - HOPEFUL * doubt <= best or int((ends < own).sum()) < places
        unlikely = bool(now.number % SPARED) and own - UNLIKELY * doubt > best
        return int((ends <= own).sum()) < _places(len(ends) + 1, count, after, unlikely=unlikely)

    def resume(self, seen: Seen, *, closing: bool) -> int | None:
        """Return the paused trial to go on with: among the best of the highest rung that has one.

        When no new trials will come, the one with the best forecast, if that is better than the best complete trial.
        """
        standing = self._standing(seen) if seen.paused else None
        if standing is None:
            return None
        facts, ends = seen.kept("facts", _facts_of), standing.ends
        waiting = np.array([curve.state == "paused" for curve in facts.curves], dtype=bool)
        lengths, best_first = facts.lasts - facts.first + 1, standing.order
        if closing:
            best = next((at for at in best_first if waiting[at]), None)
            if best is None or (facts.complete and ends[best] >= standing.model.best):
                return None
            return int(facts.numbers[best])
        counts = _rungs(int(lengths[waiting].max(initial=0)))
        for count, after in reversed(list(pairwise(counts))):
            there = best_first[lengths[best_first] >= count]
            few = _places(len(there), count, after, unlikely=True)
            for place, at in enumerate(there[: _places(len(there), count, after)]):
                if waiting[at] and lengths[at] < after and (place < few or not standing.unlikely[at]):
                    return int(facts.numbers[at])
        return None

    def estimates(self, seen: Seen) -> Mapping[int, float]:
        """Return the expected final value of pruned and paused trials, never better than the best complete one.

        Left out are, of the latest `UNKNOWN`, those whose reports take less than `KNOWN` of the variance from what is
        expected of a new trial.
        """
        standing = self._standing(seen)
        if standing is None:
            return {}
        model, facts = standing.model, seen.kept("facts", _facts_of)
        enough = model.known_from(KNOWN)
        values = model.stretched(np.maximum(standing.ends, model.best))
        partial = [curve.number for curve in facts.curves if curve.state != "complete"]
        old = sorted(partial)[-UNKNOWN] if len(partial) > UNKNOWN else -1
        return {
            int(number): float(value)
            for number, value, last, curve in zip(facts.numbers, values, facts.lasts, facts.curves, strict=True)
            if curve.state != "complete" and (last >= enough or number < old)
        }

    def _standing(self, seen: Seen) -> _Standing | None:
        return seen.kept(self.kind, _standing_of)


def _facts_of(seen: Seen) -> _Facts:
    curves = [curve for curve in seen.curves if curve.steps]
    complete = [curve.steps[-1] for curve in curves if curve.state == "complete"]
    return _Facts(
        curves,
        np.array([curve.number for curve in curves], dtype=np.intp),
        np.array([curve.steps[-1] for curve in curves], dtype=np.intp),
        min((curve.steps[0] for curve in curves), default=FARTHEST),
        len(complete),
        max(complete, default=None),
    )


def _standing_of(seen: Seen) -> _Standing | None:
    facts = seen.kept("facts", _facts_of)
    if not facts.curves:
        return None
    knots = knots_between(facts.first, int(facts.lasts.max()))
    rows = zip(seen.curves, seen.each("knots", knots, at_knots), strict=True)
    values = np.array([row for curve, row in rows if curve.steps])
    rivals = np.array([curve.state == "complete" for curve in facts.curves], dtype=bool)
    model = fitted(values[-LEARNT:], knots, values[rivals if rivals.any() else slice(None), -1])
    ends, doubts = model.ends(values)
    unlikely = (facts.numbers % SPARED != 0) & (ends - UNLIKELY * doubts > model.best)
    return _Standing(model, ends, unlikely, np.lexsort((facts.numbers, ends)))


def _places(count: int, rung: int, after: int, *, unlikely: bool = False) -> int:
    """How many of `count` trials at a rung go on to the one after it."""
    return int(count * (rung / after) ** (POWER if unlikely else 1.0))


def _rungs(until: int) -> list[int]:
    """The rungs, as counts of steps, up to the first beyond `until`."""
    found, power = [1], 1
    while found[-1] <= until:
        count = round(RATIO**power)
        power += 1
        if count > found[-1]:
            found.append(count)
    return found


def _reached(now: Curve, first: int) -> tuple[int, int] | None:
    """The highest rung that the last report was the first to reach, and the one after it."""
    before = now.steps[-2] - first + 1 if len(now.steps) > 1 else 0
    counts = _rungs(now.steps[-1] - first + 1)
    if len(counts) < 2 or counts[-2] <= before:
        return None
    return counts[-2], counts[-1]
