"""Bayesian optimisation: a Gaussian process of the values so far, and the configuration it expects most of.

Matérn 5/2 with one length scale a parameter (`surrogate.gp`), values bent to a normal shape (`surrogate.warp`), the
log of the expected improvement (`surrogate.acquisition`). Conditional and unordered parameters: `surrogate.features`.
Earlier studies of the same model: `surrogate.memory`.
"""

from dataclasses import dataclass
from typing import ClassVar, Final, final

import numpy as np

from visutility.core.errors import InvalidSetting
from visutility.core.rng import rng
from visutility.tune.space import Params, Units
from visutility.tune.strategies._fresh import fresh
from visutility.tune.strategies.sobol import sobol_point
from visutility.tune.strategy import AbstractStrategy, State
from visutility.tune.surrogate.acquisition import Improvement, maximise
from visutility.tune.surrogate.features import Layout, layout
from visutility.tune.surrogate.gp import Posterior, Prior
from visutility.tune.surrogate.memory import Memory, recall
from visutility.tune.surrogate.model import FIRST, Seen, own_process

EXACT: Final = Prior(noise=(-7.0, 2.0))
NOISY: Final = Prior()
TURNS: Final = ((EXACT, 0.0), (NOISY, 0.0), (EXACT, 0.3), (NOISY, 0.3))  # by trial number: prior, least improvement
HEDGE: Final = 3  # with a history, every third suggestion is the new study's own
EXTRA: Final = 2  # more trials of the initial design where the history turned out to be of no use
CENTRES: Final = 16  # best trials that the search for the next one knows of


@final
@dataclass(frozen=True, slots=True)
class Bayesian(AbstractStrategy):
    """Suggests where the expected improvement over the best trial so far is greatest.

    The first `initial` trials are a Sobol sequence. Then each suggestion takes its turn with one of two beliefs, that
    the objective is exact and that it is noisy, and every other pair of turns asks for an improvement of at least .3
    spreads of the values: where one belief is stuck, another is not. Failed trials count as bad ones, pending ones as
    if they had the value expected of them. No configuration comes twice while the space has another.

    With a history, trial 0 is the earlier configuration expected to be best here, and then two of three suggestions
    come from one process over all studies, as far as the new values bear the old ones out; the third is the new
    study's own. Where they do not bear them out, all are.

    `candidates` configurations are compared for each suggestion; the process sees at most `points` trials, so that
    the cost of a suggestion is bounded (`surrogate.model`).
    """

    initial: int = 5
    candidates: int = 512
    points: int = 500
    name: ClassVar[str] = "bayesian"
    learns: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for what, least in (("initial", 1), ("candidates", 16), ("points", 16)):
            value = getattr(self, what)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InvalidSetting(f"{what} is {value!r}", hint=f"give a whole number of at least {least}")

    def suggest(self, state: State, number: int) -> Params:
        """Return the configuration of the greatest expected improvement that no trial has had."""
        plan = layout(state.space)
        draw = rng(state.seed, self.name, number)
        seen = Seen.of(state, plan)
        needed, found = self.initial, None
        memory = recall(state.history, plan) if state.history and plan.parameters else None
        if memory is not None:
            level, process = memory.process(seen, plan, self.points)
            if level > 0.0 and number % HEDGE != 1:
                return self._warm(state, seen, plan, memory, process, draw) or _spread(state, number, draw)
            needed = self.initial + EXTRA if level == 0.0 else FIRST
        started = len(state.observed) + len(state.pending)
        if started >= needed and len(seen.values) >= FIRST and plan.parameters:
            prior, least = TURNS[number % len(TURNS)]
            found = self._cold(state, seen, plan, own_process(seen, plan, prior, self.points), least, draw)
        return found or _spread(state, number, draw)

    def _cold(
        self, state: State, seen: Seen, plan: Layout, process: Posterior, least: float, draw: np.random.Generator
    ) -> Params | None:
        """Search by the new study alone, for an improvement of at least `least` spreads."""
        means = process.mean(np.concatenate([seen.x, seen.pending]))
        best = Improvement(process, float(means.min()) - least, plan)
        centres = seen.at[np.argsort(means[: len(seen.x)], kind="stable")[:CENTRES]]
        found = maximise(best, state.units[centres], state.masks[centres], draw, self.candidates)
        return _untried(state, seen, found)

    def _warm(
        self, state: State, seen: Seen, plan: Layout, memory: Memory, process: Posterior, draw: np.random.Generator
    ) -> Params | None:
        """Search by all studies; before there is a value, return the earlier configuration expected to be best."""
        old = process.mean(memory.x)
        if not len(seen.values):
            return _untried(state, seen, memory.units[np.argsort(old, kind="stable")])
        means = process.mean(np.concatenate([seen.x, seen.pending]))
        units = np.concatenate([state.units[seen.at], memory.units])
        masks = np.concatenate([state.masks[seen.at], memory.masks])
        centres = np.argsort(np.concatenate([means[: len(seen.x)], old]), kind="stable")[:CENTRES]
        best = Improvement(process, float(means.min()), plan)
        found = maximise(best, units[centres], masks[centres], draw, self.candidates)
        return _untried(state, seen, found)


def _spread(state: State, number: int, draw: np.random.Generator) -> Params:
    """A point of the Sobol sequence of this seed; another one where a finite space has had it."""
    dim = state.space.dim
    places = [sobol_point(state.seed, dim, number)]
    return fresh(state, lambda: state.space.decode(places.pop() if places else draw.random(dim)))


def _untried(state: State, seen: Seen, found: Units) -> Params | None:
    """The first row (d,) of `found` whose configuration no trial has had; None when there is none."""
    tried = np.concatenate([state.units, seen.pending_units])
    for row in found:
        params = state.space.decode(row)
        if not (tried == state.space.encode(params)[0]).all(axis=1).any():
            return params
    return None
