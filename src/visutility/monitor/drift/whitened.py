"""One test of a mean vector: features whitened and clipped by a reference window, calibrated on rows held out of it.

The statistic is Hotelling's (1931), T = |mean z - c|^2 / (1/n + 1/m), with two changes. The covariance is shrunk, so
that there may be more features than rows. And z, the whitened feature vector of a row, is pulled onto a sphere when it
lies outside: most rows do, so that this is nearly the spatial sign test (Mottonen & Oja 1995), which heavy tails
cannot upset and which sees small shifts better.

Its law without a change is a weighted sum of chi-squares whose first three cumulants are traces of powers of z's
covariance. In the reference itself they come out wrong: the whitening fits the rows that it was learnt from. They are
taken from rows that were held out instead, and matched with a shifted gamma law (Pearson's type III; Zhang 2005).
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy import special

from visutility.monitor.state import Floats

FOLDS = 5
PAIRED = 2000  # held-out rows, at most, whose pairs and triples are counted: more cost their cube and tell little more


@final
@dataclass(frozen=True, slots=True)
class Whitened:
    """A reference window of m feature vectors (m, p), learnt: tests whether the mean of n others is the same."""

    rows: float  # of the reference, as its centre's error counts them
    mean: Floats  # (p,) of the features
    to_z: Floats  # (p, p): (features - mean) @ to_z has unit covariance, but for the shrinkage
    radius: float  # of the sphere
    centre: Floats  # (p,), the mean of the reference's z
    cumulants: tuple[float, float, float, float]  # of held-out rows: tr C and its error, tr C^2, tr C^3, for z's C
    fourth: float  # their mean |z|^4

    @classmethod
    def fit(cls, features: Floats, *, clip: float, least: float, worth: float = 1.0) -> "Whitened":
        """Learn from features (m, p), m at least 4 `FOLDS`.

        The sphere's radius is the quantile `clip` of |z|; the correlation matrix is shrunk towards the identity by
        `least`, or by p / 2m where that is more. The centre's error is taken to be that
        of `worth` m rows. O(m p^2 + p^3 + k^3), `FOLDS` + 1 times, k = min(m / `FOLDS`, `PAIRED`).
        """
        m, p = features.shape
        shrink = max(least, min(p / (2.0 * m), 0.5))
        fold = np.arange(m) % FOLDS
        sums = [_held_out(features[fold != k], features[fold == k], clip, shrink) for k in range(FOLDS)]
        first, second, third, fourth = np.mean([moments for moments, _ in sums], 0).tolist()
        third = max(third, second**2 / max(first, 1e-300))  # true of every covariance
        error = float(np.concatenate([squares for _, squares in sums]).std()) / m**0.5
        mean, to_z = whitening(features, shrink)
        z, radius = _radius((features - mean) @ to_z, clip)
        return cls(m * worth, mean, to_z, radius, z.mean(0), (first, error, second, third), fourth)

    def z(self, features: Floats) -> Floats:
        """Return features (n, p) whitened and clipped, less the reference's centre."""
        return _clipped((features - self.mean) @ self.to_z, self.radius) - self.centre

    def test(self, z: Floats) -> tuple[float, float, float]:
        """Return the p-value, T and the estimated length of the shift, in reference deviations, from z (n, p)."""
        n, m = len(z), self.rows
        shift = z.mean(0)
        scale = 1.0 / n + 1.0 / m
        square = float(shift @ shift)
        first, error, second, third = self.cumulants
        if second <= 0.0:  # nothing varies in the reference: nothing can be compared
            return 1.0, 0.0, 0.0
        few = (n**-3 + m**-3) / scale**2  # how far the sums are from normal
        variance = 2.0 * second * (1.0 - few) + few * max(self.fourth - first**2, 0.0)
        skew = 8.0 * third
        b = skew / (4.0 * variance)
        freedom = variance / (2.0 * b * b)
        at = (square / scale - first - error + b * freedom) / (2.0 * b)
        p = float(special.gammaincc(freedom / 2.0, max(at, 0.0)))
        return min(p, 1.0), square / scale, max(square - scale * first, 0.0) ** 0.5


def whitening(features: Floats, shrink: float, floor: float = 0.0) -> tuple[Floats, Floats]:
    """Return the mean (p,) and the matrix (p, p) that whitens; constant features are left out (zero rows).

    `shrink` in [0, 1] is the weight of the identity beside the correlation matrix. With a `floor`, features count as if
    independent noise of that standard deviation were added to each.
    """
    mean = features.mean(0)
    per = 1.0 / np.sqrt(features.var(0) + floor**2) if floor else inverse_spread(features)
    scaled = (features - mean) * per
    correlation = scaled.T @ scaled / len(scaled) + np.diag((floor * per) ** 2)
    values, vectors = np.linalg.eigh((1.0 - shrink) * correlation + shrink * np.eye(len(mean)))
    return mean, per[:, None] * (vectors / np.sqrt(values))


def inverse_spread(features: Floats) -> Floats:
    """Return 1 / standard deviation of each feature, 0 for those that do not vary."""
    spread = features.std(0)
    varies = spread > 1e-9 * np.maximum(np.abs(features).max(0), 1e-300)
    return np.where(varies, 1.0 / np.where(varies, spread, 1.0), 0.0)


def _clipped(z: Floats, radius: float) -> Floats:
    length = np.sqrt(np.einsum("ij,ij->i", z, z))
    return np.asarray(z * (radius / np.maximum(length, radius))[:, None], np.float64)


def _radius(z: Floats, clip: float) -> tuple[Floats, float]:
    radius = max(float(np.quantile(np.sqrt(np.einsum("ij,ij->i", z, z)), clip)), 1e-12)
    return _clipped(z, radius), radius


def _held_out(learn: Floats, rest: Floats, clip: float, shrink: float) -> tuple[list[float], Floats]:
    """Return tr C, tr C^2, tr C^3 and mean |z|^4 of the rest, free of bias: from pairs and triples of rows."""
    mean, to_z = whitening(learn, shrink)
    inside, radius = _radius((learn - mean) @ to_z, clip)
    z = _clipped((rest - mean) @ to_z, radius) - inside.mean(0)
    squares = np.einsum("ij,ij->i", z, z)
    z = z[:: -(-len(z) // PAIRED)]
    gram = z @ z.T
    np.fill_diagonal(gram, 0.0)
    k = len(z)
    second = float(np.sum(gram * gram)) / (k * (k - 1))
    third = float(np.sum((gram @ gram) * gram)) / (k * (k - 1) * (k - 2))
    first = float(squares.mean()) / (1.0 + 1.0 / len(learn))  # the learnt centre errs too
    return [first, second, third, float(np.mean(squares**2))], squares
