"""Which trials are better than which: values, failures, constraints and several objectives in one order.

Trials that hold every constraint come first, then those that break one, then failed ones (Deb, "An efficient
constraint handling method for genetic algorithms", 2000). A pruned trial tells nothing of the constraints: it comes
after all that told, so that it leads no search away from where they are known. Several objectives are ordered by
non-dominated fronts and, within one, by crowding distance (Deb, Pratap, Agarwal and Meyarivan, NSGA-II, 2002, sections
III A and B).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

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
    kinds = np.where(np.isnan(values), FAILED, WORKED).astype(np.intp)
    scores = values
    if problem.constraints:
        told = np.array([len(one.excess) == problem.constraints for one in seen], dtype=bool)
        kinds[(kinds == WORKED) & ~told] = UNKNOWN
        excess = _violations([one.excess for one in seen], problem.constraints)
        broke = (kinds == WORKED) & (excess > 0.0)
        kinds[broke] = BROKE
        scores = np.where(broke, excess, values)
        order = np.lexsort((scores, kinds))
    else:
        order = np.argsort(scores, kind="stable")  # NaN comes last
    if problem.objectives > 1:
        whole = np.flatnonzero((kinds == WORKED) & [len(one.others) == problem.objectives - 1 for one in seen])
        if len(whole) > 1:
            ranked = whole[by_fronts(_points(seen, values, whole), len(whole) if top is None else top)]
            order = np.concatenate([ranked, order[~np.isin(order, ranked)]])
    return order, kinds


def scalarised(seen: Sequence[Observation], values: Array, weights: Array) -> Array:
    """Return one value a trial (n,): the augmented weighted Chebyshev distance from the least of each objective.

    Each objective is in units of its range; equation (2) of Knowles, "ParEGO" (2006). NaN where a trial has not all.
    """
    whole = np.flatnonzero(~np.isnan(values) & [len(one.others) == len(weights) - 1 for one in seen])
    found = np.full(len(values), np.nan)
    if len(whole):
        points = _points(seen, values, whole)
        span = np.ptp(points, axis=0)
        parts = weights * (points - points.min(axis=0)) / np.where(span > 0.0, span, 1.0)
        found[whole] = parts.max(axis=1) + 0.05 * parts.sum(axis=1)
    return found


def _points(seen: Sequence[Observation], values: Array, whole: Indices) -> Array:
    """All objectives (w, m) of the trials at these places."""
    return np.column_stack([values[whole], np.array([seen[at].others for at in whole.tolist()])])


def by_fronts(points: Array, top: int) -> Indices:
    """Return the places of points (n, m), lower is better: by front, then the least crowded first.

    Only the first `top` are in order.
    """
    left = np.arange(len(points))
    found: list[Indices] = []
    while len(left) and sum(map(len, found)) < top:
        members = undominated(points[left])
        front = left[members]
        found.append(front[np.argsort(-crowding(points[front]), kind="stable")])
        left = left[~members]
    return np.concatenate([*found, left])


def undominated(points: Array) -> NDArray[np.bool_]:
    """Return which points (n, m), lower is better, no other one dominates. O(n log n + n f) with f of them."""
    order = np.lexsort(points.T[::-1])  # nothing is dominated by a later one
    rows, keep = points[order], np.zeros(len(points), dtype=bool)
    if points.shape[1] == 2:
        best = np.minimum.accumulate(rows[:, 1])
        before = np.concatenate([[np.inf], best[:-1]])
        same = np.concatenate([[False], (rows[1:] == rows[:-1]).all(axis=1)])
        wins = rows[:, 1] < before
        keep[order] = wins[np.maximum.accumulate(np.where(same, 0, np.arange(len(rows))))]
        return keep
    places = order
    while len(rows):
        keep[places[0]] = True
        worse = (rows[0] <= rows).all(axis=1) & (rows[0] < rows).any(axis=1)
        worse[0] = True
        rows, places = rows[~worse], places[~worse]
    return keep


def crowding(points: Array) -> Array:
    """Return the crowding distance (n,) of points (n, m): infinite at the ends of each objective."""
    found = np.zeros(len(points))
    for column in points.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        if span <= 0.0:
            continue
        found[order[[0, -1]]] = np.inf
        found[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return found


def _violations(rows: list[tuple[float, ...]], constraints: int) -> Array:
    """Return the total excess (n,), each constraint in units of its largest; 0 where nothing was told."""
    nothing = (0.0,) * constraints
    excess = np.maximum(np.array([row or nothing for row in rows]).reshape(-1, constraints), 0.0)
    scale = excess.max(axis=0, initial=0.0)
    return np.asarray((excess / np.where(scale > 0.0, scale, 1.0)).sum(axis=1))
