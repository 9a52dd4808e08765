"""Beyond what one process can see: the neighbourhood of the best trial, as in a trust region.

Eriksson, Pearce, Gardner, Turner and Poloczek, "Scalable Global Optimization via Local Bayesian Optimization" (2019):
a local process inside a box around the best point, its sides in proportion to the length scales. Theirs halves or
doubles the box by counting successes, which would have to be replayed from the first trial on; here the box is as wide
as the nearest trials reach, so that it shrinks by itself where trials gather.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from visutility.tune.space import Mask, Units
from visutility.tune.surrogate.features import Layout

Array = NDArray[np.float64]

NEAREST: Final = 64  # trials that the box holds
MORE: Final = 0.1  # of its width is added on each side,
LEAST: Final = 1e-3  # and at least this much of the cube's


def box_around(centre: Array, x: Array, units: Units, masks: Mask, plan: Layout) -> Units:
    """Return the box (2, d) of the cube, least and greatest places, around a centre (c,) in feature space.

    `x` (n, c), `units` (n, d), `masks` (n, d): the trials about it. A column that is active in none near it,
    or is an unordered choice, keeps its whole range.
    """
    near = np.argsort(((x - centre) ** 2).sum(1), kind="stable")[:NEAREST]
    places, active = units[near], masks[near]
    low = np.where(active, places, np.inf).min(0)
    high = np.where(active, places, -np.inf).max(0)
    grow = np.maximum(MORE * (high - low), LEAST)
    bound = active.any(0) & ~plan.unordered
    return np.stack(
        [np.where(bound, np.maximum(low - grow, 0.0), 0.0), np.where(bound, np.minimum(high + grow, 1.0), 1.0)]
    )
