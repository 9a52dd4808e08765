"""A study's progress as a value: what `Study` keeps in memory and a durable study rebuilds from its rows.

Nothing here depends on how asks and tells interleaved, only on which trials were asked, and which were told in what
order: so a study rebuilt from its trials goes on exactly as if it had never stopped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, final

from visutility.core.errors import StudyClosed, TrialClosed, TrialNotFound
from visutility.tune.fidelity import AbstractStopping, Curve, Seen
from visutility.tune.options import USUAL, Options
from visutility.tune.space import Params, Space
from visutility.tune.strategies._fresh import all_asked
from visutility.tune.strategies.random import Random
from visutility.tune.strategy import AbstractStrategy, Observation, Past, State
from visutility.tune.surrogate.stop import outlook
from visutility.tune.trial import COMPLETE, ENQUEUED, PAUSED, PENDING, PRUNED, Trial, check_same, number_of, sign

BY_CHANCE: Final = 2  # of so many new trials one is drawn by chance where many stop: it is cheap, forecasts mislead
RANDOM: Final = Random()


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
    paused: tuple[Trial, ...] = ()  # by number, with their reports
    seen: Seen = field(default_factory=Seen)  # the curves of ended and paused trials that reported

    @property
    def told(self) -> int:
        """How many trials have ended."""
        return len(self.state.observed)

    def next(self) -> Trial:
        """Return a trial that is not under way: the head of the queue, a paused one to go on with, or a suggestion.

        New ones have number `asked`. Raises `StudyClosed` when the budget is spent, the strategy has nothing left, or
        `stop_when` says that further trials are not worth it.
        """
        spent = self.budget is not None and self.asked >= self.budget
        if self.queue and not spent:
            return Trial(self.asked, dict(self.queue[0]), ENQUEUED)
        again = self._again(closing=spent)
        if again is not None:
            return again
        try:
            return self._suggested(spent=spent)
        except StudyClosed:
            again = self._again(closing=True)
            if again is None:
                raise
            return again

    @property
    def _rule(self) -> AbstractStopping | None:
        """What judges curves: with several objectives nothing does, as one of them says too little."""
        return None if len(self.options.objectives) > 1 else self.options.stopping

    def _again(self, *, closing: bool) -> Trial | None:
        """A paused trial that is worth more than a new one, or worth finishing when no new ones will come.

        Then those that no rule can judge are finished too, by number.
        """
        if not self.paused:
            return None
        rule = self._rule
        number = rule.resume(self.seen, closing=closing) if rule else None
        if number is None and closing:
            number = next((one.number for one in self.paused if rule is None or not one.reports), None)
        return next((replace(one, state=PENDING) for one in self.paused if one.number == number), None)

    def _suggested(self, *, spent: bool) -> Trial:
        if spent:
            raise StudyClosed(f"all {self.budget} trials of the budget were asked", hint="read `best`")
        rule, believed = self.options.stop_when, self.believed
        if self.options.deterministic and all_asked(believed):
            raise StudyClosed(f"all {self.state.space.size} configurations were asked", hint="read `best`")
        if rule is not None:
            ahead = outlook(believed, rule.trials, rule.gain)
            if ahead is not None and ahead.closes(rule):
                raise StudyClosed(f"further trials are not expected to pay: {ahead}", hint="read `best`")
        by_chance = self.asked % BY_CHANCE == 0 and self.strategy.learns and believed.revised and self.seen.mostly_cut
        strategy = RANDOM if by_chance else self.strategy
        return Trial(self.asked, strategy.suggest(believed, self.asked), strategy.name)

    @property
    def believed(self) -> State:
        """The state a suggestion is made from: pruned and paused trials have the final values expected of them.

        Those of whose end too little is known are pending.
        """
        rule, state = self._rule, self.state
        ends: Mapping[int, float] = {}
        if rule is not None and any(curve.state != COMPLETE for curve in self.seen.curves):
            ends = rule.estimates(self.seen)
            cut = {curve.number for curve in self.seen.curves if curve.state == PRUNED and curve.number not in ends}
            state = state.with_values(ends).without_value(cut) if cut else state.with_values(ends)
        for trial in self.paused:
            params = dict(trial.params)
            if trial.number in ends:
                state = state.with_observed(Observation(trial.number, params, ends[trial.number]))
            else:
                state = state.with_pending(trial.number, params)
        return state

    def with_asked(self, trial: Trial) -> "Search":
        """Return the search with that trial, which `next` gave here or elsewhere, under way."""
        state = self.strategy.asked(self.state, trial.number, trial.params)
        if trial.number < self.asked:
            pending = tuple(sorted((*self.pending, replace(trial, reports=())), key=lambda one: one.number))
            return self._without_paused(trial.number, state=state, pending=pending)
        pending = (*self.pending, trial)
        queue = self.queue[1:] if trial.origin == ENQUEUED else self.queue
        return Search(  # a fast `replace`
            self.strategy,
            state,
            self.options,
            self.budget,
            queue,
            trial.number + 1,
            pending,
            self.paused,
            self.seen,
        )

    def with_paused(self, trial: Trial) -> "Search":
        """Return the search once a trial under way was paused with these reports."""
        return replace(
            self,
            state=self.state.without_pending(trial.number),
            paused=tuple(sorted((*self.paused, trial), key=lambda one: one.number)),
            pending=tuple(one for one in self.pending if one.number != trial.number),
            seen=self.seen.of(self.seen.curves + _curves(trial, self.options.direction)),
        )

    def with_told(self, ended: Trial) -> "Search":
        """Return the search once a trial under way became this one, reports included."""
        state = self.strategy.observe(self.state, ended.number, ended.params, *self.options.observed(ended))
        pending = tuple([trial for trial in self.pending if trial.number != ended.number])
        if not self.paused and not ended.reports:  # a fast `replace`
            return Search(
                self.strategy, state, self.options, self.budget, self.queue, self.asked, pending, (), self.seen
            )
        after = self._without_paused(ended.number, state=state, pending=pending)
        new = _curves(ended, self.options.direction)
        return replace(after, seen=after.seen.of(after.seen.curves + new)) if new else after

    def _without_paused(self, number: int, **changes: Any) -> "Search":
        """The search with these changes, that trial no longer among the paused ones."""
        if all(trial.number != number for trial in self.paused):
            return replace(self, **changes)
        kept = tuple(trial for trial in self.paused if trial.number != number)
        curves = (curve for curve in self.seen.curves if curve.number != number)
        return replace(self, paused=kept, seen=self.seen.of(curves), **changes)

    def under_way(self, trial: Trial | int) -> Trial:
        """Return the trial under way or paused with this number, as it was asked or paused.

        Raises `TrialNotFound` when it was not asked or is another study's, `TrialClosed` when it ended.
        """
        number = number_of(trial)
        if not 0 <= number < self.asked:
            raise TrialNotFound(f"trial {number!r} was not asked", hint=f"{self.asked} trials were, from 0")
        found = next((one for one in (*self.pending, *self.paused) if one.number == number), None)
        if found is None:
            raise TrialClosed(f"trial {number} ended already", hint="a trial is told once")
        if isinstance(trial, Trial):
            check_same(found, trial)
        return found

    def running(self, trial: Trial | int) -> Trial:
        """Return the trial under way with this number; raises as `under_way`, and `TrialClosed` when it is paused."""
        found = self.under_way(trial)
        if found.state == PAUSED:
            raise TrialClosed(f"trial {found.number} is paused", hint="`ask` hands it out again when it is worth it")
        return found

    def resumed(self, trials: Sequence[Trial], told: Sequence[int]) -> "Search":
        """Return this fresh search once `trials`, by number from 0, were asked and those in `told` ended, in order.

        O(n). The queue loses what these trials took from it.
        """
        taken = sum(trial.origin == ENQUEUED for trial in trials)
        pending = tuple(replace(trial, reports=()) for trial in trials if trial.state == PENDING)
        observed = tuple(Observation(n, dict(trials[n].params), *self.options.observed(trials[n])) for n in told)
        under_way = tuple((trial.number, dict(trial.params)) for trial in pending)
        paused = tuple(trial for trial in trials if trial.state == PAUSED)
        curves: list[Curve] = []
        for trial in (*(trials[number] for number in told), *paused):
            curves.extend(_curves(trial, self.options.direction))
        return replace(
            self,
            state=State(self.state.space, self.state.seed, observed, under_way, self.state.history, self.state.problem),
            queue=self.queue[taken:],
            asked=len(trials),
            pending=pending,
            paused=paused,
            seen=Seen().of(curves),
        )

    def keeps_going(self, number: int, reports: Sequence[tuple[int, float]]) -> bool:
        """Return whether the trial with these reports, in the first objective's direction, should go on.

        With several objectives it always should: one of them says too little.
        """
        rule = self._rule
        if rule is None or not reports:
            return True
        return rule.goes_on(self.seen, Curve.of(number, PENDING, reports, sign(self.options.direction)))


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
    """The curve of a trial that reported and did not fail."""
    if trial.state not in (COMPLETE, PRUNED, PAUSED) or not trial.reports:
        return ()
    return (Curve.of(trial.number, trial.state, trial.reports, sign(direction)),)
