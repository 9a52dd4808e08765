"""Runs as rows: start one, look at it, answer it, cancel it, wake it. Who writes passes an open transaction."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, final

from sqlalchemy import Connection, Row, and_, bindparam, false, func, insert, or_, select, update

from visutility.core.codec import dumps, loads, to_time
from visutility.core.errors import AlreadyExists, Invalid, NotWaiting, RunEnded, RunNotFound
from visutility.flow.context import ASK, NEVER
from visutility.flow.workflows import Workflow
from visutility.store import audit
from visutility.store.engine import Tx
from visutility.store.schema import run, run_answer, run_step

OPEN: Final = ("queued", "running", "waiting")
ENDED: Final = ("done", "failed", "cancelled")
MAX_KEY: Final = 200
MAX_PAGE: Final = 1000

_ONE = select(run).where(run.c.id == bindparam("run"))
_SAME = select(run.c.id, run.c.workflow, run.c.request, run.c.idempotency_key).where(
    or_(run.c.idempotency_key == bindparam("key"), run.c.trigger_id == bindparam("trigger"))
)
_STEPS = select(run_step).where(run_step.c.run_id == bindparam("run")).order_by(run_step.c.position)
_ANSWERS = select(run_answer).where(run_answer.c.run_id == bindparam("run"))
_WAKE = (
    update(run)
    .where(run.c.id == bindparam("run"), run.c.status == "waiting", run.c.wake_at > bindparam("now"))
    .values(wake_at=bindparam("now"))
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of a workflow, as it stood when it was read.

    `status` is queued, running, waiting, done, failed or cancelled. `attempts` counts the claims that have tried the
    step under way. `wake_at` is None for a run that waits for a person.
    """

    id: str
    workflow: str
    version: int
    request: dict[str, Any]
    key: str
    model_id: str | None
    trigger_id: str | None
    status: str
    outcome: dict[str, Any] | None
    failure: str | None
    wake_at: datetime | None
    waiting_for: str | None
    attempts: int
    owner: str | None
    cancel_requested: bool
    created_at: datetime
    finished_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED


@final
@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step that a run has behind it; `attempt` is how many claims it took."""

    key: str
    result: Any
    attempt: int
    started_at: datetime
    finished_at: datetime


@final
@dataclass(frozen=True, slots=True)
class Question:
    """A question that a run asked; `answered_by` is None while nobody has."""

    name: str
    words: str
    asked_at: datetime
    answer: Any = None
    answered_by: str | None = None
    why: str = ""


# -- writing -----------------------------------------------------------------------------------------------------------


def start(
    tx: Tx,
    workflow: Workflow | str,
    request: Mapping[str, Any],
    *,
    key: str,
    by: str,
    why: str = "",
    version: int = 1,
    model_id: str | None = None,
    trigger_id: str | None = None,
) -> str:
    """Queue a run and return its id; the same key, or the same trigger, gives the run that is there already.

    A workflow given by name is started in the form of request that its `version` reads. Raises `AlreadyExists` when
    the key or trigger belongs to a run of another workflow, or the key to another request, and `Invalid`.
    """
    name, version = (workflow, version) if isinstance(workflow, str) else (workflow.name, workflow.version)
    if not 1 <= len(key) <= MAX_KEY:
        raise Invalid(f"idempotency key {key!r:.80} is empty or too long", hint=f"use 1 to {MAX_KEY} characters")
    text = dumps(dict(request))
    for row in tx.execute(_SAME, {"key": key, "trigger": trigger_id}):
        if row.workflow != name or (row.idempotency_key == key and row.request != text):
            raise AlreadyExists(
                f"run {row.id} of {row.workflow} was started for {row.idempotency_key!r} with another request",
                hint="choose another key for another request",
            )
        return str(row.id)
    run_id, now = tx.new_id(), tx.now()
    tx.execute(
        insert(run),
        {
            "id": run_id,
            "workflow": name,
            "workflow_version": version,
            "request": text,
            "idempotency_key": key,
            "model_id": model_id,
            "trigger_id": trigger_id,
            "status": "queued",
            "wake_at": now,
            "fence": 0,
            "attempts": 0,
            "cancel_requested": 0,
            "created_at": now,
        },
    )
    _log(tx, "run.started", run_id, by, why, after={"workflow": name, "version": version, "key": key})
    return run_id


def answer(tx: Tx, run_id: str, question: str, value: object, *, by: str, why: str = "") -> None:
    """Answer a question that a run asked, once; the run goes on at the next claim.

    Raises `RunNotFound`, `NotWaiting` when the run did not ask that, was answered already or has ended, and `Invalid`.
    """
    found = get(tx.connection, run_id)
    asked = {one.name: one for one in questions(tx.connection, run_id)}
    at = asked.get(question)
    if found.ended or at is None or at.answered_by is not None:
        said = (
            f"it is {found.status}"
            if found.ended
            else "it did not ask that"
            if at is None
            else f"{at.answered_by} answered {at.answer!r:.80}"
        )
        waiting = [name for name, one in asked.items() if one.answered_by is None and not found.ended]
        raise NotWaiting(
            f"run {run_id} is not waiting for an answer to {question!r}: {said}",
            hint=f"it waits for {waiting}" if waiting else "it waits for no answer",
        )
    row = {"run_id": run_id, "question": question, "value": dumps(value), "why": why}
    tx.execute(insert(run_answer), {**row, "answered_at": tx.now(), "answered_by": by})
    tx.execute(_WAKE, {"run": run_id, "now": tx.now()})
    _log(tx, "run.answered", run_id, by, why, after={"question": question, "words": at.words, "answer": value})


def cancel(tx: Tx, run_id: str, *, by: str, why: str = "") -> str:
    """Ask for a run to stop, and return its status: "cancelled", or "running" until its worker has noticed.

    Cancelling twice is cancelling once. Raises `RunNotFound`, and `RunEnded` for a run that is done or failed.
    """
    found = get(tx.connection, run_id)
    if found.status == "cancelled":
        return found.status
    if found.ended:
        raise RunEnded(f"run {run_id} is {found.status}", hint="there is nothing left to cancel")
    if not found.cancel_requested:
        _log(tx, "run.cancel-requested", run_id, by, why, before={"status": found.status})
    asked: dict[str, Any] = {"cancel_requested": 1}
    if found.status != "running":  # nobody holds it, and nobody can claim it while this transaction is open
        asked |= {"status": "cancelled", "finished_at": tx.now(), "waiting_for": None}
    tx.execute(update(run).where(run.c.id == run_id), asked)
    if found.status == "running":
        return "running"
    log_end(tx, run_id, "cancelled", by=by, why=why)
    return "cancelled"


def wake(tx: Tx, run_id: str) -> bool:
    """Have a waiting run tried again now instead of when it is due; False when it waits for a person, or not at all."""
    if get(tx.connection, run_id).wake_at is None:
        return False
    return tx.execute(_WAKE, {"run": run_id, "now": tx.now()}).rowcount == 1


def log_end(tx: Tx, run_id: str, status: str, *, by: str, why: str) -> None:
    """Append the event of a run's end. It covers the run with its outcome, its steps and its answers, as they stay."""
    key = {"run": run_id}
    steps = [("run_step", (run_id, row.key)) for row in tx.execute(_STEPS, key)]
    answers = [("run_answer", (run_id, row.question)) for row in tx.execute(_ANSWERS, key)]
    covers = [("run", (run_id,)), ("run.end", (run_id,)), *steps, *answers]
    audit.append(tx, "run.finished", f"run/{run_id}", by=by, why=why, after={"status": status}, covers=covers)


def _log(tx: Tx, kind: str, run_id: str, by: str, why: str, *, before: object = None, after: object = None) -> None:
    audit.append(tx, kind, f"run/{run_id}", by=by, why=why, before=before, after=after, covers=[("run", (run_id,))])


# -- reading -----------------------------------------------------------------------------------------------------------


def get(connection: Connection, run_id: str) -> Run:
    """Return a run. Raises `RunNotFound`."""
    row = connection.execute(_ONE, {"run": run_id}).one_or_none()
    if row is None:
        raise RunNotFound(f"there is no run {run_id!r}", hint="`visutility runs list` shows them")
    return _run(row)


def list_runs(
    connection: Connection,
    *,
    status: str | Collection[str] | None = None,
    workflow: str | None = None,
    model_id: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> list[Run]:
    """Return at most `limit` runs, newest first, from the one that follows the id `after`. Raises `Invalid`."""
    if not 1 <= limit <= MAX_PAGE:
        raise Invalid(f"limit is {limit}", hint=f"choose 1 to {MAX_PAGE} and page with `after`")
    query = select(run).order_by(run.c.id.desc()).limit(limit)
    if status is not None:
        query = query.where(run.c.status.in_([status] if isinstance(status, str) else status))
    if workflow is not None:
        query = query.where(run.c.workflow == workflow)
    if model_id is not None:
        query = query.where(run.c.model_id == model_id)
    if after is not None:
        query = query.where(run.c.id < after)
    return [_run(row) for row in connection.execute(query)]


def steps(connection: Connection, run_id: str) -> list[StepRecord]:
    """Return a run's recorded steps in order, its questions left out; none for an unknown run."""
    rows = connection.execute(_STEPS, {"run": run_id}).all()
    return [
        StepRecord(row.key, loads(row.result), row.attempt, to_time(row.started_at), to_time(row.finished_at))
        for row in rows
        if not row.key.startswith(ASK)
    ]


def questions(connection: Connection, run_id: str) -> list[Question]:
    """Return what a run has asked, in order, with the answers; none for an unknown run."""
    answers = {row.question: row for row in connection.execute(_ANSWERS, {"run": run_id})}
    found = []
    for row in connection.execute(_STEPS, {"run": run_id}).all():
        if row.key.startswith(ASK):
            one = Question(row.key.removeprefix(ASK), loads(row.result), to_time(row.finished_at))
            said = answers.get(one.name)
            if said is not None:
                one = Question(one.name, one.words, one.asked_at, loads(said.value), said.answered_by, said.why)
            found.append(one)
    return found


def next_wake(connection: Connection) -> datetime | None:
    """Return when the next queued or waiting run is due, which may be past; None when none waits for a time."""
    due = select(func.min(run.c.wake_at)).where(run.c.status.in_(("queued", "waiting")), run.c.wake_at < NEVER)
    text = connection.execute(due).scalar()
    return None if text is None else to_time(text)


def stranded(connection: Connection, workflows: Mapping[str, Workflow]) -> list[Run]:
    """Return the open runs that none of these workflows can drive: a newer or an older release has to."""
    known = [
        and_(run.c.workflow == name, run.c.workflow_version.in_(sorted(one.drivable)))
        for name, one in workflows.items()
    ]
    query = select(run).where(run.c.status.in_(OPEN), ~or_(false(), *known)).order_by(run.c.id)
    return [_run(row) for row in connection.execute(query)]


def _run(row: Row[Any]) -> Run:
    return Run(
        id=row.id,
        workflow=row.workflow,
        version=row.workflow_version,
        request=loads(row.request),
        key=row.idempotency_key,
        model_id=row.model_id,
        trigger_id=row.trigger_id,
        status=row.status,
        outcome=None if row.outcome is None else loads(row.outcome),
        failure=row.failure,
        wake_at=None if row.wake_at == NEVER else to_time(row.wake_at),
        waiting_for=row.waiting_for,
        attempts=row.attempts,
        owner=row.owner,
        cancel_requested=bool(row.cancel_requested),
        created_at=to_time(row.created_at),
        finished_at=None if row.finished_at is None else to_time(row.finished_at),
    )
