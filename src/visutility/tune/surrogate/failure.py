"""Where trials fail: the probability that a configuration gives a value, learnt from those that did not.

Binary Gaussian-process classification, a probit likelihood and Laplace's approximation: Rasmussen and Williams,
Gaussian Processes for Machine Learning (2006), algorithms 3.1 and 3.2. The acquisition is the expected improvement
times that probability, as for any constraint that is not known beforehand (Gelbart, Snoek and Adams, "Bayesian
Optimization with Unknown Constraints", 2014, equation 6); here times its square.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

import numpy as np
from scipy.linalg import lapack
from scipy.special import log_ndtr

from visutility.tune.surrogate.features import Layout
from visutility.tune.surrogate.gp import (
    CONSTANT,
    Array,
    Hyper,
    Indices,
    Posterior,
    Prior,
    cholesky,
    fit,
    matern52,
    squared_distances,
)
from visutility.tune.surrogate.model import Seen

LABELS: Final = Prior(length=(0.0, 0.5), scale=(0.5, 0.5), noise=(-2.0, 0.5))  # a step is no reason for short lengths
LATENT: Final = 4.0  # prior variance of the latent function
CARE: Final = 2.0  # the power of the probability: a failed trial costs as much as another and tells less
SHOWN: Final = 64  # trials of each kind that the process sees, the latest
NEWTON: Final = 30  # steps at most
CLOSE: Final = 1e-6  # steps of the latent values that end it
ROOT_2PI: Final = float(np.sqrt(2.0 * np.pi))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Success:
    """2 log P over feature rows (m, c), P the probability that a trial gives a value. Make one with `success`."""

    process: Posterior

    def score(self, x: Array) -> Array:
        """Return 2 log P (m,). RW (3.25) with (3.82)."""
        mean, sd = self.process.predict(x)
        return np.asarray(CARE * log_ndtr(mean / np.sqrt(1.0 + sd * sd)))

    def slopes(self, x: Array) -> tuple[Array, Array]:
        """Return 2 log P (m,) and its gradients (m, c)."""
        mean, sd, by_mean, by_sd = self.process.gradients(x)
        wide = np.sqrt(1.0 + sd * sd)
        z = mean / wide
        value = log_ndtr(z)
        rise = np.exp(-0.5 * z * z - value) / ROOT_2PI  # φ(z) / Φ(z)
        return CARE * value, CARE * (rise / wide)[:, None] * (by_mean - (z * sd / wide)[:, None] * by_sd)


def success(seen: Seen, plan: Layout) -> Success | None:
    """Return what the failed trials teach; None when none failed."""
    if not len(seen.failed):
        return None
    worked, failed = seen.x[-SHOWN:], seen.failed[-SHOWN:]
    x = np.concatenate([worked, failed])
    return Success(_process(x.tobytes(), len(worked), plan.groups.tobytes()))


@lru_cache(maxsize=8)
def _process(x_bytes: bytes, worked: int, group_bytes: bytes) -> Posterior:
    """The latent process, its length scales those of a regression of the labels."""
    groups = np.frombuffer(group_bytes, dtype=np.intp)
    x = np.frombuffer(x_bytes).reshape(-1, len(groups))
    labels = np.where(np.arange(len(x)) < worked, 1.0, -1.0)
    lengths = fit(x, labels, groups, LABELS, (LABELS.mode(int(groups.max()) + 1),)).lengths
    return laplace(x, labels, Hyper(lengths, LATENT, 0.0), groups)


def laplace(x: Array, labels: Array, hyper: Hyper, groups: Indices) -> Posterior:
    """Return the approximate process of the latent function given labels ±1 (n,) at features x (n, c).

    RW algorithm 3.1: Newton's steps f ← K (K + W⁻¹)⁻¹ (f + W⁻¹ ∇) to the mode, W and ∇ from (3.16). Its mean is
    k*ᵀ ∇ (3.21) and its covariance that of observations with the noise W⁻¹ (3.24).
    """
    z = x / hyper.lengths[groups]
    covariance = hyper.scale * matern52(squared_distances(z, z)) + CONSTANT
    covariance.flat[:: len(x) + 1] = hyper.scale + CONSTANT
    f = np.zeros(len(x))
    for _ in range(NEWTON):
        slope = labels * np.exp(-0.5 * f * f - log_ndtr(labels * f)) / ROOT_2PI
        noise = 1.0 / np.maximum(slope * slope + f * slope, 1e-9)
        lower = cholesky(covariance + np.diag(noise), hyper.scale)
        weights = lapack.dpotrs(lower, f + noise * slope, lower=1)[0]
        f, before = covariance @ weights, f
        if float(np.abs(f - before).max()) < CLOSE:
            break
    return Posterior(hyper, groups, z, lower, weights, None)
