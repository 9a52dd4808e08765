"""The Gaussian process of one study: which trials it sees, and when its hyper-parameters are fitted.

Everything here is a function of its arguments; what is kept between calls is found by its content and only saves time.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

import numpy as np

from visutility.tune.strategy import State
from visutility.tune.surrogate.features import Layout
from visutility.tune.surrogate.gp import Array, Hyper, Indices, Posterior, Prior, condition, fit
from visutility.tune.surrogate.warp import warped

FIRST: Final = 2  # values before the first fit
GROWTH: Final = 8  # the next fit is when the values have grown by an eighth of their number, or by one
BAD: Final = 0.9  # a failed trial stands at this quantile of the values


@final
@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A study's trials as feature rows (·, c)."""

    x: Array  # (n, c) completed trials, in telling order
    values: Array  # (n,) their values
    at: Indices  # (n,) their places in `State.observed`
    failed: Array  # (f, c)
    pending: Array  # (g, c)
    pending_units: Array  # (g, d) their rows of the cube

    @classmethod
    def of(cls, state: State, plan: Layout) -> "Seen":
        """Return what the state holds. O(n c)."""
        x = plan.features(state.units, state.masks)
        values = np.array([np.nan if seen.value is None else seen.value for seen in state.observed])
        worked = ~np.isnan(values)
        rows = [state.space.encode(params) for _, params in state.pending]
        units = np.array([unit for unit, _ in rows]).reshape(-1, state.space.dim)
        masks = np.array([mask for _, mask in rows], dtype=bool).reshape(-1, state.space.dim)
        return cls(x[worked], values[worked], np.flatnonzero(worked), x[~worked], plan.features(units, masks), units)


def own_process(seen: Seen, plan: Layout, prior: Prior, points: int) -> Posterior:
    """Return the process of the study's own trials, at least two of them completed.

    Of more than `points` completed trials it sees the better half of that many and, of the others, as many evenly over
    time; of failed ones the last `points`. A failed trial stands at the 0.9 quantile of the values, so that the search
    moves away but learns nothing else from it.
    """
    hyper = fitted(plan, seen.x[:points], seen.values[:points], prior)
    kept = thinned(seen.values, points)
    targets = warped(seen.values[kept])
    return with_others(hyper, plan, seen, seen.x[kept], targets, float(np.quantile(targets, BAD)), points)


def with_others(
    hyper: Hyper,
    plan: Layout,
    seen: Seen,
    x: Array,
    targets: Array,
    bad: float,
    points: int,
    between: Array | None = None,
    onto: Array | None = None,
) -> Posterior:
    """Return the process of targets (n,) at features x (n, c) that also knows of failed and pending trials.

    Failed ones have the target `bad`. Pending ones have the mean of the process without them: that leaves the mean as
    it is and takes away the variance (the "kriging believer" of Ginsbourger, Le Riche and Carraro 2010; Desautels,
    Krause and Burdick 2014, section 3.2).
    """
    failed = seen.failed[-points:]
    rows, ys = np.concatenate([x, failed]), np.concatenate([targets, np.full(len(failed), bad)])
    pad = _padded(between, onto, len(failed))
    process = condition(hyper, rows, ys, plan.groups, *pad)
    if not len(seen.pending):
        return process
    rows, ys = np.concatenate([rows, seen.pending]), np.concatenate([ys, process.mean(seen.pending)])
    return condition(hyper, rows, ys, plan.groups, *_padded(*pad, len(seen.pending)))


def _padded(between: Array | None, onto: Array | None, more: int) -> tuple[Array | None, Array | None]:
    """The factors with `more` rows of the study itself added."""
    if between is None or onto is None:
        return None, None
    wide = np.concatenate([between, np.tile(onto, (more, 1))])
    onto = np.concatenate([onto, np.ones(more)])
    return np.concatenate([wide, np.tile(onto[:, None], (1, more))], axis=1), onto


def thinned(values: Array, points: int) -> Indices:
    """Return the places (at most `points`), ascending, of the values (n,) that a process of bounded size sees."""
    n = len(values)
    if n <= points:
        return np.arange(n)
    best, rest = np.split(np.argsort(values, kind="stable"), [points // 2])
    rest = np.sort(rest)
    spread = rest[np.linspace(0, len(rest) - 1, points - points // 2).round().astype(np.intp)]
    return np.sort(np.concatenate([best, spread]))


def milestones(count: int) -> list[int]:
    """Return the numbers of values up to `count`, at least 2, of each fit: 2, 3, …, 16, 18, …"""
    found = [FIRST]
    while (further := found[-1] + max(1, found[-1] // GROWTH)) <= count:
        found.append(further)
    return found


def fitted(plan: Layout, x: Array, values: Array, prior: Prior) -> Hyper:
    """Return the hyper-parameters for values (n,), n >= 2, at features x (n, c), both in telling order.

    They are fitted to the first m values, where m is the last milestone; each fit goes on from the one before, or from
    the prior's mode where that is the better start. So they depend on the values and their order alone, whoever asked
    in between and in whichever process.
    """
    done = milestones(len(values))[-1]
    return _fitted(x[:done].tobytes(), values[:done].tobytes(), plan.groups.tobytes(), prior)


@lru_cache(maxsize=128)
def _fitted(x_bytes: bytes, value_bytes: bytes, group_bytes: bytes, prior: Prior) -> Hyper:
    values, groups = np.frombuffer(value_bytes), np.frombuffer(group_bytes, dtype=np.intp)
    x = np.frombuffer(x_bytes).reshape(len(values), len(groups))
    starts: tuple[Hyper, ...] = (prior.mode(int(groups.max()) + 1),)
    if len(values) > FIRST:
        before = milestones(len(values))[-2]
        starts = (_fitted(x[:before].tobytes(), value_bytes[: 8 * before], group_bytes, prior), *starts)
    return fit(x, warped(values), groups, prior, starts)
