"""The bets of the rank detector: densities on (0, 1) that a change could give the ranks, as cumulative tables."""

import numpy as np
from numpy.typing import NDArray
from scipy import special

from visutility.monitor.state import Floats, Ints

CELLS = 256  # the densities are constant on each of as many equal cells
STAKES = np.array([0.27, 0.44, 0.18, 0.06, 0.05]) / 1.5  # on each bet a value; 2/3 in all: room beside the theorem
_SHIFTS = (0.15, 0.27, 0.45, 1.2)
_LOWER = 1  # the bet whose mirror image is on low ranks
INFLATIONS = 1.25 ** np.arange(22)  # variance inflations v that bets are tempered for, 1 to 108
_ROUND = 1.25**0.3  # a measured inflation counts as the next one above it, or as one that is this much too small


def tempering(inflation: Floats) -> Floats:
    """Return the index in `INFLATIONS` that measured variance inflations, any shape, are tempered for."""
    index = np.searchsorted(INFLATIONS[:-1] * _ROUND, inflation, side="right")
    return np.asarray(index, np.uint8)


def tables() -> Floats:
    """Return Q, shape (inflations, cells + 1, bets + 1): the tempered densities' integrals from 0 to the cells' edges.

    With z the normal quantile of a rank, at least -1.6 and at most 3, the logarithms of the densities q, up to a
    constant, are d (z + min(z + .8, 0) + .4 max(z - .8, 0)) for d = .15, .27, .45, 1.2: everything shifts, the
    ends most; and one has 3 % of its mass on the top hundredth, for rare large values. Tempered for an inflation v they
    are q^(1/v), whose integral is at most 1 (Jensen's inequality): for normal ranks that is the likelihood ratio of a
    shifted Brownian motion with v times the variance. The last density is the second one's mirror image: low ranks.
    """
    u = (np.arange(CELLS) + 0.5) / CELLS
    z = np.clip(special.ndtri(u), -1.6, 3.0)
    stretched = z + np.minimum(z + 0.8, 0.0) + 0.4 * np.maximum(z - 0.8, 0.0)
    top = np.clip((u - 0.99) * CELLS + 0.5, 0.0, 1.0) * 100.0  # 100 times the share of each cell above .99
    density = np.stack([*(np.exp(d * stretched) for d in _SHIFTS), 0.97 + 0.03 * top], axis=1)
    density /= density.mean(axis=0)
    density = np.column_stack([density, density[::-1, _LOWER]])
    tempered = density ** (1.0 / INFLATIONS[:, None, None])
    whole = np.cumsum(tempered, axis=1) / CELLS
    return np.concatenate((np.zeros((len(INFLATIONS), 1, len(STAKES) + 1)), whole), axis=1)


_TABLES = tables()
_SLOPES = np.diff(_TABLES, axis=1)
_LOST = 1.0 - _TABLES[:, -1]


def gains(inflation: NDArray[np.uint8], low: Ints, high: Ints, whole: Ints) -> Floats:
    """Return L, shape (k, n): the mean of each bet's density over the ranks from low / whole to high / whole.

    Where these are a tenth of all ranks or more, that share of what tempering takes from the density's integral is
    given back: a value that was to be expected loses nothing.
    """
    scale, share = CELLS / whole, (high - low) / whole
    ends = _integral(inflation, high * scale) - _integral(inflation, low * scale)
    ends /= share[:, None]
    wide = np.flatnonzero(share >= 0.1)
    if len(wide):
        kind = np.broadcast_to(inflation, share.shape)[wide]
        ends[wide] += _LOST[kind] * share[wide, None]
    return np.ascontiguousarray(ends.T)


def _integral(inflation: NDArray[np.uint8], cells: Floats) -> Floats:
    """Return the densities' integrals up to so many cells, shape (n, k), linear within a cell."""
    cell = np.minimum(cells.astype(np.int64), CELLS - 1)
    part = (cells - cell)[:, None]
    return np.asarray(_TABLES[inflation, cell] + part * _SLOPES[inflation, cell], np.float64)
