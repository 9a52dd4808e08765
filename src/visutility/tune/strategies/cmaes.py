"""CMA-ES with margin: a normal distribution that learns the shape of the objective, for long budgets over numbers.

Hansen, "The CMA Evolution Strategy: A Tutorial" (2016); grids as in Hamano and others (2022), unordered choices as in
Hamano and others (2024): `_evolution`. Restarts with twice the population: Auger and Hansen, "A Restart CMA Evolution
Strategy With Increasing Population Size" (2005).

A generation is the next λ trials that ended, in the order told, whichever generation they were drawn from: nobody waits
for a slow or lost worker, and the state alone says which generation it is. All generations are replayed from the state;
`_replay` keeps the last few replays, found by content, to go on from.
"""

from dataclasses import dataclass
from typing import ClassVar, Final, final

from visutility.core.errors import InvalidSetting
from visutility.core.rng import rng
from visutility.tune.one_thread import one_thread
from visutility.tune.space import Params
from visutility.tune.strategies._fresh import Tried, fresh
from visutility.tune.strategies._replay import drawn, replayed
from visutility.tune.strategies._start import recalled
from visutility.tune.strategy import AbstractStrategy, State

TRIES: Final = 8  # draws for a configuration that no trial has had


@final
@dataclass(frozen=True, slots=True)
class CMAES(AbstractStrategy):
    """Draws from a distribution that moves towards the better half of each generation.

    `sigma` is the first standard deviation, in widths of the cube; `population` the first generation's size, None: 4
    plus 3 ln d. When a run has converged or has no more gain, the next one starts elsewhere with twice the population.
    Works on every space: unordered choices have odds that are learnt beside, inactive parameters stay as drawn. Ranks
    are all it uses, so constraints and several objectives are ordered as in `tpe`. The best configurations of up to
    three earlier studies are tried first, and the search begins at that of the newest. No configuration comes twice
    while another is found.
    """

    sigma: float = 0.2
    population: int | None = None
    name: ClassVar[str] = "cmaes"
    learns: ClassVar[bool] = True
    heeds: ClassVar[frozenset[str]] = frozenset({"objectives", "constraints"})

    def __post_init__(self) -> None:
        if isinstance(self.sigma, bool) or not isinstance(self.sigma, (int, float)) or not 0.0 < self.sigma <= 1.0:
            raise InvalidSetting(f"sigma is {self.sigma!r}", hint="give a number above 0, at most 1")
        size = self.population
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 4):
            raise InvalidSetting(f"population is {size!r}", hint="give a whole number of at least 4, or None")

    @one_thread
    def suggest(self, state: State, number: int) -> Params:
        """Return a draw from the distribution after the last complete generation."""
        if known := recalled(state):
            return known
        shape = replayed(state, self.sigma, self.population).shapes[-1]
        tried = Tried(state)
        for attempt in range(TRIES):
            unit = state.space.snap(drawn(state, shape, number, attempt)[None])[0][0]
            if unit not in tried:
                return state.space.decode(unit)
        draw = rng(state.seed, self.name, number, TRIES)
        return fresh(state, lambda: state.space.decode(draw.random(state.space.dim)))
