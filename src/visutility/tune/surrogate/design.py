"""The first trials of a study: a small design that fills the space, categories included.

Of several Latin hypercubes (McKay, Beckman and Conover 1979) the one whose points keep apart the most: the least sum of
1/distance² over pairs, distances measured in feature space (Morris and Mitchell, "Exploratory Designs for Computational
Experiments", 1995, equation 2 with p = 2).
"""

from functools import lru_cache
from typing import Final

import numpy as np

from visutility.core.rng import rng
from visutility.tune.space import Units
from visutility.tune.surrogate.acquisition import latin
from visutility.tune.surrogate.features import Layout

TRIES: Final = 32
CLOSE: Final = 1e-3  # squared distances below it count as it


@lru_cache(maxsize=32)
def first_design(plan: Layout, seed: int, count: int, block: int = 0) -> Units:
    """Return `count` places (count, d) of the cube, read-only; another `block` is another design."""
    draw = rng(seed, "design", count, block)
    tries = [latin(draw, count, plan.space.dim) for _ in range(TRIES)]
    pairs = np.triu_indices(count, 1)
    crowded = []
    for rows in tries:
        x = plan.features(*plan.space.snap(rows))
        apart = ((x[:, None] - x) ** 2).sum(2)[pairs]
        crowded.append(float((1.0 / np.maximum(apart, CLOSE)).sum()))
    best = tries[int(np.argmin(crowded))]
    best.flags.writeable = False
    return best
