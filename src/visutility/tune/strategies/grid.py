"""Grid search: every configuration once, in an order that is spread out.

The order is index -> (a index + b) mod size with a coprime to size (a full-period linear congruence, Hull and Dobell
1962), named by the seed: a grid that is stopped early has been everywhere.
"""

import math
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, final

from visutility.core.errors import InvalidSetting, StudyClosed
from visutility.core.rng import rng
from visutility.tune.listing import listing
from visutility.tune.space import Params
from visutility.tune.strategies._fresh import taken
from visutility.tune.strategy import AbstractStrategy, State

_LARGEST = 2**62  # of what a generator draws whole numbers from


@final
@dataclass(frozen=True, slots=True)
class Grid(AbstractStrategy):
    """Each value of a grid parameter with each of the others; a continuum has `levels` values, bounds included."""

    levels: int = 5
    name: ClassVar[str] = "grid"

    def __post_init__(self) -> None:
        if isinstance(self.levels, bool) or not isinstance(self.levels, int) or self.levels < 1:
            raise InvalidSetting(f"levels is {self.levels!r}", hint="give a whole number of at least 1")

    def suggest(self, state: State, number: int) -> Params:
        """Return a configuration not asked before; raise `StudyClosed` when there is none."""
        grid = listing(state.space, self.levels)
        a, b = _order(state.seed, grid.size)
        tried = taken(state)
        start = min(number, grid.size)  # trials that were enqueued took numbers: what they skipped comes last
        for index in chain(range(start, grid.size), range(start)):
            params = grid.nth((a * index + b) % grid.size)
            if state.space.key(params) not in tried:
                return params
        raise StudyClosed(f"all {grid.size} configurations of the grid were asked", hint="read `best`")


def _order(seed: int, size: int) -> tuple[int, int]:
    draw = rng(seed, Grid.name, size)
    if size < _LARGEST:
        a, b = int(draw.integers(1, size + 1)), int(draw.integers(size))
    else:
        a, b = (int.from_bytes(draw.bytes(size.bit_length() // 8 + 9)) % size for _ in range(2))
    while math.gcd(a, size) != 1:
        a += 1
    return a, b
