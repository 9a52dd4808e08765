"""Our strategies as an Optuna sampler, and Optuna's studies as ours. Needs the `optuna` extra.

study = optuna.create_study(sampler=VisuTilitySampler(seed=0))
"""

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, final

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study as OptunaStudy
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from visutility.core.errors import InvalidObservation, InvalidSetting, StudyClosed
from visutility.core.rng import rng
from visutility.interop._optuna_space import Known, Sightings, distributions_of, known
from visutility.interop.options import Options
from visutility.tune.factory import AUTO, check_heeds, make_strategy
from visutility.tune.problem import Problem
from visutility.tune.space import Float, Space
from visutility.tune.strategy import AbstractStrategy, Observation, Past, State
from visutility.tune.values import Params

SUGGESTED: Final = "visutility:suggested"  # what a running trial was given, for whoever samples beside it
CONSTRAINTS: Final = "constraints"  # where Optuna keeps them

_ANY: Final = Space({"x": Float(0.0, 1.0)})
_ENDED: Final = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@final
class VisuTilitySampler(BaseSampler):
    """An Optuna sampler that suggests what one of our strategies does.

    `strategy` is a name, "auto" or a strategy; `seed` None: another one each time. With `space`, conditional
    parameters are searched as what they are from the first trial on; without it, the space and its conditions are
    learnt from finished trials, and the first trial is drawn independently. `history` holds earlier studies over
    that space, oldest first. `constraints_func` is Optuna's: a trial holds those that are at most 0.

    Draws are named by (seed, trial number), so that threads and processes that share a study share its suggestions,
    and nothing has to be reseeded. Raises `InvalidSetting` for an unknown strategy, and once a study has several
    objectives or constraints that the strategy would overlook.
    """

    def __init__(
        self,
        strategy: str | AbstractStrategy = AUTO,
        *,
        seed: int | None = None,
        space: Space | None = None,
        history: Sequence[Past] = (),
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
    ) -> None:
        if space is not None and not isinstance(space, Space):
            raise InvalidSetting(f"space {space!r:.80} is not a Space", hint="write Space({'x': Float(0, 1)}), or None")
        if isinstance(strategy, str) and strategy != AUTO:
            make_strategy(strategy, space=space or _ANY)  # an unknown name is refused now
        self._strategy = strategy
        self._seed = secrets.randbelow(2**31) if seed is None else seed
        self._declared = None if space is None else Known(space, distributions_of(space), Options())
        self._history = tuple(history)
        self._constraints_func = constraints_func
        self._replays: dict[int, _Replay] = {}
        self._lock = threading.Lock()  # Optuna samples from several threads when n_jobs is above 1

    def __getstate__(self) -> dict[str, Any]:
        """What was replayed is left behind: it is read again from the study."""
        return {name: {} if name == "_replays" else value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def infer_relative_search_space(
        self,
        study: OptunaStudy,
        trial: FrozenTrial,  # noqa: ARG002 (Optuna's signature)
    ) -> dict[str, BaseDistribution]:
        """Return every parameter that is searched together with others, conditional ones included."""
        found = self._known(study)
        return {} if found is None else dict(found.distributions)

    def sample_relative(
        self, study: OptunaStudy, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return what the strategy suggests for this trial; nothing when it has nothing left, which ends the study."""
        if not search_space:
            return {}
        found = self._known(study)
        if found is None or dict(found.distributions) != search_space:
            found = known(search_space, {})
        if found is None:
            return {}
        with self._lock:  # until others can see what this trial was given
            state = self._replay(study).state(self._history, found, self._seed, study, trial)
            try:
                params = self._made(state).suggest(state, trial.number)
            except StudyClosed:
                with suppress(RuntimeError):  # outside `optimize` there is nothing to stop
                    study.stop()
                return {}
            study._storage.set_trial_system_attr(trial._trial_id, SUGGESTED, params)
        return found.real(params)

    def sample_independent(
        self,
        study: OptunaStudy,  # noqa: ARG002 (Optuna's signature)
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a value drawn uniformly: of a parameter that nothing is known of yet."""
        found = known({param_name: param_distribution}, {})
        if found is None:  # one value, or wider than our numbers
            return param_distribution.to_external_repr(_low(param_distribution))
        draw = rng(self._seed, "optuna", trial.number, param_name)
        return found.real(found.space.decode(draw.random(1)))[param_name]

    def after_trial(
        self,
        study: OptunaStudy,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,  # noqa: ARG002 (Optuna's signature)
    ) -> None:
        """Keep what `constraints_func` says of the trial."""
        if self._constraints_func is None or state not in (TrialState.COMPLETE, TrialState.PRUNED):
            return
        told = tuple(float(value) for value in self._constraints_func(trial))
        if any(value != value for value in told):
            raise InvalidObservation(
                f"constraints {told} of trial {trial.number}", hint="return numbers that are no NaN"
            )
        study._storage.set_trial_system_attr(trial._trial_id, CONSTRAINTS, told)

    def _made(self, state: State) -> AbstractStrategy:
        if isinstance(self._strategy, AbstractStrategy):
            check_heeds(type(self._strategy), state.problem)
            return self._strategy
        chosen = make_strategy(self._strategy, space=state.space, history=self._history, problem=state.problem)
        return chosen.strategy

    def _replay(self, study: OptunaStudy) -> "_Replay":
        return self._replays.setdefault(study._study_id, _Replay())

    def _known(self, study: OptunaStudy) -> Known | None:
        with self._lock:
            return self._declared or self._replay(study).known(study)


@final
@dataclass(slots=True)
class _Replay:
    """What one study has told so far, read once. All of it can be read again."""

    seen: set[int] = field(default_factory=set)  # numbers of the trials in `sightings`
    sightings: Sightings = field(default_factory=Sightings)
    learnt: Known | None = None
    observed: list[int] = field(default_factory=list)  # numbers of the trials in `kept`, in its order
    under: Known | None = None  # the space of `kept`
    kept: State | None = None

    def known(self, study: OptunaStudy) -> Known | None:
        """Return the space that the finished trials show."""
        for one in study._get_trials(deepcopy=False, states=_ENDED[:2], use_cache=False):
            if one.number not in self.seen:
                self.seen.add(one.number)
                self.sightings.see(one.params, one.distributions)
        if self.sightings.changed:
            self.learnt = self.sightings.space()
            self.sightings.changed = False
        return self.learnt

    def state(
        self, history: tuple[Past, ...], found: Known, seed: int, study: OptunaStudy, trial: FrozenTrial
    ) -> State:
        """Return the strategy's state: every ended trial in the order they ended, and those under way."""
        trials = study._get_trials(deepcopy=False, use_cache=False)
        ended = sorted((t for t in trials if t.state in _ENDED), key=lambda t: (t.datetime_complete, t.number))
        numbers = [t.number for t in ended]
        problem = _problem(study.directions, ended)
        state = self.kept
        same = state is not None and self.under is not None and found.space == self.under.space
        if not same or state is None or state.problem != problem or numbers[: len(self.observed)] != self.observed:
            state, self.observed, self.under = State(found.space, seed, (), (), history, problem), [], found
        for one in ended[len(self.observed) :]:
            params = found.ours(one.params)
            if params is not None:
                state = state.with_observed(_observation(one, params, study.directions, problem))
        self.observed, self.kept = numbers, state
        for one in trials:
            if one.state == TrialState.RUNNING and one.number != trial.number:
                state = _with_running(state, one, found)
        return state


def _with_running(state: State, trial: FrozenTrial, found: Known) -> State:
    """The state with a trial under way: what it was given, or as much as it has asked for."""
    given = trial.system_attrs.get(SUGGESTED)
    params: Params | None = None
    if isinstance(given, Mapping):
        params = state.space.adopt(given)
    elif trial.params:
        params = found.ours(trial.params)
    return state if params is None else state.with_pending(trial.number, params)


def _problem(directions: Sequence[StudyDirection], ended: Sequence[FrozenTrial]) -> Problem:
    counts = [len(_excess(trial)) for trial in ended if trial.state == TrialState.COMPLETE]
    return Problem(objectives=len(directions), constraints=max(counts, default=0))


def _excess(trial: FrozenTrial) -> tuple[float, ...]:
    """By how much each constraint is exceeded, in the order told, those told by name in the order of names."""
    attributes = trial.system_attrs
    told = attributes.get(CONSTRAINTS) or ()
    named = sorted(key for key in attributes if key.startswith(CONSTRAINTS + ":"))
    return (*map(float, told), *(float(attributes[key]) for key in named))


def _observation(
    trial: FrozenTrial, params: Params, directions: Sequence[StudyDirection], problem: Problem
) -> Observation:
    flips = [-1.0 if direction == StudyDirection.MAXIMIZE else 1.0 for direction in directions]
    values: list[float] | None = None
    if trial.state == TrialState.COMPLETE:
        values = [flip * value for flip, value in zip(flips, trial.values, strict=True)]
    elif trial.state == TrialState.PRUNED and trial.intermediate_values and len(directions) == 1:
        values = [flips[0] * trial.intermediate_values[max(trial.intermediate_values)]]
    if values is None or not all(map(_finite, values)):
        return Observation(trial.number, params, None)
    excess = _excess(trial)
    if len(excess) != problem.constraints:  # nobody knows whether it holds them
        return Observation(trial.number, params, None)
    return Observation(trial.number, params, values[0], tuple(values[1:]), excess)


def _finite(value: float) -> bool:
    return value == value and abs(value) != float("inf")


def _low(distribution: BaseDistribution) -> float:
    """The internal value of the first a distribution has: its lower bound, or option 0."""
    return float(getattr(distribution, "low", 0))
