"""The expected hypervolume improvement over a front, exact for independent normal objectives, on a log scale.

Where f is normal in each objective, the expected volume that it adds below a reference is a sum over boxes that tile
what the front leaves undominated: each box gives the product over the objectives of E[(u - f)⁺] - E[(l - f)⁺] (Yang,
Emmerich, Deutz and Bäck, "Multi-Objective Bayesian Global Optimization using expected hypervolume improvement
gradient", 2019, equation (14) in this form). The log of it and its gradient, stable far away as in Ament et al. (2023).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from visutility.tune.pareto import front
from visutility.tune.surrogate.acquisition import Surrogate, log_h

Array: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]

MOST: Final = {2: 200, 3: 40, 4: 16}  # points of a front, by objectives: what keeps the boxes to some thousands
MOST_BEYOND: Final = 8


def boxes(points: Array, reference: Array) -> tuple[Array, Array]:
    """Return lower and upper corners (k, m) of boxes that tile what lies below the reference and no row dominates.

    `points` (n, m); lower corners may be -inf. O(n^(m - 1)) boxes.
    """
    inside = points[(points < reference).all(axis=1)]
    return _tiles(inside, reference)


def _tiles(points: Array, reference: Array) -> tuple[Array, Array]:
    count = len(reference)
    if not len(points):
        return np.full((1, count), -np.inf), reference[None].copy()
    if count == 1:
        return np.array([[-np.inf]]), np.array([[points.min()]])
    cuts = np.unique(points[:, -1])
    lows, highs = np.concatenate([[-np.inf], cuts]), np.concatenate([cuts, reference[-1:]])
    lower: list[Array] = []
    upper: list[Array] = []
    for low, high in zip(lows, highs, strict=True):
        below = points[points[:, -1] <= low][:, :-1]
        down, up = _tiles(below[front(below)] if len(below) else below, reference[:-1])
        lower.append(np.column_stack([down, np.full(len(down), low)]))
        upper.append(np.column_stack([up, np.full(len(up), high)]))
    return np.concatenate(lower), np.concatenate(upper)


def spread_out(points: Array, most: int) -> Array:
    """Return at most `most` rows (n, m): the best of each objective, then always the one farthest from those kept."""
    if len(points) <= most:
        return points
    kept = list(dict.fromkeys(int(at) for at in points.argmin(axis=0)))[:most]
    scaled = (points - points.min(axis=0)) / np.maximum(np.ptp(points, axis=0), 1e-300)
    far = np.min([np.abs(scaled - scaled[at]).max(axis=1) for at in kept], axis=0)
    while len(kept) < most:
        kept.append(int(np.argmax(far)))
        far = np.minimum(far, np.abs(scaled - scaled[kept[-1]]).max(axis=1))
    return points[kept]


@final
@dataclass(frozen=True, slots=True, eq=False)
class VolumeGain:
    """The log of the expected hypervolume improvement of several surrogates. Make one with `volume_gain`."""

    models: Sequence[Surrogate]
    levels: tuple[Array, ...]  # (q,) the finite edges of the boxes in each objective
    sides: tuple[Indices, ...]  # (2, s) the different (lower, upper) edges of boxes, places in levels; -1 for -inf
    tiles: Indices  # (k, m) which side each box has in each objective

    def score(self, x: Array) -> Array:
        """Return the log of the expected improvement (m,)."""
        logs = [self._sides(at, *model.predict(x), slopes=False)[0] for at, model in enumerate(self.models)]
        return np.asarray(logsumexp(self._boxes(logs), axis=1))

    def slopes(self, x: Array) -> tuple[Array, Array]:
        """Return the log of the expected improvement (m,) and its gradients (m, c)."""
        seen = [model.gradients(x) for model in self.models]
        parts = [self._sides(at, mean, sd, slopes=True) for at, (mean, sd, _, _) in enumerate(seen)]
        logs = self._boxes([part[0] for part in parts])
        value = logsumexp(logs, axis=1)
        share = np.exp(logs - value[:, None])
        slope = np.zeros_like(x)
        for at, (_, by_mean, by_sd) in enumerate(parts):
            tile = self.tiles[:, at]
            slope += (share * by_mean[:, tile]).sum(1)[:, None] * seen[at][2]
            slope += (share * by_sd[:, tile]).sum(1)[:, None] * seen[at][3]
        return np.asarray(value), slope

    def _boxes(self, logs: list[Array]) -> Array:
        """The log of each box's share (m, k)."""
        return np.asarray(sum(one[:, self.tiles[:, at]] for at, one in enumerate(logs)))

    def _sides(self, at: int, mean: Array, sd: Array, *, slopes: bool) -> tuple[Array, Array, Array]:
        """Log of E[(u - f)⁺] - E[(l - f)⁺] (m, s) in one objective, and its derivatives by mean and sd."""
        z = (self.levels[at] - mean[:, None]) / sd[:, None]
        flat, rise = log_h(z.ravel())
        logs = flat.reshape(z.shape) + np.log(sd)[:, None]
        low, high = self.sides[at]
        less = np.where(low < 0, -np.inf, logs[:, low] - logs[:, high])
        less = np.minimum(less, -1e-15)
        side = logs[:, high] + np.log(-np.expm1(less))
        if not slopes:
            return side, side, side
        by_mean = -rise.reshape(z.shape) / sd[:, None]
        by_sd = 1.0 / sd[:, None] + by_mean * z
        more = 1.0 / -np.expm1(less)  # the upper edge's weight; the lower one's is this less 1
        return (
            side,
            more * by_mean[:, high] - (more - 1.0) * by_mean[:, low],
            more * by_sd[:, high] - (more - 1.0) * by_sd[:, low],
        )


def volume_gain(models: Sequence[Surrogate], points: Array, reference: Array) -> VolumeGain:
    """Return the term for a front of rows (n, m), at most as many of them as keep the boxes few."""
    count = len(models)
    kept = points[front(points)] if len(points) else points
    kept = kept[(kept < reference).all(axis=1)]
    lower, upper = boxes(spread_out(kept, MOST.get(count, MOST_BEYOND)), reference)
    levels, sides, tiles = [], [], []
    for low, high in zip(lower.T, upper.T, strict=True):
        edges = np.unique(np.concatenate([low[np.isfinite(low)], high]))
        pairs = np.stack([np.where(np.isfinite(low), np.searchsorted(edges, low), -1), np.searchsorted(edges, high)])
        different, tile = np.unique(pairs, axis=1, return_inverse=True)
        levels.append(edges)
        sides.append(different)
        tiles.append(tile.ravel())
    return VolumeGain(tuple(models), tuple(levels), tuple(sides), np.stack(tiles, axis=1))
