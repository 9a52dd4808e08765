"""What the audit log hashes, and how: the values exactly as the database gives them, types included."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnClause, Executable, bindparam, column, select, table

from visutility.core.codec import sha256
from visutility.store.schema import COVERED, metadata

FIRST = "0" * 64  # the hash before the first event
EVENT_COLUMNS = ("seq", "at", "by", "kind", "subject", "why", "before", "after", "covers", "previous")

_encode = msgspec.json.Encoder().encode


def event_hash(values: Sequence[Any]) -> str:
    """Return the hash of an event from its `EVENT_COLUMNS`, `previous` included, in that order."""
    return sha256(canonical(values))


def row_hash(name: str, values: Sequence[Any]) -> str:
    """Return the hash of a row of table `name` from its `COVERED` columns, in that order."""
    return sha256(canonical((name, *values)))


def canonical(values: Sequence[Any]) -> bytes:
    """Return one text for these column values; values that differ in type or content give different texts."""
    return _encode([_plain(value) for value in values])


def primary_key(name: str) -> tuple[str, ...]:
    """Return the names of a table's primary key columns."""
    return tuple(c.name for c in metadata.tables[name].primary_key)


def covered_rows(name: str) -> Executable:
    """Return the select of all rows of a covered table: its primary key, then its covered columns, untyped."""
    columns: list[ColumnClause[Any]] = [column(c) for c in (*primary_key(name), *COVERED[name])]
    return select(*columns).select_from(table(name))


def _one_row(name: str) -> Executable:
    keys = (column(c) == bindparam(f"key_{at}") for at, c in enumerate(primary_key(name)))
    columns: list[ColumnClause[Any]] = [column(c) for c in COVERED[name]]
    return select(*columns).select_from(table(name)).where(*keys)


ONE_ROW = {name: _one_row(name) for name in COVERED}  # built once: each event reads back the rows it wrote


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
