"""Stopping by where the curve is going: a trial goes on while it may still become the best.

The model of `model.py` is fitted to the curves of the study and says, for a partial one, with what probability it ends
better than the best complete trial. That is the rule of Domhan et al., "Speeding up automatic hyperparameter
optimization of deep neural networks by extrapolation of learning curves" (IJCAI 2015), with a model that is learnt
across the study's trials as in Swersky et al., "Freeze-thaw Bayesian optimization" (2014).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, final

from visutility.core.errors import InvalidSetting
from visutility.tune.fidelity.contract import AbstractStopping, Curve, Seen
from visutility.tune.fidelity.median import whole_number
from visutility.tune.fidelity.model import CurveModel, fit

RECENT: Final = 12  # trials whose expected ends say what a new one is worth


@final
@dataclass(frozen=True, slots=True)
class CurveStopping(AbstractStopping):
    """A trial stops once it beats the best complete one with a probability below `chance`.

    Nothing stops before `startup` complete trials reported. `horizon` is the step at which trials end; None: the
    farthest that a complete trial reported.
    """

    chance: float = 0.05
    startup: int = 1
    horizon: int | None = None
    kind: ClassVar[str] = "curves"
    resumes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        whole_number("startup", self.startup, 1)
        if self.horizon is not None:
            whole_number("horizon", self.horizon, 1)
        ok = isinstance(self.chance, (int, float)) and not isinstance(self.chance, bool) and 0 <= self.chance < 1
        if not ok:
            raise InvalidSetting(f"chance is {self.chance!r}", hint="give a probability of at least 0, below 1")

    def goes_on(self, seen: Seen, now: Curve) -> bool:
        """Return whether the trial may still become the best. Decides only where curves are read: at the knots."""
        model = self.model(seen)
        if model is None:
            return True
        last, before = now.steps[-1], now.steps[-2] if len(now.steps) > 1 else -1
        if last >= model.knots[-1] or not any(before < knot <= last for knot in model.knots):
            return True
        return chance_of(model, now) >= self.chance

    def resume(self, seen: Seen) -> int | None:
        """Return the paused trial with the greatest expected improvement an epoch, if a new one's is smaller."""
        model = self.model(seen)
        if model is None or not seen.paused:
            return None
        worth = {c.number: gain_per_step(model, c) for c in seen.paused if c.steps}
        best = max(worth, key=lambda number: (worth[number], -number))
        return best if worth[best] > _worth_of_new(model, seen) else None

    def estimates(self, seen: Seen) -> Mapping[int, float]:
        """Return the expected final value of each pruned and paused trial, never better than the best complete one."""
        partial = [c for c in seen.curves if c.state != "complete" and c.steps]
        model = self.model(seen)
        if model is None:
            return {c.number: c.values[-1] for c in partial}
        ends = seen.kept((self, "ends"), lambda _: {c.number: model.final(c)[0] for c in partial})
        return {number: model.stretch(max(end, model.best)) for number, end in ends.items()}

    def model(self, seen: Seen) -> CurveModel | None:
        """Return the model of what was seen, None before `startup` complete trials reported."""
        return seen.kept((self, "model"), self._fitted)

    def _fitted(self, seen: Seen) -> CurveModel | None:
        complete = [c for c in seen.curves if c.state == "complete" and c.steps]
        if len(complete) < self.startup:
            return None
        horizon = self.horizon or max(c.steps[-1] for c in complete)
        return fit([c for c in seen.curves if c.steps], horizon) if horizon > 0 else None


def chance_of(model: CurveModel, curve: Curve) -> float:
    """Return the probability that a curve ends better than the best complete one."""
    mean, deviation = model.final(curve)
    return _normal((model.best - mean) / max(deviation, 1e-12))


def gain_per_step(model: CurveModel, curve: Curve) -> float:
    """Return the expected improvement of a curve's end on the best, compressed, over the steps to get there."""
    mean, deviation = model.final(curve)
    return expected_gain(model.best, mean, deviation) / max(1, model.knots[-1] - curve.steps[-1])


def expected_gain(best: float, mean: float, deviation: float) -> float:
    """Return E[max(0, best − y)] for y ~ N(mean, deviation²): expected improvement, Mockus (1978)."""
    if deviation <= 1e-12:
        return max(0.0, best - mean)
    z = (best - mean) / deviation
    return deviation * (z * _normal(z) + math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi))


def _worth_of_new(model: CurveModel, seen: Seen) -> float:
    recent = [c for c in seen.curves if c.steps][-RECENT:]
    ends = [model.final(c) for c in recent]
    mean = sum(end for end, _ in ends) / len(ends)
    spread = sum((end - mean) ** 2 + deviation**2 for end, deviation in ends) / len(ends)
    cost = sum(c.steps[-1] for c in recent) / len(recent)
    return expected_gain(model.best, mean, math.sqrt(spread)) / max(1.0, cost)


def _normal(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2.0))
