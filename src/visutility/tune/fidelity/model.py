"""A Gaussian model of learning curves, learnt from the curves of one study, that says where a partial one will end.

A curve is read at a few knots, evenly spaced in log steps up to the horizon, and its values there, compressed so that
what is far from the best matters little, are one draw from a Gaussian N(m, S) shared by all trials of the study. m and
S are fitted by expectation-maximisation with what was not run as missing values (Dempster, Laird and Rubin, 1977). Why
a trial was stopped depends only on what it reported, so what is missing is missing at random, and stopping the bad
ones early does not bias the fit (Rubin, 1976).

S is shrunk towards the covariance of what is known of learning curves before any was seen: a common asymptote, a power
law that decays to it (Domhan et al., 2015), a Wiener process in log steps for what no power law describes, and noise;
that is the prior of Swersky et al. (2014) in log steps. The more curves, the less it matters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from visutility.tune.fidelity.contract import Curve
from visutility.tune.one_thread import one_thread

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

RATIO: Final = 1.45  # of one knot's step to the one before it
LEVEL, DECAY, DRIFT, NOISE = 1.0, 0.15, 0.01, 0.001  # variances of the prior's parts, relative to the values' own
RATES: Final = (0.25, 0.5, 1.0, 2.0)  # of the power laws: 1 at the first knot, 0 at the last
BELIEF: Final = 3.0  # curves that the prior of S is worth
ROUNDS: Final = 8  # of expectation-maximisation
WIDE: Final = 4.0  # prior variance of m, in those of S
LARGEST: Final = math.ldexp(2.0 - 2.0**-52, 1023)  # float
SMALL: Final = 2.0**-128  # what is multiplied by it does not overflow; a power of two, so no other result changes
FAR: Final = 2.0**1000  # values are compressed as if none were farther from the best one than that, in `scale`


@final
@dataclass(frozen=True, slots=True, eq=False)
class CurveModel:
    """A fitted model of the values at the knots, compressed: `mean` (g,), `cov` (g, g).

    `knots` are steps, the last is the horizon. `best` is the lowest final value among the curves that reached the
    horizon, compressed.
    """

    knots: tuple[int, ...]
    mean: Array
    cov: Array
    low: float
    scale: float
    best: float
    reached: int  # curves that came to the horizon

    @one_thread
    def finals(self, curves: Sequence[Curve]) -> list[float]:
        """Return the expected final value of each curve, compressed. O(patterns · g³ + curves · g)."""
        return [float(end) for end in self.ends(np.array([at_knots(curve, self.knots) for curve in curves]))[0]]

    def ends(self, values: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the final values (n,), compressed, given values (n, g) at the knots."""
        values, wide = self.squeeze(values), float(self.cov[-1, -1])
        ends, doubts = np.full(len(values), self.mean[-1]), np.full(len(values), math.sqrt(wide))
        for seen, _, rows in patterns(values):
            if len(seen) and seen[-1] == len(self.knots) - 1:
                ends[rows], doubts[rows] = values[rows, -1], 0.0
            elif len(seen):
                gain = np.linalg.solve(self.cov[seen[:, None], seen], self.cov[seen, -1])
                ends[rows] += ((values[rows[:, None], seen] - self.mean[seen]) * gain).sum(axis=1)
                left = max(0.0, wide - float(self.cov[seen, -1] @ gain))
                doubts[rows] = math.sqrt(left * (1.0 + 1.0 / max(1, self.reached)))
        return ends, doubts

    @one_thread
    def final(self, curve: Curve) -> tuple[float, float]:
        """Return mean and standard deviation of the compressed value the curve would end with. O(g³)."""
        (mean,), (deviation,) = self.ends(at_knots(curve, self.knots)[None])
        return float(mean), float(deviation)

    def known_from(self, share: float) -> int:
        """Return the first knot up to which the values take this share of the variance from the final one."""
        for count in range(1, len(self.knots)):
            between = self.cov[:count, -1]
            if between @ np.linalg.solve(self.cov[:count, :count], between) >= share * self.cov[-1, -1]:
                return self.knots[count - 1]
        return self.knots[-1]

    def squeeze(self, values: Array) -> Array:
        """Return values compressed: linear near the best one, logarithmic far from it. Keeps their order."""
        return _compressed(values, self.low, self.scale)

    def stretch(self, value: float) -> float:
        """Return what `squeeze` compressed."""
        return float(self.stretched(np.array(value)))

    def stretched(self, values: Array) -> Array:
        """Return what `squeeze` compressed, (n,)."""
        with np.errstate(over="ignore"):
            found = self.low * SMALL + self.scale * SMALL * np.sinh(np.minimum(values, 50.0))
        return np.asarray(_grown(found))


def knots_between(first: int, horizon: int) -> tuple[int, ...]:
    """Return the steps at which curves are read: from the first to the horizon, evenly in the log of their count."""
    length = horizon - first + 1
    found = {round(RATIO**k) for k in range(1 + int(math.log(max(1, length), RATIO)))}
    return (*sorted(first - 1 + count for count in found if count * 1.2 < length), horizon)


@lru_cache(maxsize=4096)
def at_knots(curve: Curve, knots: tuple[int, ...]) -> Array:
    """Return the curve's value at each knot, (g,), read-only: the mean of its last reports before it, NaN without any.

    Those in the last eighth of the steps up to a knot count, at least one, so that noise is averaged where it costs
    nothing. A curve that goes beyond the horizon ends there.
    """
    found = np.full(len(knots), np.nan)
    steps, values = np.asarray(curve.steps), np.asarray(curve.values, dtype=np.float64) * SMALL
    start = 0
    ends = np.searchsorted(steps, knots, side="right")
    for at, (knot, end) in enumerate(zip(knots, ends, strict=True)):
        if end > start and (end < len(steps) or steps[end - 1] >= knot - knot // 8):
            first = max(start, int(np.searchsorted(steps, knot - knot // 8)))
            found[at] = values[min(first, end - 1) : end].mean()
        start = end
    found = _grown(found)
    found.flags.writeable = False
    return found


def patterns(values: Array) -> list[tuple[Indices, Indices, Indices]]:
    """Return rows of (n, g) that lack the same values together: columns present, columns missing, rows."""
    groups: dict[bytes, list[int]] = {}
    missing = np.isnan(values)
    for row, mask in enumerate(missing):
        groups.setdefault(mask.tobytes(), []).append(row)
    return [
        (np.flatnonzero(~missing[rows[0]]), np.flatnonzero(missing[rows[0]]), np.asarray(rows))
        for rows in groups.values()
    ]


@one_thread
def fit(curves: Sequence[Curve], horizon: int, rivals: Sequence[Curve] | None = None) -> CurveModel:
    """Return the model of curves, each with at least one report. O(rounds · knots · (knots³ + n knots²)).

    `best` is among `rivals`, by default among `curves`.
    """
    knots = knots_between(min(curve.steps[0] for curve in curves), horizon)
    raw = np.array([at_knots(curve, knots) for curve in curves]).reshape(-1, len(knots))
    return fitted(raw, knots, raw[:, -1] if rivals is None else np.array([at_knots(c, knots)[-1] for c in rivals]))


def fitted(raw: Array, knots: tuple[int, ...], rivals: Array) -> CurveModel:
    """Return the model of the values (n, g) at knots, NaN where there are none; `best` is among the ends of rivals."""
    raw = raw[~np.isnan(raw).all(axis=1)]
    known = raw[~np.isnan(raw)]
    low = float(known.min())
    gap = float(np.median(known / 2.0)) - low / 2.0
    scale = max(min(2.0 * gap, LARGEST), 1e-9 * max(1.0, abs(low)))
    z = _compressed(raw, low, scale)
    spread = max(float(np.nanvar(z)), 1e-6)
    prior = spread * shape_of(knots)
    mean, cov = _maximised(z, prior)
    there = rivals[~np.isnan(rivals)]
    best = float(_compressed(there.min(), low, scale)) if len(there) else float(np.nanmin(z))
    return CurveModel(knots, mean, cov, low, scale, best, int((~np.isnan(z[:, -1])).sum()))


def _compressed(values: Array, low: float, scale: float) -> Array:
    """Return arcsinh((values - low) / scale), finite where the values are. Halved, no difference overflows."""
    most = scale * FAR
    far = np.minimum(np.maximum(values / 2.0 - low / 2.0, -most), most)
    return np.asarray(np.arcsinh(far / (scale / 2.0)))


def _grown(values: Array) -> Array:
    """Return what was multiplied by `SMALL` as it was, finite."""
    return np.minimum(np.maximum(values, -LARGEST * SMALL), LARGEST * SMALL) / SMALL


def shape_of(knots: Sequence[int]) -> Array:
    """Return the prior covariance of a curve at the knots, (g, g), for values of variance about one."""
    u = np.log(np.asarray(knots, dtype=np.float64) - knots[0] + 1.0)
    t = np.exp(u)
    laws = [(t**-rate - t[-1] ** -rate) / max(t[0] ** -rate - t[-1] ** -rate, 1e-12) for rate in RATES]
    back = u[-1] - u
    drift = np.minimum(back[:, None], back[None, :])
    shape: Array = LEVEL + DECAY * sum(np.outer(law, law) for law in laws) + DRIFT * drift + NOISE * np.eye(len(u))
    return shape


def _maximised(z: Array, prior: Array) -> tuple[Array, Array]:
    """Return mean (g,) and covariance (g, g) of rows z (n, g) with NaN where missing, given the prior covariance."""
    g = z.shape[1]
    missing, parts = np.isnan(z), patterns(z)
    centre = float(np.nanmean(z))
    inverse_wide = np.linalg.inv(WIDE * prior)
    mean, cov = np.full(g, centre), prior
    filled = np.where(missing, 0.0, z)
    for _ in range(ROUNDS):
        extra = np.zeros((g, g))
        for seen, unseen, rows in parts:
            if not len(unseen):
                continue
            gain = np.linalg.solve(cov[seen[:, None], seen], cov[seen[:, None], unseen])
            filled[rows[:, None], unseen] = mean[unseen] + (z[rows[:, None], seen] - mean[seen]) @ gain
            left = cov[unseen[:, None], unseen] - cov[unseen[:, None], seen] @ gain
            extra[unseen[:, None], unseen] += len(rows) * left
        precision = np.linalg.inv(cov)
        total = filled.sum(axis=0)
        mean = np.linalg.solve(inverse_wide + len(z) * precision, inverse_wide @ np.full(g, centre) + precision @ total)
        centred = filled - mean
        cov = (BELIEF * prior + centred.T @ centred + extra) / (BELIEF + len(z))
        cov = (cov + cov.T) / 2.0
    return mean, cov
