"""One database: engine, transactions, and database errors as our own.

Writing transactions begin IMMEDIATE: a deferred transaction that reads and then writes fails at once with "database is
locked" when another process wrote in between, whatever the busy timeout. `synchronous=FULL` is the default: a commit
survives a power cut.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from sqlalchemy import Connection, CursorResult, Engine, Executable, create_engine, event, make_url, text
from sqlalchemy.exc import DatabaseError as SqlDatabaseError
from sqlalchemy.exc import DBAPIError, IntegrityError

from visutility.core import crash
from visutility.core.clock import Clock
from visutility.core.codec import to_text
from visutility.core.errors import (
    AlreadyExists,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseTooNew,
    DiskFull,
    Immutable,
    NoProject,
    ReadOnly,
    SetupNeeded,
    VisuTilityError,
)
from visutility.core.ids import new_id
from visutility.store.schema import REVISION

BUSY_TIMEOUT_MS = 15_000
WRITE = {"visutility_write": True}


@final
@dataclass(slots=True)
class Tx:
    """An open writing transaction. Functions that write take one; whoever opened it commits."""

    connection: Connection
    clock: Clock
    _after: list[Callable[[], None]] = field(default_factory=list)

    def execute(self, statement: Executable, values: Any = None) -> CursorResult[Any]:
        """Execute a statement, with bound values or a list of them."""
        return self.connection.execute(statement, values)

    def now(self) -> str:
        """Return the clock's time as stored text."""
        return to_text(self.clock.now())

    def new_id(self) -> str:
        """Return a new id of this time."""
        return new_id(self.clock.now())

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call this once the transaction is committed; never if it is rolled back."""
        self._after.append(call)


@final
class Store:
    """A database and its transactions. Safe to share between threads, not across a fork."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.url = url
        self.clock = clock
        self.engine = make_engine(url)

    @contextmanager
    def write(self, name: str) -> Iterator[Tx]:
        """Open a writing transaction; it commits when the block ends and rolls back when it raises.

        `name` names the crash points `<name>:before` and `<name>:after` that enclose the commit.
        Raises `DatabaseBusy`, `DiskFull`, `ReadOnly`, `DatabaseDamaged`, `Immutable` or `AlreadyExists` for what
        the database refuses.
        """
        with translated(self.url), self.engine.connect().execution_options(**WRITE) as connection:
            tx = Tx(connection, self.clock)
            with connection.begin():
                yield tx
                crash.point(f"{name}:before")
            crash.point(f"{name}:after")
        for call in tx._after:
            call()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a reading transaction: one consistent view, never blocked by a writer."""
        with translated(self.url), self.engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    def check(self) -> None:
        """Raise unless the database exists, is whole enough to read, and has this release's revision."""
        path = sqlite_path(self.url)
        if path is not None and not path.exists():
            raise NoProject(f"there is no database at {path}", hint="run `visutility init` first")
        with self.read() as connection:
            found = self._revision(connection)
        if found is None:
            raise NoProject(f"{self.url} holds no VisuTility tables", hint="run `visutility init` first")
        if found > REVISION:
            raise DatabaseTooNew(
                f"the database has revision {found}, this release knows up to {REVISION}",
                hint="install the newer release that wrote it; nothing was changed",
            )
        if found < REVISION:
            raise SetupNeeded(
                f"the database has revision {found}, this release needs {REVISION}",
                hint="run `visutility init` to upgrade it; every row is kept",
            )

    def _revision(self, connection: Connection) -> str | None:
        if not connection.dialect.has_table(connection, "alembic_version"):
            return None
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return None if found is None else str(found)


def make_engine(url: str) -> Engine:
    """Return an engine for the URL, with our transaction rules. Migrations use it too."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise SetupNeeded(f"database {parsed.render_as_string()} is not SQLite", hint="use a sqlite:/// URL")
    engine = create_engine(parsed)

    @event.listens_for(engine, "connect")
    def _connected(raw: sqlite3.Connection, _record: object) -> None:
        raw.isolation_level = None  # we send BEGIN ourselves
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
        ):
            raw.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _began(connection: Connection) -> None:
        write = connection.get_execution_options().get("visutility_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def sqlite_path(url: str) -> Path | None:
    """Return the file of a SQLite URL, or None when it is in memory or another database."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    return Path(parsed.database)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Raise the database's complaints as errors of ours; everything else passes through."""
    try:
        yield
    except SqlDatabaseError as error:
        raise _ours(error, url) from error
    except DBAPIError as error:  # an interface error: a value of a type the driver cannot bind
        raise DatabaseDamaged(f"{url}: {error.orig}", hint="report this: a value could not be bound") from error


def _ours(error: DBAPIError, url: str) -> VisuTilityError:
    said = str(error.orig)
    if isinstance(error, IntegrityError):
        if said.startswith("immutable: "):
            return Immutable(said.removeprefix("immutable: "), hint="register a new version instead")
        if "UNIQUE" in said or "PRIMARY KEY" in said:
            return AlreadyExists(f"a row like that exists already ({said})", hint="read it instead of writing it")
        return DatabaseDamaged(f"{url} refused a row: {said}", hint="report this with `visutility doctor --json`")
    if "locked" in said or "busy" in said:
        return DatabaseBusy(f"{url} was held by another writer for {BUSY_TIMEOUT_MS / 1000:g} s", hint="try again")
    if "full" in said:
        return DiskFull(f"no space left for {url}", hint="free space and try again; nothing was half-written")
    if "readonly" in said or "unable to open" in said:
        return ReadOnly(f"cannot write {url} ({said})", hint="check the owner and mode of the file and its folder")
    return DatabaseDamaged(
        f"{url}: {said}",
        hint="keep the file as it is, restore a copy, and run `visutility audit verify` on it",
    )
