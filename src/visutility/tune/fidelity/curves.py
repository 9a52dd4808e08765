"""Halving by forecast: trials are compared at rungs by where their curves are going, and a fixed share goes on.

Asynchronous successive halving (Li et al., 2020) compares trials by what they reported at a rung; where learning
curves cross, that stops the slow starters that end best. Here each curve is extrapolated with the model of `model.py`,
learnt from all curves of the study as in Swersky et al., "Freeze-thaw Bayesian optimization" (2014), and trials are
compared by that forecast. Rungs are a factor of 1.45 apart and 1 in 1.45 goes on, so that every stretch of the
curves gets an equal share of the epochs, as in a bracket of Hyperband; no horizon has to be known beforehand, as
forecasts reach as far as the farthest trial so far.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final, final

from visutility.core.errors import InvalidSetting
from visutility.tune.fidelity.contract import AbstractStopping, Curve, Seen
from visutility.tune.fidelity.median import whole_number
from visutility.tune.fidelity.model import RATIO, CurveModel, fit

LEARNT: Final = 200  # curves, the latest, that the model is fitted to
KNOWN: Final = 0.5
LIKELY: Final = 1.28  # deviations by which a forecast may be worse than the best: a chance of one in ten
RECENT, OWN = 12, 3.0  # latest trials that say what a new one is worth; how many of them the model itself counts for


@final
@dataclass(frozen=True, slots=True)
class _Standing:
    """The model of the curves so far, and the forecast of each of them, compressed."""

    model: CurveModel
    ends: Mapping[int, float]


@final
@dataclass(frozen=True, slots=True)
class CurveStopping(AbstractStopping):
    """A trial goes on from a rung when its forecast is among the best 1/1.45 of the trials that came there.

    `pauses` says that trials which stop are paused and may go on later: then a rung's best ⌊n/1.45⌋ go on, the first
    trial of all is paused at its first report, and a paused trial that has come to be among the best is handed out
    before any new one. Otherwise what stops is lost: a trial stops when the chance that it becomes the best one is
    below one in ten and its expected improvement, over the steps it has left, is smaller than a new trial's, and none
    does before `startup` complete trials reported. None: a study that has a paused trial can pause.
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
        pausing = bool(seen.paused) if self.pauses is None else self.pauses
        complete = [c.steps[-1] for c in seen.curves if c.state == "complete" and c.steps]
        if not pausing and len(complete) < self.startup:
            return True
        rung = _reached(now, _first(seen, now))
        if rung is None or now.steps[-1] >= max(complete, default=now.steps[-1] + 1):
            return True
        count, share = rung
        standing = self._standing(seen)
        step = count + _first(seen, now) - 1
        there = [c.number for c in seen.curves if c.steps and c.steps[-1] >= step and c.number != now.number]
        if standing is None or not there:
            return not pausing
        if not pausing:
            return _worth(standing, seen, now)
        own = standing.model.finals([now])[0]
        return sum(standing.ends[n] < own for n in there) < int((len(there) + 1) * share)

    def resume(self, seen: Seen, *, closing: bool) -> int | None:
        """Return the paused trial to go on with: among the best of the highest rung that has one.

        When no new trials will come, the one with the best forecast, if that is better than the best complete trial.
        """
        standing = self._standing(seen) if seen.paused else None
        paused = [c for c in seen.paused if c.steps]
        if standing is None or not paused:
            return None
        ends, first = standing.ends, min(c.steps[0] for c in seen.curves if c.steps)
        if closing:
            best = min(paused, key=lambda c: (ends[c.number], c.number))
            done = any(c.state == "complete" and c.steps for c in seen.curves)
            return best.number if not done or ends[best.number] < standing.model.best else None
        counts = _rungs(max(c.steps[-1] for c in paused) - first + 1)
        for count, after in reversed(list(pairwise(counts))):
            there = sorted((ends[c.number], c.number) for c in seen.curves if _length(c, first) >= count)
            best_there = {number for _, number in there[: int(len(there) * count / after)]}
            found = [c for c in paused if c.number in best_there and count <= _length(c, first) < after]
            if found:
                return min(found, key=lambda c: (ends[c.number], c.number)).number
        return None

    def estimates(self, seen: Seen) -> Mapping[int, float]:
        """Return the expected final value of pruned and paused trials, never better than the best complete one.

        Left out are those whose reports take less than `KNOWN` of the variance from what is expected of a new trial.
        """
        standing = self._standing(seen)
        if standing is None:
            return {}
        model = standing.model
        enough = model.known_from(KNOWN)
        partial = [c for c in seen.curves if c.state != "complete" and c.steps and c.steps[-1] >= enough]
        return {c.number: model.stretch(max(standing.ends[c.number], model.best)) for c in partial}

    def _standing(self, seen: Seen) -> _Standing | None:
        return seen.kept(self.kind, _standing_of)


def _standing_of(seen: Seen) -> _Standing | None:
    curves = [c for c in seen.curves if c.steps]
    if not curves:
        return None
    model = fit(curves[-LEARNT:], max(c.steps[-1] for c in curves), _best_candidates(curves))
    ends = model.finals(curves)
    return _Standing(model, {c.number: end for c, end in zip(curves, ends, strict=True)})


def _worth(standing: _Standing, seen: Seen, now: Curve) -> bool:
    """Whether the trial is likely to become the best, or expected to gain at least as much a step as a new trial."""
    model = standing.model
    fresh, width = model.mean[-1], float(model.cov[-1, -1])
    latest = sorted((c.number for c in seen.curves if c.steps), reverse=True)[:RECENT]
    weight = 1.0 / (OWN + len(latest))
    mean = weight * (OWN * fresh + sum(standing.ends[n] for n in latest))
    spread = OWN * (width + (fresh - mean) ** 2) + sum((standing.ends[n] - mean) ** 2 for n in latest)
    new = expected_gain(model.best, mean, math.sqrt(weight * spread)) / _length_to(model, model.knots[0] - 1)
    end, deviation = model.final(now)
    likely = end - LIKELY * deviation <= model.best
    return likely or expected_gain(model.best, end, deviation) / _length_to(model, now.steps[-1]) >= new


def expected_gain(best: float, mean: float, deviation: float) -> float:
    """Return E[max(0, best − y)] for y ~ N(mean, deviation²): expected improvement, Mockus (1978)."""
    if deviation <= 1e-12:
        return max(0.0, best - mean)
    z = (best - mean) / deviation
    return deviation * (z * 0.5 * math.erfc(-z / math.sqrt(2.0)) + math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi))


def _length_to(model: CurveModel, step: int) -> int:
    return max(1, model.knots[-1] - step)


def _best_candidates(curves: Sequence[Curve]) -> list[Curve]:
    """The curves whose last value may be the best final one: complete ones, or all while none is."""
    return [c for c in curves if c.state == "complete"] or list(curves)


def _first(seen: Seen, now: Curve) -> int:
    return min(c.steps[0] for c in (*seen.curves, now) if c.steps)


def _length(curve: Curve, first: int) -> int:
    """How many steps a curve has, counted from the first step of the study."""
    return curve.steps[-1] - first + 1 if curve.steps else 0


def _rungs(until: int) -> list[int]:
    """The rungs, as counts of steps, up to the first beyond `until`."""
    found, power = [1], 1
    while found[-1] <= until:
        count = round(RATIO**power)
        power += 1
        if count > found[-1]:
            found.append(count)
    return found


def _reached(now: Curve, first: int) -> tuple[int, float] | None:
    """The highest rung that the last report was the first to reach, and the share that goes on from it."""
    before = now.steps[-2] - first + 1 if len(now.steps) > 1 else 0
    counts = _rungs(_length(now, first))
    if len(counts) < 2 or counts[-2] <= before:
        return None
    return counts[-2], counts[-2] / counts[-1]
