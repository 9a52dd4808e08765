"""The study: one search for the best configuration, driven by ask and tell.

Thread-safe. Users see values in the study's own direction; strategies see lower-is-better ones.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, final

from visutility.core.errors import (
    InvalidSetting,
    StudyClosed,
)
from visutility.tune.constraints import Constraint
from visutility.tune.factory import AUTO, check_heeds, make_strategy
from visutility.tune.fidelity import AbstractStopping
from visutility.tune.history import Earlier, as_history
from visutility.tune.optimized import optimized
from visutility.tune.options import options_of
from visutility.tune.outlook import Enough, Outlook
from visutility.tune.priors import Belief
from visutility.tune.rungs import check_report
from visutility.tune.search import Search, past_of
from visutility.tune.snapshot import read_snapshot, write_snapshot
from visutility.tune.space import Params, Space
from visutility.tune.standing import best_with, front_of, outlook_of, volume_of
from visutility.tune.strategy import AbstractStrategy, Past
from visutility.tune.trial import PAUSED, PENDING, PRUNED, Outcome, Result, Trial, sign
from visutility.tune.values import plain


@final
class Study:
    """One search over `space`, for the lowest (`direction="maximize"`: highest) value of `objective`.

    Several objectives: `direction` maps each metric to its direction, `objective` is left out, and `front` is what was
    found. `constraints` map metrics to `AtMost(bound)` or `AtLeast(bound)`: `best` and `front` are among the trials
    that hold them. `deterministic` promises that the same configuration has the same value; `noise` declares the
    standard deviation of a value, which is learnt otherwise. `priors` map parameters to `Near(value)` or
    `Likely({option: probability})`: where good values are believed to lie.

    `strategy` is a name, "auto" or a strategy of your own; `history` holds earlier studies, oldest first: a `Study`, a
    `Past`, or a list of (params, value) in this study's direction. `budget` closes the study after that many trials.
    `stopping`, a rule or its name, decides what `report` answers and which paused trials go on; None: always go on.
    `stop_when=Enough(…)` closes it when further ones are not expected to pay. `modality`, and
    `workers`, how many trials will run at a time, help "auto" to choose.
    Equal arguments and equal tells give equal suggestions, in any process.
    """

    def __init__(
        self,
        space: Space,
        direction: str | Mapping[str, str] = "minimize",
        strategy: str | AbstractStrategy = AUTO,
        seed: int = 0,
        history: Sequence[Earlier] = (),
        objective: str = "value",
        budget: int | None = None,
        *,
        constraints: Mapping[str, Constraint] | None = None,
        deterministic: bool = False,
        noise: float | None = None,
        priors: Mapping[str, Belief] | None = None,
        modality: str | None = None,
        workers: int = 1,
        stopping: str | AbstractStopping | None = AUTO,
        stop_when: Enough | None = None,
    ) -> None:
        if not isinstance(space, Space):
            raise InvalidSetting(f"space {space!r:.80} is not a Space", hint="write Space({'name': Float(0, 1)})")
        seed, budget, workers = plain(seed), plain(budget), plain(workers)
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise InvalidSetting(f"seed {seed!r} is not a whole number", hint="pass an int")
        options = options_of(
            direction,
            objective,
            constraints=constraints,
            deterministic=deterministic,
            noise=noise,
            stopping=stopping,
            priors=priors,
            stop_when=stop_when,
            space=space,
        )
        past = as_history(history, space, options.direction)
        if isinstance(strategy, AbstractStrategy):
            made, reason = strategy, "it was given"
            check_heeds(type(strategy), options.problem)
            make_strategy("random", space=space, budget=budget, modality=modality, workers=workers)  # checks these
        else:
            chosen = make_strategy(
                strategy,
                space=space,
                budget=budget,
                history=past,
                modality=modality,
                problem=options.problem,
                workers=workers,
            )
            made, reason = chosen.strategy, chosen.reason
        self._begin(Search(made, made.init(space, seed, past, options.problem), options, budget), reason)

    def _begin(self, search: Search, reason: str) -> None:
        self.space = search.state.space
        self.options = search.options
        self.direction = search.options.direction  # of the first objective
        self.objective = search.options.objective
        self.seed = search.state.seed
        self.budget = search.budget
        self.strategy_name = search.strategy.name
        self.reason = reason
        self._lock = threading.RLock()
        self._search = search
        self._trials: list[Trial] = []
        self._reports: dict[int, dict[int, float]] = {}  # of pending trials, by step
        self._told: list[int] = []

    def enqueue(self, params: Mapping[str, Any]) -> None:
        """Ask for this configuration before any suggestion; several are asked in the order enqueued.

        Raises `InvalidParameter` when the space does not allow it.
        """
        with self._lock:
            checked = self.space.validate(params)
            self._search = replace(self._search, queue=(*self._search.queue, checked))

    def ask(self) -> Trial:
        """Return the next trial, pending: a paused one that is worth going on with, under its number, or a new one.

        Raises `StudyClosed` when the budget is spent and nothing paused is worth it, or nothing is left to try.
        """
        with self._lock:
            trial = self._search.next()
            self._search = self._search.with_asked(trial)
            self._trials[trial.number : trial.number + 1] = [replace(trial, reports=())]
            self._reports[trial.number] = dict(trial.reports)
            return self._public(trial)

    def ask_batch(self, n: int) -> list[Trial]:
        """Return the next `n` trials, each chosen knowing those before it; fewer when the study closes on the way.

        Raises `StudyClosed` when there is none at all.
        """
        n = plain(n)
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise InvalidSetting(f"batch size {n!r} is not a whole number of at least 1", hint="ask for at least 1")
        with self._lock:
            batch = [self.ask()]
            with suppress(StudyClosed):
                for _ in range(n - 1):
                    batch.append(self.ask())  # noqa: PERF401 (what was asked before it closes is kept)
            return batch

    def tell(self, trial: Trial | int, result: Result) -> Trial:
        """End a trial with its value, its metrics or a `Failure`; return it as it ended.

        A value that is not finite is a failed trial. Raises `TrialNotFound`, `TrialClosed` when it ended already,
        `MissingMetric` when a metric is lacking that is an objective or constrained, `InvalidObservation` for no
        number; then nothing is told.
        """
        with self._lock:
            return self._end(trial, self.options.judge(result))

    def report(self, trial: Trial | int, step: int, value: float) -> bool:
        """Keep an intermediate value of the objective; return whether the trial should go on.

        A step reported again changes nothing, and says go on: so a paused trial may start again from its first step.
        A value that is not finite is not kept, and says stop. Raises `InvalidObservation` for a negative step or a new
        one below the last, `TrialClosed` after the trial's end.
        """
        with self._lock:
            number = self._search.running(trial).number
            kept = self._reports[number]
            if check_report(step, value, kept):
                kept[int(step)] = float(value)
            else:
                return step in kept
            return self._search.keeps_going(number, tuple(kept.items()))

    def pause(self, trial: Trial | int) -> Trial:
        """End the work on a trial for now, reports kept; a later `ask` may hand it out again under its number.

        It goes on after the last step it reported (`trial.resume_from`), or starts again: steps reported again change
        nothing. Raises as `tell`.
        """
        with self._lock:
            found = self._search.running(trial)
            paused = replace(found, state=PAUSED, reports=tuple(self._reports.pop(found.number).items()))
            self._search = self._search.with_paused(paused)
            self._trials[found.number] = paused
            return self._public(paused)

    def prune(self, trial: Trial | int) -> Trial:
        """End a trial early, without a value; where it was going stands in for one in what the strategy learns."""
        with self._lock:
            return self._end(trial, Outcome(PRUNED))

    @property
    def best(self) -> Trial:
        """The feasible trial with the best value, the earliest of equals.

        Raises `TrialNotFound` when there is none (where constraints are the reason, it names the trial that breaks them
        least), and `Invalid` with several objectives, where `front` is what was found.
        """
        with self._lock:
            return self._public(best_with(self._trials, self.options))

    @property
    def front(self) -> tuple[Trial, ...]:
        """The feasible trials that no other one is better than in one objective and as good in all, by number.

        Raises `TrialNotFound` when there is none, as `best` does.
        """
        with self._lock:
            return tuple(map(self._public, front_of(self._trials, self.options)))

    def hypervolume(self, reference: Mapping[str, float]) -> float:
        """Return the exact volume that `front` dominates, bounded by a value of each objective that is worse.

        What is not better than the reference in every objective adds nothing; 0 before the first feasible trial.
        Raises `InvalidSetting` for a reference that lacks an objective.
        """
        with self._lock:
            return volume_of(self._trials, self.options, reference)

    def outlook(self, trials: int = 10, gain: float | None = None, cost: str | None = None) -> Outlook:
        """Return what the next `trials` are expected to gain, how probable a gain of at least `gain` is, and the cost.

        `gain` None: what matters is read off the trials. `cost` names the metric that says what a trial cost, such as
        seconds; None: trials are counted. Raises `TrialNotFound` before four feasible trials, `InvalidSetting` for
        several objectives.
        """
        with self._lock:
            return outlook_of(self._search.believed, self._trials, self.options, trials, gain, cost)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial, by number."""
        with self._lock:
            return tuple(map(self._public, self._trials))

    @property
    def history(self) -> list[tuple[Params, float]]:
        """The (configuration, value) of each feasible trial, in the order told; of the first objective."""
        flip = sign(self.direction)
        return [(dict(params), flip * value) for params, value in self.past().trials]

    def past(self) -> Past:
        """Return the feasible trials as an earlier study for another one, oldest first, lower is better."""
        with self._lock:
            return past_of("study", self.space, self.direction, (self._trials[number] for number in self._told))

    def optimize(self, objective: Callable[[Params], Result], n: int) -> Trial:
        """Ask, call `objective(params)` and tell, `n` times or until the study closes; return the best trial.

        An exception ends its trial as failed and comes through. With several objectives: the first of `front`.
        """
        return optimized(self, objective, n)

    def snapshot(self) -> dict[str, Any]:
        """Return the whole study as plain data for JSON; `restore` goes on from it exactly."""
        with self._lock:
            return write_snapshot(self._search, self.reason, self.trials, self._told)

    @classmethod
    def restore(cls, data: Mapping[str, Any], strategy: AbstractStrategy | None = None) -> "Study":
        """Return the study that `snapshot` gave; `strategy` only for one that has no registered name.

        Raises `Invalid` when the data was cut, edited or written by a newer release.
        """
        stored = read_snapshot(data, strategy)
        study = cls.__new__(cls)
        study._begin(stored.search, stored.reason)
        study._trials = [replace(t, reports=()) if t.state == PENDING else t for t in stored.trials]
        study._reports = {t.number: dict(t.reports) for t in stored.trials if t.state == PENDING}
        study._told = list(stored.told)
        return study

    def _end(self, trial: Trial | int, outcome: Outcome) -> Trial:
        found = self._search.under_way(trial)
        reports = found.reports if found.state == PAUSED else tuple(self._reports.pop(found.number).items())
        ended = replace(found, reports=reports).ended(outcome)
        self._search = self._search.with_told(ended)
        self._trials[found.number] = ended
        self._told.append(found.number)
        return self._public(ended)

    def _public(self, trial: Trial) -> Trial:
        """A copy whose parameters and metrics the caller may change."""
        kept = self._reports.get(trial.number)
        return (replace(trial, reports=tuple(kept.items())) if kept else trial).copied()
