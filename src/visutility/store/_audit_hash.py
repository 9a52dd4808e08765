"""What the audit log hashes, and how: the values exactly as the database gives them, types included."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
from sqlalchemy import ColumnClause, Connection, Executable, bindparam, column, select, table

from visutility.core.codec import sha256
from visutility.core.errors import Invalid
from visutility.store.covered import ADDED, COVERED, COVERED_AT_END
from visutility.store.schema import metadata

FIRST = "0" * 64  # the hash before the first event
EVENT_COLUMNS = ("seq", "at", "by", "kind", "subject", "why", "before", "after", "covers", "previous")

# Rows that are covered together, as one, by an event that names the row they belong to: their table, and its columns
# that hold that row's key. By the closing of the study; `study.reports` when no trial of it reported.
COVERED_TOGETHER: dict[str, tuple[str, tuple[str, ...]]] = {
    "trial.reports": ("trial_report", ("study_id", "trial_number")),
    "study.reports": ("trial_report", ("study_id",)),
    "study.queue": ("study_queue", ("study_id",)),
}

_encode = msgspec.json.Encoder().encode


def event_hash(values: Sequence[Any]) -> str:
    """Return the hash of an event from its `EVENT_COLUMNS`, `previous` included, in that order."""
    return sha256(canonical(values))


def row_hash(name: str, values: Sequence[Any]) -> str:
    """Return the hash of a row covered as `name` from its covered columns, in their order.

    Columns of `ADDED` count from the last one that says more than what the revision that added it put there.
    """
    counted = len(values)
    for default in reversed(ADDED.get(name, ())):
        if values[counted - 1] != default:
            break
        counted -= 1
    return sha256(canonical((name, *values[:counted])))


def canonical(values: Sequence[Any]) -> bytes:
    """Return one text for these column values; values that differ in type or content give different texts."""
    return _encode([_plain(value) for value in values])


def table_of(name: str) -> str:
    """Return the table whose key rows covered as `name` have: "run" of "run.end", "trial" of "trial.reports"."""
    return name.partition(".")[0]


def primary_key(name: str) -> tuple[str, ...]:
    """Return the names of the primary key columns of rows covered as `name`."""
    return tuple(c.name for c in metadata.tables[table_of(name)].primary_key)


def covered_rows(name: str) -> Executable:
    """Return the select of all rows of a covered table: its primary key, then its covered columns, untyped."""
    columns: list[ColumnClause[Any]] = [column(c) for c in (*primary_key(name), *COVERED[name])]
    return select(*columns).select_from(table(name))


def _one_row(name: str, covered: Sequence[str]) -> Executable:
    keys = (column(c) == bindparam(f"key_{at}") for at, c in enumerate(primary_key(name)))
    columns: list[ColumnClause[Any]] = [column(c) for c in covered]
    return select(*columns).select_from(table(table_of(name))).where(*keys)


def _together(of: str, keys: Sequence[str]) -> Executable:
    whole = metadata.tables[of]
    columns: list[ColumnClause[Any]] = [column(c.name) for c in whole.c]
    ordered: list[ColumnClause[Any]] = [column(c.name) for c in whole.primary_key]
    held = (column(name) == bindparam(f"key_{at}") for at, name in enumerate(keys))
    return select(*columns).select_from(table(of)).where(*held).order_by(*ordered)


_ONE_ROW = {name: _one_row(name, covered) for name, covered in (COVERED | COVERED_AT_END).items()}
_TOGETHER = {name: _together(*of) for name, of in COVERED_TOGETHER.items()}


def hash_now(connection: Connection, name: str, key: Sequence[Any]) -> str | None:
    """Return the hash of the row covered as `name` with this primary key, or None when there is no such row.

    Rows that are covered together have one hash, also when there are none. Raises `Invalid` for a name that is not
    covered and a key that is not whole.
    """
    if (name not in _ONE_ROW and name not in _TOGETHER) or len(key) != len(primary_key(name)):
        raise Invalid(
            f"an event cannot cover {name!r} with key {tuple(key)!r}",
            hint=f"name a whole primary key of one of {', '.join(sorted(_ONE_ROW | _TOGETHER))}",
        )
    values = {f"key_{at}": part for at, part in enumerate(key)}
    if name in _TOGETHER:
        return sha256(canonical((name, *chain.from_iterable(connection.execute(_TOGETHER[name], values)))))
    row = connection.execute(_ONE_ROW[name], values).one_or_none()
    return None if row is None else row_hash(name, tuple(row))


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # bytes that are not UTF-8, as an edit behind our back can leave them
            return {"bytes": value.encode(errors="surrogateescape").hex()}
    return value
