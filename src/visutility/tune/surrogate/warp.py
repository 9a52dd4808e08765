"""Values as the surrogate sees them: centred, scaled by the better half, and bent towards a normal shape.

The bend is Yeo and Johnson's power transform, "A New Family of Power Transformations to Improve Normality or Symmetry"
(2000), equation (2.1), its power λ chosen on a grid by their profile likelihood (3.1) times a normal prior about 1 (no
bend). It is increasing, so the order of the values never changes.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

POWERS: Final = np.linspace(-2.0, 2.0, 17)
POWER_SD: Final = 1.0
MOST: Final = 1e3  # the worst value, in spreads of the better half: anything beyond is as bad


def warped(values: Array) -> Array:
    """Return values (n,), lower is better, finite, n >= 1, as (n,) with mean 0 and spread 1 (0 where all are equal).

    Median and spread are those of the better half, so that one diverged trial does not flatten the others.
    """
    largest = float(np.abs(values).max())
    scaled = values / (largest or 1.0)  # so that nothing below overflows
    centre = float(np.median(scaled))
    off = scaled - centre
    spread = _spread(off[off <= 0.0]) or _spread(off)
    if spread <= 1e-13 * abs(centre):
        return np.zeros(len(values))
    z = np.clip(off / spread, -MOST, MOST)
    bent = _bend(z, POWERS[:, None])
    slopes = (POWERS - 1.0) * np.sum(np.sign(z) * np.log1p(np.abs(z)))
    fitness = slopes - 0.5 * len(z) * np.log(bent.var(axis=1) + 1e-12) - 0.5 * ((POWERS - 1.0) / POWER_SD) ** 2
    return _standard(bent[int(np.argmax(fitness))])


def _spread(off: Array) -> float:
    return float(np.sqrt(np.mean(off * off)))


def _bend(z: Array, power: Array) -> Array:
    """Yeo and Johnson (2.1) of z (n,) for each power (k, 1): (k, n). The grid holds 0 and 2, the two special cases."""
    up, down = np.maximum(z, 0.0), np.maximum(-z, 0.0)
    p = np.where(power == 0.0, 1.0, power)
    q = np.where(power == 2.0, 1.0, 2.0 - power)
    above = np.where(power == 0.0, np.log1p(up), ((1.0 + up) ** p - 1.0) / p)
    below = np.where(power == 2.0, np.log1p(down), ((1.0 + down) ** q - 1.0) / q)
    return above - below


def _standard(values: Array) -> Array:
    off = values - values.mean()
    spread = _spread(off)
    return off / spread if spread > 1e-12 else np.zeros(len(values))
