"""Writing transactions for statements that run thousands of times a second: the driver, with nothing in between.

Statements are SQLAlchemy Core, compiled to text once (`hot_sql`). Connections are the store's own, kept open. Waiting
for another writer is fair: SQLite's own busy handler sleeps up to 100 ms at a time, so that of several busy processes
one writes all day and another starves; here each asks again every 2 ms, and four times as often after 32 ms.

`synced=False` is for rows that may be lost with the power, never with the process, because the next synced commit by
anybody makes them durable too: WAL frames are synced in order. Readers never see one without those before it.
"""

import sqlite3
import weakref
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from shutil import disk_usage
from typing import Any, NoReturn, Protocol, TypeAlias, cast, final

from sqlalchemy import Connection, Executable
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement

from visutility.core import crash
from visutility.core.clock import Clock, SystemClock
from visutility.core.codec import to_text
from visutility.store._translate import BUSY_TIMEOUT_MS, translated

_POLL = 0.002  # seconds between two tries to begin: long enough that a writer does several transactions in a row,
_HURRY = 0.0005  # which saves it from reading what others wrote; and this after so many tries in vain, for fairness
_PATIENT = 16
_KEPT = 8  # idle connections
_BEGIN, _COMMIT = "BEGIN IMMEDIATE", "COMMIT"
_OTHERS = "PRAGMA data_version"
_SYNCED, _UNSYNCED = "PRAGMA synchronous=FULL", "PRAGMA synchronous=NORMAL"
_MANY = 16  # transactions, after which many more are expected
_LOG_BYTES = 4_120_000  # of 1000 pages, at which SQLite copies them to the database
_ROOM = 8  # times that, which have to be free
_LENGTHEN = (
    "PRAGMA cache_size=10",  # pages; those beyond are written to the log before the end
    _BEGIN,
    "CREATE TABLE log_filler (content)",
    "INSERT INTO log_filler VALUES (zeroblob(4120000))",
)
_DATABASE = (sqlite3.Error, UnicodeEncodeError, OverflowError)  # what `translated` knows of a driver

Values: TypeAlias = Mapping[str, Any] | tuple[Any, ...]  # as `hot_sql` was told


class Writing(Protocol):
    """An open writing transaction that takes the text of hot statements."""

    def execute(self, sql: str, values: Values) -> None:
        """Run a statement that returns no rows."""

    def rows(self, sql: str, values: Values) -> list[Any]:
        """Run a select and return its rows as tuples."""

    def now(self) -> str:
        """Return the clock's time as stored text."""

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call this once the transaction is committed; never if it is rolled back."""

    def left(self) -> object:
        """Return what the transaction before this one left with `leave`, if nobody committed anything in between.

        Then the database is as that one left it, if this one has not written yet. None says nothing.
        """

    def leave(self, what: object) -> None:
        """Leave this to the next transaction, once this one is committed."""


def hot_sql(statement: Executable, *order: str) -> str:
    """Return a Core statement as text for the driver. Every value must have a name, and is given by it (`:name`).

    `order` says that all values are given as a sequence instead, in this order, which must be that of the text: the
    driver takes half the time to look at them.
    """
    if not isinstance(statement, ClauseElement):
        raise TypeError(f"{statement!r} is no SQL expression")
    dialect = sqlite.dialect(paramstyle="qmark" if order else "named")
    compiled = cast("SQLCompiler", statement.compile(dialect=dialect))
    unnamed = sorted(name for name, value in compiled.params.items() if value is not None)
    if unnamed:
        raise ValueError(f"values {unnamed} are fixed: write them as bindparam")
    if order and list(order) != compiled.positiontup:
        raise ValueError(f"the values come in the order {compiled.positiontup}, not {list(order)}")
    return str(compiled)


@final
class Joined:
    """A transaction that somebody else opened through SQLAlchemy, for hot statements."""

    __slots__ = ("_connection", "_url", "after_commit", "now")

    def __init__(
        self,
        connection: Connection,
        url: str,
        now: Callable[[], str],
        after_commit: Callable[[Callable[[], None]], None],
    ) -> None:
        self._connection = connection
        self._url = url
        self.now = now
        self.after_commit = after_commit

    def execute(self, sql: str, values: Values) -> None:
        """Run a statement that returns no rows."""
        with translated(self._url):
            self._connection.exec_driver_sql(sql, values)

    def rows(self, sql: str, values: Values) -> list[Any]:
        """Run a select and return its rows."""
        with translated(self._url):
            return list(self._connection.exec_driver_sql(sql, values))

    def left(self) -> None:
        """Return None: which transaction was before this one is not known."""

    def leave(self, what: object) -> None:
        """Leave nothing."""


@final
class HotLane:
    """The hot transactions of one database file. Safe to share between threads, not across a fork."""

    def __init__(self, path: Path, url: str, clock: Clock) -> None:
        self.url = url
        self.clock = clock
        self._path = path
        self._idle: list[_Connection] = []
        weakref.finalize(self, _close_all, self._idle)

    def write(self, name: str, *, synced: bool = True) -> "HotTx":
        """Open a writing transaction, as `Store.write` does: crash points, errors and the longest wait are the same."""
        return HotTx(self, name, synced)

    def close(self) -> None:
        """Close every idle connection."""
        _close_all(self._idle)

    def take(self) -> "_Connection":
        """Return a connection that is nobody else's until it is given back."""
        try:
            return self._idle.pop()
        except IndexError:  # none is idle
            return _Connection(self._path)

    def give_back(self, connection: "_Connection") -> None:
        """Undo what was not committed, and keep the connection for the next transaction."""
        try:
            if connection.raw.in_transaction:
                connection.raw.rollback()
        except sqlite3.Error:
            connection.raw.close()
            raise
        if len(self._idle) < _KEPT:
            self._idle.append(connection)
        else:
            connection.raw.close()


@final
class HotTx:
    """A hot transaction, open within its block. No generator makes it: that would cost more than some statements."""

    __slots__ = ("_connection", "_cursor", "_lane", "_leaves", "_name", "_synced", "_to_call")

    def __init__(self, lane: HotLane, name: str, synced: bool) -> None:
        self._lane = lane
        self._name = name
        self._synced = synced
        self._leaves: object = None
        self._to_call: list[Callable[[], None]] = []

    def execute(self, sql: str, values: Values) -> None:
        """Run a statement that returns no rows."""
        self._cursor.execute(sql, values)

    def rows(self, sql: str, values: Values) -> list[Any]:
        """Run a select and return its rows as tuples."""
        return self._cursor.execute(sql, values).fetchall()

    def now(self) -> str:
        """Return the clock's time as stored text."""
        return to_text(self._lane.clock.now())

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call this once the transaction is committed; never if it is rolled back."""
        self._to_call.append(call)

    def left(self) -> object:
        """Return what the transaction before this one left, if nobody committed anything in between; else None."""
        return self._connection.left_alone()

    def leave(self, what: object) -> None:
        """Leave this to the next transaction, once this one is committed."""
        self._leaves = what

    def __enter__(self) -> "HotTx":
        lane = self._lane
        try:
            connection = lane.take()
            try:
                connection.begin(self._synced)
            except BaseException:
                lane.give_back(connection)
                raise
        except sqlite3.Error as error:
            self._refuse(error)
        self._connection = connection
        self._cursor = connection.cursor
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                crash.point(f"{self._name}:before")
                self._connection.commit(self._leaves)
                crash.point(f"{self._name}:after")
        except sqlite3.Error as refused:
            error = refused
        finally:
            self._lane.give_back(self._connection)
        if error is None:
            for call in self._to_call:
                call()
        elif isinstance(error, _DATABASE):
            self._refuse(error)

    def _refuse(self, error: Exception) -> NoReturn:
        with translated(self._lane.url):
            raise error
        raise AssertionError  # translated swallows nothing


@final
class _Connection:
    """A connection that is only ever used between BEGIN IMMEDIATE and COMMIT."""

    __slots__ = ("begun", "cursor", "left", "log", "others", "raw", "synced")

    def __init__(self, path: Path) -> None:
        uri = f"{path.absolute().as_uri()}?mode=rw"  # a file that is gone is not made again
        self.raw = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        self.cursor = self.raw.cursor()
        self.log = Path(f"{path.resolve()}-wal")
        self.begun = 0  # transactions, up to _MANY
        self.synced = True
        self.left: object = None  # by the last transaction here
        self.others = 0  # a number that changes when somebody else commits
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "synchronous=FULL", "foreign_keys=ON"):
            self.raw.execute(f"PRAGMA {pragma}").close()
        self.raw.execute("PRAGMA busy_timeout=0").close()

    def begin(self, synced: bool) -> None:
        if self.begun < _MANY:
            self.begun += 1
            if self.begun == _MANY:
                self._lengthen_log()
        if self.synced is not synced:
            self.cursor.execute(_SYNCED if synced else _UNSYNCED)
            self.synced = synced
        try:
            self.cursor.execute(_BEGIN)
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
            self._begin_later()

    def _lengthen_log(self) -> None:
        """Let the log have its full length at once, by a transaction that is taken back.

        A commit that makes the file longer waits for the disk twice, and for the kernel to find time for its part. Once
        the log has this length, SQLite begins at its start again.
        """
        if self.log.exists() and self.log.stat().st_size >= _LOG_BYTES:
            return
        if disk_usage(self.log.parent).free < _ROOM * _LOG_BYTES:
            return
        (cache,) = self.cursor.execute("PRAGMA cache_size").fetchone()
        try:
            for statement in _LENGTHEN:
                self.cursor.execute(statement)
        except sqlite3.OperationalError as error:
            self.begun = 0 if _is_busy(error) else _MANY  # behind another writer it is tried again later
        finally:
            if self.raw.in_transaction:
                self.raw.rollback()
            self.cursor.execute(f"PRAGMA cache_size={cache}")

    def left_alone(self) -> object:
        """Return what the last transaction here left, None if somebody else has committed since."""
        others = self.cursor.execute(_OTHERS).fetchone()[0]
        if others != self.others:
            self.others, self.left = others, None
        return self.left

    def commit(self, leaves: object) -> None:
        self.left = None  # whatever comes of it
        self.cursor.execute(_COMMIT)
        self.left = leaves

    def _begin_later(self) -> None:
        clock = SystemClock()  # whatever the store's clock says, another process takes real time
        until = clock.elapsed() + BUSY_TIMEOUT_MS / 1000
        for tries in count():
            clock.sleep(_POLL if tries < _PATIENT else _HURRY)
            try:
                self.cursor.execute(_BEGIN)
                return
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or clock.elapsed() >= until:
                    raise


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorname.startswith("SQLITE_BUSY")


def _close_all(idle: "list[_Connection]") -> None:
    while idle:
        idle.pop().raw.close()
