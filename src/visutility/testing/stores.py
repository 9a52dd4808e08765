"""What every database under a `Store` promises, as checks: give each of `STORE_CHECKS` the URL of an empty one.

    @pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
    def test_conformance(check, tmp_path):
        check(f"sqlite:///{tmp_path}/new/visutility.db")

The checks work through the registry and the audit log, as everything does, and race threads and processes against each
other. A check fails by AssertionError.
"""

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import insert, select

from visutility.core.clock import SimulatedClock, SystemClock
from visutility.core.codec import sha256
from visutility.core.errors import (
    AliasMoved,
    AliasNotFound,
    AlreadyExists,
    Immutable,
    ModelNotFound,
    NotFound,
    VersionNotFound,
    VisuTilityError,
)
from visutility.registry import NewVersion, Version, aliases, models, queries, versions
from visutility.store import Finding, Store, Tx, audit, health, upgrade
from visutility.store.schema import FROZEN, metadata, model, model_version
from visutility.testing._expect import expect, expect_equal

Check = Callable[[str], None]

_WRITERS = 3
_ROUNDS = 15


def an_upgrade_is_idempotent_and_whole(url: str) -> None:
    """Upgrading twice changes nothing; the database is whole and every guard is there."""
    with _opened(url) as store:
        _register(store, 2)
        before = _log(store)
        upgrade(store)
        store.check()
        expect_equal(_log(store), before, "an upgrade of an upgraded database changed the log")
        with store.read() as connection:
            expect_equal(health.examine(connection), [], "the database is not whole")


def what_is_not_there_is_not_found(url: str) -> None:
    """Each kind of name that does not exist raises its own error, and writes nothing."""
    with _opened(url) as store:
        _register(store, 1)
        before = _log(store)
        with store.read() as connection:
            for error, ref in ((ModelNotFound, "nothing"), (VersionNotFound, "m:7"), (AliasNotFound, "m@champion")):
                _raises(error, queries.get, connection, ref)
        _raises(VersionNotFound, _promote, store, 7, None)
        _raises(ModelNotFound, _in_tx, store, lambda tx: versions.register(tx, _new(1, "nothing"), by="t", why=""))
        _raises(NotFound, _in_tx, store, lambda tx: versions.register(tx, _new(1, run_id="no run"), by="t", why=""))
        expect_equal(_log(store), before, "a refused call wrote to the log")


def a_duplicate_is_refused(url: str) -> None:
    """A name or key that is taken raises `AlreadyExists`; the transaction may go on without the row."""
    with _opened(url) as store:
        _register(store, 1)
        _raises(AlreadyExists, _in_tx, store, lambda tx: models.create_model(tx, "m", "task", by="t"))
        with store.write("test") as tx:
            row = dict(tx.execute(select(model)).mappings().one())
            _raises(AlreadyExists, tx.execute, insert(model), row)
            _raises(AlreadyExists, tx.execute, insert(model_version), _first_version(tx))
            models.create_model(tx, "other", "task", by="t")
        with store.read() as connection:
            expect_equal([one.name for one in models.list_models(connection)], ["m", "other"], "models")


def a_stale_write_is_refused(url: str) -> None:
    """A move from where the alias no longer is raises `AliasMoved` naming who holds it, and moves nothing."""
    with _opened(url) as store:
        _register(store, 3)
        _promote(store, 1, None)
        _promote(store, 2, 1)
        for expected in (None, 1, 3):
            error = _raises(AliasMoved, _promote, store, 3, expected)
            expect("version 2" in error.problem, f"{error.problem!r} does not name who holds it")
        expect_equal(_get(store, "m@champion").number, 2, "the champion")


def a_registered_row_is_frozen(url: str) -> None:
    """No row of a frozen table can be updated or deleted, nor a registered version replaced."""
    with _opened(url) as store:
        _register(store, 1)
        before = _get(store, "m:1")
        with store.write("test") as tx:
            for name in FROZEN:
                table = metadata.tables[name]
                if tx.execute(select(table).limit(1)).first() is None:
                    continue
                _raises(Immutable, tx.execute, table.delete())
                for column in table.columns:
                    _raises(Immutable, tx.execute, table.update().values({column: column}))
            replace = insert(model_version).prefix_with("OR REPLACE", dialect="sqlite")
            _raises(AlreadyExists, tx.execute, replace, _first_version(tx))
        expect_equal(_get(store, "m:1"), before, "a frozen version")


def values_are_copies(url: str) -> None:
    """Changing what was read changes nothing that is read later."""
    with _opened(url) as store:
        _register(store, 1)
        _get(store, "m:1").params["x"] = 99
        expect_equal(_get(store, "m:1").params, {"x": 1}, "the parameters")


def an_exception_undoes_everything(url: str) -> None:
    """A transaction that raises leaves no row, no event and no call behind."""
    called: list[str] = []
    with _opened(url) as store:
        _register(store, 1)
        before = _log(store)

        def fail(tx: Tx) -> None:
            versions.register(tx, _new(2), by="t", why="")
            aliases.promote(tx, "m", 2, expected=None, by="t", why="")
            tx.after_commit(lambda: called.append("told"))
            raise KeyError

        _raises(KeyError, _in_tx, store, fail)
        expect_equal(_log(store), before, "the log after a rollback")
        with store.read() as connection:
            expect_equal(queries.latest(connection, "m").number, 1, "the newest version")
        expect_equal(called, [], "calls after a commit that never came")


def a_reader_sees_one_snapshot(url: str) -> None:
    """Reads in one transaction agree with each other while others commit, and do not block them."""
    with _opened(url) as store:
        _register(store, 2)
        _promote(store, 1, None)
        with store.read() as connection:
            first = queries.get(connection, "m@champion")
            _promote(store, 2, 1)
            with store.read() as inner:
                expect_equal(queries.get(inner, "m@champion").number, 2, "a new transaction")
            expect_equal(queries.get(connection, "m@champion"), first, "a second read of one transaction")
            expect_equal(len(queries.history(connection, "m")), 1, "the moves that transaction sees")


def a_writer_sees_its_own_writes_and_others_do_not(url: str) -> None:
    """What a transaction wrote is there for itself at once, and for others when it commits."""
    with _opened(url) as store:
        _register(store, 1)
        with store.write("test") as tx:
            versions.register(tx, _new(2), by="t", why="")
            expect_equal(queries.latest(tx.connection, "m").number, 2, "the writer's newest version")
            with store.read() as connection:
                expect_equal(queries.latest(connection, "m").number, 1, "a reader's newest version")
        expect_equal(_get(store, "m:2").number, 2, "a version after the commit")


def of_two_writers_one_wins(url: str) -> None:
    """Of threads that promote from the same champion at once exactly one succeeds; the others hear `AliasMoved`."""
    with _opened(url) as store:
        _register(store, _WRITERS + 1)
        _promote(store, 1, None)
        start = threading.Barrier(_WRITERS)
        results: list[str] = []

        def race(number: int) -> None:
            start.wait()
            results.append(_outcome(lambda: _promote(store, number, 1)))

        _together([threading.Thread(target=race, args=(number + 2,)) for number in range(_WRITERS)])
        expect_equal(sorted(results), ["AliasMoved"] * (_WRITERS - 1) + ["done"], "the outcomes of a race")
        expect_equal(_verify(store), [], "the log after a race")


def threads_take_turns(url: str) -> None:
    """Threads that register all succeed: numbers without a gap, one log, and never "database is locked"."""
    with _opened(url) as store:
        _register(store, 1)
        results: list[str] = []
        _together([threading.Thread(target=lambda: results.extend(_work(store))) for _ in range(_WRITERS)])
        _check_turns(store, results)


def processes_take_turns(url: str) -> None:
    """The same for processes, each with a store of its own."""
    with _opened(url) as store:
        _register(store, 1)
        spawn = multiprocessing.get_context("spawn")
        with spawn.Pool(_WRITERS) as pool:
            results = pool.map(_work_elsewhere, [url] * _WRITERS)
        _check_turns(store, [one for result in results for one in result])


STORE_CHECKS: Final[tuple[Check, ...]] = (
    a_duplicate_is_refused,
    a_reader_sees_one_snapshot,
    a_registered_row_is_frozen,
    a_stale_write_is_refused,
    a_writer_sees_its_own_writes_and_others_do_not,
    an_exception_undoes_everything,
    an_upgrade_is_idempotent_and_whole,
    of_two_writers_one_wins,
    processes_take_turns,
    threads_take_turns,
    values_are_copies,
    what_is_not_there_is_not_found,
)


@contextmanager
def _opened(url: str) -> Iterator[Store]:
    store = Store(url, SimulatedClock())
    try:
        upgrade(store)
        yield store
    finally:
        store.close()


def _new(number: int, name: str = "m", **given: Any) -> NewVersion:
    artifact = f"artifact {number}"
    return NewVersion(
        model=name,
        artifact_sha256=sha256(artifact),
        artifact_format="skops",
        artifact_bytes=len(artifact),
        recipe="a:recipe",
        params={"x": number},
        metrics={"accuracy": 0.5},
        **given,
    )


def _register(store: Store, count: int) -> None:
    with store.write("test") as tx:
        models.create_model(tx, "m", "task", by="t")
        for number in range(1, count + 1):
            versions.register(tx, _new(number), by="t", why="a check")


def _promote(store: Store, number: int, expected: int | None) -> None:
    with store.write("test") as tx:
        aliases.promote(tx, "m", number, expected=expected, by="t", why="a check")


def _in_tx(store: Store, call: Callable[[Tx], object]) -> None:
    with store.write("test") as tx:
        call(tx)


def _get(store: Store, ref: str) -> Version:
    with store.read() as connection:
        return queries.get(connection, ref)


def _log(store: Store) -> audit.Head:
    with store.read() as connection:
        return audit.head(connection)


def _verify(store: Store) -> list[Finding]:
    with store.read() as connection:
        return audit.verify(connection)


def _first_version(tx: Tx) -> dict[str, Any]:
    return dict(tx.execute(select(model_version).order_by(model_version.c.number).limit(1)).mappings().one())


def _work(store: Store) -> list[str]:
    """Register, and promote whatever is newest from whatever is champion, as often as `_ROUNDS`."""
    return [_outcome(lambda: _in_tx(store, _turn)) for _ in range(_ROUNDS)]


def _turn(tx: Tx) -> None:
    made = versions.register(tx, _new(1), by="t", why="a turn")
    champion = queries.aliases(tx.connection, "m").get("champion")
    aliases.promote(tx, "m", made.number, expected=champion, by="t", why="a turn")


def _work_elsewhere(url: str) -> list[str]:
    store = Store(url, SystemClock())
    try:
        return _work(store)
    finally:
        store.close()


def _check_turns(store: Store, results: list[str]) -> None:
    expect_equal(results, ["done"] * (_WRITERS * _ROUNDS), "the outcomes of writers that take turns")
    newest = 1 + _WRITERS * _ROUNDS
    with store.read() as connection:
        found = queries.versions(connection, "m", limit=newest)
    expect_equal([one.number for one in found], list(range(newest, 0, -1)), "the numbers of the versions")
    expect_equal(_get(store, "m@champion").number, newest, "the last champion")
    expect_equal(_verify(store), [], "the log of writers that take turns")


def _together(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _outcome(call: Callable[[], object]) -> str:
    try:
        call()
    except VisuTilityError as error:
        return type(error).__name__
    return "done"


def _raises(kind: type[Exception], call: Callable[..., object], *args: Any) -> Any:
    try:
        call(*args)
    except kind as error:
        return error
    except VisuTilityError as error:
        raise AssertionError(f"{_name(call)} raised {error!r} instead of {kind.__name__}") from error
    raise AssertionError(f"{_name(call)} did not raise {kind.__name__}")


def _name(call: object) -> str:
    return getattr(call, "__name__", repr(call))
