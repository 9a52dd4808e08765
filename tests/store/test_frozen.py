"""The database itself refuses to change, delete or replace a frozen row, whoever asks."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import UniqueConstraint, insert, select

from visutility.core.clock import SimulatedClock
from visutility.core.errors import AlreadyExists, Immutable
from visutility.store.engine import Store
from visutility.store.schema import FROZEN, metadata

Sql = Callable[..., list[tuple[Any, ...]]]


def refused(path: Path, statement: str, values: tuple[object, ...] = (), kind: str = "immutable: ") -> None:
    """Run plain SQL with foreign keys off; it must be refused, and every row stay as it was."""
    table = next(word for word in statement.replace("(", " ").split() if word in metadata.tables)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        before = raw.execute(f"SELECT rowid, * FROM {table}").fetchall()
        assert before
        with pytest.raises(sqlite3.IntegrityError, match=f"^{kind}{table} rows cannot be changed; "):
            raw.execute(statement, values)
        assert raw.execute(f"SELECT rowid, * FROM {table}").fetchall() == before


@pytest.mark.parametrize("table", FROZEN)
@pytest.mark.parametrize("how", ["", "OR REPLACE ", "OR IGNORE "])
def test_update_is_refused_for_every_column(full: Path, table: str, how: str) -> None:
    for column in metadata.tables[table].c:
        refused(full, f'UPDATE {how}{table} SET "{column.name}" = "{column.name}" || 1')
    refused(full, f"UPDATE {how}{table} SET rowid = rowid + 1000")


@pytest.mark.parametrize("table", FROZEN)
def test_delete_is_refused_with_and_without_a_condition(full: Path, table: str) -> None:
    refused(full, f"DELETE FROM {table}")
    refused(full, f"DELETE FROM {table} WHERE rowid = 1")


def _keys(table: str) -> list[tuple[str, ...]]:
    found = metadata.tables[table]
    uniques = (u for u in found.constraints if isinstance(u, UniqueConstraint))
    return sorted([tuple(c.name for c in found.primary_key), *(tuple(c.name for c in u.columns) for u in uniques)])


def _id(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else "+".join(value)


@pytest.mark.parametrize(("table", "key"), [(t, key) for t in FROZEN for key in _keys(t)], ids=_id)
@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "REPLACE"])
def test_replacing_through_any_unique_key_is_refused(full: Path, table: str, key: tuple[str, ...], verb: str) -> None:
    row = _row(full, table)
    values = {name: value if name in key or value is None else _other(value) for name, value in row.items()}
    assert None not in {values[name] for name in key}
    names = ", ".join(f'"{name}"' for name in values)
    refused(full, f"{verb} INTO {table} ({names}) VALUES ({_marks(values)})", tuple(values.values()))


@pytest.mark.parametrize("table", FROZEN)
def test_replacing_by_rowid_and_upserts_are_refused(full: Path, table: str) -> None:
    row = _row(full, table)
    names = ", ".join(f'"{name}"' for name in row)
    other = tuple(value if value is None else _other(value) for value in row.values())
    refused(full, f"REPLACE INTO {table} (rowid, {names}) VALUES (1, {_marks(row)})", other)
    first = f'"{next(iter(row))}"'
    upsert = f"INSERT INTO {table} ({names}) VALUES ({_marks(row)}) ON CONFLICT DO UPDATE SET {first} = 'x'"
    refused(full, upsert, tuple(row.values()))


def _row(path: Path, table: str) -> dict[str, Any]:
    with closing(sqlite3.connect(path)) as raw:
        raw.row_factory = sqlite3.Row
        return dict(raw.execute(f"SELECT * FROM {table} WHERE rowid = 1").fetchone())


def _other(value: Any) -> Any:
    if isinstance(value, bytes):
        return value + b"x"
    return value + 1000 if isinstance(value, (int, float)) else value + "x"


def _marks(values: dict[str, Any]) -> str:
    return ", ".join("?" for _ in values)


@pytest.mark.parametrize("table", FROZEN)
def test_our_own_transactions_hear_it_as_errors_of_ours(full: Path, table: str) -> None:
    store = Store(f"sqlite:///{full}", SimulatedClock())
    found = metadata.tables[table]
    with store.write("test") as tx:
        row = dict(tx.execute(select(found)).mappings().first() or {})
        with pytest.raises(Immutable, match=f"{table} rows cannot be changed"):
            tx.execute(found.delete())
        with pytest.raises(Immutable, match="this was an UPDATE"):
            tx.execute(found.update().values({found.primary_key.columns[0]: "x"}))
        with pytest.raises(AlreadyExists, match="exists already"):
            tx.execute(insert(found), row)
    store.close()
