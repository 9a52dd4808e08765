"""A look at every page of the database, for `visutility doctor`."""

from sqlalchemy import Connection, text

from visutility.store.findings import Finding
from visutility.store.schema import FROZEN

GUARDS = tuple(f"{name}_{guard}" for name in FROZEN for guard in ("no_delete", "no_replace", "no_update"))


def examine(connection: Connection) -> list[Finding]:
    """Return what is wrong with the file, its foreign keys and its triggers. Reads every page once.

    `Store.read` raises `DatabaseDamaged` when too much is broken to tell.
    """
    return [*_pages(connection), *_references(connection), *_guards(connection)]


def _pages(connection: Connection) -> list[Finding]:
    said = connection.execute(text("PRAGMA quick_check")).scalars().all()
    return [Finding("database", str(line)) for line in said if line != "ok"]


def _references(connection: Connection) -> list[Finding]:
    return [
        Finding(f"{row[0]} row {row[1]}", f"refers to a row of {row[2]} that does not exist")
        for row in connection.execute(text("PRAGMA foreign_key_check"))
    ]


def _guards(connection: Connection) -> list[Finding]:
    found = set(connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars())
    return [
        Finding(f"trigger {name}", "is missing: nothing in the database refuses a change of these rows")
        for name in GUARDS
        if name not in found
    ]
