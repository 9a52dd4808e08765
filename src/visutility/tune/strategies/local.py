"""Local search: steps from the best trial of a run, in a direction and its opposite, until steps are tiny.

Directions and their opposites as in Wu, Wang and Huang, "Frugal Optimization for Cost-related Hyperparameters" (2021),
algorithm 1 (FLOW²); the step grows and shrinks by the smooth 1/5 success rule of Kern, Müller, Hansen, Büche, Ocenasek
and Koumoutsakos, "Learning probability distributions in continuous evolutionary algorithms" (2004), section 3.1.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final, final

import numpy as np

from visutility.core.errors import InvalidSetting
from visutility.core.rng import rng
from visutility.tune.one_thread import one_thread
from visutility.tune.space import Mask, Params, Space, Units
from visutility.tune.strategies._evolution import plan
from visutility.tune.strategies._fresh import Tried, fresh
from visutility.tune.strategies._order import FAILED, Array, best_first, weighed
from visutility.tune.strategies._start import recalled, spread
from visutility.tune.strategy import AbstractStrategy, State

LEAST: Final = 1e-4  # a run ends when its step is below this, in widths of the cube
WIDEST: Final = 0.5
TRIES: Final = 8  # steps drawn for one that leads to a configuration that no trial has had
SWITCH: Final = 0.5  # expected unordered choices that a step changes
REUSE: Final = 0.7  # how often a parameter that becomes active takes a value that was good
TINY: Final = 1e-9  # just beyond a border between two cells
SPARSE: Final = 0.5  # share of the steps that change only some of the numbers
BLOCK: Final = 256  # trials whose merits are worked out at a time
RANKED: Final = 64  # of several objectives, trials that are in order when a parameter's best value is looked for


@final
@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Where a run stands: its best trial's place and what is active there (d,), and its step."""

    number: int  # runs that ended before it
    unit: Units
    mask: Mask
    best: int | None  # place of the best trial in `State.observed`
    step: float


@final
@dataclass(frozen=True, slots=True)
class Local(AbstractStrategy):
    """Steps from the best trial, first `step` widths of the cube long; when they are tiny, a new run begins elsewhere.

    The first run begins at the best of `initial` trials: the middle of the space, or the best configurations of up to
    three earlier studies, and an even spread. Trials come in pairs: when a step did not help, its opposite is tried,
    when it did, it is taken again. Steps move numbers by normal amounts, grids by whole values, and change an unordered
    choice now and then; a parameter that becomes active mostly takes the value of the best trial that had it. There is
    no model that many parameters could overtax. With several objectives each run goes for a weighting of its own.
    Failed trials and those that break a constraint count as worse. No configuration comes twice while another is
    found.
    """

    initial: int = 6
    step: float = 0.2
    name: ClassVar[str] = "local"
    learns: ClassVar[bool] = True
    heeds: ClassVar[frozenset[str]] = frozenset({"objectives", "constraints"})

    def __post_init__(self) -> None:
        if isinstance(self.initial, bool) or not isinstance(self.initial, int) or self.initial < 1:
            raise InvalidSetting(f"initial is {self.initial!r}", hint="give a whole number of at least 1")
        fits = isinstance(self.step, (int, float)) and not isinstance(self.step, bool) and LEAST < self.step <= WIDEST
        if not fits:
            raise InvalidSetting(f"step is {self.step!r}", hint=f"give a number above {LEAST}, at most {WIDEST}")

    @one_thread
    def suggest(self, state: State, number: int) -> Params:
        """Return a step from the best trial of the present run, or the place where a new run begins."""
        if known := recalled(state):
            return known
        started = len(state.observed) + len(state.pending)
        if not started:
            return state.space.decode(np.full(state.space.dim, 0.5))
        draw = rng(state.seed, self.name, number)
        if started < self.initial or len(state.observed) == 0:
            return spread(state, number, draw)
        run = self._run(state)
        tried = Tried(state)
        if run.best is None and run.unit not in tried:
            return state.space.decode(run.unit)
        again = run.best is not None and state.observed[run.best].number == number - 1
        sign = -1.0 if number % 2 and not again else 1.0
        for attempt in range(TRIES):
            pair = rng(state.seed, self.name, "pair", number // 2, attempt)
            found = _stepped(state, run, pair, rng(state.seed, self.name, number, attempt), sign)
            if found not in tried:
                return state.space.decode(found)
        return fresh(state, lambda: state.space.decode(draw.random(state.space.dim)))

    def _run(self, state: State) -> Run:
        """Follow the runs through the trials, in the order told. O(n log n)."""
        dim = state.space.dim
        up, down = math.exp(1.0 / math.sqrt(dim + 1.0)), math.exp(-0.25 / math.sqrt(dim + 1.0))
        merits, count = _Merits(state), len(state.observed)
        begin = min(self.initial, count)
        start = min(range(begin), key=merits.__getitem__)
        best: int | None = start
        number, unit, step, low = 0, state.units[start], self.step, merits[start]
        stale = late = _late(state)
        for at in range(begin, count):
            if (merit := merits[at]) < low and (number == 0 or at > stale or _near(state, at, unit, step)):
                step = min(WIDEST, step * up) if best is not None else step
                best, unit, low = at, state.units[at], merit
            elif best is not None and (step := step * down) < LEAST:
                number += 1
                best, unit, step, low = None, _begin(state.space, state.seed, number), self.step, math.inf
                stale = at + late
                merits.start(number, at + 1)
        mask = state.masks[best] if best is not None else state.space.snap(unit[None])[1][0]
        return Run(number, unit, mask, best, step)


@lru_cache(maxsize=1024)
def _begin(space: Space, seed: int, run: int) -> Units:
    """Where a later run begins: a uniform place (d,), read-only."""
    place = np.asarray(space.snap(rng(seed, Local.name, "run", run).random((1, space.dim)))[0][0])
    place.flags.writeable = False
    return place


def _late(state: State) -> int:
    """By how many trials others overtook one before it ended, at most: 0 where one runs at a time."""
    numbers = np.array([one.number for one in state.observed])
    return max(0, int((numbers - np.arange(len(numbers))).max()))


@final
class _Merits:
    """What a run compares trials by, lower is better, from the first place it looks at on; infinite for failed ones.

    With one objective ranks, which serve every run. With several the distance by a weighting of the run's own, worked
    out for as many trials as the run has.
    """

    def __init__(self, state: State) -> None:
        self._state, self._from = state, 0
        self._known: list[float] = []
        self._several = state.problem.objectives > 1
        if self._several:
            self._weighed = weighed(state.observed, state.values, state.problem)
            self.start(0, 0)
            return
        order, kinds = best_first(state.observed, state.values, state.problem)
        ranks = np.empty(len(order))
        ranks[order] = np.arange(len(order))
        self._known = list(map(float, np.where(kinds == FAILED, np.inf, ranks)))

    def start(self, run: int, at: int) -> None:
        """Begin a run whose first trial is at this place."""
        if self._several:
            draw = rng(self._state.seed, Local.name, "weights", run)
            self._weights = draw.dirichlet(np.ones(self._state.problem.objectives))
            self._from, self._known = at, []

    def __getitem__(self, at: int) -> float:
        if at - self._from >= len(self._known):
            start = self._from + len(self._known)
            self._known += self._weighed.worth(self._weights, slice(start, max(at + 1, start + BLOCK))).tolist()
        return self._known[at - self._from]


def _near(state: State, at: int, unit: Units, step: float) -> bool:
    """Whether a trial may be a step from a place (d,): others were asked by runs that have ended."""
    layout = plan(state.space)
    gap = (state.units[at] - unit)[layout.numbers] * state.masks[at][layout.numbers]
    far = np.maximum(np.abs(gap) - layout.cells, 0.0)
    return float(np.linalg.norm(far)) <= step * (math.sqrt(len(far)) + 2.5)


def _stepped(state: State, run: Run, pair: np.random.Generator, own: np.random.Generator, sign: float) -> Units:
    """A place (d,), snapped, one step from the run's best. `pair` draws what two trials share, `own` the rest."""
    layout = plan(state.space)
    unit = np.where(run.mask, run.unit, _known(state, own))
    move = sign * run.step * pair.standard_normal(len(layout.numbers))
    if pair.random() < SPARSE:
        active = np.flatnonzero(run.mask[layout.numbers])
        some = pair.random(len(move)) < max(0.2, 2.0 / max(1, len(active)))
        if len(active):
            some[active[int(pair.integers(len(active)))]] = True
        move = np.where(some, move, 0.0)
    for at, column in enumerate(layout.numbers):
        unit[column] = _moved(float(unit[column]), float(move[at]), layout.edges[at], float(own.random()))
    choices = [(column, options) for column, options in layout.choices if run.mask[column]]
    chance = SWITCH / max(1, len(choices)) if run.mask[layout.numbers].any() else 1.0 / max(1, len(choices))
    for column, options in choices:
        if own.random() < chance:
            other = (int(unit[column] * options) + int(own.integers(1, options))) % options
            unit[column] = (other + 0.5) / options
    return np.asarray(state.space.snap(unit[None])[0][0])


def _moved(place: float, move: float, borders: Array | None, chance: float) -> float:
    """A number's place after a move; on a grid, one value on where the move is less, as often as it is."""
    to = min(max(place + move, 0.0), 1.0)
    if borders is None or move == 0.0:
        return to
    cell = int(np.searchsorted(borders, place, side="right"))
    if int(np.searchsorted(borders, to, side="right")) != cell:
        return to
    low = float(borders[cell - 1]) if cell else 0.0
    high = float(borders[cell]) if cell < len(borders) else 1.0
    if chance * (high - low) >= abs(move):
        return place
    return min(high + TINY, 1.0) if move > 0.0 else max(low - TINY, 0.0)


def _known(state: State, own: np.random.Generator) -> Units:
    """A value for every parameter (d,): mostly that of the best trial that had it, else anywhere."""
    found = own.random(state.space.dim)
    if state.masks.all():
        return found
    order, kinds = best_first(state.observed, state.values, state.problem, RANKED)
    ranked = order[kinds[order] != FAILED]
    if not len(ranked):
        return found
    had = state.masks[ranked]
    take = had.any(axis=0) & (own.random(state.space.dim) < REUSE)
    return np.where(take, state.units[ranked][had.argmax(axis=0), np.arange(state.space.dim)], found)
