"""Two small quasi-Newton minimisers with bounds: one problem at a time, and many small ones at once.

BFGS with projection onto the bounds and Armijo backtracking (Nocedal and Wright, Numerical Optimization, 2nd ed.,
sections 6.1 and 16.7). SciPy's L-BFGS-B finds the same minima; these need no import of `scipy.optimize` (a tenth of a
second), know the scale of each variable beforehand, and the second one follows many starts in one evaluation.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ARMIJO: Final = 1e-4
SMALL: Final = 1e-5  # rows all of whose moves are smaller have arrived
CURVED: Final = 1e-12  # the least curvature along a step that the estimate of the inverse Hessian takes in


def minimise(
    f: Callable[[Array], tuple[float, Array]],
    start: Array,
    widths: Array,
    low: Array,
    high: Array,
    *,
    steps: int = 20,
    least: float = 1e-3,
    far: float = 2.0,
) -> tuple[Array, float]:
    """Return where `f`, which gives value and gradient, is least near `start` (k,) within [low, high], and its value.

    `widths` (k,) says over what distance each variable matters: the first inverse Hessian is diag(widths²). Stops after
    `steps` evaluations, or when a step promises less than `least`. No variable moves by more than `far` in a step.
    An infinite value is stepped back from; where the first is infinite, the start is returned.
    """
    x = np.clip(start, low, high)
    value, slope = f(x)
    if not np.isfinite(value):
        return x, float(value)
    inverse = np.diag(widths * widths)
    used, fresh = 1, True
    while used < steps:
        free = ~(((x <= low) & (slope > 0.0)) | ((x >= high) & (slope < 0.0)))
        down = -(inverse @ np.where(free, slope, 0.0))
        down[~free] = 0.0
        promised = -float(slope @ down)
        if promised < least:
            if fresh:
                break
            inverse, fresh = np.diag(widths * widths), True
            continue
        rate = min(1.0, far / float(np.abs(down).max()))
        moved = False
        while used < steps:
            there = np.clip(x + rate * down, low, high)
            told, told_slope = f(there)
            used += 1
            gained = float(slope @ (x - there))
            if told <= value - ARMIJO * gained:
                moved = True
                break
            curve = told - value + rate * promised  # of the parabola through both values with this slope
            rate *= min(max(0.5 * rate * promised / curve, 0.1), 0.5) if np.isfinite(curve) and curve > 0.0 else 0.1
            if rate * promised < 0.1 * least:
                break
        if not moved:
            break
        s, y = there - x, told_slope - slope
        sy = float(s @ y)
        dropped = value - told
        x, value, slope = there, told, told_slope
        if sy > CURVED:
            if fresh:
                inverse *= min(max(sy / float(y @ (inverse @ y)), 1e-3), 1.0)
            hy = inverse @ y
            inverse += ((1.0 + float(y @ hy) / sy) / sy) * np.outer(s, s) - (np.outer(hy, s) + np.outer(s, hy)) / sy
            fresh = False
        if dropped < 0.1 * least:
            break
    return x, float(value)


def minimise_rows(
    f: Callable[[Array], tuple[Array, Array]],
    start: Array,
    free: NDArray[np.bool_],
    low: Array,
    high: Array,
    *,
    steps: int = 20,
    width: float = 0.1,
) -> Array:
    """Return the rows (s, k) in [low, high] (k,) that `steps` evaluations reach, each row a problem of its own.

    `f` gives the values (s,) and gradients (s, k) of all rows at once. Columns that are not `free` (s, k) stay. Rows
    never get worse. `width`: the longest first step.
    """
    x = np.clip(start, low, high)
    rows, k = x.shape
    values, slopes = f(x)
    slopes = np.where(free, slopes, 0.0)
    norm = np.sqrt((slopes * slopes).sum(1))
    inverse = np.eye(k) * (width / np.maximum(norm, 1e-12))[:, None, None]
    rate = np.ones(rows)
    first = np.ones(rows, dtype=bool)
    down = np.zeros_like(x)
    stale = np.ones(rows, dtype=bool)
    for _ in range(steps):
        bound = ~free | ((x <= low) & (slopes > 0.0)) | ((x >= high) & (slopes < 0.0))
        g = np.where(bound, 0.0, slopes)
        fresh = -np.where(bound, 0.0, np.einsum("ijk,ik->ij", inverse, g))
        longest = np.abs(fresh).max(1, keepdims=True)
        fresh *= np.minimum(1.0, 0.3 / np.maximum(longest, 1e-300))
        down = np.where(stale[:, None], fresh, down)
        there = np.clip(x + rate[:, None] * down, low, high)
        s = there - x
        if np.abs(s).max() < SMALL:
            break
        told, told_slopes = f(there)
        told_slopes = np.where(free, told_slopes, 0.0)
        better = told <= values + ARMIJO * (slopes * s).sum(1)
        y = told_slopes - slopes
        sy = (s * y).sum(1)
        curved = better & (sy > CURVED)
        if curved.any():
            hy = np.einsum("ijk,ik->ij", inverse, y)
            yhy = (y * hy).sum(1)
            scale = np.where(curved & first, sy / np.maximum(yhy, 1e-300), 1.0)
            inverse *= scale[:, None, None]
            hy *= scale[:, None]
            yhy *= scale
            safe = np.where(curved, sy, 1.0)
            cross = hy[:, :, None] * s[:, None, :]
            change = ((1.0 + yhy / safe) / safe)[:, None, None] * (s[:, :, None] * s[:, None, :])
            change -= (cross + cross.transpose(0, 2, 1)) / safe[:, None, None]
            inverse += np.where(curved[:, None, None], change, 0.0)
            first &= ~curved
        x = np.where(better[:, None], there, x)
        values = np.where(better, told, values)
        slopes = np.where(better[:, None], told_slopes, slopes)
        rate = np.where(better, 1.0, 0.25 * rate)
        stale = better
    return x
