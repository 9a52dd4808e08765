"""Gaussian-process regression: Matérn 5/2, one length scale a parameter, hyper-parameters by MAP.

Equation numbers "RW" are those of Rasmussen and Williams, Gaussian Processes for Machine Learning (2006). The prior of
the length scales is that of Hvarfner, Hellsten and Nardi, "Vanilla Bayesian Optimization Performs Great in High
Dimensions" (2024), with the figures of their code. Shapes: n observed rows, m rows to predict, c feature columns, p
parameters. Targets are expected near zero mean and unit spread (see `warp`).
"""

from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from visutility.core.errors import InvalidSetting
from visutility.tune.surrogate.descent import minimise

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

LENGTH_BOUNDS: Final = (2.5e-2, 1e3)
NOISE_BOUNDS: Final = (1e-6, 1.0)
SCALE_BOUNDS: Final = (5e-2, 2e1)
SURE: Final = 0.1  # width of the prior of a declared noise: the bend of the values changes it over their range
CONSTANT: Final = 1.0  # prior variance of the constant mean, which is integrated out (RW section 2.7)
ROOT5: Final = 5.0**0.5
STEPS: Final = 20
LEAST: Final = 1e-12  # the least posterior variance


@final
@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of the hyper-parameters beforehand; each has a log-normal density given as (μ, σ).

    Length and noise are those of Hvarfner et al. (2024), who add ½ log p to the length's μ; they fix s at 1. Where the
    noise is known, `declared` is its standard deviation in units of the values.
    """

    length: tuple[float, float] = (2.0**0.5, 3.0**0.5)
    scale: tuple[float, float] = (1.0, 1.0)
    noise: tuple[float, float] = (-4.0, 1.0)
    declared: float | None = None

    def resolved(self, per_value: float) -> "Prior":
        """Return the prior whose noise is the declared one, when a target moves by `per_value` a unit of the values."""
        if self.declared is None:
            return self
        variance = min(max((self.declared * per_value) ** 2, NOISE_BOUNDS[0]), NOISE_BOUNDS[1])
        return replace(self, noise=(float(np.log(variance)) + SURE * SURE, SURE), declared=None)

    def shape(self, parameters: int) -> tuple[Array, Array]:
        """Return mode and width (p + 2,) of the prior as a function of `Hyper.vector()`.

        The density of a LogNormal(μ, σ) at e^v is, as a function of v, a parabola in the log with its top at μ - σ².
        """
        mean, width = self.length
        pairs = [(mean + 0.5 * np.log(parameters), width)] * parameters + [self.scale, self.noise]
        return np.array([mu - sd * sd for mu, sd in pairs]), np.array([sd for _, sd in pairs])

    def mode(self, parameters: int) -> "Hyper":
        """Return the most probable hyper-parameters before any observation: the fixed start of every fit."""
        if parameters < 1:
            raise InvalidSetting(f"a surrogate over {parameters} parameters", hint="give it at least one")
        return Hyper.of(self.shape(parameters)[0])


@final
@dataclass(frozen=True, slots=True, eq=False)
class Hyper:
    """Hyper-parameters of the kernel s·Matérn52(‖(x - x′)/ℓ‖) + σ²·[same row]."""

    lengths: Array  # (p,) length scales ℓ, in feature units
    scale: float  # s, the signal variance
    noise: float  # σ², the variance of one evaluation about its mean

    def vector(self) -> Array:
        """Return the logarithms as one vector (p + 2,): log ℓ, log s, log σ²."""
        return np.asarray(np.log(np.concatenate([self.lengths, [self.scale, self.noise]])))

    @classmethod
    def of(cls, vector: Array) -> "Hyper":
        """Return the hyper-parameters whose `vector()` this is."""
        plain = np.exp(vector)
        return cls(plain[:-2], float(plain[-2]), float(plain[-1]))


def matern52(sq: Array) -> Array:
    """Return the Matérn 5/2 correlation for squared scaled distances of any shape. RW (4.17)."""
    a = ROOT5 * np.sqrt(sq)
    return np.asarray((1.0 + a + a * a / 3.0) * np.exp(-a))


def squared_distances(a: Array, b: Array) -> Array:
    """Return ‖aᵢ - bⱼ‖² (n, m) for rows a (n, c) and b (m, c), by one matrix product; never negative."""
    sq = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2.0 * (a @ b.T)
    return np.asarray(np.maximum(sq, 0.0, out=sq))


def negative_log_posterior(
    vector: Array, x: Array, y: Array, groups: Indices, prior: Prior, between: Array | None = None
) -> tuple[float, Array]:
    """Return -log p(y | X, θ) - log p(θ), up to a constant, and its gradient, for θ = exp(vector). RW (5.8), (5.9).

    x (n, c) features, y (n,) targets, groups (c,) the parameter that each column belongs to, between (n, n) a factor on
    the covariance of each two rows (1 where left out). Costs n³ + n²c. Infinite, with a zero gradient, where the
    covariance is not positive definite.
    """
    hyper = Hyper.of(vector)
    n = len(y)
    z = x / hyper.lengths[groups]
    a = ROOT5 * np.sqrt(squared_distances(z, z))
    decay = hyper.scale * np.exp(-a)
    signal = decay * (1.0 + a + a * a / 3.0)
    covariance = signal + CONSTANT
    if between is not None:
        signal, decay, covariance = signal * between, decay * between, covariance * between
    covariance.flat[:: n + 1] = hyper.scale + CONSTANT + hyper.noise
    lower, bad = lapack.dpotrf(covariance.T, lower=1, clean=1, overwrite_a=1)
    if bad:
        return np.inf, np.zeros_like(vector)
    alpha = lapack.dpotrs(lower, y, lower=1)[0]
    mode, width = prior.shape(len(hyper.lengths))
    off = (vector - mode) / width
    value = 0.5 * float(y @ alpha) + float(np.log(lower.diagonal()).sum()) + 0.5 * float(off @ off)
    inverse = lapack.dpotri(lower, lower=1)[0]
    inverse = inverse + inverse.T
    inverse.flat[:: n + 1] *= 0.5
    weight = inverse - np.outer(alpha, alpha)  # K⁻¹ - ααᵀ: the gradient is half its product with ∂K/∂θ
    pull = weight * decay * (1.0 + a) * (5.0 / 3.0)  # ∂K/∂log ℓ = this times (zᵢ - zⱼ)², column by column
    columns = pull.sum(1) @ (z * z) - (z * (pull @ z)).sum(0)
    gradient = off / width
    gradient[:-2] += np.bincount(groups, weights=columns, minlength=len(hyper.lengths))
    gradient[-2] += 0.5 * float((weight * signal).sum())
    gradient[-1] += 0.5 * hyper.noise * float(np.trace(weight))
    return value, gradient


def fit(
    x: Array, y: Array, groups: Indices, prior: Prior, starts: tuple[Hyper, ...], between: Array | None = None
) -> Hyper:
    """Return the MAP hyper-parameters: at most 20 steps of L-BFGS-B from the best of `starts`.

    Arguments as in `negative_log_posterior`. Depends on them alone, so that it answers the same in every process.
    """
    data = (x, y, groups, prior, between)
    first, *others = (start.vector() for start in starts)
    if others:
        first = min((first, *others), key=lambda vector: negative_log_posterior(vector, *data)[0])
    bounds = np.log([LENGTH_BOUNDS] * (len(first) - 2) + [SCALE_BOUNDS, NOISE_BOUNDS])
    _, width = prior.shape(len(first) - 2)
    found, _ = minimise(
        lambda vector: negative_log_posterior(vector, *data), first, width, bounds[:, 0], bounds[:, 1], steps=STEPS
    )
    return Hyper.of(found)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """A Gaussian process given its observations. Make one with `condition`."""

    hyper: Hyper
    groups: Indices  # (c,)
    z: Array  # (n, c) observed features over their length scales
    lower: Array  # (n, n) Cholesky factor of the covariance, Fortran order
    alpha: Array  # (n,) covariance⁻¹ y
    onto: Array | None  # (n,) factor on each row's covariance with what is predicted

    def fitness(self, count: int) -> float:
        """Return log p of the last `count` targets given the ones before them, up to a constant."""
        last = slice(len(self.alpha) - count, None)
        white = (self.lower.T @ self.alpha)[last]
        return -0.5 * float(white @ white) - float(np.log(self.lower.diagonal()[last]).sum())

    def without_doubt(self, x: Array) -> "Posterior":
        """Return the process as if it had been told its own mean at features x (k, c).

        The mean stays as it is, the variance there goes: the "kriging believer" of Ginsbourger, Le Riche and Carraro
        (2010); Desautels, Krause and Burdick (2014), section 3.2. Not for a process with `onto`.
        """
        if not len(x):
            return self
        more = Factor(self.hyper, self.groups, self.z, self.lower).with_rows(x)
        return Posterior(self.hyper, self.groups, more.z, more.lower, np.append(self.alpha, np.zeros(len(x))), None)

    def mean(self, x: Array) -> Array:
        """Return the mean (m,) of the function at features x (m, c). RW (2.25)."""
        return np.asarray(self._cross(x / self.hyper.lengths[self.groups])[0] @ self.alpha)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Return mean (m,) and standard deviation (m,) of the function, noise not included. RW (2.25), (2.26)."""
        cross, _ = self._cross(x / self.hyper.lengths[self.groups])
        return np.asarray(cross @ self.alpha), self._spread(self._half(cross))

    def gradients(self, x: Array) -> tuple[Array, Array, Array, Array]:
        """Return mean (m,), standard deviation (m,) and their gradients (m, c), (m, c) with respect to x."""
        lengths = self.hyper.lengths[self.groups]
        z = x / lengths
        cross, slope = self._cross(z)
        half = self._half(cross)
        sd = self._spread(half)
        back = blas.dtrsm(1.0, self.lower, half, lower=1, trans_a=1).T  # (m, n): covariance⁻¹ k
        by_mean, by_sd = slope * self.alpha, -slope * back / sd[:, None]
        mean_slope = (by_mean.sum(1)[:, None] * z - by_mean @ self.z) / lengths
        sd_slope = (by_sd.sum(1)[:, None] * z - by_sd @ self.z) / lengths
        return np.asarray(cross @ self.alpha), sd, mean_slope, sd_slope

    def _cross(self, z: Array) -> tuple[Array, Array]:
        """Covariances (m, n) of scaled rows with the observed ones, and w with ∂covariance/∂z = w (z - zᵢ)."""
        a = ROOT5 * np.sqrt(squared_distances(z, self.z))
        decay = self.hyper.scale * np.exp(-a)
        cross, slope = decay * (1.0 + a + a * a / 3.0) + CONSTANT, decay * (1.0 + a) * (-5.0 / 3.0)
        return (cross, slope) if self.onto is None else (cross * self.onto, slope * self.onto)

    def _half(self, cross: Array) -> Array:
        return np.asarray(blas.dtrsm(1.0, self.lower, cross.T, lower=1))

    def _spread(self, half: Array) -> Array:
        left = self.hyper.scale + CONSTANT - np.einsum("ij,ij->j", half, half)
        return np.asarray(np.sqrt(np.maximum(left, LEAST)))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """The covariance of some rows under some hyper-parameters, as its Cholesky factor."""

    hyper: Hyper
    groups: Indices  # (c,)
    z: Array  # (n, c) features over their length scales
    lower: Array  # (n, n) Fortran order

    def with_rows(self, x: Array) -> "Factor":
        """Return the factor with k rows (k, c) appended. n²k, where a full one takes n³/3.

        The new block row of the factor is L⁻¹ applied to the covariances with the old rows; what is left of the new
        rows' own covariance is factored (Golub and Van Loan, Matrix Computations, 4th ed., section 4.2.9). Rows
        that the old ones explain to the last digit get the least variance that keeps the factor regular.
        """
        n, k = len(self.z), len(x)
        z = x / self.hyper.lengths[self.groups]
        scale = self.hyper.scale
        cross = scale * matern52(squared_distances(self.z, z)) + CONSTANT
        half = blas.dtrsm(1.0, self.lower, cross, lower=1)
        own = scale * matern52(squared_distances(z, z)) + CONSTANT
        own.flat[:: k + 1] = scale + CONSTANT + self.hyper.noise
        lower = np.zeros((n + k, n + k), order="F")
        lower[:n, :n] = self.lower
        lower[n:, :n] = half.T
        lower[n:, n:] = cholesky(own - half.T @ half, scale + CONSTANT)
        return Factor(self.hyper, self.groups, np.concatenate([self.z, z]), lower)

    def given(self, y: Array, onto: Array | None = None) -> "Posterior":
        """Return the process given targets y (n,). RW algorithm 2.1."""
        alpha = lapack.dpotrs(self.lower, y, lower=1)[0]
        return Posterior(self.hyper, self.groups, self.z, self.lower, alpha, onto)

    def given_first(self, y: Array) -> "Posterior":
        """Return the process given the targets y (k,) of the first k rows, and its own mean at the others.

        What `Posterior.without_doubt` does, in one step.
        """
        alpha = np.zeros(len(self.z))
        alpha[: len(y)] = lapack.dpotrs(self.lower[: len(y), : len(y)], y, lower=1)[0]
        return Posterior(self.hyper, self.groups, self.z, self.lower, alpha, None)


def factored(hyper: Hyper, x: Array, groups: Indices, between: Array | None = None) -> Factor:
    """Return the factor of the covariance of features x (n, c); `between` (n, n) is a factor on each of its entries."""
    n = len(x)
    z = x / hyper.lengths[groups]
    covariance = hyper.scale * matern52(squared_distances(z, z)) + CONSTANT
    if between is not None:
        covariance *= between
    covariance.flat[:: n + 1] = hyper.scale + CONSTANT + hyper.noise
    return Factor(hyper, groups, z, cholesky(covariance, hyper.scale + CONSTANT))


def condition(
    hyper: Hyper, x: Array, y: Array, groups: Indices, between: Array | None = None, onto: Array | None = None
) -> Posterior:
    """Return the process given targets y (n,) at features x (n, c). RW algorithm 2.1.

    `between` (n, n) and `onto` (n,) weaken the covariance of the rows with each other and with what is predicted (1
    where left out). Where rows coincide and the noise is tiny, the least jitter that makes the factor exist is added.
    """
    return factored(hyper, x, groups, between).given(y, onto)


def cholesky(covariance: Array, most: float) -> Array:
    """Return the lower factor (n, n), Fortran order, with the least jitter, in units of `most`, that makes it exist."""
    diagonal = covariance.diagonal().copy()
    for jitter in (0.0, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1.0):
        covariance.flat[:: len(diagonal) + 1] = diagonal + jitter * most
        lower, bad = lapack.dpotrf(covariance.T, lower=1, clean=1)
        if not bad:
            break
    return np.asarray(lower)
