"""What earlier studies of the same model say about this one: one Gaussian process over all of them.

Study t (0: this one, 1: the latest earlier one, 2: the one before it, …) and study t′ are correlated: the covariance of
their values at x and x′ is k(x, x′) ρ^(¾ + ¼ |t - t′|), an intrinsic model of coregionalisation (Bonilla, Chai and
Williams, "Multi-task Gaussian Process Prediction", 2007, equation (1)) whose task matrix falls off with age. ρ is the
one of a few that makes the new study's values most likely given the old ones; ρ = 0 says that the past is of no use.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from visutility.tune.space import Mask, Params, Units
from visutility.tune.strategy import Past
from visutility.tune.surrogate.features import Layout
from visutility.tune.surrogate.gp import Array, Hyper, Posterior, Prior, condition, fit
from visutility.tune.surrogate.model import BAD, Seen, thinned, with_others
from visutility.tune.surrogate.warp import Bend, bend_of

STUDIES: Final = 8  # the latest ones are remembered
ROWS: Final = 200  # trials of all of them together, and at most as many of the new study
LEVELS: Final = (0.0, 0.5, 0.8, 0.93, 0.98)  # ρ
UNTOLD: Final = 0.8  # ρ before there are enough values to choose it by
ENOUGH: Final = 2
SHIFT: Final = 0.5  # ridge of the match of scales, in trials: how many believe that the level did not change
STRETCH: Final = 3.0  # and that the spread did not


@final
@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """Earlier trials as feature rows (h, c), with the targets and ages of the module's docstring."""

    units: Units  # (h, d) their configurations in this study's space
    masks: Mask  # (h, d)
    x: Array  # (h, c)
    targets: Array  # (h,) each study's values on its own scale, mean 0 and spread 1
    ages: Array  # (h,) 1 for the latest study
    bend: Bend  # the scale of the latest study
    hyper: Hyper  # fitted to all of them at ρ = 0.8

    def level(self, seen: Seen, plan: Layout, points: int) -> float:
        """Return ρ: the level under which the new values are most likely given the old ones, 0.8 before two values."""
        if len(seen.values) < ENOUGH:
            return UNTOLD
        x, y, ages = self._joined(seen, plan, points)
        count = len(y) - len(self.targets)
        fits = [condition(self.hyper, x, y, plan.groups, *relation(ages, one)).fitness(count) for one in LEVELS]
        return LEVELS[int(np.argmax(fits))]

    def process(self, seen: Seen, plan: Layout, points: int, level: float) -> Posterior:
        """Return the process of this study given the earlier ones, at most `points` trials of its own, and a ρ."""
        x, y, ages = self._joined(seen, plan, points)
        new = y[len(self.targets) :]
        bad = float(np.quantile(new if len(new) else self.targets, BAD))
        return with_others(self.hyper, plan, seen, x, y, bad, points, *relation(ages, level))

    def _joined(self, seen: Seen, plan: Layout, points: int) -> tuple[Array, Array, Array]:
        """Features, targets and ages of the old trials, then the new ones."""
        at = thinned(seen.values, min(points, ROWS))
        new = self.matched(seen, plan)[at]
        ages = np.concatenate([self.ages, np.zeros(len(at))])
        return np.concatenate([self.x, seen.x[at]]), np.concatenate([self.targets, new]), ages

    def matched(self, seen: Seen, plan: Layout) -> Array:
        """Return the new values (n,) moved and stretched to the scale of the old ones.

        They go through the latest study's bend; then a line is fitted from what the old studies expect at those
        configurations, with a ridge towards "nothing changed", and taken out.
        """
        if not len(seen.values):
            return seen.values
        placed = self.bend(seen.values)
        old = condition(self.hyper, self.x, self.targets, plan.groups, *relation(self.ages, UNTOLD))
        expected = old.mean(seen.x)
        design = np.stack([np.ones(len(placed)), expected], axis=1)
        ridge = np.diag([SHIFT, STRETCH])
        offset, slope = np.linalg.solve(design.T @ design + ridge, design.T @ placed + ridge @ np.array([0.0, 1.0]))
        return np.asarray((placed - offset) / min(max(slope, 0.5), 2.0))


def relation(ages: Array, level: float) -> tuple[Array, Array]:
    """Return ρ^(¾ + ¼|t - t′|), 1 within a study, between rows of these ages (h, h) and with the new study (h,)."""
    apart = np.abs(ages[:, None] - ages)
    factors = np.where(apart == 0.0, 1.0, level ** (0.75 + 0.25 * apart))
    return factors, np.where(ages == 0.0, 1.0, level ** (0.75 + 0.25 * ages))


_kept: dict[int, tuple[tuple[Past, ...], Layout, Memory | None]] = {}  # the same tuple is remembered once


def recall(history: tuple[Past, ...], plan: Layout) -> Memory | None:
    """Return `remember(history, plan)`, kept for the eight histories used last."""
    found = _kept.get(id(history))
    if found is None or found[0] is not history or found[1] is not plan:
        while len(_kept) >= 8:
            _kept.pop(next(iter(_kept)), None)
        found = _kept[id(history)] = (history, plan, remember(history, plan))
    return found[2]


def remember(history: Sequence[Past], plan: Layout) -> Memory | None:
    """Return what the latest eight studies say that share a parameter with this space; None when there is nothing.

    Configurations are adopted into the space. Of more than 200 trials each study keeps its share: the better half of
    them and as many evenly over time.
    """
    kept = [trials for trials in (_adopted(past, plan) for past in history) if len(trials) >= 2][-STUDIES:]
    if not kept:
        return None
    share = max(ROWS // len(kept), 2)
    params: list[Params] = []
    targets: list[Array] = []
    ages: list[float] = []
    for age, trials in zip(range(len(kept), 0, -1), kept, strict=True):
        values = np.array([value for _, value in trials])
        bend = bend_of(values)
        places = thinned(values, share)
        params += [trials[place][0] for place in places]
        targets.append(bend(values)[places])
        ages += [float(age)] * len(places)
    rows = [plan.space.encode(one) for one in params]
    units, masks = np.array([unit for unit, _ in rows]), np.array([mask for _, mask in rows])
    x = plan.features(units, masks)
    y, t = np.concatenate(targets), np.array(ages)
    between, _ = relation(t, UNTOLD)
    prior = Prior()
    hyper = fit(x, y, plan.groups, prior, (prior.mode(plan.parameters),), between)
    return Memory(units, masks, x, y, t, bend, hyper)


def _adopted(past: Past, plan: Layout) -> list[tuple[Params, float]]:
    moved = ((plan.space.adopt(params), value) for params, value in past.trials)
    return [(params, value) for params, value in moved if params is not None]
