"""Columns together: has a correlation changed, though perhaps no column did by itself?

What is kept are sums of products of clipped, whole-numbered scores: whole numbers, so that they are exact, and the
same however the window was cut into batches or the work into threads.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from visutility.core.errors import Invalid
from visutility.monitor.state import Floats

COLUMNS = 32  # numeric columns taken, the first ones
CLIP = 3.0  # scores beyond this count as this
STEPS = 16.0  # whole numbers per unit of a score
ROWS = 2048  # rows at once: their scores and powers fit the second-level cache
LEAST_ROWS = 200  # of the smaller window, for the normal tail


class Pair(NamedTuple):
    """The pair of columns whose correlation changed most, and the p-value of the whole matrix."""

    first: str
    second: str
    z: float
    p_value: float
    reference: float  # correlation in the reference window
    current: float


@dataclass
class JointSketch:
    """Sums over rows of products of the scores z, z² and z³ of some columns, and of 1: (3d + 1, 3d + 1).

    A score is (value - centre) / scale, clipped to ±3, in sixteenths; a missing value scores 0. `centre` is the median
    and `scale` half the distance of the 16 % and 84 % quantiles, in the reference window.
    """

    names: tuple[str, ...]
    centre: Floats
    scale: Floats
    sums: Floats

    @classmethod
    def learn(cls, samples: Mapping[str, Floats]) -> "JointSketch":
        """Return the empty sketch of the first 32 columns that vary: their 16 % and 84 % quantiles differ."""
        names: list[str] = []
        centre: list[float] = []
        scale: list[float] = []
        for name, sample in samples.items():
            finite = sample[np.isfinite(sample)]
            if len(finite) and len(names) < COLUMNS:
                with np.errstate(over="ignore", invalid="ignore"):  # the width is no number then
                    low, middle, high = np.quantile(finite, (0.16, 0.5, 0.84)).tolist()
                width = (high - low) / 2.0
                if width > 0.0 and math.isfinite(width):
                    names.append(name)
                    centre.append(middle)
                    scale.append(width)
        size = 3 * len(names) + 1
        return cls(tuple(names), np.array(centre), np.array(scale), np.zeros((size, size)))

    def fresh(self) -> "JointSketch":
        """Return an empty sketch with the same scores."""
        return replace(self, sums=np.zeros_like(self.sums))

    def update(self, columns: Mapping[str, Any], rows: int) -> None:
        """Take in rows; a column that is not there, or not of numbers, scores 0."""
        d = len(self.names)
        if d < 2:
            return
        powers = np.ones((3 * d + 1, min(ROWS, rows)))
        for start in range(0, rows, ROWS):
            stop = min(start + ROWS, rows)
            block = powers[:, : stop - start]
            for at, name in enumerate(self.names):
                self._score(columns.get(name), slice(start, stop), at, block[at])
            np.multiply(block[:d], block[:d], out=block[d : 2 * d])
            np.multiply(block[d : 2 * d], block[:d], out=block[2 * d : 3 * d])
            self.sums += block @ block.T

    def _score(self, values: Any, rows: slice, at: int, out: Floats) -> None:
        if not isinstance(values, np.ndarray):
            out.fill(0.0)
            return
        with np.errstate(over="ignore", invalid="ignore"):
            np.subtract(values[rows], self.centre[at], out=out)
            out *= STEPS / self.scale[at]
        np.maximum(out, -CLIP * STEPS, out=out)
        np.minimum(out, CLIP * STEPS, out=out)
        np.rint(out, out=out)
        if math.isnan(float(out.sum())):
            out[np.isnan(out)] = 0.0

    def fits(self, other: "JointSketch") -> bool:
        """Return whether both have the same scores of the same columns."""
        same = self.names == other.names and np.array_equal(self.centre, other.centre)
        return same and np.array_equal(self.scale, other.scale)

    def merge(self, other: "JointSketch") -> "JointSketch":
        """Return the sketch of both. Raises `Invalid` when their scores differ."""
        if not self.fits(other):
            raise Invalid("sketches with other scores do not merge", hint="start both from one sketch, by fresh()")
        return replace(self, sums=self.sums + other.sums)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return its numbers as arrays, for `of_arrays`."""
        return {"centre": self.centre, "scale": self.scale, "sums": self.sums}

    @classmethod
    def of_arrays(cls, names: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> "JointSketch":
        """Return the sketch that `arrays` was called on."""
        return cls(names, arrays["centre"], arrays["scale"], arrays["sums"])


def correlations(reference: JointSketch, current: JointSketch) -> Pair | None:
    """Return the pair of columns whose correlation changed most, with a p-value for all pairs: Bonferroni.

    The correlation r of scores u, v (standardised in their own window, so that shifts and stretches of single columns
    do not count) has variance Var(uv - r (u² + v²) / 2) / n for large n: its influence function (Devlin, Gnanadesikan &
    Kettenring 1975), whatever the law of the rows; taken from both windows together. None for fewer than two columns
    that vary in both, and for windows of fewer than 200 rows.
    Raises `Invalid` when their scores differ.
    """
    if not reference.fits(current):
        raise Invalid("the current window has other scores for correlations", hint="use fresh() of the reference")
    d = len(reference.names)
    n, m = float(reference.sums[-1, -1]), float(current.sums[-1, -1])
    if d < 2 or min(n, m) < LEAST_ROWS:
        return None
    both = _moments(reference.sums + current.sums, d)
    old, new = _moments(reference.sums, d), _moments(current.sums, d)
    r, law = both.r, both.law
    varies = (both.sd > 0.0) & (old.sd > 0.0) & (new.sd > 0.0)
    upper = np.triu(varies[:, None] & varies[None, :], 1) & (law > 1e-9) & (np.abs(r) < 1.0 - 1e-9)
    if not upper.any():
        return None
    z = np.zeros_like(r)
    z[upper] = (new.r - old.r)[upper] / np.sqrt(law[upper] * (1.0 / n + 1.0 / m))
    i, j = np.unravel_index(int(np.argmax(np.where(upper, np.abs(z), -1.0))), z.shape)
    p = min(1.0, 2.0 * float(special.ndtr(-abs(z[i, j]))) * int(upper.sum()))
    names = reference.names[int(i)], reference.names[int(j)]
    return Pair(*names, float(z[i, j]), p, float(old.r[i, j]), float(new.r[i, j]))


class _Moments(NamedTuple):
    r: Floats  # (d, d) correlations
    sd: Floats  # (d,)
    law: Floats  # (d, d) variance of the influence function of r


def _moments(sums: Floats, d: int) -> _Moments:
    """Central moments of pairs from sums of products of powers."""
    e = sums / sums[-1, -1]
    one = e[:d, -1]  # E z
    z11, z21, z22, z31 = e[:d, :d], e[d : 2 * d, :d], e[d : 2 * d, d : 2 * d], e[2 * d : 3 * d, :d]  # E zi^a zj^b
    a, b = one[:, None], one[None, :]
    two, three = np.diag(z11)[:, None], np.diag(z21)[:, None]  # E zi², E zi³
    c11 = z11 - a * b
    c22 = z22 - 2.0 * b * z21 - 2.0 * a * z21.T + b * b * two + a * a * two.T + 4.0 * a * b * z11 - 3.0 * a * a * b * b
    c31 = z31 - 3.0 * a * z21 + 3.0 * a * a * z11 - b * three + 3.0 * a * b * two - 3.0 * a**3 * b
    c40 = np.diag(z22)[:, None] - 4.0 * a * three + 6.0 * a * a * two - 3.0 * a**4
    variance = np.maximum(np.diag(c11), 0.0)
    sd = np.sqrt(variance)
    safe = np.where(sd > 0.0, sd, 1.0)
    s, t = safe[:, None], safe[None, :]
    r = np.clip(c11 / (s * t), -1.0, 1.0)
    u22, u31, u13, u40 = c22 / (s * t) ** 2, c31 / (s**3 * t), c31.T / (s * t**3), c40 / s**4
    law = u22 - r * (u31 + u13) + r * r / 4.0 * (u40 + u40.T + 2.0 * u22)
    return _Moments(r, sd, law)
