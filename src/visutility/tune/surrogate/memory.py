"""What earlier studies say about a new one: one Gaussian process over all of them (`surrogate.transfer`).

Studies t and t′ (0: the new one, 1: the latest earlier one, 2: the one before it, …) have the covariance
k(x, x′) ρ^(¾ + ¼|t - t′|). ρ is read off the new values; ρ = 0 says that the past is of no use.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from visutility.core.errors import InvalidParameter
from visutility.tune.space import Choice, Mask, Params, Units, Value
from visutility.tune.strategy import Past
from visutility.tune.surrogate.features import Layout
from visutility.tune.surrogate.gp import Array, Hyper, Indices, Posterior, Prior, fit
from visutility.tune.surrogate.model import BAD, Seen, thinned
from visutility.tune.surrogate.transfer import MOST, Belief, Level, joined, level_of, relation, weigh
from visutility.tune.surrogate.warp import Bend, bend_of
from visutility.tune.values import number

STUDIES: Final = 8  # the latest ones are remembered
ROWS: Final = 200  # trials of all of them together, and at most as many of the new study
LEVELS: Final = (0.5, 0.8, 0.93, 0.98)  # ρ, beside 0
UNTOLD: Final = 0.8  # ρ before there is a value, and while the hyper-parameters are fitted
SAME: Final = 1e-9  # rows of the cube that are closer are not told apart
EARLY: Final = 9  # trials of which the earlier studies have a say in most
ROUNDS: Final = 3  # fits after one another, each from where the last one stopped
OUTSIDE: Final = 1.0  # a value out of its range is placed at most so many ranges outside


@final
@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """Earlier trials in a new study's space, oldest study first."""

    units: Units  # (h, d) their configurations, each moved into the space
    masks: Mask  # (h, d)
    x: Array  # (h, c) features of what was run: outside the ranges where it was, central where it is not known
    targets: Array  # (h,) each study's values on its own scale, mean 0 and spread 1
    ages: Array  # (h,) 1 for the latest study
    bend: Bend  # the scale of the latest study
    hyper: Hyper  # fitted to all of them at ρ = 0.8
    groups: Indices  # (c,)
    levels: tuple[Level, ...]  # one for each of `LEVELS`

    def belief(self, seen: Seen) -> Belief:
        """Return how useful the new values say this is."""
        return self.weighed(seen.x, seen.values)

    def weighed(self, x: Array, values: Array) -> Belief:
        """Return how useful new values (n,) at features x (n, c) say this is; at most 64 of them are weighed."""
        if not len(values):
            return Belief(0.0, self.levels[LEVELS.index(UNTOLD)], values)
        kept = thinned(values, MOST)
        return weigh(self.hyper, self.groups, self._z, self.levels, self.bend, x, values, kept)

    def expected(self, x: Array) -> Array:
        """Return what the earlier studies alone expect at features x (m, c), on their own scale."""
        process = joined(self.hyper, self.groups, self._z, self.levels[LEVELS.index(UNTOLD)], x[:0], np.empty(0))
        return process.mean(x)

    def holds(self, unit: Array) -> bool:
        """Whether a row (d,) of the cube is an earlier configuration."""
        return bool((np.abs(self.units - unit) < SAME).all(axis=1).any())

    def process(self, seen: Seen, belief: Belief) -> Posterior:
        """Return the process of the new study given the earlier ones: at most 200 of its trials.

        A failed trial stands at the median of the new values. Pending ones have the mean of the process without them.
        """
        kept, failed = thinned(seen.values, ROWS), seen.failed[-ROWS:]
        told = belief.targets[kept]
        bad = float(np.quantile(told if len(told) else self.targets, BAD))
        x = np.concatenate([seen.x[kept], failed])
        y = np.concatenate([told, np.full(len(failed), bad)])
        process = joined(self.hyper, self.groups, self._z, belief.level, x, y)
        if not len(seen.pending):
            return process
        x, y = np.concatenate([x, seen.pending]), np.concatenate([y, process.mean(seen.pending)])
        return joined(self.hyper, self.groups, self._z, belief.level, x, y)

    @property
    def _z(self) -> Array:
        return np.asarray(self.x / self.hyper.lengths[self.groups])


def turn_of_past(number: int) -> bool:
    """Whether it is the earlier studies' turn to say what trial `number` should be.

    Two of the first nine trials in three, trial 1 not among them; then one in three. What they know they say early.
    """
    return number % 3 != 1 if number < EARLY else number % 3 == 0


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

    Configurations are adopted into the space. A study says nothing unless it has two different values. Of more than 200
    trials each study keeps its share: the better half of it and as many evenly over time.
    """
    kept = [trials for trials in (_adopted(past, plan) for past in history) if len({v for _, _, v in trials}) > 1]
    kept = kept[-STUDIES:]
    if not kept:
        return None
    share = max(ROWS // len(kept), 2)
    chosen: list[tuple[Params, Params, float]] = []
    targets: list[Array] = []
    ages: list[float] = []
    for age, trials in zip(range(len(kept), 0, -1), kept, strict=True):
        values = np.array([value for _, _, value in trials])
        bend = bend_of(values)
        places = thinned(values, share)
        chosen += [trials[place] for place in places]
        targets.append(bend(values)[places])
        ages += [float(age)] * len(places)
    rows = [plan.space.encode(moved) for moved, _, _ in chosen]
    units, masks = np.array([unit for unit, _ in rows]), np.array([mask for _, mask in rows])
    x = _as_run(plan, units, masks, [ran for _, ran, _ in chosen])
    y, t = np.concatenate(targets), np.array(ages)
    prior = Prior()
    hyper, between = prior.mode(plan.parameters), relation(t, UNTOLD)[0]
    for _ in range(ROUNDS):
        hyper = fit(x, y, plan.groups, prior, (hyper,), between)
    z = x / hyper.lengths[plan.groups]
    levels = tuple(level_of(hyper, z, y, t, rho) for rho in LEVELS)
    return Memory(units, masks, x, y, t, bend, hyper, plan.groups, levels)


def _adopted(past: Past, plan: Layout) -> list[tuple[Params, Params, float]]:
    """Each trial's configuration moved into the space, as it was run, and its value."""
    moved = ((plan.space.adopt(params), params, value) for params, value in past.trials if math.isfinite(value))
    return [(params, ran, value) for params, ran, value in moved if params is not None]


def _as_run(plan: Layout, units: Units, masks: Mask, ran: Sequence[Params]) -> Array:
    """Features (h, c) of configurations as they were run, units (h, d) being where they were moved to.

    A parameter that the study did not have, or an option that is gone, is not known: it sits at the centre of its
    columns, as far from every value as can be. A number out of its range stays where it was.
    """
    known = masks.copy()
    for column, name in enumerate(plan.space.names):
        parameter = plan.space.parameters[name]
        if isinstance(parameter, Choice):
            known[:, column] &= [name in params and _is_option(parameter, params[name]) for params in ran]
        else:
            known[:, column] &= [number(params.get(name)) is not None for params in ran]
    x = plan.features(units, known)
    for column, at in zip(plan.numeric, plan.numeric_at, strict=True):
        name = plan.space.names[column]
        parameter = plan.space.parameters[name]
        if isinstance(parameter, Choice):
            continue
        for row in np.flatnonzero(known[:, column]):
            value = float(ran[int(row)][name])  # type: ignore[arg-type]
            if not parameter.low <= value <= parameter.high:
                x[row, at] = _outside(value, parameter.low, parameter.high, log=parameter.log)
    return x


def _is_option(parameter: Choice, value: Value) -> bool:
    """Whether a setting is one of the options; True is not the option 1."""
    try:
        parameter.check("", value)
    except InvalidParameter:
        return False
    return True


def _outside(value: float, low: float, high: float, *, log: bool) -> float:
    """The place of a number out of its range, in ranges from `low`."""
    if log:
        value = math.log(value / low) / math.log(high / low) if value > 0.0 else -OUTSIDE
    else:
        value = (value - low) / (high - low)
    return min(max(value, -OUTSIDE), 1.0 + OUTSIDE)
