"""Aliases: movable names of versions. They move by compare-and-set and keep their whole history.

`challenger` names the newest registered version. `champion` names the version that serves. A promotion moves only
`champion`: afterwards both may name one version, which means that nothing waits.
"""

from typing import Any, NamedTuple

from sqlalchemy import bindparam, insert, select, update

from visutility.core.codec import to_time
from visutility.core.errors import AliasMoved, AliasNotFound, Invalid, NothingToRollBack
from visutility.core.ids import checked_name
from visutility.registry import models, queries
from visutility.registry.types import CHALLENGER, CHAMPION, Move, MoveKind, Ref
from visutility.store import audit
from visutility.store.engine import Tx
from visutility.store.schema import alias_move, model, model_alias, model_version

EVENTS: dict[MoveKind, str] = {"promote": "alias.promoted", "rollback": "alias.rolled-back", "move": "alias.moved"}

RESERVED = (CHALLENGER, CHAMPION)  # these move only by register, promote and rollback

_a, _v, _m = model_alias.c, model_version.c, alias_move.c
_now_at = (
    select(model.c.id.label("model_id"), _a.version_id, _a.moves, _v.number)
    .outerjoin(model_alias, (_a.model_id == model.c.id) & (_a.name == bindparam("alias")))
    .outerjoin(model_version, (_v.model_id == _a.model_id) & (_v.id == _a.version_id))
    .where(model.c.name == bindparam("model"))
)
_version_id = select(_v.id).where(_v.model_id == bindparam("model_id"), _v.number == bindparam("number"))
_version_number = select(_v.number).where(_v.model_id == bindparam("model_id"), _v.id == bindparam("id"))
_insert_alias = insert(model_alias)
_insert_move = insert(alias_move)
_update_alias = (
    update(model_alias)
    .where(_a.model_id == bindparam("at_model"), _a.name == bindparam("at_name"), _a.moves == bindparam("seen"))
    .values(version_id=bindparam("to"), moves=bindparam("now"))
)
_moves_back = (
    select(_m.kind, _m.before_id)
    .where(_m.model_id == bindparam("model_id"), _m.name == bindparam("alias"))
    .order_by(_m.number.desc())
)


class At(NamedTuple):
    """Where an alias is: the version it points at and how often it moved (None and 0: it is new)."""

    model_id: str
    model: str
    name: str
    version_id: str | None
    number: int | None
    moves: int


class Written(NamedTuple):
    """A move whose rows are written, and what the event that records it says and covers."""

    move: Move
    before: dict[str, Any] | None
    after: dict[str, Any]
    covers: list[tuple[str, tuple[Any, ...]]]


def promote(
    tx: Tx,
    name: str,
    number: int,
    *,
    expected: int | None,
    by: str,
    why: str,
    run_id: str | None = None,
    gate_id: str | None = None,
) -> Move:
    """Make version `number` the champion, if `expected` still is (None: there is none yet).

    Promoting the champion itself writes nothing and returns the move that made it so. The work does not depend on how
    many versions there are. Raises `AliasMoved` naming who holds it now, `ModelNotFound` or `VersionNotFound`.
    """
    return move_alias(
        tx, name, CHAMPION, to=number, expected=expected, by=by, why=why, kind="promote", run_id=run_id, gate_id=gate_id
    )


def move_alias(
    tx: Tx,
    name: str,
    alias: str,
    *,
    to: int,
    expected: int | None,
    by: str,
    why: str,
    kind: MoveKind = "move",
    run_id: str | None = None,
    gate_id: str | None = None,
) -> Move:
    """Point an alias at version `to`, if it is still at `expected` (None: it is new). Raises what `promote` raises."""
    if kind not in EVENTS:
        raise Invalid(f"kind {kind!r} is no move by itself", hint=f"use one of {', '.join(sorted(EVENTS))}")
    at = find_alias(tx, name, alias)
    if at.number != expected:
        raise _stale(tx, at, expected)
    if at.number == to:
        return queries.history(tx.connection, name, alias, limit=1)[0]
    target = tx.execute(_version_id, {"model_id": at.model_id, "number": to}).scalar_one_or_none()
    if target is None:
        raise queries.not_found(tx.connection, Ref(name, None, to))
    return _record(tx, write_move(tx, at, target, to, kind=kind, by=by, why=why, run_id=run_id, gate_id=gate_id))


def rollback(tx: Tx, name: str, *, by: str, why: str, expected: int | None = None, run_id: str | None = None) -> Move:
    """Make the champion before this one champion again, if `expected` is champion now (None: whoever is).

    Promotions stack: a second rollback goes one further back, and a promotion after a rollback goes on top of where
    it went back to. Reads the moves since the champion was promoted. Raises `AliasMoved`, `ModelNotFound`,
    `AliasNotFound` when there is no champion, and `NothingToRollBack` when none was before it.
    """
    at = find_alias(tx, name, CHAMPION)
    if at.version_id is None:
        raise AliasNotFound(f"{name} has no champion to roll back", hint="promote a version first")
    if expected is not None and at.number != expected:
        raise _stale(tx, at, expected)
    target = _beneath(tx, at)
    if target is None:
        raise NothingToRollBack(
            f"no champion came before {name}:{at.number}", hint="promote another version instead of rolling back"
        )
    number = tx.execute(_version_number, {"model_id": at.model_id, "id": target}).scalar_one()
    return _record(tx, write_move(tx, at, target, number, kind="rollback", by=by, why=why, run_id=run_id))


def find_alias(tx: Tx, name: str, alias: str) -> At:
    """Return where an alias is now. Raises `InvalidName` or `ModelNotFound`."""
    wanted = {"model": checked_name(name, "model"), "alias": checked_name(alias, "alias")}
    row = tx.execute(_now_at, wanted).one_or_none()
    if row is None:
        raise models.not_found(tx.connection, name)
    return At(row.model_id, name, alias, row.version_id, row.number, row.moves or 0)


def write_move(
    tx: Tx,
    at: At,
    to: str,
    number: int,
    *,
    kind: MoveKind,
    by: str,
    why: str,
    run_id: str | None = None,
    gate_id: str | None = None,
) -> Written:
    """Write the rows of a move. The caller appends the event, so that one event can tell of more than the move."""
    moved = {"model_id": at.model_id, "name": at.name, "version_id": to, "moves": at.moves + 1}
    if at.version_id is None:
        tx.execute(_insert_alias, moved)
    else:
        seen = {"at_model": at.model_id, "at_name": at.name, "seen": at.moves, "to": to, "now": at.moves + 1}
        if tx.execute(_update_alias, seen).rowcount != 1:
            raise _stale(tx, find_alias(tx, at.model, at.name), at.number)
    now = tx.now()
    row = {
        "model_id": at.model_id,
        "name": at.name,
        "number": at.moves + 1,
        "before_id": at.version_id,
        "after_id": to,
        "kind": kind,
        "run_id": run_id,
        "gate_id": gate_id,
        "moved_at": now,
        "moved_by": by,
        "why": why,
    }
    tx.execute(_insert_move, row)
    was = {"model_id": at.model_id, "name": at.name, "version_id": at.version_id, "moves": at.moves}
    return Written(
        Move(
            model=at.model,
            name=at.name,
            position=at.moves + 1,
            before=at.number,
            number=number,
            kind=kind,
            run_id=run_id,
            gate_id=gate_id,
            at=to_time(now),
            by=by,
            why=why,
        ),
        None if at.version_id is None else {**was, "number": at.number},
        {**moved, "number": number, "run_id": run_id, "gate_id": gate_id},
        [("model_alias", (at.model_id, at.name)), ("alias_move", (at.model_id, at.name, at.moves + 1))],
    )


def _record(tx: Tx, written: Written) -> Move:
    move = written.move
    audit.append(
        tx,
        EVENTS[move.kind],
        f"{move.model}@{move.name}",
        by=move.by,
        why=move.why,
        before={"alias": written.before},
        after={"alias": written.after},
        covers=written.covers,
    )
    return move


def _beneath(tx: Tx, at: At) -> str | None:
    """Return the version under the top of the stack: what was champion when the champion was promoted."""
    undone = 0  # promotions that later rollbacks took back
    with tx.execute(_moves_back, {"model_id": at.model_id, "alias": at.name}) as rows:
        for row in rows:
            if row.kind == "rollback":
                undone += 1
            elif undone:
                undone -= 1
            else:
                return None if row.before_id is None else str(row.before_id)
    return None


def _stale(tx: Tx, at: At, expected: int | None) -> AliasMoved:
    wanted = "unset" if expected is None else f"version {expected}"
    if at.number is None:
        return AliasMoved(f"{at.model}@{at.name} is unset, not {wanted}", hint="decide again with expected=None")
    last = queries.history(tx.connection, at.model, at.name, limit=1)[0]
    moved = f"{last.by} moved it at {last.at:%Y-%m-%d %H:%M:%S} UTC{f' ({last.why})' if last.why else ''}"
    return AliasMoved(
        f"{at.model}@{at.name} is version {at.number}, not {wanted}: {moved}",
        hint=f"look at version {at.number} and decide again",
    )
