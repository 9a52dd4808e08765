"""The generations of CMA-ES, worked out again from the trials of a state."""

import math
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from visutility.core.rng import rng
from visutility.tune.space import Mask, Units
from visutility.tune.strategies._evolution import Array, Indices, Plan, Shape, first, plan, rates, stepped
from visutility.tune.strategies._order import FAILED, best_first
from visutility.tune.strategy import Observation, State

NAME: Final = "cmaes"
BACK: Final = 4  # generations back that a trial's draw is looked for
KEPT: Final = 8  # replays kept
NARROW: Final = 1e-9  # a run ends when its numbers spread less than this, in widths of the cube
SKEWED: Final = 1e7  # or its axes differ by more than this factor
FLAT: Final = 1e-12  # or its values differ by less than this share of the largest
MOST: Final = 1024  # the population stops growing here


@final
@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What the first trials of a study led to."""

    key: tuple[object, ...]
    observed: tuple[Observation, ...]  # of whole generations
    shapes: tuple[Shape, ...]  # the last few distributions of this run, the present one last
    run: int = 0  # restarts so far
    lows: tuple[float, ...] = ()  # the best value of each generation of this run


_kept: list[Replay] = []


def replayed(state: State, sigma: float, population: int | None) -> Replay:
    """Return the replay of all whole generations of a state: O(n), or O(new trials) where it goes on from a kept one.

    With and without a kept replay the result is the same to the last bit.
    """
    layout = plan(state.space)
    key = (state.space.digest, state.seed, sigma, population, state.problem, _begin(state).tobytes())
    now = max(
        (r for r in tuple(_kept) if r.key == key and state.observed[: len(r.observed)] == r.observed),
        key=lambda r: len(r.observed),
        default=None,
    )
    kept = now
    if now is None:
        size = population or 4 + int(3 * math.log(max(1, state.space.dim)))
        now = Replay(key, (), (first(layout, _begin(state), sigma, max(4, size)),))
    while len(state.observed) - len(now.observed) >= now.shapes[-1].population:
        now = _next(state, layout, now, sigma)
    if now is not kept:
        _kept[:] = [now, *(r for r in _kept if r is not kept)][:KEPT]
    return now


def drawn(state: State, shape: Shape, number: int, attempt: int = 0) -> Units:
    """Return the place (d,) in the cube that trial `number` draws from a distribution, numbers not yet clipped."""
    draw = rng(state.seed, NAME, number, attempt)
    layout = plan(state.space)
    unit = np.full(state.space.dim, 0.5)
    unit[layout.numbers] = shape.places(draw.standard_normal((1, len(layout.numbers))))[0]
    for (column, options), odds in zip(layout.choices, shape.odds, strict=True):
        pick = int((draw.random() >= odds.cumsum()).sum())
        unit[column] = (min(pick, options - 1) + 0.5) / options
    return unit


def _begin(state: State) -> Units:
    """Where the first run starts: the best configuration of the newest earlier study, else the middle."""
    for past in reversed(state.history):
        if past.trials:
            adopted = state.space.adopt(min(past.trials, key=lambda trial: trial[1])[0])
            if adopted is not None:
                unit, mask = state.space.encode(adopted)
                return np.where(mask, unit, 0.5)
    return np.full(state.space.dim, 0.5)


def _next(state: State, layout: Plan, now: Replay, sigma: float) -> Replay:
    """The replay one generation on: the distribution after it, or a new run."""
    shape = now.shapes[-1]
    start, size = len(now.observed), shape.population
    seen = state.observed[start : start + size]
    values = state.values[start : start + size]
    order, kinds = best_first(seen, values, state.problem)
    observed = state.observed[: start + size]
    worked = kinds[order] != FAILED
    if not worked.any():
        return _restarted(state, layout, now, observed, sigma, shape.population)
    weights = _weights(rates(max(1, len(layout.numbers)), size).weights, worked)
    places = _places(state, layout, now, start, size)[order]
    picks = _picks(state, layout, start, size)[order]
    after = stepped(shape, layout, places, picks, weights)
    lows = (*now.lows, float(np.nanmin(values)))
    if _over(after, layout, values, lows, state.problem.objectives > 1):
        return _restarted(state, layout, now, observed, sigma, min(2 * size, MOST))
    return Replay(now.key, observed, (*now.shapes[-BACK:], after), now.run, lows)


def _restarted(
    state: State, layout: Plan, now: Replay, observed: tuple[Observation, ...], sigma: float, population: int
) -> Replay:
    """A new run from a uniform place of the cube."""
    place = rng(state.seed, NAME, "restart", now.run + 1).random(state.space.dim)
    return Replay(now.key, observed, (first(layout, place, sigma, population),), now.run + 1)


def _weights(weights: Array, worked: Mask) -> Array:
    """Recombination weights (λ,) where failed trials, the last ones, have none of the positive ones."""
    if worked[weights > 0.0].all():
        return weights
    kept = np.where(worked | (weights < 0.0), weights, 0.0)
    return np.where(kept > 0.0, kept / kept[kept > 0.0].sum(), kept)


def _places(state: State, layout: Plan, now: Replay, start: int, size: int) -> Array:
    """Where (λ, k) the trials of a generation were drawn.

    A continuum shows it. On a grid, and where a parameter is inactive, the draw is made again from the trial's number,
    with the present distribution and those before it, until one gives the configuration. One that nothing gives (it
    was enqueued, or drawn anew) stands at the point of its cells next to the mean, and its inactive parameters at the
    mean.
    """
    shape = now.shapes[-1]
    units = state.units[start : start + size]
    seen = units[:, layout.numbers]
    if layout.exact:
        return np.asarray(seen)
    masks = state.masks[start : start + size]
    known = masks[:, layout.numbers]
    places = np.where(known, _nearest(layout, seen, shape.mean), shape.mean)
    missing = np.arange(size)
    continuum = np.array([borders is None for borders in layout.edges], dtype=bool)
    for before in reversed(now.shapes):
        again = np.array([drawn(state, before, state.observed[start + row].number) for row in missing])
        snapped, active = state.space.snap(again)
        near = np.abs(snapped - units[missing]) < 1e-9
        same = np.logical_and(near, active == masks[missing]).all(axis=1)
        found = missing[same]
        hidden = np.logical_not(known[found] & continuum)
        places[found] = np.where(hidden, again[same][:, layout.numbers], seen[found])
        missing = missing[~same]
        if not len(missing):
            break
    return np.asarray(places)


def _nearest(layout: Plan, seen: Array, mean: Array) -> Array:
    """The points (λ, k) of the cells that rows (λ, k) are in that are next to the mean (k,)."""
    found = seen.copy()
    for at, borders in enumerate(layout.edges):
        if borders is not None:
            ends = np.concatenate([[0.0], borders, [1.0]])
            cell = np.searchsorted(borders, seen[:, at], side="right")
            found[:, at] = np.clip(mean[at], ends[cell], ends[cell + 1])
    return found


def _picks(state: State, layout: Plan, start: int, size: int) -> Indices:
    """Which option (λ, c) each trial has of each unordered choice, -1 where it is inactive."""
    found = np.full((size, len(layout.choices)), -1, dtype=np.intp)
    for at, (column, options) in enumerate(layout.choices):
        units, masks = state.units[start : start + size, column], state.masks[start : start + size, column]
        found[:, at] = np.where(masks, np.floor(units * options), -1)
    return found


def _over(shape: Shape, layout: Plan, values: Array, lows: tuple[float, ...], several: bool) -> bool:
    """Whether the run has ended: too narrow, too skewed, flat, or without gain for long (Auger and Hansen 2005)."""
    k = len(layout.numbers)
    free = [at for at, borders in enumerate(layout.edges) if borders is None]
    if free and float(shape.spreads()[free].max()) < NARROW:
        return True
    if k and float(shape.axes.max()) > SKEWED * float(shape.axes.min()):
        return True
    if several:
        return False
    patience = 10 + math.ceil(30 * max(1, k) / shape.population)
    recent = [*lows[-patience:], *values[~np.isnan(values)].tolist()]
    if len(lows) >= patience and max(recent) - min(recent) <= FLAT * max(abs(v) for v in recent):
        return True
    long = 5 * patience
    return len(lows) > long and min(lows[-long:]) >= min(lows[:-long])
