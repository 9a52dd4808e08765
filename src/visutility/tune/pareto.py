"""Several objectives: which trials no other one beats in every respect, and how much they are worth together.

Everything here is lower-is-better. Points are rows (n, m) of m objectives.
"""

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visutility.tune.strategy import Observation

Array: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]

HUGE: Final = 1e290


def front(points: Array) -> Indices:
    """Return the places, ascending, of the rows (n, m) that no other row dominates; of equal rows all are kept.

    A row dominates another when it is nowhere greater and somewhere less.
    """
    return np.flatnonzero(undominated(points))


def undominated(points: Array) -> NDArray[np.bool_]:
    """Return which rows (n, m) no other one dominates. O(n log n) for two columns, O(n k m) for a front of k."""
    order = _ascending(points)
    keep = np.zeros(len(points), dtype=bool)
    keep[order] = _kept(points[order])
    return keep


def _ascending(points: Array) -> Indices:
    """An order of the rows (n, m) in which none is dominated by a later one."""
    return np.lexsort(points.T[::-1])


def _kept(rows: Array) -> NDArray[np.bool_]:
    """Which of the rows (n, m), in such an order, no other one dominates."""
    if rows.shape[1] == 2 and len(rows):
        best = np.minimum.accumulate(rows[:, 1])
        wins = np.concatenate([[True], rows[1:, 1] < best[:-1]])
        same = np.concatenate([[False], (rows[1:] == rows[:-1]).all(axis=1)])
        return np.asarray(wins[np.maximum.accumulate(np.where(same, 0, np.arange(len(rows))))])
    keep, places = np.zeros(len(rows), dtype=bool), np.arange(len(rows))
    while len(rows):
        keep[places[0]] = True
        worse = (rows[0] <= rows).all(axis=1) & (rows[0] < rows).any(axis=1)
        worse[0] = True
        rows, places = rows[~worse], places[~worse]
    return keep


def points_of(seen: Iterable[Observation], values: Array, objectives: int) -> Array:
    """Return all objectives (n, m) of ended trials, the first one from `values` (n,); NaN for one that lacks any.

    Where some are so large that differences would overflow, all of that objective are smaller by one factor.
    """
    others = [one.others for one in seen]
    if set(map(len, others)) - {objectives - 1}:
        lacking = (np.nan,) * (objectives - 1)
        others = [one if len(one) == objectives - 1 else lacking for one in others]
    found = np.column_stack([values, np.array(others).reshape(len(values), objectives - 1)])
    found[np.isnan(found).any(axis=1)] = np.nan
    huge = (np.abs(found) > HUGE).any(axis=0)
    if huge.any():
        found[:, huge] *= 2.0**-64
    return found


def by_fronts(points: Array, top: int) -> Indices:
    """Return the places of points (n, m): by front, then the least crowded first. Only the first `top` are in order.

    Deb, Pratap, Agarwal and Meyarivan, NSGA-II (2002), sections III A and B.
    """
    left = _ascending(points)
    rows = points[left]
    found: list[Indices] = []
    while len(left) and sum(map(len, found)) < top:
        members = _kept(rows)
        best = np.sort(left[members])
        found.append(best[np.argsort(-crowding(points[best]), kind="stable")])
        left, rows = left[~members], rows[~members]
    return np.concatenate([*found, np.sort(left)])


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


def hypervolume(points: Array, reference: Sequence[float] | Array) -> float:
    """Return the exact volume that the rows (n, m) dominate, bounded by the reference (m,).

    Rows that are not below the reference in every objective add nothing. One objective: a length; two: a sweep in
    O(n log n); more: the exclusive volumes of While, Bradstreet and Barone, "A Fast Way of Calculating Exact
    Hypervolumes" (2012), whose worst case grows exponentially with m.
    """
    bound = np.asarray(reference, dtype=np.float64)
    inside = points[(points < bound).all(axis=1)]
    return _volume(np.unique(inside[front(inside)], axis=0), bound) if len(inside) else 0.0


def _volume(points: Array, bound: Array) -> float:
    """The volume of a front (n, m) of different rows below the bound."""
    if len(points) == 1 or points.shape[1] == 1:
        return float(np.prod(bound - points.min(axis=0)))
    if points.shape[1] == 2:
        rows = points[np.argsort(points[:, 0])]  # the second objective falls
        heights = np.concatenate([bound[1:], rows[:-1, 1]]) - rows[:, 1]
        return float(((bound[0] - rows[:, 0]) * heights).sum())
    rows = points[np.argsort(-points[:, -1], kind="stable")]  # the worst in the last one first: limited sets stay small
    return sum(_exclusive(rows[at], rows[at + 1 :], bound) for at in range(len(rows)))


def _exclusive(row: Array, others: Array, bound: Array) -> float:
    """The volume that a row (m,) dominates and the others (k, m) do not."""
    whole = float(np.prod(bound - row))
    if not len(others):
        return whole
    limited = np.maximum(others, row)
    return whole - _volume(np.unique(limited[front(limited)], axis=0), bound)
