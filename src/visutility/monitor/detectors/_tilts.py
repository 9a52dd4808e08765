"""The bets of the rank detector: densities on (0, 1) that a change could give the ranks, as cumulative tables."""

import numpy as np
from scipy import special

from visutility.monitor.state import Floats

CELLS = 256  # the densities are constant on each of as many equal cells
STAKES = (
    np.array([0.27, 0.44, 0.18, 0.06, 0.05]) / 1.5
)  # on each bet a value; less than 1: room for what no theorem covers
_SHIFTS = (0.15, 0.27, 0.45, 1.2)
INFLATIONS = 1.25 ** np.arange(22)  # variance inflations v that bets are tempered for, 1 to 108
_ROUND = 1.25**0.3  # a measured inflation counts as the next one above it, or as one that is this much too small


def inflation_class(inflation: Floats) -> Floats:
    """Return the index in `INFLATIONS` that measured variance inflations, any shape, are tempered for."""
    index = np.searchsorted(INFLATIONS[:-1] * _ROUND, inflation, side="right")
    return np.asarray(index, np.uint8)


def tables() -> Floats:
    """Return Q, shape (inflations, cells + 1, bets): the integral of each tempered density from 0 to the cell's edge.

    With z the normal quantile of a rank, at least -1.6 and at most 3, the logarithms of the densities q, up to a
    constant, are d (z + min(z + .8, 0) + .4 max(z - .8, 0)) for d = .15, .27, .45, 1.2: everything shifts, the
    ends most; and one has 3 % of its mass on the top hundredth, for rare large values. Tempered for an inflation v they
    are q^(1/v), whose integral is at most 1 (Jensen's inequality): for normal ranks that is the likelihood ratio of a
    shifted Brownian motion with v times the variance.
    """
    u = (np.arange(CELLS) + 0.5) / CELLS
    z = np.clip(special.ndtri(u), -1.6, 3.0)
    stretched = z + np.minimum(z + 0.8, 0.0) + 0.4 * np.maximum(z - 0.8, 0.0)
    top = np.clip((u - 0.99) * CELLS + 0.5, 0.0, 1.0) * 100.0  # 100 times the share of each cell above .99
    density = np.stack([*(np.exp(d * stretched) for d in _SHIFTS), 0.97 + 0.03 * top], axis=1)
    density /= density.mean(axis=0)
    tempered = density ** (1.0 / INFLATIONS[:, None, None])
    whole = np.cumsum(tempered, axis=1) / CELLS
    return np.concatenate((np.zeros((len(INFLATIONS), 1, len(STAKES))), whole), axis=1)
