"""A study's progress as a value: what `Study` keeps in memory and a durable study rebuilds from its rows.

Nothing here depends on how asks and tells interleaved, only on which trials were asked, and which were told in what
order: so a study rebuilt from its trials goes on exactly as if it had never stopped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import final

from visutility.core.errors import StudyClosed, TrialClosed, TrialNotFound
from visutility.tune.options import USUAL, Options
from visutility.tune.rungs import Curve, curve, keep_going
from visutility.tune.space import Params, Space
from visutility.tune.strategy import AbstractStrategy, Observation, Past, State
from visutility.tune.trial import COMPLETE, ENQUEUED, PENDING, Trial, sign


@final
@dataclass(frozen=True, slots=True)
class Search:
    """The strategy, its state, and the queue. `asked` counts trials, `queue` holds configurations to ask first."""

    strategy: AbstractStrategy
    state: State
    options: Options = USUAL
    budget: int | None = None
    queue: tuple[Params, ...] = ()
    asked: int = 0
    pending: tuple[Trial, ...] = ()  # by number, without their reports
    curves: tuple[Curve, ...] = ()  # of the complete trials that reported, lower is better

    @property
    def told(self) -> int:
        """How many trials have ended."""
        return len(self.state.observed)

    def next(self) -> Trial:
        """Return trial number `asked`, not yet under way: the head of the queue, else a suggestion.

        Raises `StudyClosed` when the budget is spent or the strategy has nothing left.
        """
        if self.budget is not None and self.asked >= self.budget:
            raise StudyClosed(f"all {self.budget} trials of the budget were asked", hint="read `best`")
        if self.queue:
            return Trial(self.asked, dict(self.queue[0]), ENQUEUED)
        return Trial(self.asked, self.strategy.suggest(self.state, self.asked), self.strategy.name)

    def with_asked(self, trial: Trial) -> "Search":
        """Return the search with that trial, which `next` gave here or elsewhere, under way."""
        return replace(
            self,
            state=self.strategy.asked(self.state, trial.number, trial.params),
            queue=self.queue[1:] if trial.origin == ENQUEUED else self.queue,
            asked=trial.number + 1,
            pending=(*self.pending, trial),
        )

    def with_told(self, ended: Trial) -> "Search":
        """Return the search once a trial under way became this one, reports included."""
        return replace(
            self,
            state=self.strategy.observe(self.state, ended.number, ended.params, *self.options.observed(ended)),
            curves=self.curves + _curves(ended, self.options.direction),
            pending=tuple(trial for trial in self.pending if trial.number != ended.number),
        )

    def under_way(self, trial: Trial | int) -> Trial:
        """Return the trial under way with this number, as it was asked.

        Raises `TrialNotFound` when it was not asked or is another study's, `TrialClosed` when it ended.
        """
        number = trial.number if isinstance(trial, Trial) else trial
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < self.asked:
            raise TrialNotFound(f"trial {number!r} was not asked", hint=f"{self.asked} trials were, from 0")
        found = next((one for one in self.pending if one.number == number), None)
        if found is None:
            raise TrialClosed(f"trial {number} ended already", hint="a trial is told once")
        if isinstance(trial, Trial) and any(found.params.get(k, v) != v for k, v in trial.params.items()):
            raise TrialNotFound(f"trial {number} is of another study", hint="tell the study that asked for it")
        return found

    def resumed(self, trials: Sequence[Trial], told: Sequence[int]) -> "Search":
        """Return this fresh search once `trials`, by number from 0, were asked and those in `told` ended, in order.

        O(n). The queue loses what these trials took from it.
        """
        taken = sum(trial.origin == ENQUEUED for trial in trials)
        pending = tuple(replace(trial, reports=()) for trial in trials if trial.state == PENDING)
        observed = tuple(Observation(n, dict(trials[n].params), *self.options.observed(trials[n])) for n in told)
        under_way = tuple((trial.number, dict(trial.params)) for trial in pending)
        curves: list[Curve] = []
        for number in told:
            curves.extend(_curves(trials[number], self.options.direction))
        return replace(
            self,
            state=State(self.state.space, self.state.seed, observed, under_way, self.state.history, self.state.problem),
            queue=self.queue[taken:],
            asked=len(trials),
            pending=pending,
            curves=tuple(curves),
        )

    def keeps_going(self, reports: Sequence[tuple[int, float]]) -> bool:
        """Return whether a trial with these reports, in the first objective's direction, should go on.

        With several objectives it always should: one of them says too little.
        """
        rule, flip = self.options.stopping, sign(self.options.direction)
        if rule is None or not reports or len(self.options.objectives) > 1:
            return True
        return keep_going(min(flip * value for _, value in reports), reports[-1][0], self.curves, rule)


def past_of(name: str, space: Space, direction: str, trials: Iterable[Trial]) -> Past:
    """Return the complete trials that break no constraint, in the order given, as an earlier study."""
    flip = sign(direction)
    complete = ((dict(t.params), flip * t.value) for t in trials if t.feasible and t.value is not None)
    return Past(name, space, tuple(complete))


def best_of(trials: Iterable[Trial], direction: str) -> Trial:
    """Return the feasible trial with the best value, the earliest of equals.

    Raises `TrialNotFound` when there is none; where all complete trials break a constraint, it names the one that
    breaks them least.
    """
    flip = sign(direction)
    return min(feasible_of(trials), key=lambda t: (flip * (t.value or 0.0), t.number))


def feasible_of(trials: Iterable[Trial]) -> list[Trial]:
    """Return the complete trials that break no constraint, at least one; raises as `best_of`."""
    complete = [t for t in trials if t.state == COMPLETE and t.value is not None]
    if not complete:
        raise TrialNotFound("no trial is complete yet", hint="tell a value first")
    feasible = [t for t in complete if t.feasible]
    if not feasible:
        least = min(complete, key=_violation)
        broken = {name: by for name, by in least.excess.items() if by > 0.0}
        raise TrialNotFound(
            f"none of {len(complete)} complete trials holds every constraint",
            hint=f"trial {least.number} is nearest: it exceeds "
            + ", ".join(f"{name!r} by {by:.6g}" for name, by in broken.items()),
        )
    return feasible


def _violation(trial: Trial) -> tuple[int, float, int]:
    """What orders infeasible trials: how many constraints are broken, by how much in all, the number."""
    broken = [by for by in trial.excess.values() if by > 0.0]
    return len(broken), sum(broken), trial.number


def _curves(trial: Trial, direction: str) -> tuple[Curve, ...]:
    if trial.state != COMPLETE or not trial.reports:
        return ()
    flip = sign(direction)
    return (curve([(step, flip * value) for step, value in trial.reports]),)
