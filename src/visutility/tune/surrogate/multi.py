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
from visutility.tune.pareto import front
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
BEHIND: Final = 1e3  # infeasible trials come after all feasible ones, as places to search around


def processes(state: State, plan: Layout, seen: Seen, prior: Prior, points: int) -> list[Posterior]:
    """Return the process of each objective, lower is better, failed and pending trials included."""
    others = np.array([state.observed[place].others for place in seen.at]).reshape(len(seen.at), -1)
    columns = [seen.values, *others.T]
    return [own_process(replace(seen, values=np.ascontiguousarray(column)), plan, prior, points) for column in columns]


def several_gain(state: State, seen: Seen, models: list[Posterior], number: int) -> tuple[Term, Array]:
    """Return what trial `number` should gain over what is expected of the feasible and the pending trials.

    Where none is feasible yet, any trial gains. Also returns what orders the completed trials (n,) as places to search
    around.
    """
    means = np.stack([model.mean(seen.x) for model in models], axis=1)
    feasible = feasible_rows(state, seen)
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
