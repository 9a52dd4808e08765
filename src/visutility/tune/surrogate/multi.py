"""Several objectives: a Gaussian process for each, and the front and reference that a trial should improve on."""

from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visutility.tune.pareto import front
from visutility.tune.strategy import State
from visutility.tune.surrogate.feasible import feasible_rows
from visutility.tune.surrogate.features import Layout
from visutility.tune.surrogate.gp import Posterior, Prior
from visutility.tune.surrogate.hypervolume import VolumeGain, volume_gain
from visutility.tune.surrogate.model import Seen, own_process

Array: TypeAlias = NDArray[np.float64]

BEYOND: Final = 0.1  # the reference lies this share of the front's extent beyond its worst values
LEAST: Final = 0.1  # of a spread of the values, where the front has no extent


def processes(state: State, plan: Layout, seen: Seen, prior: Prior, points: int) -> list[Posterior]:
    """Return the process of each objective, lower is better, failed and pending trials included."""
    others = np.array([state.observed[place].others for place in seen.at]).reshape(len(seen.at), -1)
    columns = [seen.values, *others.T]
    return [own_process(replace(seen, values=np.ascontiguousarray(column)), plan, prior, points) for column in columns]


def front_gain(state: State, seen: Seen, models: list[Posterior]) -> tuple[VolumeGain, Array]:
    """Return the expected hypervolume improvement over what is expected of the feasible and the pending trials.

    Also returns what orders the completed trials (n,) as places to search around: how far each is dominated.
    """
    means = np.stack([model.mean(seen.x) for model in models], axis=1)
    feasible = feasible_rows(state, seen)
    rows = means[feasible] if feasible.any() else means
    best = rows[front(rows)]
    extent = np.ptp(best, axis=0)
    reference = best.max(axis=0) + np.maximum(BEYOND * extent, LEAST)
    points = rows if feasible.any() else rows[:0]
    if len(seen.pending) and len(points):
        waiting = np.stack([model.mean(seen.pending) for model in models], axis=1)
        points = np.concatenate([points, waiting])
    behind = (means[:, None] - best).max(axis=2).min(axis=1)  # 0 on the front
    return volume_gain(models, points, reference), np.where(feasible, behind, behind + 1e3)  # infeasible ones last
