"""A scrambled Sobol sequence: points that fill the cube more evenly than random ones.

Sobol (1967), directions of Joe and Kuo (2008), scrambled as in Matoušek (1998): the points of scipy's
`qmc.Sobol`, worked out in `_digital`.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, final

import numpy as np

from visutility.core.errors import InvalidSpace
from visutility.core.rng import rng
from visutility.tune.space import Params, Units
from visutility.tune.strategies._digital import sobol_points
from visutility.tune.strategies._fresh import fresh
from visutility.tune.strategy import AbstractStrategy, State

_BLOCK = 128
_POINTS = 2**30  # the sequence repeats from here
_DIMS = 21201  # as far as the table of directions goes


@final
@dataclass(frozen=True, slots=True)
class Sobol(AbstractStrategy):
    """Point `number` of the sequence; a finite space gives no configuration twice while it has others."""

    name: ClassVar[str] = "sobol"

    def suggest(self, state: State, number: int) -> Params:
        """Return the configuration at that point. Raises `InvalidSpace` beyond 21201 parameters."""
        dim = state.space.dim
        if dim > _DIMS:
            raise InvalidSpace(f"{dim} parameters are more than the {_DIMS} of a Sobol sequence", hint="use 'random'")
        draw = rng(state.seed, self.name, number)
        places = [sobol_point(state.seed, dim, number)]
        return fresh(state, lambda: state.space.decode(places.pop() if places else draw.random(dim)))


def sobol_point(seed: int, dim: int, index: int) -> Units:
    """Return point `index` of the sequence that the seed names, (d,), each in [0, 1)."""
    block, at = divmod(index % _POINTS, _BLOCK)
    return np.asarray(_points(seed, dim, block)[at])


@lru_cache(maxsize=32)
def _points(seed: int, dim: int, block: int) -> Units:
    points = sobol_points(dim, lambda: rng(seed, Sobol.name), block * _BLOCK, _BLOCK)
    points.flags.writeable = False
    return points
