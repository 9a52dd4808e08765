"""The rows of durable studies: every statement, built once, and what a row means."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, final

from sqlalchemy import BindParameter, Connection, Row, bindparam, exists, func, insert, select, update

from visutility.core import codec
from visutility.core.errors import StudyNotFound
from visutility.store.schema import study, trial, trial_report
from visutility.tune.search import past_of
from visutility.tune.space import Params, Space
from visutility.tune.strategy import Past
from visutility.tune.trial import COMPLETE, PENDING, Trial

OPEN, CLOSED = "open", "closed"

_of: BindParameter[str] = bindparam("of")
_in_study = trial.c.study_id == _of
_reports_in_study = trial_report.c.study_id == _of

insert_study = insert(study)
insert_trial = insert(trial)
insert_report = insert(trial_report)
count_asked = update(study).where(study.c.id == _of).values(trials=bindparam("asked"))
close_study = update(study).where(study.c.id == _of).values(status=CLOSED, closed_at=bindparam("now"))
end_trial = (
    update(trial)
    .where(_in_study, trial.c.number == bindparam("n"), trial.c.state == PENDING)
    .values(**{name: bindparam(f"new_{name}") for name in ("state", "value", "metrics", "failure", "told", "told_at")})
)
_told = select(func.coalesce(func.max(trial.c.told) + 1, 0)).where(trial.c.study_id == study.c.id).scalar_subquery()
_progress = select(study.c.trials, _told.label("told"), study.c.status).where(study.c.id == _of)
_study = select(study).where((study.c.id == bindparam("ref")) | (study.c.name == bindparam("ref")))
_trials = select(trial).where(_in_study).order_by(trial.c.number)
_new_trials = select(trial).where(_in_study, trial.c.number >= bindparam("asked")).order_by(trial.c.number)
_newly_told = select(trial).where(_in_study, trial.c.told >= bindparam("told")).order_by(trial.c.told)
_reports = select(trial_report).where(_reports_in_study).order_by(trial_report.c.trial_number, trial_report.c.step)
_reports_of_one = (
    select(trial_report.c.step, trial_report.c.value)
    .where(_reports_in_study, trial_report.c.trial_number == bindparam("n"))
    .order_by(trial_report.c.step)
)
_reports_of_told = (
    select(trial_report)
    .join(trial, (trial.c.study_id == trial_report.c.study_id) & (trial.c.number == trial_report.c.trial_number))
    .where(_reports_in_study, trial.c.told >= bindparam("told"))
    .order_by(trial_report.c.trial_number, trial_report.c.step)
)
_complete = trial.c.state == COMPLETE
_earlier_of_model = (
    select(study.c.id, _told.label("told"))
    .where(study.c.model_id == bindparam("model_id"), exists().where(trial.c.study_id == study.c.id, _complete))
    .order_by(study.c.id.desc())
    .limit(bindparam("limit"))
)
_complete_until = (
    select(trial.c.params, trial.c.value)
    .where(_in_study, _complete, trial.c.told < bindparam("told"))
    .order_by(trial.c.told)
)


@final
@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study's row, decoded. `enqueued` is asked first; `earlier` names studies it learns from, as (id, ends seen)."""

    id: str
    name: str
    model_id: str | None
    run_id: str | None
    space: Space
    objective: str
    direction: str
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


def decoded(row: Row[Any]) -> StudyRecord:
    """Return what a row of `study` says."""
    warm = codec.loads(row.warm_start)
    return StudyRecord(
        id=row.id,
        name=row.name,
        model_id=row.model_id,
        run_id=row.run_id,
        space=Space.from_json(codec.loads(row.space)),
        objective=row.objective,
        direction=row.direction,
        strategy=row.strategy,
        settings=codec.loads(row.strategy_settings),
        reason=row.strategy_reason,
        seed=row.seed,
        budget=row.budget,
        enqueued=tuple(warm["enqueued"]),
        earlier=tuple((study_id, told) for study_id, told in warm["earlier"]),
        given=tuple(Past.from_json(past) for past in warm["given"]),
        status=row.status,
        asked=row.trials,
        created_at=codec.to_time(row.created_at),
        closed_at=None if row.closed_at is None else codec.to_time(row.closed_at),
    )


def read_study(connection: Connection, ref: str) -> StudyRecord:
    """Return the study with this id or name. Raises `StudyNotFound`."""
    row = connection.execute(_study, {"ref": ref}).first()
    if row is None:
        raise StudyNotFound(f"there is no study {ref!r}", hint="`visutility studies list` shows them")
    return decoded(row)


def read_progress(connection: Connection, study_id: str) -> tuple[int, int, str]:
    """Return how many trials were asked, how many ended, and the study's status."""
    asked, told, status = connection.execute(_progress, {"of": study_id}).one()
    return asked, told, status


def read_trials(connection: Connection, study_id: str) -> tuple[list[Trial], list[int]]:
    """Return every trial by number, and the numbers of those that ended in the order they did."""
    reports = _grouped(connection.execute(_reports, {"of": study_id}))
    rows = connection.execute(_trials, {"of": study_id}).all()
    told = [row.number for row in sorted((r for r in rows if r.told is not None), key=lambda r: r.told)]
    return [_trial(row, reports) for row in rows], told


def read_new(connection: Connection, study_id: str, asked: int, told: int) -> tuple[list[Trial], list[Trial]]:
    """Return the trials from number `asked` on, and those that ended from the `told`-th on, in the order they did."""
    new = connection.execute(_new_trials, {"of": study_id, "asked": asked})
    trials = [_trial(row, {}) for row in new]
    reports = _grouped(connection.execute(_reports_of_told, {"of": study_id, "told": told}))
    ended = connection.execute(_newly_told, {"of": study_id, "told": told})
    return trials, [_trial(row, reports) for row in ended]


def read_reports(connection: Connection, study_id: str, number: int) -> dict[int, float]:
    """Return one trial's reports, step -> value, steps rising."""
    found = connection.execute(_reports_of_one, {"of": study_id, "n": number})
    return {row.step: row.value for row in found}


def earlier_of_model(connection: Connection, model_id: str, limit: int) -> list[tuple[str, int]]:
    """Return the newest studies of a model that have complete trials, oldest first, as (id, ends so far)."""
    found = connection.execute(_earlier_of_model, {"model_id": model_id, "limit": limit})
    return [(study_id, told) for study_id, told in found][::-1]


def read_past(connection: Connection, study_id: str, told: int) -> Past:
    """Return the complete trials among the first `told` that ended, lower is better."""
    record = read_study(connection, study_id)
    rows = connection.execute(_complete_until, {"of": study_id, "told": told})
    trials = (Trial(n, codec.loads(p), "", COMPLETE, value) for n, (p, value) in enumerate(rows))
    return past_of(record.name, record.space, record.direction, trials)


def read_history(connection: Connection, record: StudyRecord) -> tuple[Past, ...]:
    """Return everything a study learns from, as it was when the study was created."""
    return record.given + tuple(read_past(connection, study_id, told) for study_id, told in record.earlier)


def _trial(row: Row[Any], reports: Mapping[int, Sequence[tuple[int, float]]]) -> Trial:
    return Trial(
        row.number,
        codec.loads(row.params),
        row.origin,
        row.state,
        row.value,
        {} if row.metrics is None else codec.loads(row.metrics),
        row.failure,
        tuple(reports.get(row.number, ())),
    )


def _grouped(rows: Iterable[Row[Any]]) -> dict[int, list[tuple[int, float]]]:
    grouped: dict[int, list[tuple[int, float]]] = {}
    for row in rows:
        grouped.setdefault(row.trial_number, []).append((row.step, row.value))
    return grouped
