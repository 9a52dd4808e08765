"""A study whose trials are rows: several processes and machines may ask and tell, and any may die."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple, final

from visutility.core import codec
from visutility.core.errors import InvalidSetting, StudyClosed
from visutility.registry import _study_rows as rows
from visutility.registry._study_progress import Follower, Known
from visutility.registry._study_rows import CLOSED, OPEN, Of, StudyRecord
from visutility.store import audit
from visutility.store.engine import Store, Tx
from visutility.store.hot import Writing
from visutility.tune.factory import find_strategy
from visutility.tune.optimized import optimized
from visutility.tune.outlook import Outlook
from visutility.tune.rungs import check_report
from visutility.tune.search import Search, past_of
from visutility.tune.snapshot import write_snapshot
from visutility.tune.space import Params
from visutility.tune.standing import best_with, front_of, outlook_of, volume_of
from visutility.tune.strategy import Past
from visutility.tune.trial import PAUSED, PRUNED, Outcome, Result, Trial, sign
from visutility.tune.values import plain


class _Plan(NamedTuple):
    """Suggestions made before the writing transaction, good only if the study has not moved from `start`."""

    start: Search
    trials: Sequence[Trial]
    end: Search


@final
class DurableStudy:
    """The study with this id or name, as rows. Its calls are those of `tune.Study`.

    Each call is one transaction, or takes part in `tx`. Trial numbers and the order of telling are given in the
    writing transaction, and a suggestion is made from exactly the trials before it, so a study that was killed and
    opened again, here or elsewhere, goes on as if it had never stopped. Trials asked and never told stay pending.

    What was told or reported survives a power cut. What was only asked survives the process, and becomes as safe with
    the next tell of anybody; a power cut before that takes it back, and whoever asks then gets the same trial again.
    Raises `StudyNotFound`.
    """

    def __init__(self, store: Store, ref: str) -> None:
        self._store = store
        with store.read() as connection:
            record = rows.read_study(connection, ref)
            history = rows.read_history(connection, record)
        self.id = record.id
        self._of = Of(record.id, record.space, record.options)
        self.space = record.space
        self.options = record.options
        self.direction = record.direction
        self.objective = record.objective
        self.seed = record.seed
        self.budget = record.budget
        self.strategy_name = record.strategy
        self.reason = record.reason
        strategy = find_strategy(record.strategy)(**record.settings)
        state = strategy.init(record.space, record.seed, history, record.options.problem)
        fresh = Search(strategy, state, record.options, record.budget, record.enqueued)
        self._thinks = strategy.learns
        self._follower = Follower(self._of, fresh)

    @property
    def record(self) -> StudyRecord:
        """The study's row, read now."""
        with self._store.read() as connection:
            return rows.read_study(connection, self.id)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial, by number, read now."""
        return tuple(self._read()[0])

    @property
    def best(self) -> Trial:
        """The feasible trial with the best value, the earliest of equals.

        Raises `TrialNotFound` when there is none, and `Invalid` with several objectives: read `front` then.
        """
        return best_with(self.trials, self.options)

    @property
    def front(self) -> tuple[Trial, ...]:
        """The feasible trials that no other one is better than in one objective and as good in all, by number.

        Raises `TrialNotFound` when there is none, as `best` does.
        """
        return tuple(front_of(self.trials, self.options))

    def hypervolume(self, reference: Mapping[str, float]) -> float:
        """Return the exact volume that `front` dominates, bounded by a value of each objective that is worse."""
        return volume_of(self.trials, self.options, reference)

    def outlook(self, trials: int = 10, gain: float | None = None, cost: str | None = None) -> Outlook:
        """Return what the next `trials` are expected to gain, how probable a gain of at least `gain` is, and the cost.

        Raises as `tune.Study.outlook`.
        """
        with self._store.read() as connection:
            read = rows.reading(connection)
            state = self._follower.catch_up(read).search.believed
            known, _ = rows.read_trials(read, self._of)
        return outlook_of(state, known, self.options, trials, gain, cost)

    @property
    def history(self) -> list[tuple[Params, float]]:
        """The (configuration, value) of each feasible trial, in the order told; of the first objective."""
        flip = sign(self.direction)
        return [(params, flip * value) for params, value in self.past().trials]

    def past(self) -> Past:
        """Return the feasible trials as an earlier study for another one, oldest first, lower is better."""
        trials, told = self._read()
        return past_of(self.id, self.space, self.direction, (trials[number] for number in told))

    def snapshot(self) -> dict[str, Any]:
        """Return the whole study as plain data for JSON; `tune.Study.restore` goes on from it exactly."""
        with self._store.read() as connection:
            read = rows.reading(connection)
            known = self._follower.catch_up(read)
            trials, told = rows.read_trials(read, self._of)
        return write_snapshot(known.search, self.reason, trials, told)

    def enqueue(self, params: Mapping[str, Any], *, tx: Tx | None = None) -> None:
        """Ask for this configuration before any suggestion; several are asked in the order enqueued.

        Raises `InvalidParameter` when the space does not allow it, and `StudyClosed`.
        """
        checked = self.space.validate(params)
        with self._writing("study.enqueue", tx) as within:
            known = self._follower.open(within)
            new = {"study_id": self.id, "position": known.at.queued, "params": codec.dumps(checked)}
            within.execute(rows.insert_queued, {**new, "queued_at": within.now()})
            search = replace(known.search, queue=(*known.search.queue, checked))
            self._follower.keep_after(within, known.moved(search, queued=1))

    def ask(self, *, tx: Tx | None = None) -> Trial:
        """Return the next trial, pending. Raises `StudyClosed` when the study is, or nothing is left to try."""
        return self.ask_batch(1, tx=tx)[0]

    def ask_batch(self, n: int, *, tx: Tx | None = None) -> list[Trial]:
        """Return the next `n` trials, each chosen knowing those before it; fewer when the study closes on the way.

        Raises `StudyClosed` when there is none at all.
        """
        n = plain(n)
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise InvalidSetting(f"batch size {n!r} is not a whole number of at least 1", hint="ask for at least 1")
        plan = None
        if tx is None and self._thinks:  # it thinks for milliseconds: do that before locking others out
            with self._store.read() as connection:
                known = self._follower.catch_up(rows.reading(connection))
            plan = _planned(known.search, n)
        with self._writing("study.ask", tx, synced=False) as within:
            known = self._follower.open(within)
            if plan is None or plan.start is not known.search:
                plan = _planned(known.search, n)
            again = self._write_asked(within, plan, known)
            self._follower.keep_after(within, known.moved(plan.end, pauses=again))
        return [trial.copied() for trial in plan.trials]

    def tell(self, trial: Trial | int, result: Result, *, tx: Tx | None = None) -> Trial:
        """End a trial with its value, its metrics or a `Failure`; return it as it ended.

        A value that is not finite is a failed trial. Raises `TrialNotFound`, `TrialClosed` when it ended already,
        `StudyClosed`, `MissingMetric` when metrics lack the objective, `InvalidObservation` for no number; then
        nothing is told.
        """
        return self._end("study.tell", trial, self.options.judge(result), tx)

    def prune(self, trial: Trial | int, *, tx: Tx | None = None) -> Trial:
        """End a trial early, without a value; its last report stands in for one in what the strategy learns."""
        return self._end("study.prune", trial, Outcome(PRUNED), tx)

    def report(self, trial: Trial | int, step: int, value: float, *, tx: Tx | None = None) -> bool:
        """Keep an intermediate value of the objective; return whether the trial should go on.

        A step reported again changes nothing, and says go on: so a paused trial may start again from its first step.
        A value that is not finite is not kept, and says stop. Raises `InvalidObservation` for a negative step or a new
        one below the last, `TrialClosed` after the trial's end.
        """
        with self._writing("study.report", tx) as within:
            search = self._follower.open(within).search
            number = search.running(trial).number
            kept = rows.read_reports(within.rows, self.id, number)
            if check_report(step, value, kept):
                new = {"study_id": self.id, "trial_number": number, "step": int(step), "value": float(value)}
                within.execute(rows.insert_report, new)
                kept[int(step)] = float(value)
            else:
                return step in kept
            return search.keeps_going(number, tuple(kept.items()))

    def optimize(self, objective: Callable[[Params], Result], n: int) -> Trial:
        """Ask, call `objective(params)` and tell, `n` times or until the study closes; return the best trial.

        An exception ends its trial as failed and comes through. With several objectives: the first of `front`. Trials
        that another process left pending stay so: it may be at work on them.
        """
        return optimized(self, objective, n)

    def pause(self, trial: Trial | int, *, tx: Tx | None = None) -> Trial:
        """End the work on a trial for now, reports kept; a later `ask` may hand it out again under its number.

        It goes on after the last step it reported (`trial.resume_from`), or starts again: steps reported again change
        nothing. Raises as `tell`.
        """
        with self._writing("study.pause", tx) as within:
            known = self._follower.open(within)
            found = known.search.running(trial)
            reports = rows.read_reports(within.rows, self.id, found.number)
            paused = replace(found, state=PAUSED, reports=tuple(reports.items()))
            within.execute(rows.turn_trial, {"of": self.id, "n": found.number, "new_state": PAUSED})
            within.execute(rows.count_pauses, {"of": self.id, "pauses": known.at.pauses + 1})
            self._follower.keep_after(within, known.moved(known.search.with_paused(paused), pauses=1))
        return paused.copied()

    def close(self, *, by: str, why: str, tx: Tx | None = None) -> StudyRecord:
        """Close the study: it takes no more trials, and pending ones end untold. Closing again changes nothing."""
        if tx is not None:
            return close(tx, self.id, by=by, why=why)
        with self._store.write("study.close") as own:
            return close(own, self.id, by=by, why=why)

    def _writing(self, name: str, tx: Tx | None, *, synced: bool = True) -> AbstractContextManager[Writing]:
        return self._store.hot.write(name, synced=synced) if tx is None else nullcontext(tx.hot())

    def _read(self) -> tuple[list[Trial], list[int]]:
        with self._store.read() as connection:
            return rows.read_trials(rows.reading(connection), self._of)

    def _write_asked(self, tx: Writing, plan: _Plan, known: Known) -> int:
        """Write the trials of a plan; return how many of them were paused before."""
        now, again = tx.now(), 0
        for trial in plan.trials:
            if trial.number < known.search.asked:
                again += 1
                tx.execute(rows.turn_trial, {"of": self.id, "n": trial.number, "new_state": trial.state})
                continue
            params = codec.dumps_plain(trial.params)
            tx.execute(rows.insert_trial, (self.id, trial.number, params, trial.origin, trial.state, now))
        if again:
            tx.execute(rows.count_pauses, {"of": self.id, "pauses": known.at.pauses + again})
        return again

    def _end(self, name: str, trial: Trial | int, outcome: Outcome, tx: Tx | None) -> Trial:
        with self._writing(name, tx) as within:
            known = self._follower.open(within)
            search = known.search
            found = search.under_way(trial)
            if known.at.reported and (reports := rows.read_reports(within.rows, self.id, found.number)):
                found = replace(found, reports=tuple(reports.items()))
            ended = found.ended(outcome)
            metrics = codec.dumps(dict(ended.metrics)) if ended.metrics else None
            end = (ended.state, ended.value, metrics, ended.failure, search.told, within.now())
            within.execute(rows.end_trial, (*end, self.id, found.number))
            self._follower.keep_after(within, known.moved(search.with_told(ended)))
            return ended


def close(tx: Tx, ref: str, *, by: str, why: str) -> StudyRecord:
    """Close a study: it takes no more trials, and pending ones end untold. Closing again changes nothing.

    Raises `StudyNotFound`, and `Invalid` for a blank reason.
    """
    rows.checked_why(why)
    found = rows.read_study(tx.connection, ref)
    if found.status == CLOSED:
        return found
    now = rows.read_progress(rows.reading(tx.connection), found.id)
    tx.execute(rows.close_study, {"of": found.id, "now": tx.now(), "asked": now.asked})
    audit.append(
        tx,
        "study.closed",
        found.name,
        by=by,
        why=why,
        before={"status": OPEN},
        after={"status": CLOSED, "asked": now.asked, "ended": now.told},
        covers=list(_ended(found.id, now)),
    )
    return rows.read_study(tx.connection, found.id)


def _ended(study_id: str, now: rows.Progress) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """All rows of a study, as the audit log covers them when it closes."""
    yield from (("study", (study_id,)), ("study.end", (study_id,)), ("study.queue", (study_id,)))
    numbers = range(now.asked)
    yield from (("trial", (study_id, number)) for number in numbers)
    if now.reported:
        yield from (("trial.reports", (study_id, number)) for number in numbers)
    else:
        yield "study.reports", (study_id,)


def close_of_run(tx: Tx, run_id: str, *, by: str, why: str) -> str | None:
    """Close the study that a run opened, if there is one and it is open: the run will ask and tell no more.

    Returns the id of the study that was closed.
    """
    found: str | None = tx.execute(rows.open_of_run, {"run_id": run_id}).scalar()
    if found is not None:
        close(tx, found, by=by, why=why)
    return found


def _planned(start: Search, n: int) -> _Plan:
    trials: list[Trial] = []
    end = start
    while len(trials) < n:
        try:
            trial = end.next()
        except StudyClosed:
            if not trials:
                raise
            break
        trials.append(trial)
        end = end.with_asked(trial)
    return _Plan(start, trials, end)
