"""Several objectives: which trials no other one beats in every respect, and how much they are worth together.

Everything here is lower-is-better. Points are rows (n, m) of m objectives.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]


def front(points: Array) -> Indices:
    """Return the places, ascending, of the rows (n, m) that no other row dominates.

    A row dominates another when it is nowhere greater and somewhere less; of equal rows all are kept. O(n k m) for a
    front of k.
    """
    order = np.lexsort(points.T[::-1])  # no row dominates one before it
    kept = np.empty_like(points)
    found: list[int] = []
    for at in order:
        row = points[at]
        below = kept[: len(found)]
        if not ((below <= row).all(axis=1) & (below < row).any(axis=1)).any():
            kept[len(found)] = row
            found.append(int(at))
    return np.array(sorted(found), dtype=np.intp)


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
