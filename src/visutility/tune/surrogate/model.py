"""The Gaussian process of one study: which trials it sees, and when its hyper-parameters are fitted.

Everything here is a function of its arguments; what is kept between calls is found by its content and only saves time.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, final

import numpy as np

from visutility.tune.strategy import State
from visutility.tune.surrogate.features import Layout
from visutility.tune.surrogate.gp import Array, Factor, Hyper, Indices, Posterior, Prior, condition, factored, fit
from visutility.tune.surrogate.inputs import Bent, Curves, fitted_curves
from visutility.tune.surrogate.warp import bend_of, warped

FIRST: Final = 2  # values before the first fit
GROWTH: Final = 8  # the next fit is when the values have grown by an eighth of their number, by one at least,
STRIDE: Final = 32  # and by this many at most
FITTED: Final = 96  # values that a fit sees once there are more than the process sees,
REVISED: Final = 64  # or where values are estimates that change from one suggestion to the next
BAD: Final = 0.5  # where a history is used, a failed trial stands at this quantile of the values


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
    revised: bool = False  # whether some of the values are estimates, so that no fit of theirs is met again

    @classmethod
    def of(cls, state: State, plan: Layout) -> "Seen":
        """Return what the state holds. O(n c)."""
        x = plan.features(state.units, state.masks)
        values = state.values
        worked = ~np.isnan(values)
        rows = [state.space.encode(params) for _, params in state.pending]
        units = np.array([unit for unit, _ in rows]).reshape(-1, state.space.dim)
        masks = np.array([mask for _, mask in rows], dtype=bool).reshape(-1, state.space.dim)
        at, pending = np.flatnonzero(worked), plan.features(units, masks)
        return cls(x[worked], values[worked], at, x[~worked], pending, units, state.revised)

    def some(self, rows: Indices) -> "Seen":
        """Return the same with these completed trials alone."""
        return replace(self, x=self.x[rows], values=self.values[rows], at=self.at[rows])


def own_process(seen: Seen, plan: Layout, prior: Prior, points: int, centre: Array | None = None) -> Posterior:
    """Return the process of the study's own trials, at least two of them completed.

    Up to `points` completed trials it sees them all. Of more, it sees a selection that changes at milestones, and every
    trial since the last one: the better half and, of the others, as many evenly over time; or with a `centre` (c,) in
    feature space those nearest to it. A failed trial (the last `points`) counts as a middling one: that draws nothing
    there, and `failure` keeps the search away, and says which ones were accidents. Pending ones have the value
    expected of them.
    """
    return process_of(seen, plan, prior, points, *rows_seen(seen, points, centre))


def process_of(seen: Seen, plan: Layout, prior: Prior, points: int, rows: Indices, anchor: int) -> Posterior:
    """Return `own_process` for the rows that `rows_seen` chose."""
    hyper = _hyper(seen, plan, prior, points, rows, anchor)
    return _process(seen, plan, points, rows, anchor, hyper)


def bent_process_of(seen: Seen, plan: Layout, prior: Prior, points: int, rows: Indices, anchor: int) -> Bent:
    """Return `process_of` with learnt curves of the numbers; the hyper-parameters are fitted again under them."""
    hyper = _hyper(seen, plan, prior, points, rows, anchor)
    x, values = seen.x[rows[:anchor]], seen.values[rows[:anchor]]
    some = thinned(values, FITTED)
    data = (values[some].tobytes(), plan.groups.tobytes())
    curves = _curves(x[some].tobytes(), *data, plan.smooth_at.tobytes(), hyper.vector().tobytes())
    hyper = _refitted(curves(x[some]).tobytes(), *data, prior, hyper.vector().tobytes())
    bent = replace(seen, x=curves(seen.x), failed=curves(seen.failed), pending=curves(seen.pending))
    return Bent(_process(bent, plan, points, rows, anchor, hyper), curves)


def _hyper(seen: Seen, plan: Layout, prior: Prior, points: int, rows: Indices, anchor: int) -> Hyper:
    if seen.revised:
        some = rows[thinned(seen.values[rows], REVISED)]
        bend = bend_of(seen.values[some])
        targets, start = bend(seen.values[some]), prior.mode(plan.parameters)
        return fit(seen.x[some], targets, plan.groups, prior.resolved(bend.rate), (start,))
    hyper = fitted(plan, seen.x[:points], seen.values[:points], prior)
    if len(seen.values) <= points:
        return hyper
    some = rows[thinned(seen.values[rows[:anchor]], FITTED)]
    data = (seen.x[some].tobytes(), seen.values[some].tobytes(), plan.groups.tobytes())
    return _refitted(*data, prior, hyper.vector().tobytes())


def _process(seen: Seen, plan: Layout, points: int, rows: Indices, anchor: int, hyper: Hyper) -> Posterior:
    """The process of the rows, which also knows of failed trials, as middling ones, and of pending ones."""
    factor = _factor(seen.x[rows].tobytes(), hyper.vector().tobytes(), plan.groups.tobytes(), anchor)
    targets = warped(seen.values[rows])
    failed = seen.failed[-points:]
    if len(failed):
        more = factor.with_rows(np.concatenate([failed, seen.pending]))
        targets = np.concatenate([targets, np.full(len(failed), float(np.quantile(targets, BAD)))])
        return more.given_first(targets)
    return factor.given(targets).without_doubt(seen.pending)


def rows_seen(seen: Seen, points: int, centre: Array | None = None) -> tuple[Indices, int]:
    """Return which completed trials, ascending, the process sees, and how many of them were there at the milestone."""
    n = len(seen.values)
    stride = 0 if seen.revised else min(STRIDE, max(points // 8, 1))
    done = n if seen.revised else milestones(n, stride)[-1]
    if n <= points:
        return np.arange(n), done
    budget = points - stride
    if centre is None:
        rows = thinned(seen.values[:done], budget)
    else:
        far = ((seen.x[:done] - centre) ** 2).sum(1)
        rows = np.sort(np.argsort(far, kind="stable")[:budget])
    return np.concatenate([rows, np.arange(done, n)]), budget


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


def milestones(count: int, stride: int = STRIDE) -> list[int]:
    """Return the numbers of values up to `count`, at least 2, of each fit: 2, 3, …, 16, 18, …, 263, 295, 327, …"""
    found = [FIRST]
    while (further := found[-1] + min(max(1, found[-1] // GROWTH), stride)) <= count:
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
    bend = bend_of(values)
    return fit(x, bend(values), groups, prior.resolved(bend.rate), starts)


@lru_cache(maxsize=32)
def _refitted(x_bytes: bytes, value_bytes: bytes, group_bytes: bytes, prior: Prior, start: bytes) -> Hyper:
    """Fitted to a selection of the values, from a start."""
    values, groups = np.frombuffer(value_bytes), np.frombuffer(group_bytes, dtype=np.intp)
    x = np.frombuffer(x_bytes).reshape(len(values), len(groups))
    bend = bend_of(values)
    return fit(x, bend(values), groups, prior.resolved(bend.rate), (Hyper.of(np.frombuffer(start)),))


@lru_cache(maxsize=16)
def _curves(x_bytes: bytes, value_bytes: bytes, group_bytes: bytes, column_bytes: bytes, hyper_bytes: bytes) -> Curves:
    groups, columns = (np.frombuffer(given, dtype=np.intp) for given in (group_bytes, column_bytes))
    x = np.frombuffer(x_bytes).reshape(-1, len(groups))
    targets = warped(np.frombuffer(value_bytes))
    return fitted_curves(x, targets, columns, Hyper.of(np.frombuffer(hyper_bytes)), groups)


@lru_cache(maxsize=32)
def _factor(x_bytes: bytes, hyper_bytes: bytes, group_bytes: bytes, anchor: int) -> Factor:
    """The factor of rows of which the first `anchor` are factored at once and the others appended one by one.

    By that rule it is the same to the last bit whether the factor without the last row was kept or is made again.
    """
    groups = np.frombuffer(group_bytes, dtype=np.intp)
    x = np.frombuffer(x_bytes).reshape(-1, len(groups))
    if len(x) == anchor:
        return factored(Hyper.of(np.frombuffer(hyper_bytes)), x, groups)
    return _factor(x[:-1].tobytes(), hyper_bytes, group_bytes, anchor).with_rows(x[-1:])
