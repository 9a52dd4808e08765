"""What makes suggestions: frozen settings, plain state, pure steps.

A strategy never touches storage, time or a global generator. `suggest` draws only from `rng(state.seed, its name, the
trial's number)`, so that replaying what was asked and told gives the same study again: that is what resume relies on.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Final, final

import numpy as np

from visutility.tune.appended import Appended
from visutility.tune.encoded import Encoded
from visutility.tune.problem import Problem
from visutility.tune.space import Mask, Params, Space, Units

ONE_VALUE: Final = Problem()


@final
@dataclass(frozen=True, slots=True)
class Observation:
    """A trial's end. `value` is finite and lower is better; None says that the trial failed.

    `others` are the further objectives of a study that has several, lower is better. `excess` says by how much each
    constraint is exceeded: it holds at 0 and below. Both are empty for a failed trial, and for a pruned one, whose
    value is that of its last report.
    """

    number: int
    params: Params
    value: float | None
    others: tuple[float, ...] = ()
    excess: tuple[float, ...] = ()

    def holds(self, constraints: int) -> bool:
        """Return whether the trial has a value and told of each of so many constraints that it holds."""
        return self.value is not None and len(self.excess) == constraints and all(e <= 0.0 for e in self.excess)


@final
@dataclass(frozen=True, slots=True)
class Past:
    """An earlier study: (configuration, value) pairs, oldest first, values finite and LOWER IS BETTER.

    `space` is the one the study searched where that is known. A configuration may lie outside the present space:
    `Space.adopt` moves it there.
    """

    name: str
    space: Space
    trials: tuple[tuple[Params, float], ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads."""
        return {"name": self.name, "space": self.space.to_json(), "trials": [[p, v] for p, v in self.trials]}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Past":
        """Return the study that `to_json` wrote."""
        trials = tuple((dict(params), float(value)) for params, value in data["trials"])
        return Past(data["name"], Space.from_json(data["space"]), trials)


@final
@dataclass(frozen=True, slots=True)
class State:
    """All a strategy knows. `observed` in telling order, `pending` by number, `history` oldest first.

    `revised` says that some of the values are estimates, which may be others at the next look.
    """

    space: Space
    seed: int
    observed: tuple[Observation, ...] | Appended[Observation] = ()  # kept as the latter
    pending: tuple[tuple[int, Params], ...] = ()
    history: tuple[Past, ...] = ()
    problem: Problem = ONE_VALUE
    _encoded: Encoded | None = field(default=None, repr=False, compare=False)
    revised: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.observed, Appended):
            object.__setattr__(self, "observed", Appended(self.observed))
        if self._encoded is None:
            object.__setattr__(self, "_encoded", Encoded.later(self.space, self.observed))

    @property
    def units(self) -> Units:
        """`Space.encode` of the observed configurations, (n, d), read-only: row i is observed[i]."""
        return self._encoded.units  # type: ignore[union-attr]

    @property
    def masks(self) -> Mask:
        """Which columns of `units` are active, (n, d), read-only."""
        return self._encoded.masks  # type: ignore[union-attr]

    @property
    def values(self) -> Units:
        """The observed values (n,), read-only: NaN where the trial failed."""
        return self._encoded.values  # type: ignore[union-attr]

    def with_pending(self, number: int, params: Params) -> "State":
        """Return this state with one more trial under way."""
        pending = (*self.pending, (number, params))
        if self.pending and number < self.pending[-1][0]:  # one that was paused
            pending = tuple(sorted(pending, key=lambda item: item[0]))
        kept = (self.history, self.problem, self._encoded, self.revised)
        return State(self.space, self.seed, self.observed, pending, *kept)

    def without_pending(self, number: int) -> "State":
        """Return this state with that trial no longer under way."""
        return replace(self, pending=tuple(item for item in self.pending if item[0] != number))

    def with_observed(self, seen: Observation) -> "State":
        """Return this state with a trial ended, and no longer pending. O(1), and O(d) where it is looked at."""
        encoded = self._encoded.with_trial(self.space, seen)  # type: ignore[union-attr]
        pending = tuple([item for item in self.pending if item[0] != seen.number])
        observed = self.observed.with_item(seen)  # type: ignore[union-attr]
        kept = (self.history, self.problem, encoded, self.revised)
        return State(self.space, self.seed, observed, pending, *kept)  # a fast `replace`

    def with_values(self, values: Mapping[int, float]) -> "State":
        """Return this state with these estimates, by number of the trial, in place of the values observed."""
        seen, column = list(self.observed), self.values.copy()
        for at, o in enumerate(seen):
            if o.number in values:
                column[at] = value = values[o.number]
                seen[at] = Observation(o.number, o.params, value, o.others, o.excess)
        return replace(self, observed=tuple(seen), _encoded=Encoded.of(self.units, self.masks, column), revised=True)

    def without_value(self, numbers: Set[int]) -> "State":
        """Return this state with these observed trials pending, as if what they told were not known yet."""
        kept = np.array([o.number not in numbers for o in self.observed], dtype=bool)
        again = tuple((o.number, o.params) for o in self.observed if o.number in numbers)
        return replace(
            self,
            observed=tuple(o for o in self.observed if o.number not in numbers),
            pending=(*self.pending, *again),
            _encoded=Encoded.of(self.units[kept], self.masks[kept], self.values[kept]),
        )

    def without_trials(self, numbers: Set[int]) -> "State":
        """Return this state as if these trials had not been asked."""
        kept = np.array([o.number not in numbers for o in self.observed], dtype=bool)
        return replace(
            self,
            observed=tuple(o for o in self.observed if o.number not in numbers),
            pending=tuple(item for item in self.pending if item[0] not in numbers),
            _encoded=Encoded.of(self.units[kept], self.masks[kept], self.values[kept]),
        )

    def with_space(self, space: Space) -> "State":
        """Return this state over a space whose parameters or ranges changed: configurations are adopted into it.

        Those that share no parameter with it are left out.
        """
        seen = ((o, space.adopt(o.params)) for o in self.observed)
        waiting = ((number, space.adopt(params)) for number, params in self.pending)
        return State(
            space,
            self.seed,
            tuple(replace(o, params=params) for o, params in seen if params is not None),
            tuple((number, params) for number, params in waiting if params is not None),
            self.history,
            self.problem,
            revised=self.revised,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads."""
        return {
            "space": self.space.to_json(),
            "seed": self.seed,
            "problem": self.problem.to_json(),
            "observed": [[o.number, o.params, o.value, list(o.others), list(o.excess)] for o in self.observed],
            "pending": [[number, params] for number, params in self.pending],
            "history": [past.to_json() for past in self.history],
            "revised": self.revised,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "State":
        """Return the state that `to_json` wrote."""
        return State(
            Space.from_json(data["space"]),
            data["seed"],
            tuple(
                Observation(number, dict(params), value, tuple(others), tuple(excess))
                for number, params, value, others, excess in data["observed"]
            ),
            tuple((number, dict(params)) for number, params in data["pending"]),
            tuple(Past.from_json(past) for past in data["history"]),
            Problem.from_json(data["problem"]),
            revised=data.get("revised", False),
        )


@dataclass(frozen=True, slots=True)
class AbstractStrategy(ABC):
    """A frozen dataclass of settings that turns a study's state into the next configuration.

    Subclasses give `name`, `learns`, `heeds` and `suggest`, and are final.
    """

    name: ClassVar[str]
    learns: ClassVar[bool] = False  # whether told values change what it suggests
    heeds: ClassVar[frozenset[str]] = frozenset()  # of "objectives" beyond the first, "constraints" and "priors"

    @abstractmethod
    def suggest(self, state: State, number: int) -> Params:
        """Return a configuration of `state.space` for trial `number`; the same for an equal state.

        Draws only from `rng(state.seed, self.name, number, …)`. Raises `StudyClosed` when nothing is left to try.
        """

    @final
    @classmethod
    def overlooks(cls, problem: Problem) -> list[str]:
        """Return what of the problem suggestions would wrongly take no account of.

        One that learns nothing need not know what is told; priors it would overlook too.
        """
        missed = problem.needs - cls.heeds
        return sorted(missed if cls.learns else missed & {"priors"})

    @final
    def init(self, space: Space, seed: int, history: Sequence[Past] = (), problem: Problem = ONE_VALUE) -> State:
        """Return the state of a study that has no trials."""
        return State(space, seed, history=tuple(history), problem=problem)

    @final
    def asked(self, state: State, number: int, params: Params) -> State:
        """Return the state once trial `number` is under way, whoever chose its configuration."""
        return state.with_pending(number, dict(params))

    @final
    def observe(
        self,
        state: State,
        number: int,
        params: Params,
        value: float | None,
        others: Sequence[float] = (),
        excess: Sequence[float] = (),
    ) -> State:
        """Return the state once trial `number` ended: a value, lower is better; None or not finite: it failed."""
        if value is None or not math.isfinite(value):
            return state.with_observed(Observation(number, dict(params), None))
        seen = Observation(number, dict(params), float(value), tuple(map(float, others)), tuple(map(float, excess)))
        return state.with_observed(seen)

    @final
    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain data: `type(strategy)(**settings)` is an equal strategy."""
        return {f.name: getattr(self, f.name) for f in fields(self)}
