"""The audit log: who did what, when and why; append-only, chained by hashes.

Each event holds the hash of the event before it and a one-row head holds the sequence number and hash of the last one,
so that an edited, deleted, swapped or cut-off event shows. Each event also holds the hash of every row it wrote in a
table of `covered.COVERED`, so that a row changed behind the log's back shows too. `verify` names what it finds.

There are no triggers on `audit_event`: whoever may edit the file may drop a trigger first, so a trigger would promise
what it cannot keep. The log is evidence, not a lock: any edit is possible with plain SQL, and is found. Somebody who
rewrites the whole log, all its hashes and the head is found by comparing with a head kept elsewhere (`anchor`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, insert, select, update

from visutility.core import codec
from visutility.core.errors import AlreadyExists, AuditBroken, Invalid
from visutility.core.ids import checked_name
from visutility.store._audit_hash import event_hash, hash_now
from visutility.store._audit_verify import check
from visutility.store.engine import Tx
from visutility.store.findings import Finding
from visutility.store.schema import audit_event, audit_head

MAX_SUBJECT = 400  # characters of `subject` and `by`
MAX_WHY = 4000
MAX_EVENTS = 1000  # in one answer of `events`
MAX_FINDINGS = 1000

_head = select(audit_head.c.seq, audit_head.c.hash).where(audit_head.c.id == 1)
_head_to_move = _head.with_for_update()
_insert = insert(audit_event)
_move_head = (
    update(audit_head)
    .where(audit_head.c.id == 1, audit_head.c.seq == bindparam("was"))
    .values(seq=bindparam("new_seq"), hash=bindparam("new_hash"))
)


class Head(NamedTuple):
    """The end of the log: sequence number of the last event (0: none yet) and its hash. Keep it elsewhere."""

    seq: int
    hash: str


class Cover(NamedTuple):
    """A row an event wrote: what it is covered as, its primary key, and the hash of its covered columns.

    `table` is a table, or a name of `covered.COVERED_AT_END` or of `COVERED_TOGETHER`. `hash` is None when the row was
    gone.
    """

    table: str
    key: tuple[Any, ...]
    hash: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One row of the log, decoded."""

    seq: int
    at: datetime
    by: str
    kind: str
    subject: str
    why: str
    before: Any
    after: Any
    covers: tuple[Cover, ...]
    previous: str
    hash: str


def append(
    tx: Tx,
    kind: str,
    subject: str,
    *,
    by: str,
    why: str = "",
    before: object = None,
    after: object = None,
    covers: Sequence[tuple[str, tuple[Any, ...]]] = (),
) -> int:
    """Append an event, which commits with the transaction, and return its sequence number.

    `before` and `after` are plain data. `covers` names the rows this transaction wrote, as (table, primary key), each
    after its last write here; the row that `subject` names comes first. A name is a table of `covered.COVERED`, or one
    of `covered.COVERED_AT_END` or of `COVERED_TOGETHER` for rows that will not change any more. An event that moves an
    alias has `after["alias"]` and `before["alias"]` with `model_id`, `name`, `version_id` and `moves`: they are
    replayed.
    Raises `Invalid` or `InvalidName` for what cannot be kept, and `AuditBroken` when the head is gone.
    """
    _check_text("kind", checked_name(kind, "event"), MAX_SUBJECT)
    _check_text("subject", subject, MAX_SUBJECT)
    _check_text("by", by, MAX_SUBJECT)
    _check_text("why", why, MAX_WHY, empty=True)
    last = _read_head(tx.execute(_head_to_move).one_or_none())
    event = {
        "seq": last.seq + 1,
        "at": tx.now(),
        "by": by,
        "kind": kind,
        "subject": subject,
        "why": why,
        "before": codec.dumps(before),
        "after": codec.dumps(after),
        "covers": codec.dumps([Cover(name, tuple(key), hash_now(tx.connection, name, key)) for name, key in covers]),
        "previous": last.hash,
    }
    event["hash"] = event_hash(tuple(event.values()))
    try:
        tx.execute(_insert, event)
    except AlreadyExists:
        raise _broken(f"audit_event {event['seq']} is there before it was written") from None
    moved = tx.execute(_move_head, {"was": last.seq, "new_seq": event["seq"], "new_hash": event["hash"]})
    if moved.rowcount != 1:
        raise _broken("audit_head moved under an open transaction")
    return last.seq + 1


def head(connection: Connection) -> Head:
    """Return the end of the log. Raises `AuditBroken` when it is gone."""
    return _read_head(connection.execute(_head).one_or_none())


def events(
    connection: Connection,
    *,
    subject: str | None = None,
    kind: str | None = None,
    after: int | None = None,
    limit: int = 100,
    newest_first: bool = False,
) -> list[AuditEvent]:
    """Return at most `limit` events in order, those that follow the event `after` in that order.

    `subject` and `kind`, when given, must be equal. Raises `Invalid` for a limit outside 1 to 1000.
    """
    if not 1 <= limit <= MAX_EVENTS:
        raise Invalid(f"limit is {limit}", hint=f"choose 1 to {MAX_EVENTS} and page with `after`")
    seq = audit_event.c.seq
    query = select(audit_event).order_by(seq.desc() if newest_first else seq).limit(limit)
    if after is not None:
        query = query.where(seq < after if newest_first else seq > after)
    if subject is not None:
        query = query.where(audit_event.c.subject == subject)
    if kind is not None:
        query = query.where(audit_event.c.kind == kind)
    return [_event(row) for row in connection.execute(query)]


def verify(
    connection: Connection, *, anchor: tuple[int, str] | None = None, limit: int = MAX_FINDINGS
) -> list[Finding]:
    """Return what was changed behind the log's back, at most `limit` findings; an empty list means the log is whole.

    Walks the chain to the head, compares every row of the covered tables with the newest hash the log has for it, and
    replays the aliases. A changed row gives one finding that names it, not one for every row after it. `anchor` is a
    head kept elsewhere, which the log must still contain. One pass over the log and one over each covered table; the
    memory needed does not grow with either (the newest hashes go to a temporary file).
    """
    if limit < 1:
        raise Invalid(f"limit is {limit}", hint="choose at least 1")
    return check(connection, anchor, limit)


def _event(row: Any) -> AuditEvent:
    values = row._asdict()
    try:
        values["at"] = codec.to_time(values["at"])
        for column in ("before", "after", "covers"):
            values[column] = codec.loads(values[column])
        values["covers"] = tuple(Cover(name, tuple(key), hashed) for name, key, hashed in values["covers"])
    except (Invalid, TypeError, ValueError):
        raise _broken(f"audit_event {row.seq} cannot be read") from None
    return AuditEvent(**values)


def _read_head(row: Any) -> Head:
    if row is None:
        raise _broken("audit_head is gone")
    return Head(row.seq, row.hash)


def _broken(problem: str) -> AuditBroken:
    return AuditBroken(problem, hint="keep the files as they are and run `visutility audit verify`")


def _check_text(what: str, value: object, most: int, *, empty: bool = False) -> None:
    if not isinstance(value, str) or len(value) > most or not (value or empty) or "\x00" in value:
        raise Invalid(
            f"{what} is {value!r:.80}", hint=f"use {0 if empty else 1} to {most} characters, none of them NUL"
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Invalid(f"{what} {value!r:.80} is not text", hint="leave out what UTF-8 cannot hold") from None
