"""Every store passes the suite that ships with the package, and the suite fails stores that break a promise."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text

from visutility.core.clock import SimulatedClock
from visutility.registry import Version, aliases, queries
from visutility.store import Store, Tx, upgrade
from visutility.testing import stores

URLS: dict[str, Callable[[Path], str]] = {"sqlite": lambda folder: f"sqlite:///{folder}/new/visutility.db"}
SLOW = (stores.processes_take_turns,)


@pytest.mark.parametrize("database", URLS)
@pytest.mark.parametrize(
    "check", [pytest.param(c, id=c.__name__, marks=[pytest.mark.slow] * (c in SLOW)) for c in stores.STORE_CHECKS]
)
def test_the_store_keeps_its_promises(check: stores.Check, database: str, tmp_path: Path) -> None:
    check(URLS[database](tmp_path))


def test_every_check_is_in_the_list() -> None:
    named = {name for name, value in vars(stores).items() if callable(value) and _is_check(name, value)}
    assert named == {check.__name__ for check in stores.STORE_CHECKS}


def _is_check(name: str, value: Any) -> bool:
    return not name.startswith("_") and getattr(value, "__annotations__", {}) == {"url": str, "return": None}


# -- stores that break one promise each --------------------------------------------------------------------------------


def without_guards(patch: pytest.MonkeyPatch) -> None:
    def careless(store: Store) -> None:
        upgrade(store)
        with store.write("test") as tx:
            for (name,) in tx.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
                tx.execute(text(f"DROP TRIGGER {name}"))

    patch.setattr(stores, "upgrade", careless)


def last_writer_wins(patch: pytest.MonkeyPatch) -> None:
    promote = aliases.promote

    def rash(tx: Tx, name: str, number: int, *, expected: int | None, **given: Any) -> object:
        expected = queries.aliases(tx.connection, name).get("champion")
        return promote(tx, name, number, expected=expected, **given)

    patch.setattr(aliases, "promote", rash)


def with_a_cache(patch: pytest.MonkeyPatch) -> None:
    get, kept = queries.get, dict[str, Version]()

    def cached(connection: Connection, ref: str) -> Version:
        if ref not in kept:
            kept[ref] = get(connection, ref)
        return kept[ref]

    patch.setattr(queries, "get", cached)


def committing_after_an_exception(patch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def write(self: Store, name: str) -> Iterator[Tx]:
        with self.engine.connect().execution_options(visutility_write=True) as connection:
            try:
                yield Tx(connection, self.clock)
            finally:
                connection.commit()

    patch.setattr(Store, "write", write)


def beginning_deferred(patch: pytest.MonkeyPatch) -> None:
    def make_engine(url: str) -> Engine:
        engine = create_engine(url)

        @event.listens_for(engine, "connect")
        def _connected(raw: sqlite3.Connection, _: object) -> None:
            raw.isolation_level = None
            raw.execute("PRAGMA journal_mode=WAL").close()

        @event.listens_for(engine, "begin")
        def _began(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN")

        return engine

    patch.setattr("visutility.store.engine.make_engine", make_engine)


class Loose:
    """A connection whose every statement is a transaction of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, *args: Any) -> Any:
        self._connection.commit()
        return self._connection.execute(*args)


def reading_without_a_transaction(patch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def read(self: Store) -> Iterator[Loose]:
        with self.engine.connect() as connection:
            yield Loose(connection)

    patch.setattr(Store, "read", read)
    patch.setattr(stores, "upgrade", lambda store: None)


@pytest.mark.parametrize(
    ("breaks", "check"),
    [
        (without_guards, stores.a_registered_row_is_frozen),
        (without_guards, stores.an_upgrade_is_idempotent_and_whole),
        (last_writer_wins, stores.a_stale_write_is_refused),
        (last_writer_wins, stores.of_two_writers_one_wins),
        (with_a_cache, stores.values_are_copies),
        (committing_after_an_exception, stores.an_exception_undoes_everything),
        (beginning_deferred, stores.threads_take_turns),
        (reading_without_a_transaction, stores.a_reader_sees_one_snapshot),
    ],
    ids=lambda one: one.__name__,
)
def test_the_suite_fails_a_store_that_breaks_the_promise(
    breaks: Callable[[pytest.MonkeyPatch], None],
    check: stores.Check,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store(URLS["sqlite"](tmp_path), SimulatedClock())
    upgrade(store)
    store.close()
    breaks(monkeypatch)
    with pytest.raises(AssertionError):
        check(URLS["sqlite"](tmp_path))
