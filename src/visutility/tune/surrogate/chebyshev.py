"""The expected improvement of one weighting of several objectives: the worst of them, each in its own weight.

The weighting is the Chebyshev scalarisation max_j w_j (f_j - z_j) of Knowles, "ParEGO" (2006), equation (2), with
random weights for each trial. There one process models the scalarised values; here each objective has its own, and
the expectation is exact for independent normals: with S the scalarisation, E[(b - S)⁺] = ∫ P(S ≤ t) dt up to b, and
P(S ≤ t) = Π_j Φ((z_j + t/w_j - mean_j) / sd_j). By Gauss-Legendre quadrature, on a log scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, logsumexp

from visutility.tune.surrogate.acquisition import LOG_ROOT_2PI, Surrogate

Array: TypeAlias = NDArray[np.float64]

NODES: Final = 16
DEEP: Final = 6.0  # standard deviations below its mean that an objective is followed
NARROW: Final = 1e-3  # least width of the integral, in spreads


@final
@dataclass(frozen=True, slots=True, eq=False)
class WeightedGain:
    """The log of the expected improvement of max_j w_j (f_j - z_j) below `best`."""

    models: Sequence[Surrogate]
    weights: Array  # (m,) above 0
    ideal: Array  # (m,) z
    best: float

    def score(self, x: Array) -> Array:
        """Return the log of the expected improvement (m,)."""
        seen = [model.predict(x) for model in self.models]
        means, sds = np.stack([mean for mean, _ in seen], axis=1), np.stack([sd for _, sd in seen], axis=1)
        return np.asarray(logsumexp(self._parts(means, sds)[0], axis=1))

    def slopes(self, x: Array) -> tuple[Array, Array]:
        """Return the log of the expected improvement (m,) and its gradients (m, c), the nodes held where they are."""
        seen = [model.gradients(x) for model in self.models]
        means, sds = np.stack([one[0] for one in seen], axis=1), np.stack([one[1] for one in seen], axis=1)
        logs, z = self._parts(means, sds)
        value = logsumexp(logs, axis=1)
        share = np.exp(logs - value[:, None])[:, :, None]
        hazard = np.exp(-0.5 * z * z - LOG_ROOT_2PI - log_ndtr(z))  # φ/Φ
        by_mean = -(share * hazard).sum(axis=1) / sds
        by_sd = -(share * hazard * z).sum(axis=1) / sds
        slope = np.zeros_like(x)
        for at, (_, _, mean_slope, sd_slope) in enumerate(seen):
            slope += by_mean[:, at, None] * mean_slope + by_sd[:, at, None] * sd_slope
        return np.asarray(value), slope

    def _parts(self, means: Array, sds: Array) -> tuple[Array, Array]:
        """Logs of the quadrature's summands (m, nodes), and z (m, nodes, objectives) at each node."""
        nodes, shares = _nodes()
        low = (self.weights * (means - DEEP * sds - self.ideal)).max(axis=1)
        width = np.maximum(self.best - low, NARROW)
        t = self.best - 0.5 * width[:, None] * (1.0 + nodes)
        z = (self.ideal + t[:, :, None] / self.weights - means[:, None]) / sds[:, None]
        return np.sum(log_ndtr(z), axis=2) + np.log(0.5 * width[:, None] * shares), z


@lru_cache(maxsize=1)
def _nodes() -> tuple[Array, Array]:
    """Places in [-1, 1] and weights of the quadrature, read-only."""
    found = np.polynomial.legendre.leggauss(NODES)
    for one in found:
        one.flags.writeable = False
    return found


def weighted_gain(models: Sequence[Surrogate], points: Array, draw: np.random.Generator) -> WeightedGain:
    """Return the term for one random weighting; `points` (n, m) is what is expected of the trials so far.

    Weights are uniform over the simplex, in units of the extent of the points.
    """
    ideal, extent = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 0.1)
    share: Array = -np.log1p(-draw.random(points.shape[1]))
    weights = np.maximum(share / share.sum(), 1e-2) / extent
    best = float((weights * (points - ideal)).max(axis=1).min())
    return WeightedGain(tuple(models), weights, ideal, best)
