"""Where trials fail: the probability that a configuration gives a value, learnt from those that did not.

Binary Gaussian-process classification, a probit likelihood and Laplace's approximation: Rasmussen and Williams,
Gaussian Processes for Machine Learning (2006), algorithms 3.1 and 3.2. The acquisition is the expected improvement
times that probability, as for any constraint that is not known beforehand (Gelbart, Snoek and Adams, "Bayesian
Optimization with Unknown Constraints", 2014, equation 6); here times its square.

The length scales are those of a regression of the labels, fitted at the milestones of `model`; the labels since then
are taken in at once.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, final

import numpy as np
from scipy.linalg import lapack
from scipy.special import log_ndtr

from visutility.tune.space import Mask
from visutility.tune.strategy import State
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
from visutility.tune.surrogate.model import FIRST, Seen, milestones

LABELS: Final = Prior(length=(0.0, 0.5), scale=(0.5, 0.5), noise=(-2.0, 0.5))  # a step is no reason for short lengths
LATENT: Final = 4.0  # prior variance of the latent function
CARE: Final = 2.0  # the power of the probability: a failed trial costs as much as another and tells less
SHOWN: Final = 32  # trials of each kind that a process sees, the latest
LIKELY: Final = 0.5  # a failed trial was an accident where success is more probable than this
NEWTON: Final = 30  # steps at most
CLOSE: Final = 1e-4  # steps of the latent values that end it: the next one would be about its square
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

    def sorted(self, seen: Seen) -> Seen:
        """Return the trials with the latest failed ones as the process of the values should know of them.

        Where failing was the more probable, they stay failed, and count as middling values: nothing is to be had
        there. The others failed by accident: they join the pending ones, which have the value expected of them, so
        that they neither draw the search there again nor push it away from a good region.
        """
        failed = seen.failed[-SHOWN:]
        accident = self.score(failed) > CARE * np.log(LIKELY)
        return replace(seen, failed=failed[~accident], pending=np.concatenate([failed[accident], seen.pending]))


def success(state: State, plan: Layout) -> Success | None:
    """Return what the failed trials teach; None when none failed."""
    failed = np.isnan(state.values)
    if not failed.any():
        return None
    x, worked = _shown(state, plan, failed)
    return Success(_process(x.tobytes(), worked, plan.groups.tobytes(), _lengths(state, plan, failed).tobytes()))


def _shown(state: State, plan: Layout, failed: Mask) -> tuple[Array, int]:
    """The features (k, c) of the latest trials that worked, then of those that failed, and how many worked."""
    worked = np.flatnonzero(~failed)[-SHOWN:]
    at = np.concatenate([worked, np.flatnonzero(failed)[-SHOWN:]])
    return plan.features(state.units[at], state.masks[at]), len(worked)


def _lengths(state: State, plan: Layout, failed: Mask) -> Array:
    """The length scales (p,) fitted at the last milestone, or now where no trial had failed by then."""
    if len(failed) < FIRST:
        return LABELS.mode(plan.parameters).lengths
    done = milestones(len(failed))[-1]
    done = done if failed[:done].any() else len(failed)
    x, worked = _shown(state, plan, failed[:done])
    return _fitted(x.tobytes(), worked, plan.groups.tobytes())


@lru_cache(maxsize=32)
def _fitted(x_bytes: bytes, worked: int, group_bytes: bytes) -> Array:
    x, labels, groups = _labelled(x_bytes, worked, group_bytes)
    return fit(x, labels, groups, LABELS, (LABELS.mode(int(groups.max()) + 1),)).lengths


@lru_cache(maxsize=8)
def _process(x_bytes: bytes, worked: int, group_bytes: bytes, length_bytes: bytes) -> Posterior:
    """The latent process."""
    x, labels, groups = _labelled(x_bytes, worked, group_bytes)
    return laplace(x, labels, Hyper(np.frombuffer(length_bytes), LATENT, 0.0), groups)


def _labelled(x_bytes: bytes, worked: int, group_bytes: bytes) -> tuple[Array, Array, Indices]:
    groups = np.frombuffer(group_bytes, dtype=np.intp)
    x = np.frombuffer(x_bytes).reshape(-1, len(groups))
    return x, np.where(np.arange(len(x)) < worked, 1.0, -1.0), groups


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
        noisy = covariance.copy()
        noisy.flat[:: len(x) + 1] += noise
        lower = cholesky(noisy, hyper.scale)
        weights = lapack.dpotrs(lower, f + noise * slope, lower=1)[0]
        f, before = covariance @ weights, f
        if float(np.abs(f - before).max()) < CLOSE:
            break
    return Posterior(hyper, groups, z, lower, weights, None)
