"""Input warping: each number through an increasing curve of its own, learnt with the process.

Snoek, Swersky, Zemel and Adams, "Input Warping for Bayesian Optimization of Non-Stationary Functions" (2014): theirs is
the Beta distribution function, equation (7); here Kumaraswamy's, w(x) = 1 - (1 - xᵃ)ᵇ, which needs no special function.
log a and log b have a normal prior about 0, where nothing is bent. Only columns of numbers are bent.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from scipy.linalg import lapack

from visutility.tune.surrogate.descent import minimise
from visutility.tune.surrogate.gp import CONSTANT, ROOT5, Array, Hyper, Indices, Posterior, squared_distances

SPREAD: Final = 0.5  # of log a and log b beforehand
MOST: Final = 2.0  # |log a|, |log b| at most
INSIDE: Final = 1e-9  # places are kept this far from 0 and 1, where slopes may be infinite


@final
@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """w of each of k feature columns; the other columns stay as they are."""

    columns: Indices  # (k,)
    powers: Array  # (2k,) log a, then log b

    def __call__(self, x: Array) -> Array:
        """Return the bent rows (m, c)."""
        return self.with_slopes(x)[0]

    def with_slopes(self, x: Array) -> tuple[Array, Array]:
        """Return the bent rows (m, c) and by how much each place moves with x (m, c)."""
        bent, slope = x.copy(), np.ones_like(x)
        k = len(self.columns)
        a, b = np.exp(self.powers[:k]), np.exp(self.powers[k:])
        place = np.clip(x[:, self.columns], INSIDE, 1.0 - INSIDE)
        power = place**a
        bent[:, self.columns] = 1.0 - (1.0 - power) ** b
        slope[:, self.columns] = a * b * power / place * (1.0 - power) ** (b - 1.0)
        return bent, slope

    def by_powers(self, x: Array) -> Array:
        """Return the derivatives (m, 2k) of the bent places with respect to log a, then log b."""
        k = len(self.columns)
        a, b = np.exp(self.powers[:k]), np.exp(self.powers[k:])
        place = np.clip(x[:, self.columns], INSIDE, 1.0 - INSIDE)
        left = 1.0 - place**a
        by_a = b * left ** (b - 1.0) * place**a * np.log(place) * a
        by_b = -(left**b) * np.log(left) * b
        return np.concatenate([by_a, by_b], axis=1)


def loss(powers: Array, x: Array, y: Array, columns: Indices, hyper: Hyper, groups: Indices) -> tuple[float, Array]:
    """Return -log p(y | w(X)) - log p(powers), up to a constant, and its gradient (2k,), the kernel's θ kept."""
    curves = Curves(columns, powers)
    n, lengths = len(y), hyper.lengths[groups]
    z = curves(x) / lengths
    a = ROOT5 * np.sqrt(squared_distances(z, z))
    decay = hyper.scale * np.exp(-a)
    covariance = decay * (1.0 + a + a * a / 3.0) + CONSTANT
    covariance.flat[:: n + 1] = hyper.scale + CONSTANT + hyper.noise
    lower, bad = lapack.dpotrf(covariance, lower=1, clean=1)
    if bad:
        return np.inf, np.zeros_like(powers)
    alpha = lapack.dpotrs(lower, y, lower=1)[0]
    off = powers / SPREAD
    value = 0.5 * float(y @ alpha) + float(np.log(lower.diagonal()).sum()) + 0.5 * float(off @ off)
    weight = lapack.dpotrs(lower, np.eye(n), lower=1)[0] - np.outer(alpha, alpha)
    pull = weight * decay * (1.0 + a) * (5.0 / 3.0)
    by_place = -(z * pull.sum(1)[:, None] - pull @ z) / lengths
    by_column = np.concatenate([by_place[:, columns]] * 2, axis=1)
    return value, (by_column * curves.by_powers(x)).sum(0) + off / SPREAD


def fitted_curves(x: Array, y: Array, columns: Indices, hyper: Hyper, groups: Indices) -> Curves:
    """Return the most probable curves for targets y (n,) at features x (n, c), given the kernel's hyper-parameters."""
    k = 2 * len(columns)
    bound = np.full(k, MOST)
    data = (x, y, columns, hyper, groups)
    found, _ = minimise(lambda v: loss(v, *data), np.zeros(k), np.full(k, SPREAD), -bound, bound, steps=15, far=1.0)
    return Curves(columns, found)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Bent:
    """A process over bent features, asked at features as they are."""

    process: Posterior
    curves: Curves

    def mean(self, x: Array) -> Array:
        """Return the mean (m,) at features x (m, c)."""
        return self.process.mean(self.curves(x))

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Return means and standard deviations (m,) at features x (m, c)."""
        return self.process.predict(self.curves(x))

    def gradients(self, x: Array) -> tuple[Array, Array, Array, Array]:
        """Return means and standard deviations (m,), and their gradients (m, c) with respect to x."""
        bent, slope = self.curves.with_slopes(x)
        mean, sd, by_mean, by_sd = self.process.gradients(bent)
        return mean, sd, by_mean * slope, by_sd * slope
