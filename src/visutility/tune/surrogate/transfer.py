"""How alike a new study and earlier ones are, read off the new values.

At a level ρ the covariance of the new study with the study t before it is k(x, x′) ρ^(¾ + ¼ t): an intrinsic model of
coregionalisation (Bonilla, Chai and Williams, "Multi-task Gaussian Process Prediction", 2007, equation (1)) whose task
matrix falls off with age. The new values v are a line of what the earlier scale would show: v = b (g + a). Offset a and
stretch b are integrated out, so that a metric in other units, or one whose level moved, says as much as any.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from scipy.linalg import blas, lapack

from visutility.tune.surrogate.gp import CONSTANT, Array, Hyper, Indices, Posterior, matern52, squared_distances
from visutility.tune.surrogate.gp import cholesky as factor
from visutility.tune.surrogate.warp import Bend, warped

NONE: Final = 0.2  # prior probability that the earlier studies are of no use
MOST: Final = 64  # new values that the levels are weighed by
SAME_OFFSET, SAME_STRETCH = 1.0, 0.5  # spreads by which the level moves, and the log of the stretch, on one scale
FREE_OFFSET: Final = 100.0  # the same of a scale that is another one
FARTHEST: Final = 6.0  # values further from those of the latest study, in its spreads, are on another scale
LEAST_SPREAD: Final = 0.02  # and so are values that hardly differ on its scale


@final
@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """The covariance of the earlier trials at one ρ, as its Cholesky factor."""

    rho: float
    onto: Array  # (h,) factor on each trial's covariance with the new study
    lower: Array  # (h, h) Fortran order
    white: Array  # (h,) lower⁻¹ times the targets


@final
@dataclass(frozen=True, slots=True, eq=False)
class Belief:
    """What the new values say: how probable each level is, and the new values on the earlier scale."""

    useless: float  # probability that ρ is 0
    level: Level  # the most probable of the others
    targets: Array  # (n,) the new values on the scale of the earlier targets, at that level


def level_of(hyper: Hyper, z: Array, targets: Array, ages: Array, rho: float) -> Level:
    """Return the level ρ of earlier trials: scaled features z (h, c), targets (h,), ages (h,), 1 for the latest."""
    between, onto = relation(ages, rho)
    covariance = (hyper.scale * matern52(squared_distances(z, z)) + CONSTANT) * between
    covariance.flat[:: len(z) + 1] = hyper.scale + CONSTANT + hyper.noise
    lower = np.asfortranarray(factor(covariance, hyper.scale + CONSTANT))
    return Level(rho, onto, lower, blas.dtrsm(1.0, lower, targets[:, None], lower=1)[:, 0])


def relation(ages: Array, rho: float) -> tuple[Array, Array]:
    """Return ρ^(¾ + ¼|t - t′|), 1 within a study, between rows of these ages (h, h) and with the new study (h,)."""
    apart = np.abs(ages[:, None] - ages)
    factors = np.where(apart == 0.0, 1.0, rho ** (0.75 + 0.25 * apart))
    return factors, np.where(ages == 0.0, 1.0, rho ** (0.75 + 0.25 * ages))


def weigh(
    hyper: Hyper,
    groups: Indices,
    z: Array,
    levels: tuple[Level, ...],
    bend: Bend,
    x: Array,
    values: Array,
    kept: Indices,
) -> Belief:
    """Return the belief after new values (n,), n >= 1, at features x (n, c); the levels are weighed by the `kept` ones.

    `z` (h, c): scaled features of the earlier trials, `bend`: the scale of the latest study. Costs h²m for m kept.
    """
    placed, same = _placed(bend, values)
    v = placed[kept]
    new = x[kept] / hyper.lengths[groups]
    own = hyper.scale * matern52(squared_distances(new, new)) + CONSTANT
    own.flat[:: len(v) + 1] = hyper.scale + CONSTANT + hyper.noise
    cross = hyper.scale * matern52(squared_distances(z, new)) + CONSTANT
    stretches, prior = _stretches(v, same)
    variance = (SAME_OFFSET if same else FREE_OFFSET) ** 2
    scores, lines = np.empty(len(levels) + 1), []
    for at, level in enumerate((None, *levels)):
        mean, covariance = np.zeros(len(v)), own
        if level is not None:
            half = blas.dtrsm(1.0, level.lower, cross * level.onto[:, None], lower=1)
            mean, covariance = half.T @ level.white, own - half.T @ half
        scores[at], line = _evidence(v, mean, covariance, stretches, prior, variance)
        lines.append(line)
    weights = np.exp(scores - scores.max())
    weights *= np.array([NONE, *[(1.0 - NONE) / len(levels)] * len(levels)])
    best = int(np.argmax(weights[1:]))
    slope, offset = lines[best + 1]
    return Belief(float(weights[0] / weights.sum()), levels[best], placed * slope - offset)


def _placed(bend: Bend, values: Array) -> tuple[Array, bool]:
    """The new values on the latest study's scale, if they could be on it; else on their own, and False."""
    placed = bend(values)
    if np.abs(placed).max() <= FARTHEST and (len(values) == 1 or placed.std() > LEAST_SPREAD):
        return placed, True
    return warped(values), False


def _stretches(v: Array, same: bool) -> tuple[Array, Array]:
    """A grid (k,) of log stretches and the log of their prior (k,)."""
    if same:
        grid = np.linspace(-1.5, 1.5, 13)
        prior = -0.5 * (grid / SAME_STRETCH) ** 2
        return grid, prior - np.log(np.exp(prior).sum())
    grid = np.log(float(v.std()) or 1.0) + np.linspace(-1.5, 3.5, 21)
    return grid, np.full(21, -np.log(21.0))


def _evidence(
    v: Array, mean: Array, covariance: Array, stretches: Array, prior: Array, variance: float
) -> tuple[float, tuple[float, float]]:
    """Return log p(v), up to a constant, when g ~ N(mean, covariance), v = b (g + a), a ~ N(0, variance); and a line.

    The line (slope, offset) takes v to slope v - offset, on the scale of g: posterior means of 1/b and of a given it.
    """
    lower = factor(covariance + variance, variance + 1.0)
    white = blas.dtrsm(1.0, lower, np.stack([v, mean, np.ones(len(v))], axis=1), lower=1)
    gram = white.T @ white
    shrink = np.exp(-stretches)
    fit = gram[0, 0] * shrink**2 - 2.0 * gram[0, 1] * shrink + gram[1, 1]
    logs = prior - len(v) * stretches - 0.5 * fit
    top = float(logs.max())
    weights = np.exp(logs - top)
    slope = float(weights @ shrink / weights.sum())
    offset = variance * float(gram[2, 0] * slope - gram[2, 1])
    return top + float(np.log(weights.sum()) - np.log(lower.diagonal()).sum()), (slope, offset)


def joined(hyper: Hyper, groups: Indices, z: Array, level: Level, x: Array, targets: Array) -> Posterior:
    """Return the process of earlier trials at a level and of the new study's targets (n,) at features x (n, c).

    Rows are appended to the level's factor: h²n + n³/3.
    """
    h, n = len(z), len(x)
    new = x / hyper.lengths[groups]
    lower = np.zeros((h + n, h + n), order="F")
    lower[:h, :h] = level.lower
    white = level.white
    if n:
        cross = (hyper.scale * matern52(squared_distances(z, new)) + CONSTANT) * level.onto[:, None]
        half = blas.dtrsm(1.0, level.lower, cross, lower=1)
        own = hyper.scale * matern52(squared_distances(new, new)) + CONSTANT
        own.flat[:: n + 1] = hyper.scale + CONSTANT + hyper.noise
        corner = factor(own - half.T @ half, hyper.scale + CONSTANT)
        lower[h:, :h], lower[h:, h:] = half.T, corner
        rest = blas.dtrsm(1.0, corner, (targets - half.T @ white)[:, None], lower=1)[:, 0]
        white = np.concatenate([white, rest])
    alpha = lapack.dtrtrs(lower, white, lower=1, trans=1)[0]
    return Posterior(hyper, groups, np.concatenate([z, new]), lower, alpha, np.concatenate([level.onto, np.ones(n)]))
