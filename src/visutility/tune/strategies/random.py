"""Random search: independent, uniform over the unit cube.

Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13 (2012).
"""

from dataclasses import dataclass
from typing import ClassVar, final

from visutility.core.rng import rng
from visutility.tune.space import Params
from visutility.tune.strategies._fresh import fresh
from visutility.tune.strategy import AbstractStrategy, State


@final
@dataclass(frozen=True, slots=True)
class Random(AbstractStrategy):
    """Uniform draws; a finite space gives no configuration twice while it has others."""

    name: ClassVar[str] = "random"

    def suggest(self, state: State, number: int) -> Params:
        """Return the configuration at a uniform place of the cube."""
        draw = rng(state.seed, self.name, number)
        return fresh(state, lambda: state.space.decode(draw.random(state.space.dim)))
