"""What further trials are expected to gain: joint draws of the surrogate over the configurations that are left.

The question is that of Makarova et al., "Automatic Termination for Hyperparameter Optimization" (2022): stop when what
is left to gain falls below what one can tell apart. They bound it; here it is drawn from the posterior, for all that is
left and for a number of next trials. Those are chosen one by one for the greatest expected improvement over the draws
(the batch q-EI of Ginsbourger, Le Riche and Carraro, 2010, by Monte Carlo), without learning in between: so the figures
err on the low side where trials would learn from each other.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from visutility.core.rng import rng
from visutility.tune.one_thread import one_thread
from visutility.tune.outlook import Outlook
from visutility.tune.strategy import State
from visutility.tune.surrogate.acquisition import configurations, latin
from visutility.tune.surrogate.feasible import feasible_rows
from visutility.tune.surrogate.features import Layout, layout
from visutility.tune.surrogate.gp import (
    CONSTANT,
    NOISE_BOUNDS,
    Hyper,
    Prior,
    fit,
    matern52,
    negative_log_posterior,
    squared_distances,
)
from visutility.tune.surrogate.model import Seen, milestones, thinned
from visutility.tune.surrogate.warp import Bend, bend_of, warped

Array: TypeAlias = NDArray[np.float64]

NOISY: Final = Prior(noise=(-2.0, 1.5))  # open to much noise: what looks like structure but is chance is no gain
EXACT: Final = Prior(noise=(-7.0, 2.0))
LOUD: Final = 0.5  # variance of the noise at the second start of a fit
FACTORS: Final = (0.35, 0.5, 0.71, 1.0, 1.41)  # of the fitted length scales, each with its share of the draws
JITTER: Final = 1e-6  # of the variance, so that the factor of nearly equal rows exists
LATELY: Final = 3  # what the last third gained counts, where that is more than the trials looked ahead
ENOUGH: Final = 4  # feasible values before anything can be said
DRAWS: Final = 256
SPREAD: Final = 192  # configurations evenly over the space
NEAR: Final = 192  # and around the best
LISTED: Final = 384  # a space of no more configurations is taken whole
POINTS: Final = 200  # trials that the surrogate sees
FITTED: Final = 128  # and that its hyper-parameters are fitted to
DEEP: Final = 8.0  # spreads below the best value that a draw may reach
GRID: Final = 2048  # values at which the scale is inverted
HUGE: Final = 1e290  # larger values are made smaller first
SHRINK: Final = 2.0**64
LARGEST: Final = float(np.finfo(float).max)
SHARE: Final = 0.01  # of the way from the median to the best value: the least gain that matters


@one_thread
def outlook(
    state: State, trials: int, worth: float | None = None, cost: float = 1.0, unit: str = "trials"
) -> Outlook | None:
    """Return what the next `trials` are expected to gain; None before four feasible trials, or with nothing to vary.

    One objective. A function of the state: draws are named by its seed and the number of trials that ended.
    """
    plan = layout(state.space)
    seen = Seen.of(state, plan)
    if len(seen.values) and float(np.abs(seen.values).max()) > HUGE:
        return _shrunk(state, trials, worth, cost, unit)
    feasible = feasible_rows(state, seen)
    if int(feasible.sum()) < ENOUGH or not plan.parameters:
        return None
    draw = rng(state.seed, "outlook", len(state.observed))
    kept = thinned(np.where(feasible, seen.values, np.inf), POINTS)
    values, x = seen.values[kept], seen.x[kept]
    bend = bend_of(values)
    hyper = _fitted(plan, seen.x, seen.values, _prior(state, bend))
    best = int(np.argmin(np.where(feasible[kept], _mean(hyper, plan, x, bend(values)), np.inf)))
    rows = _left(state, plan, seen, draw)
    found = _draws(hyper, plan, x, bend(values), np.concatenate([x[best : best + 1], rows]), draw)
    found = _unbent(bend, values, found)
    allowed = _allowed(state, plan, seen, rows, draw)
    now, then = found[:, 0], np.where(allowed, found[:, 1:], np.inf)
    nexts, gains = _greedy(now, then, trials)
    left = np.maximum(now - then.min(axis=1), 0.0)
    matters = worth if worth is not None else _worth(state.problem.noise, hyper, bend, values[feasible[kept]])
    return Outlook(
        trials=trials,
        gain=float(gains.mean()),
        interval=(float(np.quantile(gains, 0.05)), float(np.quantile(gains, 0.95))),
        next=nexts,
        left=float(left.mean()),
        worth=matters,
        chance=float((gains >= matters).mean()),
        lately=_lately(seen.values[feasible], max(trials, int(feasible.sum()) // LATELY)),
        cost=cost,
        unit=unit,
    )


def _shrunk(state: State, trials: int, worth: float | None, cost: float, unit: str) -> Outlook | None:
    """The outlook by way of smaller values, where sums of the values would overflow; at most the largest float."""
    noise = state.problem.noise
    small = {o.number: o.value / SHRINK for o in state.observed if o.value is not None}
    state = replace(state.with_values(small), problem=replace(state.problem, noise=noise and noise / SHRINK))
    found = outlook(state, trials, worth and worth / SHRINK, cost, unit)
    if found is None:
        return None

    def grown(value: float) -> float:
        return value if value == np.inf else min(value, LARGEST / SHRINK) * SHRINK

    low, high = found.interval
    return replace(
        found,
        gain=grown(found.gain),
        interval=(grown(low), grown(high)),
        next=grown(found.next),
        left=grown(found.left),
        worth=grown(found.worth),
        lately=grown(found.lately),
    )


def _left(state: State, plan: Layout, seen: Seen, draw: np.random.Generator) -> Array:
    """Feature rows (m, c) of configurations that may be tried: all of a small space, else some far and near."""
    space = state.space
    if space.size is not None and space.size <= LISTED:
        return plan.features(*configurations(plan))
    far = latin(draw, SPREAD, space.dim)
    order = np.argsort(seen.values, kind="stable")[:4]
    centres = np.where(state.masks[seen.at[order]], state.units[seen.at[order]], 0.5)
    step = np.exp(np.log(0.01) + np.log(30.0) * draw.random((NEAR, 1)))
    near = centres[np.arange(NEAR) % len(centres)] + step * draw.standard_normal((NEAR, space.dim))
    return plan.features(*space.snap(np.concatenate([far, near])))


def _prior(state: State, bend: Bend) -> Prior:
    """What is known of the noise beforehand: nothing, that there is none, or its standard deviation."""
    if state.problem.deterministic or state.problem.noise == 0.0:
        return EXACT
    if state.problem.noise is None or not bend.spread:
        return NOISY
    share = state.problem.noise / (bend.spread * bend.unit * bend.width)
    return Prior(noise=(float(np.log(np.clip(share * share, *NOISE_BOUNDS))), 0.1))


def _fitted(plan: Layout, x: Array, values: Array, prior: Prior) -> Hyper:
    """The more probable of two fits, from little and from much noise, to the values up to the last milestone."""
    done = milestones(len(values))[-1]
    kept = thinned(values[:done], FITTED)
    return _fitted_to(x[kept].tobytes(), values[kept].tobytes(), plan.groups.tobytes(), prior)


@lru_cache(maxsize=32)
def _fitted_to(x_bytes: bytes, value_bytes: bytes, group_bytes: bytes, prior: Prior) -> Hyper:
    groups = np.frombuffer(group_bytes, dtype=np.intp)
    targets = warped(np.frombuffer(value_bytes))
    x = np.frombuffer(x_bytes).reshape(len(targets), len(groups))
    quiet = prior.mode(int(groups.max()) + 1)
    fits = [fit(x, targets, groups, prior, (start,)) for start in (quiet, replace(quiet, noise=LOUD))]
    return min(fits, key=lambda one: negative_log_posterior(one.vector(), x, targets, groups, prior)[0])


def _covariance(hyper: Hyper, plan: Layout, a: Array, b: Array) -> Array:
    lengths = hyper.lengths[plan.groups]
    return np.asarray(hyper.scale * matern52(squared_distances(a / lengths, b / lengths)) + CONSTANT)


def _factor(hyper: Hyper, plan: Layout, x: Array) -> Array:
    covariance = _covariance(hyper, plan, x, x)
    covariance.flat[:: len(x) + 1] += hyper.noise + 1e-8
    return np.asarray(cholesky(covariance, lower=True))


def _mean(hyper: Hyper, plan: Layout, x: Array, targets: Array) -> Array:
    """The mean (n,) of the process at its own rows."""
    lower = _factor(hyper, plan, x)
    white = solve_triangular(lower, targets, lower=True)
    return np.asarray(solve_triangular(lower, _covariance(hyper, plan, x, x), lower=True).T @ white)


def _draws(hyper: Hyper, plan: Layout, x: Array, targets: Array, rows: Array, draw: np.random.Generator) -> Array:
    """Joint draws (256, m) of the function at feature rows (m, c) given targets (n,) at x (n, c).

    Shorter and longer length scales have the share of the draws that the targets give them: how fast the function
    bends is not known exactly, and least so where it matters.
    """
    vectors = [replace(hyper, lengths=hyper.lengths * factor).vector() for factor in FACTORS]
    data = (x, targets, plan.groups, Prior(noise=(float(np.log(hyper.noise)), 1.0)))
    losses = np.array([negative_log_posterior(vector, *data)[0] for vector in vectors])
    share = np.exp(losses.min() - losses)
    ends = np.round(np.cumsum(share / share.sum()) * DRAWS).astype(int)
    counts = np.diff(ends, prepend=0)
    return np.concatenate(
        [_drawn(Hyper.of(v), plan, x, targets, rows, draw, n) for v, n in zip(vectors, counts, strict=True) if n]
    )


def _drawn(
    hyper: Hyper, plan: Layout, x: Array, targets: Array, rows: Array, draw: np.random.Generator, count: int
) -> Array:
    """That many joint draws (count, m) under some hyper-parameters."""
    lower = _factor(hyper, plan, x)
    half = solve_triangular(lower, _covariance(hyper, plan, x, rows), lower=True)
    mean = half.T @ solve_triangular(lower, targets, lower=True)
    covariance = _covariance(hyper, plan, rows, rows) - half.T @ half
    covariance.flat[:: len(rows) + 1] += JITTER * (hyper.scale + CONSTANT)
    return np.asarray(mean + draw.standard_normal((count, len(rows))) @ cholesky(covariance, lower=True).T)


def _unbent(bend: Bend, values: Array, found: Array) -> Array:
    """Draws on the surrogate's scale as values; at most eight spreads below the best and above the worst one."""
    if not bend.spread:
        return np.full_like(found, values[0])
    reach = DEEP * bend.spread * bend.unit
    grid = np.linspace(values.min() - reach, values.max() + reach, GRID)
    return np.asarray(np.interp(found.ravel(), bend(grid), grid).reshape(found.shape))


def _allowed(state: State, plan: Layout, seen: Seen, rows: Array, draw: np.random.Generator) -> NDArray[np.bool_]:
    """Which configurations hold every constraint (256, m), drawn from the process of each."""
    allowed = np.ones((DRAWS, len(rows)), dtype=bool)
    told = [at for at, place in enumerate(seen.at) if state.observed[place].excess]
    if not state.problem.constraints or not told:
        return allowed
    columns = np.array([state.observed[seen.at[at]].excess for at in told]).T
    x = seen.x[told]
    for excess in columns:
        excess = np.ascontiguousarray(excess)
        hyper = _fitted(plan, x, excess, EXACT if state.problem.deterministic else NOISY)
        kept = thinned(np.abs(excess), POINTS)
        bend = bend_of(excess[kept])
        bound = bend(np.zeros(1))[0] if bend.spread else np.sign(-excess[0])
        allowed &= _draws(hyper, plan, x[kept], bend(excess[kept]), rows, draw) <= bound
    return allowed


def _greedy(now: Array, then: Array, trials: int) -> tuple[float, Array]:
    """The mean gain of the best next trial, and the gain (256,) of `trials` of them, given draws (256,), (256, m)."""
    lowest, first = now.copy(), 0.0
    for step in range(min(trials, then.shape[1])):
        gains = np.maximum(lowest[:, None] - then, 0.0).mean(axis=0)
        at = int(np.argmax(gains))
        first = float(gains[at]) if step == 0 else first
        if not gains[at] > 0.0:
            break
        lowest = np.minimum(lowest, then[:, at])
    return first, np.asarray(now - lowest)


def _worth(noise: float | None, hyper: Hyper, bend: Bend, values: Array) -> float:
    """The gain that matters: the noise of a value near the best one, at least 1 % of the way from the median to it."""
    best = float(values.min())
    least = SHARE * (float(np.median(values)) - best) or SHARE * float(np.ptp(values))
    if noise is not None:
        return max(least, noise, float(np.finfo(float).tiny))
    step = 1e-3 * bend.spread * bend.unit
    if not step:
        return max(least, float(np.finfo(float).tiny))
    rise = np.diff(bend(np.array([best, best + step])))[0] / step
    return max(least, float(hyper.noise**0.5 / rise)) if rise > 0.0 else least


def _lately(values: Array, trials: int) -> float:
    """What the last `trials` values (n,) gained over those before; infinite when there are none before."""
    if len(values) <= trials:
        return float("inf")
    before = values[:-trials].min()
    return float(max(before - values[-trials:].min(), 0.0))
