"""One database: engine, transactions, and database errors as our own.

Writing transactions begin IMMEDIATE: a deferred transaction that reads and then writes fails at once with "database is
locked" when another process wrote in between, whatever the busy timeout. Reading transactions are `query_only`, so that
none can start to write. `synchronous=FULL` is the default: a commit survives a power cut.
"""

import sqlite3
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, final

from sqlalchemy import URL, Connection, CursorResult, Engine, Executable, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError

from visutility.core import crash
from visutility.core.clock import Clock
from visutility.core.codec import to_text
from visutility.core.errors import DatabaseDamaged, DatabaseTooNew, NoProject, ReadOnly, SetupNeeded
from visutility.core.ids import new_id
from visutility.store._translate import BUSY_TIMEOUT_MS, translated
from visutility.store.hot import HotLane, Joined
from visutility.store.schema import REVISION

_SQLITE = "sqlite:///"
_HEADER = 100  # bytes of a SQLite file's header
_WRITE: Mapping[str, Any] = {"visutility_write": True}
_MIGRATE: Mapping[str, Any] = {"visutility_write": True, "visutility_migrate": True}


@final
@dataclass(slots=True)
class Tx:
    """An open writing transaction. Functions that write take one; whoever opened it commits."""

    connection: Connection
    clock: Clock
    _url: str = ""
    _after: list[Callable[[], None]] = field(default_factory=list)

    def execute(self, statement: Executable, values: Any = None) -> CursorResult[Any]:
        """Execute a statement, with bound values or a list of them.

        What the database refuses is raised as `Store.write` says. A refused row leaves the transaction usable: only
        that statement is undone.
        """
        with translated(self._url):
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

    def hot(self) -> Joined:
        """Return this transaction as one that takes the text of hot statements."""
        return Joined(self.connection, self._url, self.now, self.after_commit)


@final
class Store:
    """A database and its transactions. Safe to share between threads, not across a fork."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.url = url
        self.clock = clock
        self.engine = make_engine(url)
        self.hot = HotLane(sqlite_path(url) or Path(), url, clock)
        weakref.finalize(self, self.engine.dispose)  # a store that nobody closed leaves no open file behind

    @contextmanager
    def write(self, name: str) -> Iterator[Tx]:
        """Open a writing transaction; it commits when the block ends and rolls back when it raises.

        `name` names the crash points `<name>:before` and `<name>:after` that enclose the commit. What `after_commit`
        was given is called once the commit is safe; the first error there is raised when all were called.
        Raises `DatabaseBusy`, `DiskFull`, `ReadOnly`, `DatabaseDamaged`, `NoProject`, `Immutable`, `AlreadyExists`,
        `NotFound` (a foreign key to nothing) or `Invalid` for what the database refuses.
        """
        with self._transaction(name, _WRITE) as tx:
            yield tx

    @contextmanager
    def migrate(self, name: str) -> Iterator[Tx]:
        """Open a writing transaction with foreign keys off, as changing tables needs; they are checked at its end."""
        with self._transaction(name, _MIGRATE) as tx:
            yield tx
            loose = tx.execute(text("PRAGMA foreign_key_check")).all()
            if loose:
                raise DatabaseDamaged(
                    f"{len(loose)} rows would refer to rows that do not exist, the first in table {loose[0][0]}",
                    hint="nothing was changed; run `visutility doctor` and report this",
                )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a reading transaction: one consistent view, never blocked by a writer."""
        with translated(self.url), self.engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close every pooled connection."""
        self.hot.close()
        self.engine.dispose()

    def check(self) -> None:
        """Raise unless the database exists, can be read, and has this release's revision.

        Raises `NoProject`, `DatabaseTooNew`, `SetupNeeded` (an older revision), `DatabaseDamaged` or `ReadOnly`. It
        looks at the header and two pages: `store.health` looks at every page.
        """
        path = sqlite_path(self.url)
        if path is not None:
            check_file(path)
        found = self.revision()
        if found is None:
            raise NoProject(f"{self.url} holds no VisuTility tables", hint="run `visutility init` first")
        check_not_newer(found)
        if found < REVISION:
            raise SetupNeeded(
                f"the database has revision {found}, this release needs {REVISION}",
                hint="run `visutility init` to upgrade it; every row is kept",
            )

    def revision(self) -> str | None:
        """Return the revision the database was last upgraded to, or None when it has none of our tables."""
        with self.read() as connection:
            if not connection.dialect.has_table(connection, "alembic_version"):
                return None
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return None if found is None else str(found)

    @contextmanager
    def _transaction(self, name: str, options: Mapping[str, Any]) -> Iterator[Tx]:
        with translated(self.url), self.engine.connect().execution_options(**options) as connection:
            tx = Tx(connection, self.clock, self.url)
            with connection.begin():
                yield tx
                crash.point(f"{name}:before")
            crash.point(f"{name}:after")
        _call_all(tx._after)


def make_engine(url: str) -> Engine:
    """Return an engine for the URL, with our transaction rules. Migrations use it too."""
    path = sqlite_path(url)
    if path is None:
        raise SetupNeeded(f"database {_shown(url)} is no SQLite file", hint="use sqlite:/// and the path of a file")
    engine = create_engine(URL.create("sqlite", database=str(path)), pool_size=8, max_overflow=56)

    @event.listens_for(engine, "connect")
    def _connected(raw: sqlite3.Connection, _record: object) -> None:
        raw.isolation_level = None  # we send BEGIN ourselves
        raw.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}").close()
        # The mode is kept in the file. Setting it again would cost nothing, but two processes that set it at once on a
        # new file see "database is locked" at once: only `upgrade`, which holds a lock, meets a file in another mode.
        if raw.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            raw.execute("PRAGMA journal_mode=WAL").close()
        raw.execute("PRAGMA synchronous=FULL").close()

    @event.listens_for(engine, "begin")
    def _began(connection: Connection) -> None:
        options = connection.get_execution_options()
        write = options.get("visutility_write", False)
        wanted = (
            f"query_only={'OFF' if write else 'ON'}",
            f"foreign_keys={'OFF' if options.get('visutility_migrate') else 'ON'}",
        )
        raw = cast("sqlite3.Connection", connection.connection.driver_connection)
        if connection.info.get("visutility_pragmas") != wanted:
            for pragma in wanted:
                raw.execute(f"PRAGMA {pragma}").close()
            connection.info["visutility_pragmas"] = wanted
        raw.execute("BEGIN IMMEDIATE" if write else "BEGIN").close()

    return engine


def sqlite_path(url: str) -> Path | None:
    """Return the file of a SQLite URL, or None when it is in memory or another database.

    What follows `sqlite:///` is the path as it is: nothing in it is quoted or a query.
    """
    database = url.removeprefix(_SQLITE)
    return None if not url.startswith(_SQLITE) or database in ("", ":memory:") else Path(database)


def _shown(url: str) -> str:
    """Return a URL without its password."""
    try:
        return make_url(url).render_as_string()
    except ArgumentError:
        return repr(url)


def check_file(path: Path) -> None:
    """Raise `NoProject` when there is no database file, `DatabaseDamaged` when it is empty or cut within a page.

    SQLite itself takes a file shorter than its header for a new one, and a last page that is cut for a whole one.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(_HEADER)
        waiting = path.with_name(f"{path.name}-wal")
        settled = not waiting.exists() or waiting.stat().st_size == 0
    except FileNotFoundError:
        raise NoProject(f"there is no database at {path}", hint="run `visutility init` first") from None
    except OSError as error:
        raise ReadOnly(f"cannot read {path} ({error.strerror})", hint="check its owner and mode") from None
    if size == 0:
        raise DatabaseDamaged(
            f"{path} is empty", hint="restore a copy; if nothing was ever stored here, run `visutility init`"
        )
    if settled and (len(header) < _HEADER or size % _page_size(header)):
        raise DatabaseDamaged(f"{path} was cut at {size} bytes", hint="keep it as it is and restore a copy")


def _page_size(header: bytes) -> int:
    """Return the page size a SQLite header gives in bytes, or 1 when it is no such header."""
    size = int.from_bytes(header[16:18], "big")
    return {0: 1, 1: 65536}.get(size, size) if header.startswith(b"SQLite format 3\x00") else 1


def check_not_newer(found: str) -> None:
    """Raise `DatabaseTooNew` when a later release than this one wrote the database."""
    if found > REVISION:
        raise DatabaseTooNew(
            f"the database has revision {found}, this release knows up to {REVISION}",
            hint="install the newer release that wrote it; nothing was changed",
        )


def _call_all(calls: list[Callable[[], None]]) -> None:
    first: Exception | None = None
    for call in calls:
        try:
            call()
        except Exception as error:  # noqa: BLE001  the commit is done: the others must hear of it
            first = first or error
    if first is not None:
        raise first
