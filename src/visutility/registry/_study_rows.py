"""The rows of durable studies: every statement, built once, and what a row means."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, final

from sqlalchemy import (
    BindParameter,
    ColumnClause,
    Connection,
    Insert,
    Row,
    Table,
    bindparam,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)

from visutility.core import codec
from visutility.core.errors import Invalid, StudyNotFound
from visutility.store.hot import hot_sql
from visutility.store.schema import study, study_queue, trial, trial_report
from visutility.tune.options import MEDIAN, Options, options_of
from visutility.tune.search import past_of
from visutility.tune.space import Params, Space
from visutility.tune.strategy import Past
from visutility.tune.trial import COMPLETE, PAUSED, Trial

OPEN, CLOSED = "open", "closed"

Reading: TypeAlias = Callable[[str, Mapping[str, Any]], Sequence[Any]]  # runs a hot select; `reading` makes one

_of: BindParameter[str] = bindparam("of")
_in_study = trial.c.study_id == _of
_reports_in_study = trial_report.c.study_id == _of
_since_told = trial.c.told >= bindparam("told")
_TRIAL = tuple(trial.c[name] for name in ("number", "params", "origin", "state", "value", "metrics", "failure", "told"))
_REPORT = (trial_report.c.trial_number, trial_report.c.step, trial_report.c.value)
_OUTCOME = (trial.c.state, trial.c.value, trial.c.metrics, trial.c.failure)
_ASKED = ("study_id", "number", "params", "origin", "state", "asked_at")
_END = ("state", "value", "metrics", "failure", "told", "told_at")


def _inserted(table: Table, *names: str) -> Insert:
    return insert(table).values({name: bindparam(name) for name in names})


insert_study = insert(study)
close_study = (
    update(study).where(study.c.id == _of).values(status=CLOSED, closed_at=bindparam("now"), trials=bindparam("asked"))
)

open_of_run = select(study.c.id).where(study.c.run_id == bindparam("run_id"), study.c.status == OPEN)

insert_trial = hot_sql(_inserted(trial, *_ASKED), *_ASKED)  # its values in this order, as every trial needs it
insert_queued = hot_sql(_inserted(study_queue, *(c.name for c in study_queue.c)))
insert_report = hot_sql(_inserted(trial_report, *(c.name for c in trial_report.c)))
count_pauses = hot_sql(update(study).where(study.c.id == _of).values(pauses=bindparam("pauses")))
turn_trial = hot_sql(
    update(trial).where(_in_study, trial.c.number == bindparam("n")).values(state=bindparam("new_state"))
)
end_trial = hot_sql(  # its values: the new ones, the study, the number
    update(trial)
    .where(_in_study, trial.c.number == bindparam("n"))
    .values({name: bindparam(f"new_{name}") for name in _END}),
    *(f"new_{name}" for name in _END),
    "of",
    "n",
)
_zero: ColumnClause[int] = literal_column("0")
_one: ColumnClause[int] = literal_column("1")
_asked = func.coalesce(
    select(func.max(trial.c.number)).where(trial.c.study_id == study.c.id).scalar_subquery() + _one, _zero
)
_last_told = select(func.max(trial.c.told)).where(trial.c.study_id == study.c.id, trial.c.told.is_not(None))
_told = func.coalesce(_last_told.scalar_subquery() + _one, _zero)
_queued = func.coalesce(
    select(func.max(study_queue.c.position)).where(study_queue.c.study_id == study.c.id).scalar_subquery() + _one, _zero
)
_reported = exists().where(trial_report.c.study_id == study.c.id)
_progress = hot_sql(select(_asked, _told, _queued, study.c.pauses, study.c.status, _reported).where(study.c.id == _of))
_queue = hot_sql(
    select(study_queue.c.params)
    .where(study_queue.c.study_id == _of, study_queue.c.position >= bindparam("known"))
    .order_by(study_queue.c.position)
)
_trials = hot_sql(select(*_TRIAL).where(_in_study).order_by(trial.c.number))
_newly_asked = hot_sql(
    select(trial.c.number, trial.c.params, trial.c.origin)
    .where(_in_study, trial.c.number >= bindparam("asked"))
    .order_by(trial.c.number)
)
_newly_told = hot_sql(select(trial.c.number, *_OUTCOME).where(_in_study, _since_told).order_by(trial.c.told))
_open_trial = hot_sql(select(*_TRIAL).where(_in_study, trial.c.number == bindparam("n"), trial.c.told.is_(None)))
_reports = hot_sql(select(*_REPORT).where(_reports_in_study).order_by(*_REPORT[:2]))
_reports_of_one = hot_sql(
    select(*_REPORT).where(_reports_in_study, trial_report.c.trial_number == bindparam("n")).order_by(*_REPORT[:2])
)
_reports_of_told = hot_sql(  # sorted afterwards: for an ORDER BY here SQLite would walk all reports of the study
    select(*_REPORT)
    .join(trial, (trial.c.study_id == trial_report.c.study_id) & (trial.c.number == trial_report.c.trial_number))
    .where(_in_study, _since_told)
)

every_study = select(study, _asked.label("asked"))
_study = every_study.where((study.c.id == bindparam("ref")) | (study.c.name == bindparam("ref")))
_complete = trial.c.state == COMPLETE
_earlier_of_model = (
    select(study.c.id, _told.label("told"))
    .where(study.c.model_id == bindparam("model_id"), exists().where(trial.c.study_id == study.c.id, _complete))
    .order_by(study.c.id.desc())
    .limit(bindparam("limit"))
)
_complete_until = (
    select(trial.c.params, trial.c.value, trial.c.metrics)
    .where(_in_study, _complete, trial.c.told < bindparam("told"))
    .order_by(trial.c.told)
)


@final
@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study's row, decoded.

    `objective` and `direction` are the first of `options`. `enqueued` is asked first; `earlier` names studies it learns
    from, as (id, ends seen). `imported_from` names the program that chose its trials, None: this one did.
    """

    id: str
    name: str
    model_id: str | None
    run_id: str | None
    space: Space
    objective: str
    direction: str
    options: Options
    strategy: str
    settings: Mapping[str, Any]
    reason: str
    seed: int
    budget: int | None
    enqueued: tuple[Params, ...]
    earlier: tuple[tuple[str, int], ...]
    given: tuple[Past, ...]
    status: str
    asked: int
    created_at: datetime
    closed_at: datetime | None
    imported_from: str | None = None

    @property
    def spent(self) -> bool:
        """Whether all trials of the budget were asked."""
        return self.budget is not None and self.asked >= self.budget


def checked_why(why: object) -> None:
    """Raise `Invalid` for a reason that is not a text, or is blank."""
    if not isinstance(why, str) or not why.strip():
        raise Invalid(f"the reason {why!r:.80} is blank", hint="say why: it goes into the audit log")


def decoded(row: Row[Any]) -> StudyRecord:
    """Return what a row of `study` says."""
    warm = codec.loads(row.warm_start)
    space = Space.from_json(codec.loads(row.space))
    return StudyRecord(
        id=row.id,
        name=row.name,
        model_id=row.model_id,
        run_id=row.run_id,
        space=space,
        objective=row.objective,
        direction=row.direction,
        options=_options(row),
        strategy=row.strategy,
        settings=codec.loads(row.strategy_settings),
        reason=row.strategy_reason,
        seed=row.seed,
        budget=row.budget,
        enqueued=tuple(_declared(params, space) for params in warm["enqueued"]),
        earlier=tuple((study_id, told) for study_id, told in warm["earlier"]),
        given=tuple(Past.from_json(past) for past in warm["given"]),
        status=row.status,
        asked=row.asked,
        created_at=codec.to_time(row.created_at),
        closed_at=None if row.closed_at is None else codec.to_time(row.closed_at),
        imported_from=warm.get("imported_from"),
    )


def read_study(connection: Connection, ref: str) -> StudyRecord:
    """Return the study with this id or name. Raises `StudyNotFound`."""
    row = connection.execute(_study, {"ref": ref}).first()
    if row is None:
        raise StudyNotFound(f"there is no study {ref!r}", hint="`visutility studies list` shows them")
    return decoded(row)


class Of(NamedTuple):
    """A study as far as its trials cannot be read without it."""

    id: str
    space: Space
    options: Options


class Progress(NamedTuple):
    """Counts of what happened to a study, its status, and whether any trial reported.

    How many trials were asked, how many ended, how many configurations were enqueued, and how often a trial was paused
    or taken up again.
    """

    asked: int = 0
    told: int = 0
    queued: int = 0
    pauses: int = 0
    status: str = OPEN
    reported: int = 0


def read_progress(rows: Reading, study_id: str) -> Progress:
    """Return how far a study is. O(log n)."""
    return Progress(*rows(_progress, {"of": study_id})[0])


def read_queue(rows: Reading, of: Of, known: int = 0) -> tuple[Params, ...]:
    """Return what was enqueued after the study was created, from number `known` on."""
    return tuple(_params(params, of.space) for (params,) in rows(_queue, {"of": of.id, "known": known}))


def read_trials(rows: Reading, of: Of) -> tuple[list[Trial], list[int]]:
    """Return every trial by number, and the numbers of those that ended in the order they did. O(n)."""
    reports = _grouped(rows(_reports, {"of": of.id}))
    found = rows(_trials, {"of": of.id})
    ended = sorted((row[-1], row[0]) for row in found if row[-1] is not None)
    return [_trial(row, reports, of) for row in found], [number for _, number in ended]


def read_asked(rows: Reading, of: Of, known: int) -> list[Trial]:
    """Return the trials from number `known` on, as they were asked."""
    found = rows(_newly_asked, {"of": of.id, "asked": known})
    return [Trial(number, _params(params, of.space), origin) for number, params, origin in found]


def read_ended(rows: Reading, of: Of, now: Progress, known: int, under_way: Mapping[int, Trial]) -> list[Trial]:
    """Return the trials that ended from the `known`-th on, in the order they did, with their reports.

    `under_way` has them as they were asked.
    """
    reports = _grouped(sorted(rows(_reports_of_told, {"of": of.id, "told": known}))) if now.reported else {}
    found = []
    for number, state, value, metrics, failure in rows(_newly_told, {"of": of.id, "told": known}):
        asked, kept = under_way[number], {} if metrics is None else codec.loads(metrics)
        curve = tuple(reports.get(number, ()))
        ended = Trial(number, asked.params, asked.origin, state, value, kept, failure, curve)
        found.append(of.options.completed(ended))
    return found


def read_paused(rows: Reading, of: Of, numbers: Iterable[int]) -> tuple[set[int], list[Trial]]:
    """Return which of these trials have not ended, and those of them that are paused, with their reports."""
    found = [row for number in numbers for row in rows(_open_trial, {"of": of.id, "n": number})]
    paused = [row for row in found if row[3] == PAUSED]
    reports = {row[0]: tuple(read_reports(rows, of.id, row[0]).items()) for row in paused}
    return {row[0] for row in found}, [_trial(row, reports, of) for row in paused]


def read_reports(rows: Reading, study_id: str, number: int) -> dict[int, float]:
    """Return one trial's reports, step -> value, steps rising."""
    return {step: value for _, step, value in rows(_reports_of_one, {"of": study_id, "n": number})}


def reading(connection: Connection) -> Reading:
    """Return what reads hot statements through this connection."""

    def rows(sql: str, values: Mapping[str, Any]) -> Sequence[Any]:
        return connection.exec_driver_sql(sql, values).all()

    return rows


def earlier_of_model(connection: Connection, model_id: str, limit: int) -> list[tuple[str, int]]:
    """Return the newest studies of a model that have complete trials, oldest first, as (id, ends so far)."""
    found = connection.execute(_earlier_of_model, {"model_id": model_id, "limit": limit})
    return [(study_id, told) for study_id, told in found][::-1]


def read_past(connection: Connection, study_id: str, told: int) -> Past:
    """Return the complete trials among the first `told` that ended, lower is better."""
    record = read_study(connection, study_id)
    rows = connection.execute(_complete_until, {"of": study_id, "told": told})
    trials = (
        record.options.completed(
            Trial(n, _params(params, record.space), "", COMPLETE, value, codec.loads(metrics or "{}"))
        )
        for n, (params, value, metrics) in enumerate(rows)
    )
    return past_of(record.name, record.space, record.direction, trials)


def read_history(connection: Connection, record: StudyRecord) -> tuple[Past, ...]:
    """Return everything a study learns from, as it was when the study was created."""
    return record.given + tuple(read_past(connection, study_id, told) for study_id, told in record.earlier)


def _options(row: Row[Any]) -> Options:
    """What a study is after; a row of the first revision has one objective and the usual stopping rule."""
    stored = codec.loads(row.options)
    return Options.from_json(stored) if stored else options_of(row.direction, row.objective, stopping=MEDIAN)


def _trial(row: Sequence[Any], reports: Mapping[int, Sequence[tuple[int, float]]], of: Of) -> Trial:
    number, params, origin, state, value, metrics, failure, _ = row
    kept = {} if metrics is None else codec.loads(metrics)
    curve = tuple(reports.get(number, ()))
    return of.options.completed(Trial(number, _params(params, of.space), origin, state, value, kept, failure, curve))


def _params(text: str, space: Space) -> Params:
    """A stored configuration in order of declaration, as it was when it was asked: the text has its names sorted."""
    return _declared(codec.loads(text), space)


def _declared(params: Params, space: Space) -> Params:
    return {name: params[name] for name in space.names if name in params}


def _grouped(rows: Iterable[tuple[int, int, float]]) -> dict[int, list[tuple[int, float]]]:
    grouped: dict[int, list[tuple[int, float]]] = {}
    for number, step, value in rows:
        grouped.setdefault(number, []).append((step, value))
    return grouped
