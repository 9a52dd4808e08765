"""A study whose trials are rows: several processes and machines may ask and tell, and any may die."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import final

from visutility.core import codec
from visutility.core.errors import InvalidSetting, StudyClosed
from visutility.registry import _study_rows as rows
from visutility.registry._study_rows import CLOSED, OPEN, Reading, StudyRecord
from visutility.store import audit
from visutility.store.engine import Store, Tx
from visutility.store.hot import Writing
from visutility.tune.factory import find_strategy
from visutility.tune.options import options_of
from visutility.tune.rungs import check_report
from visutility.tune.search import Search, best_of, past_of
from visutility.tune.strategy import Past
from visutility.tune.trial import PRUNED, Outcome, Result, Trial, judge

_FEW = 64  # new rows up to here are always applied one by one; more of them only while they are fewer than the old


@final
@dataclass(frozen=True, slots=True)
class _Plan:
    """Suggestions made before the writing transaction, good only if the study has not moved from `start`."""

    start: Search
    trials: tuple[Trial, ...]
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
        self.space = record.space
        self.direction = record.direction
        self.objective = record.objective
        self.strategy_name = record.strategy
        self.reason = record.reason
        strategy = find_strategy(record.strategy)(**record.settings)
        state = strategy.init(record.space, record.seed, history)
        self._fresh = Search(
            strategy, state, options_of(record.direction, record.objective), record.budget, record.enqueued
        )
        self._search = self._fresh  # as of some commit; brought up to date by `_now`

    @property
    def record(self) -> StudyRecord:
        """The study's row, read now."""
        with self._store.read() as connection:
            return rows.read_study(connection, self.id)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial, by number, read now."""
        with self._store.read() as connection:
            return tuple(rows.read_trials(rows.reading(connection), self.id)[0])

    @property
    def best(self) -> Trial:
        """The complete trial with the best value, the earliest of equals. Raises `TrialNotFound` when there is none."""
        return best_of(self.trials, self.direction)

    def past(self) -> Past:
        """Return the complete trials as an earlier study for another one, oldest first, lower is better."""
        with self._store.read() as connection:
            trials, told = rows.read_trials(rows.reading(connection), self.id)
        return past_of(self.id, self.space, self.direction, (trials[number] for number in told))

    def ask(self, *, tx: Tx | None = None) -> Trial:
        """Return the next trial, pending. Raises `StudyClosed` when the study is, or nothing is left to try."""
        return self.ask_batch(1, tx=tx)[0]

    def ask_batch(self, n: int, *, tx: Tx | None = None) -> list[Trial]:
        """Return the next `n` trials, each chosen knowing those before it; fewer when the study closes on the way.

        Raises `StudyClosed` when there is none at all.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise InvalidSetting(f"batch size {n!r} is not a whole number of at least 1", hint="ask for at least 1")
        plan = None
        if tx is None and self._fresh.strategy.learns:  # it thinks for milliseconds: do that before locking others out
            with self._store.read() as connection:
                self._search = self._now(rows.reading(connection))
            plan = _planned(self._search, n)
        with self._writing("study.ask", tx, synced=False) as within:
            search = self._open(within)
            if plan is None or plan.start is not search:
                plan = _planned(search, n)
            return self._write_asked(within, plan)

    def tell(self, trial: Trial | int, result: Result, *, tx: Tx | None = None) -> Trial:
        """End a trial with its value, its metrics or a `Failure`; return it as it ended.

        A value that is not finite is a failed trial. Raises `TrialNotFound`, `TrialClosed` when it ended already,
        `StudyClosed`, `MissingMetric` when metrics lack the objective, `InvalidObservation` for no number; then
        nothing is told.
        """
        return self._end("study.tell", trial, judge(result, self.objective), tx)

    def prune(self, trial: Trial | int, *, tx: Tx | None = None) -> Trial:
        """End a trial early, without a value; its last report stands in for one in what the strategy learns."""
        return self._end("study.prune", trial, Outcome(PRUNED), tx)

    def report(self, trial: Trial | int, step: int, value: float, *, tx: Tx | None = None) -> bool:
        """Keep an intermediate value of the objective; return whether the trial should go on.

        A step reported again changes nothing. A value that is not finite is not kept, and says stop. Raises
        `InvalidObservation` for a negative step or one below the last, `TrialClosed` after the trial's end.
        """
        with self._writing("study.report", tx) as within:
            search = self._open(within)
            number = search.under_way(trial).number
            kept = rows.read_reports(within.rows, self.id, number)
            if check_report(step, value, kept):
                new = {"study_id": self.id, "trial_number": number, "step": step, "value": float(value)}
                within.execute(rows.insert_report, new)
                kept[step] = float(value)
            elif step not in kept:
                return False
            return search.keeps_going(tuple(kept.items()))

    def close(self, *, by: str, why: str, tx: Tx | None = None) -> StudyRecord:
        """Close the study: it takes no more trials, and pending ones end untold. Closing again changes nothing."""
        if tx is not None:
            return close(tx, self.id, by=by, why=why)
        with self._store.write("study.close") as own:
            return close(own, self.id, by=by, why=why)

    @contextmanager
    def _writing(self, name: str, tx: Tx | None, *, synced: bool = True) -> Iterator[Writing]:
        if tx is not None:
            yield tx.hot()
        else:
            with self._store.hot.write(name, synced=synced) as own:
                yield own

    def _now(self, read: Reading) -> Search:
        """Return the study as a transaction sees it, from what was kept and the rows since."""
        asked, told, _ = rows.read_progress(read, self.id)
        return self._caught_up(read, self._search, asked, told)

    def _open(self, tx: Writing) -> Search:
        """Return the study as this transaction sees it; raise `StudyClosed` when it is closed."""
        asked, told, status = rows.read_progress(tx.rows, self.id)
        if status == CLOSED:
            raise StudyClosed(f"study {self.id} is closed", hint="read `best`, or create another study")
        return self._caught_up(tx.rows, self._search, asked, told)

    def _caught_up(self, read: Reading, known: Search, asked: int, told: int) -> Search:
        new_asked, new_told = asked - known.asked, told - known.told
        if new_asked == new_told == 0:
            return known
        if min(new_asked, new_told) < 0 or new_asked + new_told > max(_FEW, known.asked):
            trials, order = rows.read_trials(read, self.id)
            return self._fresh.resumed(trials, order)
        new, ended = rows.read_new(read, self.id, known.asked, known.told)
        for trial in new:
            known = known.with_asked(trial)
        for trial in ended:
            known = known.with_told(trial)
        return known

    def _write_asked(self, tx: Writing, plan: _Plan) -> list[Trial]:
        now = tx.now()
        for trial in plan.trials:
            new = {
                "study_id": self.id,
                "number": trial.number,
                "params": codec.dumps(trial.params),
                "origin": trial.origin,
                "state": trial.state,
                "asked_at": now,
            }
            tx.execute(rows.insert_trial, new)
        tx.execute(rows.count_asked, {"of": self.id, "asked": plan.end.asked})
        self._keep_after(tx, plan.end)
        return [replace(trial, params=dict(trial.params)) for trial in plan.trials]

    def _end(self, name: str, trial: Trial | int, outcome: Outcome, tx: Tx | None) -> Trial:
        with self._writing(name, tx) as within:
            search = self._open(within)
            found = search.under_way(trial)
            reports = rows.read_reports(within.rows, self.id, found.number)
            ended = replace(found, reports=tuple(reports.items())).ended(outcome)
            new = {
                "new_state": ended.state,
                "new_value": ended.value,
                "new_metrics": codec.dumps(dict(ended.metrics)) if ended.metrics else None,
                "new_failure": ended.failure,
                "new_told": search.told,
                "new_told_at": within.now(),
            }
            within.execute(rows.end_trial, {"of": self.id, "n": found.number, **new})
            self._keep_after(within, search.with_told(ended))
            return ended

    def _keep_after(self, tx: Writing, search: Search) -> None:
        """Keep the study as this transaction leaves it, once it is committed."""

        def keep() -> None:
            self._search = search

        tx.after_commit(keep)


def close(tx: Tx, ref: str, *, by: str, why: str) -> StudyRecord:
    """Close a study: it takes no more trials, and pending ones end untold. Closing again changes nothing.

    Raises `StudyNotFound`.
    """
    found = rows.read_study(tx.connection, ref)
    if found.status == CLOSED:
        return found
    tx.execute(rows.close_study, {"of": found.id, "now": tx.now()})
    asked, told, _ = rows.read_progress(rows.reading(tx.connection), found.id)
    audit.append(
        tx,
        "study.closed",
        found.name,
        by=by,
        why=why,
        before={"status": OPEN},
        after={"status": CLOSED, "asked": asked, "ended": told},
        covers=[("study", (found.id,)), ("study.end", (found.id,)), *(("trial", (found.id, n)) for n in range(asked))],
    )
    return rows.read_study(tx.connection, found.id)


def _planned(start: Search, n: int) -> _Plan:
    trials = [start.next()]
    end = start.with_asked(trials[0])
    with suppress(StudyClosed):
        for _ in range(n - 1):
            trials.append(end.next())
            end = end.with_asked(trials[-1])
    return _Plan(start, tuple(trials), end)
