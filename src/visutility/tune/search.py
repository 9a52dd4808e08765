"""A study's progress as a value: what `Study` keeps in memory and a durable study rebuilds from its rows.

Nothing here depends on how asks and tells interleaved, only on which trials were asked, and which were told in what
order: so a study rebuilt from its trials goes on exactly as if it had never stopped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from visutility.core.errors import StudyClosed
from visutility.tune.rungs import Curve, MedianStopping, curve, keep_going
from visutility.tune.space import Params, Space
from visutility.tune.strategy import AbstractStrategy, Observation, Past, State
from visutility.tune.trial import COMPLETE, ENQUEUED, PENDING, PRUNED, Outcome, Trial, sign


@final
@dataclass(frozen=True, slots=True)
class Search:
    """The strategy, its state, and the queue. `asked` counts trials, `queue` holds configurations to ask first."""

    strategy: AbstractStrategy
    state: State
    direction: str = "minimize"
    budget: int | None = None
    stopping: MedianStopping | None = None
    queue: tuple[Params, ...] = ()
    asked: int = 0
    curves: tuple[Curve, ...] = ()  # of the complete trials that reported, lower is better

    @property
    def told(self) -> int:
        """How many trials have ended."""
        return len(self.state.observed)

    def next(self) -> tuple[Params, str]:
        """Return the configuration of trial `asked` and its origin: the head of the queue, else a suggestion.

        Raises `StudyClosed` when the budget is spent or the strategy has nothing left.
        """
        if self.budget is not None and self.asked >= self.budget:
            raise StudyClosed(f"all {self.budget} trials of the budget were asked", hint="read `best`")
        if self.queue:
            return dict(self.queue[0]), ENQUEUED
        return self.strategy.suggest(self.state, self.asked), self.strategy.name

    def with_asked(self, params: Params, origin: str) -> "Search":
        """Return the search with trial `asked` under way."""
        return replace(
            self,
            state=self.strategy.asked(self.state, self.asked, params),
            queue=self.queue[1:] if origin == ENQUEUED else self.queue,
            asked=self.asked + 1,
        )

    def with_told(self, trial: Trial, outcome: Outcome) -> "Search":
        """Return the search with that trial, reports included, at its end."""
        ended = trial.ended(outcome)
        return replace(
            self,
            state=self.strategy.observe(self.state, trial.number, trial.params, _observed(ended, self.direction)),
            curves=self.curves + _curves(ended, self.direction),
        )

    def resumed(self, trials: Mapping[int, Trial], told: Sequence[int]) -> "Search":
        """Return this fresh search once `trials` (by number, from 0) were asked and those in `told` ended, in order.

        O(n). The queue is taken as it is: what is left of it.
        """
        observed = tuple(Observation(n, dict(trials[n].params), _observed(trials[n], self.direction)) for n in told)
        pending = tuple((n, dict(trials[n].params)) for n in sorted(trials) if trials[n].state == PENDING)
        curves: list[Curve] = []
        for number in told:
            curves.extend(_curves(trials[number], self.direction))
        state = State(self.state.space, self.state.seed, observed, pending, self.state.history)
        return replace(self, state=state, asked=len(trials), curves=tuple(curves))

    def keeps_going(self, reports: Sequence[tuple[int, float]]) -> bool:
        """Return whether a trial with these reports, in the study's direction, should go on."""
        if self.stopping is None or not reports:
            return True
        flip = sign(self.direction)
        return keep_going(min(flip * value for _, value in reports), reports[-1][0], self.curves, self.stopping)


def past_of(name: str, space: Space, direction: str, trials: Iterable[Trial]) -> Past:
    """Return the complete trials, in the order given, as an earlier study."""
    flip = sign(direction)
    complete = ((dict(t.params), flip * t.value) for t in trials if t.state == COMPLETE and t.value is not None)
    return Past(name, space, tuple(complete))


def _observed(trial: Trial, direction: str) -> float | None:
    """What a strategy is told: the value, for a pruned trial its last report, None for a failed one."""
    value = trial.reports[-1][1] if trial.state == PRUNED and trial.reports else trial.value
    return None if value is None else sign(direction) * value


def _curves(trial: Trial, direction: str) -> tuple[Curve, ...]:
    if trial.state != COMPLETE or not trial.reports:
        return ()
    flip = sign(direction)
    return (curve([(step, flip * value) for step, value in trial.reports]),)
