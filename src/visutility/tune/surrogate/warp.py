"""Values as the surrogate sees them: centred, scaled by the better half, and bent towards a normal shape.

The bend is Yeo and Johnson's power transform, "A New Family of Power Transformations to Improve Normality or Symmetry"
(2000), equation (2.1), its power λ chosen on a grid by their profile likelihood (3.1) times a normal prior about 1 (no
bend). It is increasing, so the order of the values never changes.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

POWERS: Final = np.linspace(-2.0, 2.0, 17)
POWER_SD: Final = 1.0
MOST: Final = 1e3


@final
@dataclass(frozen=True, slots=True)
class Bend:
    """An increasing map of values onto the surrogate's scale. Make one with `bend_of`."""

    unit: float  # the values are divided by it first, so that nothing overflows
    centre: float  # then this is taken off, and what is left divided by the spread; spread 0: all map to 0
    spread: float
    power: float  # λ
    mean: float  # of the bent values, taken off; then they are divided by their
    width: float

    def __call__(self, values: Array) -> Array:
        """Return where the values (n,) lie; beyond 1000 spreads from the centre one is as good as another."""
        if not self.spread:
            return np.zeros(len(values))
        with np.errstate(over="ignore"):
            z = np.clip((values / self.unit - self.centre) / self.spread, -MOST, MOST)
        return np.asarray((_bent(z, np.array([[self.power]]))[0] - self.mean) / self.width)

    @property
    def rate(self) -> float:
        """By how much the targets move a unit of the values, at the centre; 0 where all are equal."""
        width = self.unit * self.spread * self.width
        return 1.0 / width if width else 0.0


def bend_of(values: Array) -> Bend:
    """Return the map that gives values (n,), lower is better, finite, n >= 1, mean 0 and spread 1 (0: all are equal).

    Median and spread are those of the better half, so that one diverged trial does not flatten the others.
    """
    unit = float(np.abs(values).max()) or 1.0
    scaled = values / unit
    centre = float(np.median(scaled))
    off = scaled - centre
    spread = _spread(off[off <= 0.0]) or _spread(off)
    if spread <= 1e-13 * abs(centre):
        return Bend(unit, centre, 0.0, 1.0, 0.0, 1.0)
    z = np.clip(off / spread, -MOST, MOST)
    bent = _bent(z, POWERS[:, None])
    widths = bent.std(axis=1)
    slopes = (POWERS - 1.0) * np.sum(np.sign(z) * np.log1p(np.abs(z)))
    fitness = slopes - len(z) * np.log(widths + 1e-6) - 0.5 * ((POWERS - 1.0) / POWER_SD) ** 2
    best = int(np.argmax(fitness))
    return Bend(unit, centre, spread, float(POWERS[best]), float(bent[best].mean()), float(widths[best]) or 1.0)


def warped(values: Array) -> Array:
    """Return values (n,) on the surrogate's scale, mean 0 and spread 1, or all 0 where they are equal."""
    return bend_of(values)(values)


def _spread(off: Array) -> float:
    return float(np.sqrt(np.mean(off * off)))


def _bent(z: Array, power: Array) -> Array:
    """Yeo and Johnson (2.1) of z (n,) for each power (k, 1): (k, n). The grid holds 0 and 2, the two special cases."""
    up, down = np.maximum(z, 0.0), np.maximum(-z, 0.0)
    p = np.where(power == 0.0, 1.0, power)
    q = np.where(power == 2.0, 1.0, 2.0 - power)
    above = np.where(power == 0.0, np.log1p(up), ((1.0 + up) ** p - 1.0) / p)
    below = np.where(power == 2.0, np.log1p(down), ((1.0 + down) ** q - 1.0) / q)
    return above - below
