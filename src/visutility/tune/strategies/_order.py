"""Which trials are better than which: values, failures, constraints and several objectives in one order.

Trials that hold every constraint come first, then those that break one, then failed ones (Deb, "An efficient
constraint handling method for genetic algorithms", 2000). A pruned trial tells nothing of the constraints: it comes
after all that told, so that it leads no search away from where they are known. Several objectives are ordered by
fronts (`pareto.by_fronts`), or weighed: the augmented weighted Chebyshev distance from the least of each objective,
each in units of its range (Knowles, "ParEGO", 2006, equation 2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from visutility.tune.pareto import by_fronts, points_of
from visutility.tune.problem import Problem
from visutility.tune.strategy import Observation

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

WORKED, BROKE, UNKNOWN, FAILED = range(4)  # holds every constraint; breaks one; told none of them; has no value


def best_first(
    seen: Sequence[Observation], values: Array, problem: Problem, top: int | None = None
) -> tuple[Indices, Indices]:
    """Return the places (n,) of ended trials, the best first, and by place (n,) WORKED, BROKE, UNKNOWN or FAILED.

    `values` (n,) are theirs, NaN where one failed. Of several objectives only the first `top` places are in order. Ties
    go to the earlier. O(n log n) for one or two objectives.
    """
    kinds, excess = _kinds(seen, values, problem.constraints)
    if problem.constraints:
        order = np.lexsort((np.where(kinds == BROKE, excess, values), kinds))
    else:
        order = np.argsort(values, kind="stable")  # NaN comes last
    if problem.objectives > 1:
        points = points_of(seen, values, problem.objectives)
        whole = np.flatnonzero((kinds == WORKED) & ~np.isnan(points[:, 0]))
        if len(whole) > 1:
            ranked = whole[by_fronts(points[whole], len(whole) if top is None else top)]
            rest = np.ones(len(order), dtype=bool)
            rest[ranked] = False
            order = np.concatenate([ranked, order[rest[order]]])
    return order, kinds


@final
@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """What ended trials with several objectives are worth, lower is better. Make one with `weighed`."""

    above: Array  # (n, m) the objectives above the least of each
    span: Array  # (m,) their ranges
    base: Array  # (n,) added: 0 to what holds every constraint, infinity to what failed

    def worth(self, weights: Array, places: slice) -> Array:
        """Return what the trials at some places are worth (k,) under weights (m,) that sum to 1."""
        parts = weights * self.above[places] / self.span
        return np.asarray(parts.max(axis=1) + 0.05 * parts.sum(axis=1) + self.base[places])


def weighed(seen: Sequence[Observation], values: Array, problem: Problem) -> Weighed:
    """Return what ended trials are worth, in the order of the kinds; those that break a constraint, by how much."""
    points = points_of(seen, values, problem.objectives)
    kinds, excess = _kinds(seen, points[:, 0], problem.constraints)
    whole = points[kinds != FAILED] if (kinds != FAILED).any() else np.zeros((1, problem.objectives))
    span = np.ptp(whole, axis=0)
    judged = (kinds == WORKED) | (kinds == UNKNOWN)
    above = np.where(judged[:, None], points - whole.min(axis=0), 0.0)
    base = np.array([0.0, 2.0, 3.0 + problem.constraints, np.inf])[kinds]  # weights alone give at most 1.05
    return Weighed(above, np.where(span > 0.0, span, 1.0), base + np.where(kinds == BROKE, excess, 0.0))


def _kinds(seen: Sequence[Observation], values: Array, constraints: int) -> tuple[Indices, Array]:
    """WORKED, BROKE, UNKNOWN or FAILED (n,), and the total excess (n,)."""
    kinds = np.where(np.isnan(values), FAILED, WORKED).astype(np.intp)
    if not constraints:
        return kinds, np.zeros(len(values))
    told = np.array([len(one.excess) == constraints for one in seen], dtype=bool)
    kinds[(kinds == WORKED) & ~told] = UNKNOWN
    excess = _violations([one.excess for one in seen], constraints)
    kinds[(kinds == WORKED) & (excess > 0.0)] = BROKE
    return kinds, excess


def _violations(rows: list[tuple[float, ...]], constraints: int) -> Array:
    """Return the total excess (n,), each constraint in units of its largest; 0 where nothing was told."""
    nothing = (0.0,) * constraints
    excess = np.maximum(np.array([row or nothing for row in rows]).reshape(-1, constraints), 0.0)
    scale = excess.max(axis=0, initial=0.0)
    return np.asarray((excess / np.where(scale > 0.0, scale, 1.0)).sum(axis=1))
