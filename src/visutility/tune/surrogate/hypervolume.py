"""The expected hypervolume improvement of two objectives, exact for independent normals, on a log scale.

Let H(t) be the least second objective among the front's points whose first one is at most t (the reference's where
there is none). The area that f adds below the reference is the integral of (H(t) - f₂)⁺ over t from f₁ on. Its
expectation is a sum over the strips between the front's points: (E[(b - f₁)⁺] - E[(a - f₁)⁺]) E[(H - f₂)⁺] for the
strip from a to b (Yang, Emmerich, Deutz and Bäck, "Multi-Objective Bayesian Global Optimization using expected
hypervolume improvement gradient", 2019, equation (14) in this form). Each factor is made of expected improvements,
whose logarithms stay stable far away (Ament et al., 2023).
"""

from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from visutility.tune.pareto import front
from visutility.tune.surrogate.acquisition import Surrogate, log_h

Array: TypeAlias = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True, eq=False)
class VolumeGain:
    """The log of the expected hypervolume improvement of two surrogates. Make one with `volume_gain`."""

    first: Surrogate
    second: Surrogate
    edges: Array  # (k,) upper ends of the strips, rising; the lowest strip has no lower end
    heights: Array  # (k,) H in each strip

    def score(self, x: Array) -> Array:
        """Return the log of the expected improvement (m,)."""
        widths, _, _ = self._widths(*self.first.predict(x))
        rises, _, _ = _improvements(*self.second.predict(x), self.heights)
        return np.asarray(logsumexp(widths + rises, axis=1))

    def slopes(self, x: Array) -> tuple[Array, Array]:
        """Return the log of the expected improvement (m,) and its gradients (m, c)."""
        one, two = self.first.gradients(x), self.second.gradients(x)
        widths, *by_first = self._widths(one[0], one[1])
        rises, *by_second = _improvements(two[0], two[1], self.heights)
        value = logsumexp(widths + rises, axis=1)
        share = np.exp(widths + rises - value[:, None])
        slope = np.zeros_like(x)
        for by, (_, _, mean_slope, sd_slope) in ((by_first, one), (by_second, two)):
            slope += (share * by[0]).sum(1)[:, None] * mean_slope + (share * by[1]).sum(1)[:, None] * sd_slope
        return np.asarray(value), slope

    def _widths(self, mean: Array, sd: Array) -> tuple[Array, Array, Array]:
        """Log of E[(b - f₁)⁺] - E[(a - f₁)⁺] (m, k) for each strip, and its derivatives by mean and sd."""
        upto, by_mean, by_sd = _improvements(mean, sd, self.edges)
        below = np.column_stack([np.full(len(mean), -np.inf), upto[:, :-1]])
        less = np.minimum(below - upto, -1e-15)  # log of the lower edge's share of the upper one
        left = -np.expm1(less)
        more, fewer = 1.0 / left, (1.0 - left) / left
        shifted = [np.concatenate([one[:, :1], one[:, :-1]], axis=1) for one in (by_mean, by_sd)]
        return upto + np.log(left), more * by_mean - fewer * shifted[0], more * by_sd - fewer * shifted[1]


def volume_gain(first: Surrogate, second: Surrogate, points: Array, reference: Array) -> VolumeGain:
    """Return the term for what rows (n, 2) already dominate below the reference (2,)."""
    inside = points[(points < reference).all(axis=1)]
    kept = np.unique(inside[front(inside)], axis=0) if len(inside) else inside
    edges, heights = np.append(kept[:, 0], reference[0]), np.concatenate([reference[1:], kept[:, 1]])
    return VolumeGain(first, second, edges, heights)


def _improvements(mean: Array, sd: Array, levels: Array) -> tuple[Array, Array, Array]:
    """Log EI (m, k) below each level (k,), and its derivatives by mean and sd."""
    z = (levels - mean[:, None]) / sd[:, None]
    flat, rise = log_h(z.ravel())
    slope = rise.reshape(z.shape)
    return flat.reshape(z.shape) + np.log(sd)[:, None], -slope / sd[:, None], (1.0 - z * slope) / sd[:, None]
