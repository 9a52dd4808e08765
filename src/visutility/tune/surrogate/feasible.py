"""Outcome constraints: one Gaussian process each, and the log of the probability that all hold.

The expected improvement times the probability of feasibility of Gardner, Kusner, Xu, Weinberger and Cunningham,
"Bayesian Optimization with Inequality Constraints" (2014), equation (6), on a log scale; where no trial is feasible yet
the probability leads, as in Gelbart, Snoek and Adams, "Bayesian Optimization with Unknown Constraints" (2014), section
3.2.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from visutility.tune.strategy import State
from visutility.tune.surrogate.acquisition import LOG_ROOT_2PI, Surrogate
from visutility.tune.surrogate.features import Layout
from visutility.tune.surrogate.gp import Prior, condition
from visutility.tune.surrogate.model import FIRST, Seen, fitted, thinned
from visutility.tune.surrogate.warp import bend_of

Array: TypeAlias = NDArray[np.float64]

FAR: Final = 3.0  # spreads from the values to the bound, at most: where none was ever near it, the model cannot tell


@final
@dataclass(frozen=True, slots=True, eq=False)
class Feasible:
    """log Φ((bound - mean) / sd): how probable it is that a constraint holds."""

    model: Surrogate
    bound: float  # of the excess, on the surrogate's scale

    def score(self, x: Array) -> Array:
        """Return the log of the probability (m,)."""
        mean, sd = self.model.predict(x)
        return np.asarray(log_ndtr((self.bound - mean) / sd))

    def slopes(self, x: Array) -> tuple[Array, Array]:
        """Return the log of the probability (m,) and its gradients (m, c)."""
        mean, sd, mean_slope, sd_slope = self.model.gradients(x)
        z = (self.bound - mean) / sd
        value = log_ndtr(z)
        rise = np.exp(-0.5 * z * z - LOG_ROOT_2PI - value)  # φ(z) / Φ(z)
        return value, -(rise / sd)[:, None] * (mean_slope + z[:, None] * sd_slope)


def constraint_terms(state: State, plan: Layout, seen: Seen, points: int) -> list[Feasible]:
    """Return one term a constraint that at least two trials told of. O(points³) each, when fitted."""
    if not state.problem.constraints:
        return []
    every = [one.excess for one in state.observed]
    told = [at for at, place in enumerate(seen.at.tolist()) if every[place]]
    if len(told) < FIRST:
        return []
    x = seen.x[told]
    excess = np.array([every[seen.at[at]] for at in told])
    return [_term(plan, x, column, points) for column in excess.T]


def feasible_rows(state: State, seen: Seen) -> NDArray[np.bool_]:
    """Return which completed trials (n,) are known to hold every constraint; all where there is none."""
    constraints = state.problem.constraints
    if not constraints:
        return np.ones(len(seen.at), dtype=bool)
    return np.array([one.holds(constraints) for one in state.observed], dtype=bool)[seen.at]


def _term(plan: Layout, x: Array, excess: Array, points: int) -> Feasible:
    prior = Prior()
    hyper = fitted(plan, x[:points], excess[:points], prior)
    kept = thinned(np.abs(excess), points)  # those near the bound tell most of where it is
    bend = bend_of(excess[kept])
    targets = bend(excess[kept])
    same = 1.0 if excess[0] <= 0.0 else -1.0  # where all are equal they hold, or they do not
    bound = float(bend(np.zeros(1))[0]) if bend.spread else same
    bound = float(np.clip(bound, targets.min() - FAR, targets.max() + FAR))
    return Feasible(condition(hyper, x[kept], targets, plan.groups), bound)
