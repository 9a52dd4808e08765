"""Several objectives: a Gaussian process for each, and what the next trial should improve on.

Of two objectives the expected hypervolume improvement takes turns with that of a random weighting; of more, where
the front has corners without end, each trial has a random weighting. Measured on ZDT1 to 3 (four parameters), Branin
and Currin, and DTLZ2 with three and four objectives, that was better than either alone.
"""

from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visutility.core.rng import rng
from visutility.tune.pareto import crowding, front, points_of, undominated
from visutility.tune.strategy import State
from visutility.tune.surrogate.chebyshev import weighted_gain
from visutility.tune.surrogate.feasible import feasible_rows
from visutility.tune.surrogate.features import Layout
from visutility.tune.surrogate.gp import Posterior, Prior
from visutility.tune.surrogate.hypervolume import volume_gain
from visutility.tune.surrogate.model import Seen, own_process
from visutility.tune.surrogate.terms import Term

Array: TypeAlias = NDArray[np.float64]

BEYOND: Final = 0.1  # the reference lies this share of the front's extent beyond its worst values
LEAST: Final = 0.1  # of a spread of the values, where the front has no extent
FOREMOST: Final = 256  # completed trials whose expected objectives are worked out
TINY: Final = 1e-300
BEHIND: Final = 1e3  # infeasible trials come after all feasible ones, as places to search around


def processes(state: State, plan: Layout, seen: Seen, prior: Prior, points: int) -> list[Posterior]:
    """Return the process of each objective, lower is better, failed and pending trials included."""
    columns = points_of(state.observed, state.values, state.problem.objectives)[seen.at].T
    return [own_process(replace(seen, values=np.ascontiguousarray(column)), plan, prior, points) for column in columns]


def several_gain(state: State, seen: Seen, models: list[Posterior], number: int) -> tuple[Term, Array]:
    """Return what trial `number` should gain over what is expected of the feasible and the pending trials.

    Where none is feasible yet, any trial gains. Also returns what orders the completed trials (n,) as places to search
    around. Of many trials those on the front and near it count; the others come last.
    """
    feasible = feasible_rows(state, seen)
    some = _foremost(state, seen, feasible)
    gain, behind = _gain_of(state, seen.some(some), models, number, feasible[some])
    order = np.full(len(seen.at), np.inf)
    order[some] = behind
    return gain, order


def _foremost(state: State, seen: Seen, feasible: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The completed trials (k,), ascending, on the front and nearest to the least of each; feasible ones if any is."""
    if len(seen.at) <= FOREMOST:
        return np.arange(len(seen.at))
    among = np.flatnonzero(feasible) if feasible.any() else np.arange(len(seen.at))
    points = points_of(state.observed, state.values, state.problem.objectives)[seen.at[among]]
    best = among[kept := undominated(points)]
    first = best[np.argsort(-crowding(points[kept]), kind="stable")[:FOREMOST]]
    far = ((points - points.min(axis=0)) / np.maximum(np.ptp(points, axis=0), TINY)).sum(axis=1)
    near = among[np.argsort(np.where(kept, np.inf, far), kind="stable")[: max(FOREMOST - len(best), 0)]]
    return np.sort(np.concatenate([first, near]))


def _gain_of(
    state: State, seen: Seen, models: list[Posterior], number: int, feasible: NDArray[np.bool_]
) -> tuple[Term, Array]:
    means = np.stack([model.mean(seen.x) for model in models], axis=1)
    rows = means[feasible] if feasible.any() else means
    waiting = np.stack([model.mean(seen.pending) for model in models], axis=1)
    points = np.concatenate([rows, waiting])
    if len(models) == 2 and number % 2:
        best = rows[front(rows)]
        reference = best.max(axis=0) + np.maximum(BEYOND * np.ptp(best, axis=0), LEAST)
        behind = (means[:, None] - best).max(axis=2).min(axis=1)  # 0 on the front
        known = points if feasible.any() else points[:0]
        return volume_gain(models[0], models[1], known, reference), np.where(feasible, behind, behind + BEHIND)
    gain = weighted_gain(models, points, rng(state.seed, "weights", number))
    behind = (gain.weights * (means - gain.ideal)).max(axis=1)
    if not feasible.any():
        gain = replace(gain, best=float(behind.max()))
    return gain, np.where(feasible, behind, behind + BEHIND)
