"""Tree-structured Parzen estimator: where good trials lie more densely than the others.

Bergstra, Bardenet, Bengio and Kégl, "Algorithms for Hyper-Parameter Optimization" (2011), section 4: the expected
improvement grows with l(x) / g(x), where l is the density of the good trials and g that of the others, equation (2).
One density over all parameters (Falkner, Klein and Hutter, BOHB, 2018), and weights, in the light of Watanabe,
"Tree-Structured Parzen Estimator: Understanding Its Algorithm Components and Their Roles for Better Empirical
Performance" (2023), section 3. The constants below were chosen on analytic functions alone.
Densities, and what they make of inactive parameters: `_parzen`.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Final, final

import numpy as np

from visutility.core.errors import InvalidSetting
from visutility.core.rng import rng
from visutility.tune.one_thread import one_thread
from visutility.tune.space import Mask, Params, Units
from visutility.tune.strategies._fresh import Tried, pending_rows
from visutility.tune.strategies._order import FAILED, WORKED, Array, Indices, best_first
from visutility.tune.strategies._parzen import Mixture, plan
from visutility.tune.strategies._start import recalled, spread
from visutility.tune.strategy import AbstractStrategy, State

GOOD: Final = 0.15  # share of the trials that count as good
MOST_GOOD: Final = 25  # and at most so many
OTHERS: Final = 256  # of the others, at most so many have a kernel, evenly over their ranks
RECENT: Final = 25  # as many of the others have full weight, older ones less
WIDEST: Final = 0.1  # kernel widths, in widths of the cube
NARROWEST: Final = 0.02
BLUR: Final = 0.15  # share of random search in the kernel of a choice


@final
@dataclass(frozen=True, slots=True)
class TPE(AbstractStrategy):
    """Suggests the most promising of `candidates` draws from the density of good trials, after `initial` Sobol points.

    Conditional spaces keep one density: where a parameter is inactive in a trial, the trial's kernel says nothing
    about it, and the others do. Pending trials count among the others, so that workers keep apart ("constant liar"),
    and failed ones too. Trials that break a constraint are good only where too few hold them all; several objectives
    are ordered by fronts. The best configurations of up to three earlier studies are tried first. No configuration
    comes twice while the space has another. At most 281 kernels, besides those of pending trials, are compared, so
    that the cost of a suggestion is bounded.
    """

    initial: int = 10
    candidates: int = 48
    name: ClassVar[str] = "tpe"
    learns: ClassVar[bool] = True
    heeds: ClassVar[frozenset[str]] = frozenset({"objectives", "constraints"})

    def __post_init__(self) -> None:
        for what, least in (("initial", 1), ("candidates", 1)):
            value = getattr(self, what)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InvalidSetting(f"{what} is {value!r}", hint=f"give a whole number of at least {least}")

    @one_thread
    def suggest(self, state: State, number: int) -> Params:
        """Return the draw with the greatest l(x) / g(x) that no trial has had."""
        draw = rng(state.seed, self.name, number)
        if known := recalled(state):
            return known
        if len(state.observed) + len(state.pending) < self.initial or not state.observed:
            return spread(state, number, draw)
        waiting = pending_rows(state)
        good, bad = _densities(state, *waiting)
        places, active = state.space.snap(good.sample(draw, self.candidates))
        gain = good.log_density(places, active) - bad.log_density(places, active)
        tried = Tried(state, waiting[0])
        for at in np.argsort(-gain, kind="stable"):
            if places[at] not in tried:
                return state.space.decode(places[at])
        return spread(state, number, draw)


def _densities(state: State, waiting: Units, waiting_masks: Mask) -> tuple[Mixture, Mixture]:
    """Return l and g, of one width: widths of their own would make the ratio favour wherever the good trials are.

    `waiting` (g, d) and `waiting_masks` (g, d) are the places of pending trials and what is active there.
    """
    layout = plan(state.space)
    order, kinds = best_first(state.observed, state.values, state.problem, MOST_GOOD + 1)
    count = min(math.ceil(GOOD * len(order)), MOST_GOOD, int((kinds != FAILED).sum()))
    good, others = order[:count], _evenly(order[count:], OTHERS)
    units, masks = state.units[good], state.masks[good]
    width = _width(units, masks)
    rest = np.concatenate([state.units[others], waiting])
    rest_masks = np.concatenate([state.masks[others], waiting_masks])
    return (
        Mixture(layout, units, masks, _with_random(_merits(state, order, kinds, count)), width, BLUR),
        Mixture(layout, rest, rest_masks, _with_random(_ages(others, len(waiting))), width, BLUR),
    )


def _evenly(places: Indices, most: int) -> Indices:
    if len(places) <= most:
        return places
    return places[np.linspace(0, len(places) - 1, most).round().astype(np.intp)]


def _merits(state: State, order: Indices, kinds: Indices, count: int) -> Array:
    """Weights (count,) of the good trials: how much better than the best other one (Watanabe 2023, "EI" weights).

    By rank where values cannot be compared: several objectives, broken constraints.
    """
    if state.problem.objectives == 1 and count < len(order) and (kinds[order[: count + 1]] == WORKED).all():
        values = state.values[order[: count + 1]]
        scale = float(np.abs(values).max()) or 1.0
        gains = values[-1] / scale - values[:-1] / scale
        if gains.sum() > 0.0:
            return np.asarray(gains * (count / gains.sum()))
    return np.arange(count, 0.0, -1.0) * 2.0 / (count + 1)


def _ages(others: Indices, pending: int) -> Array:
    """Weights (n + pending,) of the others: 1 for the last 25 told and pending ones, less the longer ago."""
    weights = np.ones(len(others))
    if len(others) > RECENT:
        rank = others.argsort().argsort()  # 0: told first
        fading = len(others) - RECENT
        weights = np.minimum(1.0, (rank + 1.0) / (fading + 1.0))
    return np.concatenate([weights, np.ones(pending)])


def _with_random(weights: Array) -> Array:
    """Weights (n + 1,) that sum to 1: those of the kernels, then that of random search, which counts as one more."""
    return np.asarray(np.append(weights, 1.0) / (weights.sum() + 1.0))


def _width(units: Units, masks: Mask) -> Array:
    """Kernel widths (d,): the spread of good trials times n^(-1 / (4 + d)) (Scott 1992, equation 6.42), in bounds."""
    known = masks.sum(axis=0)
    mean = (units * masks).sum(axis=0) / np.maximum(known, 1)
    square = (((units - mean) * masks) ** 2).sum(axis=0) / np.maximum(known - 1, 1)
    dims = float(masks.sum(axis=1).mean()) if len(masks) else 1.0
    width = np.sqrt(square) * np.maximum(known, 1.0) ** (-1.0 / (dims + 4.0))
    return np.asarray(np.where(known > 1, width, WIDEST).clip(NARROWEST, WIDEST))
