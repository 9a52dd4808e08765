"""The first trials of a study: a Latin hypercube, which has every slice of every parameter once, categories included.

McKay, Beckman and Conover, "A Comparison of Three Methods for Selecting Values of Input Variables" (1979).
"""

from functools import lru_cache

from visutility.core.rng import rng
from visutility.tune.space import Units
from visutility.tune.surrogate.acquisition import latin
from visutility.tune.surrogate.features import Layout


@lru_cache(maxsize=32)
def first_design(plan: Layout, seed: int, count: int, block: int = 0) -> Units:
    """Return `count` places (count, d) of the cube, read-only; another `block` is another design."""
    rows = latin(rng(seed, "design", count, block), count, plan.space.dim)
    rows.flags.writeable = False
    return rows
