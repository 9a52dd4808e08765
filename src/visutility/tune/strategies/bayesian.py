"""Bayesian optimisation: a Gaussian process of the values so far, and the configuration it expects most of.

Matérn 5/2 with one length scale a parameter (`surrogate.gp`), values bent to a normal shape (`surrogate.warp`), the
log of the expected improvement (`surrogate.acquisition`). Conditional and unordered parameters: `surrogate.features`.
Earlier studies: `surrogate.memory`.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Final, final

import numpy as np

from visutility.core.errors import InvalidSetting, StudyClosed
from visutility.core.rng import rng
from visutility.tune.listing import listing
from visutility.tune.one_thread import one_thread
from visutility.tune.space import Mask, Params, Units
from visutility.tune.strategies._fresh import all_asked, fresh, taken
from visutility.tune.strategies.sobol import sobol_point
from visutility.tune.strategy import AbstractStrategy, State
from visutility.tune.surrogate.acquisition import Improvement, Process, Target, maximise
from visutility.tune.surrogate.aims import one_value, several_values
from visutility.tune.surrogate.beliefs import believed
from visutility.tune.surrogate.failure import Success, success
from visutility.tune.surrogate.features import Layout, layout
from visutility.tune.surrogate.gp import Array, Prior
from visutility.tune.surrogate.leaving import TRIED, silences, study_alone
from visutility.tune.surrogate.memory import Memory, recall, turn_of_past
from visutility.tune.surrogate.model import FIRST, Seen, bent_process_of, process_of, rows_seen
from visutility.tune.surrogate.multi import processes
from visutility.tune.surrogate.region import box_around
from visutility.tune.surrogate.terms import Gain, Sum
from visutility.tune.surrogate.transfer import Belief

EXACT: Final = Prior(noise=(-7.0, 2.0))
NOISY: Final = Prior()
TURNS: Final = ((EXACT, 0.0), (NOISY, 0.0), (EXACT, 0.3), (NOISY, 0.3))  # by trial number: prior, least improvement
LEAPS: Final = (0.0, 0.3)  # the least improvement of a turn of the past, by pairs of trial numbers
CENTRES: Final = 16  # best trials that the search for the next one knows of
FULL: Final = 96  # of more trials than these, candidates become fewer as trials become more
SAME: Final = 1e-9  # rows of the cube that are closer are not told apart
LOCAL: Final = 3  # beyond what the process sees, all but every third trial is chosen around the best one
USELESS: Final = 0.5  # the history is left alone while it is more probably of no use than this


@final
@dataclass(frozen=True, slots=True)
class Bayesian(AbstractStrategy):
    """Suggests where the expected improvement over the best trial so far is greatest.

    Without a history the first `initial` trials are a Sobol sequence. Then each suggestion takes its turn with one of
    two beliefs, that the objective is exact and that it is noisy, and every other pair of turns asks for an improvement
    of at least .3 spreads of the values: where one belief is stuck, another is not. Where trials failed, the chance of
    that counts too; pending ones count as if they had the value expected of them. No configuration comes twice while
    the space has another; after that, a deterministic problem is closed and any other asks again for what is good.

    With a history, the first trial is the earlier configuration that one process over all studies expects most of, and
    the next ones have the greatest expected improvement under that process. From the first value on, the data decide
    how alike the studies are. Of the first nine trials every third, the second one first, and then two of three are
    chosen as if there were no history, so that a misleading one is found out and a poor one does not hold the search.
    While the values of the first nine speak against the history, and for good if they do after nine, suggestions are
    those of the cold study of the same seed (`surrogate.leaving`).

    `candidates` configurations are compared for each suggestion; the process sees at most `points` trials, so that
    the cost of a suggestion is bounded (`surrogate.model`); beyond that, two of three suggestions are made by a process
    of the trials nearest to the best one (`surrogate.region`). `bend_inputs` lets each number have a learnt curve
    (`surrogate.inputs`).
    """

    initial: int = 5
    candidates: int = 512
    points: int = 192
    bend_inputs: bool = False
    name: ClassVar[str] = "bayesian"
    learns: ClassVar[bool] = True
    heeds: ClassVar[frozenset[str]] = frozenset({"objectives", "constraints", "priors"})

    def __post_init__(self) -> None:
        for what, least in (("initial", 1), ("candidates", 16), ("points", 16)):
            value = getattr(self, what)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InvalidSetting(f"{what} is {value!r}", hint=f"give a whole number of at least {least}")
        if not isinstance(self.bend_inputs, bool):
            raise InvalidSetting(f"bend_inputs is {self.bend_inputs!r}", hint="give True or False")

    @one_thread
    def suggest(self, state: State, number: int) -> Params:
        """Return the configuration of the greatest expected improvement that no trial has had.

        Raises `StudyClosed` when the objective is deterministic and every configuration was asked.
        """
        plan = layout(state.space)
        spent = all_asked(state)
        if spent and state.problem.deterministic:
            raise StudyClosed(f"all {state.space.size} configurations were asked", hint="read `best`")
        draw = rng(state.seed, self.name, number)
        seen = Seen.of(state, plan)
        one = state.problem.objectives == 1
        memory = recall(state.history, plan) if plan.parameters and one else None
        needed, turn = self.initial, number
        if memory is not None and (silent := silences(state, seen, memory))[-1]:
            return self._alone(state, memory, silent, number)
        if memory is not None:
            belief = memory.belief(seen)
            useless = belief.useless > USELESS
            if not useless and turn_of_past(number):
                least = LEAPS[number // 2 % len(LEAPS)]
                found = self._with_memory(state, plan, seen, memory, belief, least, draw)
                return found or _spread(state, plan, number, draw)
            needed, turn = self.initial + 1 if useless else FIRST, max(number - 1, 0)  # a cold study, one trial late
        started = len(state.observed) + len(state.pending)
        if started < needed or not plan.parameters:
            return _spread(state, plan, turn, draw)
        if len(seen.values) < FIRST:
            return self._working(state, plan, seen, draw) or _spread(state, plan, turn, draw)
        best = self._own(state, plan, seen, turn, draw)
        if spent:  # a value is worth another look
            return state.space.decode(best[0])
        return _untried(state, seen, best) or _spread(state, plan, turn, draw)

    def _alone(self, state: State, memory: Memory, silent: list[bool], number: int) -> Params:
        """What the study suggests while it does not listen to its history."""
        first = self.suggest(State(state.space, state.seed, problem=state.problem), 0)
        rest, at = study_alone(state, memory, silent, number, first)
        found = self.suggest(rest, at)
        asked = [(o.number, o.params) for o in state.observed] + list(state.pending)
        early = [params for of, params in asked if of < TRIED]  # `rest` knows of the others
        return self.suggest(replace(state, history=()), number) if found in early else found

    def _own(self, state: State, plan: Layout, seen: Seen, number: int, draw: np.random.Generator) -> Units:
        """What the study's own trials speak for, best first: over the whole space, or around its best trial."""
        prior, least = _turn(state, number)
        units, masks = state.units[seen.at], state.masks[seen.at]
        chance = success(state, plan)
        known = seen if chance is None else chance.sorted(seen)
        if state.problem.objectives > 1:
            models = processes(state, plan, known, prior, self.points)
            wanted, order = several_values(state, plan, seen, models, number, self.points)
            return self._search(_careful(wanted, chance), units, masks, order, draw)
        centre = None
        if len(seen.values) > self.points and number % LOCAL != 0:
            centre = seen.x[int(np.argmin(seen.values))]
            prior, least = _turn(state, number // LOCAL)
        rows, anchor = rows_seen(seen, self.points, centre)
        make = bent_process_of if self.bend_inputs else process_of
        process = make(known, plan, prior, self.points, rows, anchor)
        seen, units, masks = seen.some(rows), units[rows], masks[rows]
        target, order = _target(state, plan, seen, process, least, self.points, chance)
        box = None if centre is None else box_around(centre, seen.x, units, masks, plan)
        return self._search(target, units, masks, order, draw, box)

    def _working(self, state: State, plan: Layout, seen: Seen, draw: np.random.Generator) -> Params | None:
        """While hardly a trial has a value: where one is most likely to, by what failed; None when none did."""
        chance = success(state, plan)
        if chance is None:
            return None
        units, masks = state.units[seen.at], state.masks[seen.at]
        if not len(units):
            units, masks = state.units[-1:], state.masks[-1:]  # somewhere to search around
        wanted = Sum((chance,), plan)
        return _untried(state, seen, self._search(wanted, units, masks, np.zeros(len(units)), draw))

    def _with_memory(
        self,
        state: State,
        plan: Layout,
        seen: Seen,
        memory: Memory,
        belief: Belief,
        least: float,
        draw: np.random.Generator,
    ) -> Params | None:
        """The best earlier configuration before there is a value, then the greatest expected improvement."""
        process = memory.process(seen, belief)
        old = process.mean(plan.features(memory.units, memory.masks))
        if not len(seen.values):
            return _untried(state, seen, memory.units[np.argsort(old, kind="stable")])
        target, means = _target(state, plan, seen, process, least, self.points, success(state, plan))
        units = np.concatenate([state.units[seen.at], memory.units])
        masks = np.concatenate([state.masks[seen.at], memory.masks])
        return _untried(state, seen, self._search(target, units, masks, np.concatenate([means, old]), draw))

    def _search(
        self,
        target: Target,
        units: Units,
        masks: Mask,
        means: Array,
        draw: np.random.Generator,
        box: Units | None = None,
    ) -> Units:
        best = np.argsort(means, kind="stable")[:CENTRES]
        count = max(self.candidates * FULL // max(len(means), FULL), self.candidates // 4)
        return maximise(target, units[best], masks[best], draw, count, box)


def _target(
    state: State, plan: Layout, seen: Seen, process: Process, least: float, points: int, chance: Success | None
) -> tuple[Target, Array]:
    """The acquisition for one objective, and what orders the completed trials (n,) as places to search around."""
    means = process.mean(seen.x)
    if state.problem.needs:
        wanted, order = one_value(state, plan, seen, process, means, least, points)
        return _careful(wanted, chance), order
    best = _lowest(process, seen, means) - least
    if chance is not None:
        return _careful(Sum((Gain(process, best),), plan), chance), means
    return Improvement(process, best, plan), means


def _careful(wanted: Sum, chance: Success | None) -> Sum:
    """The acquisition times the probability that the trial does not fail, where some did."""
    return wanted if chance is None else replace(wanted, terms=(*wanted.terms, chance))


def _lowest(process: Process, seen: Seen, means: Array) -> float:
    """The least mean over completed (n,) and pending trials: what has to be improved on."""
    waiting = process.mean(seen.pending) if len(seen.pending) else means
    return float(min(means.min(), waiting.min()))


def _turn(state: State, number: int) -> tuple[Prior, float]:
    """The prior and the least improvement whose turn it is; what is known of the noise replaces what is believed."""
    prior, least = TURNS[number % len(TURNS)]
    return (prior if state.problem.noise is None else replace(prior, declared=state.problem.noise)), least


def _spread(state: State, plan: Layout, number: int, draw: np.random.Generator) -> Params:
    """A point of the Sobol sequence of this seed; another one where a finite space has had it.

    What the user believes moves every other one to where good values are believed to lie; trial 0 is there exactly.
    """
    place = sobol_point(state.seed, state.space.dim, number)
    if state.problem.priors and number % 2 == 0:
        beliefs = believed(state.space, state.problem.priors, plan)
        place = beliefs.drawn(place[None])[0] if number else beliefs.mode(np.full(state.space.dim, 0.5))
    places = [place]
    dim, decode = state.space.dim, state.space.decode
    found = fresh(state, lambda: decode(places.pop() if places else draw.random(dim)), always=True)
    size = state.space.size
    if size is None or not state.problem.deterministic or state.space.key(found) not in (tried := taken(state)):
        return found
    start = int(draw.integers(size))  # a large space that is nearly spent
    left = (listing(state.space).nth((start + step) % size) for step in range(size))
    return next(params for params in left if state.space.key(params) not in tried)


def _untried(state: State, seen: Seen, found: Units) -> Params | None:
    """The first row (d,) of `found` whose configuration no trial has had; None when there is none."""
    tried = np.concatenate([state.units, seen.pending_units])
    for row in found:
        if len(tried) and np.abs(tried - row).max(axis=1).min() < SAME:
            continue
        params = state.space.decode(row)
        if not (tried == state.space.encode(params)[0]).all(axis=1).any():
            return params
    return None
