"""Hot transactions: the rules of all writing transactions, with nothing between them and the driver."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import bindparam, insert, select, update

from visutility.core.clock import SimulatedClock
from visutility.core.errors import AlreadyExists, DatabaseBusy, Immutable, NoProject, NotFound
from visutility.store import Store, Tx, hot, upgrade
from visutility.store.hot import hot_sql
from visutility.store.schema import model, model_alias, run_answer

ADD = hot_sql(insert(model).values({c.name: bindparam(c.name) for c in model.c}))
NAMES = hot_sql(select(model.c.name).order_by(model.c.name))
ALIAS = hot_sql(insert(model_alias).values({c.name: bindparam(c.name) for c in model_alias.c}))


def row(name: str) -> dict[str, str]:
    return {"id": name, "name": name, "task": "t", "created_at": "now"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'a b%20c.db'}", SimulatedClock())
    upgrade(opened)
    yield opened
    opened.close()


def names(store: Store) -> list[str]:
    with store.read() as connection:
        return [name for (name,) in connection.exec_driver_sql(NAMES)]


def test_it_commits_at_the_end_of_the_block_and_then_calls(store: Store) -> None:
    called: list[list[str]] = []
    with store.hot.write("test") as tx:
        tx.execute(ADD, row("a"))
        tx.after_commit(lambda: called.append(names(store)))
        assert (names(store), called) == ([], [])
        assert tx.rows(NAMES, {}) == [("a",)]
        assert tx.now() == "2026-01-01T00:00:00.000000Z"
    assert called == [["a"]]


def test_it_rolls_back_what_raises_and_the_connection_is_used_again(store: Store) -> None:
    for _ in range(2):
        with pytest.raises(KeyError), store.hot.write("test") as tx:  # noqa: PT012
            tx.execute(ADD, row("a"))
            tx.after_commit(lambda: pytest.fail("it was rolled back"))
            raise KeyError
    assert names(store) == []
    assert len(store.hot._idle) == 1


def test_what_the_database_refuses_is_an_error_of_ours(store: Store) -> None:
    with store.hot.write("test") as tx:
        tx.execute(ADD, row("a"))
    with pytest.raises(AlreadyExists), store.hot.write("test") as tx:
        tx.execute(ADD, row("a"))
    with pytest.raises(NotFound), store.hot.write("test") as tx:
        tx.execute(ALIAS, {"model_id": "a", "name": "x", "version_id": "none", "moves": 0})


def test_frozen_rows_stay_frozen(store: Store, full: Path) -> None:
    changed = hot_sql(update(run_answer).values(why=bindparam("new")))
    filled = Store(f"sqlite:///{full}", SimulatedClock())
    with pytest.raises(Immutable), filled.hot.write("test") as tx:
        tx.execute(changed, {"new": "other"})
    filled.close()


def test_a_file_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'gone' / 'v.db'}", SimulatedClock())
    with pytest.raises(NoProject), store.hot.write("test"):
        pytest.fail("it began")
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_stays_is_named_and_one_that_leaves_is_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hot, "BUSY_TIMEOUT_MS", 20)
    began, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with store.write("test"):
            began.set()
            leave.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    began.wait(60)
    with pytest.raises(DatabaseBusy), store.hot.write("test"):
        pytest.fail("it began")
    monkeypatch.setattr(hot, "BUSY_TIMEOUT_MS", 60_000)
    threading.Timer(0.01, leave.set).start()
    with store.hot.write("test") as tx:
        tx.execute(ADD, row("a"))
    holder.join()
    assert names(store) == ["a"]


def test_threads_and_other_transactions_take_turns(store: Store) -> None:
    def work(at: int) -> None:
        for number in range(20):
            if number % 5:
                with store.hot.write("test", synced=bool(number % 2)) as tx:
                    tx.execute(ADD, row(f"{at}-{number:02}"))
            else:
                with store.write("test") as slow:
                    slow.hot().execute(ADD, row(f"{at}-{number:02}"))

    threads = [threading.Thread(target=work, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(store) == [f"{at}-{number:02}" for at in range(4) for number in range(20)]


def test_what_a_transaction_leaves_is_there_until_somebody_commits(store: Store) -> None:
    def seen(leaves: object = None) -> object:
        with store.hot.write("test", synced=leaves is None) as tx:
            tx.leave(leaves)
            return tx.left()

    first, second = object(), object()
    assert (seen(first), seen(second), seen()) == (None, first, second)
    assert (seen(first), seen(second)) == (None, first)  # one that left nothing came in between
    with pytest.raises(KeyError), store.hot.write("test") as tx:  # noqa: PT012
        tx.execute(ADD, row("a"))
        tx.leave(first)
        raise KeyError
    assert seen(first) is second  # that one never was
    with store.write("test") as slow:
        slow.hot().leave(second)
        slow.hot().execute(ADD, row("a"))
        assert slow.hot().left() is None
    assert seen(first) is None
    with store.hot.write("test") as tx:
        tx.leave(second)
    elsewhere = Store(store.url, SimulatedClock())
    with elsewhere.hot.write("test", synced=False) as tx:
        assert tx.left() is None
        tx.execute(ADD, row("b"))
    elsewhere.close()
    assert seen() is None


def test_what_a_transaction_leaves_is_not_left_when_its_commit_fails(store: Store) -> None:
    with store.hot.write("test") as tx:
        tx.leave("before")
    with pytest.raises(NotFound), store.hot.write("test") as tx:  # noqa: PT012
        tx.rows("PRAGMA defer_foreign_keys=ON", {})
        tx.execute(ALIAS, {"model_id": "a", "name": "x", "version_id": "none", "moves": 0})
        tx.leave("after")
    with store.hot.write("test") as tx:
        assert tx.left() is None


def test_a_connection_that_writes_much_lengthens_the_log_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (log,) = tmp_path.glob("*-wal")
    pages = page_count(store)

    def write(first: int, transactions: int) -> int:
        for number in range(first, first + transactions):
            with store.hot.write("test") as tx:
                tx.execute(ADD, row(f"{number:03}"))
        return log.stat().st_size

    assert write(0, hot._MANY - 1) < hot._LOG_BYTES
    monkeypatch.setattr(hot, "BUSY_TIMEOUT_MS", 0)
    with store.write("test"), pytest.raises(DatabaseBusy):  # it does not wait for another writer, and tries again later
        write(100, 1)
    assert write(100, hot._MANY - 1) < hot._LOG_BYTES
    length = write(200, 1)
    assert length >= hot._LOG_BYTES
    assert write(300, 100) == length
    assert names(store) == [f"{n:03}" for n in (*range(15), *range(100, 115), 200, *range(300, 400))]
    assert page_count(store) < pages + 10
    with store.hot.write("test") as tx:
        assert tx.rows("PRAGMA cache_size", {}) == [(-2000,)]
        assert tx.rows("SELECT name FROM sqlite_schema WHERE name LIKE 'log%'", {}) == []


def test_the_log_is_not_lengthened_where_little_room_is_left(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (log,) = tmp_path.glob("*-wal")
    monkeypatch.setattr(hot, "disk_usage", lambda _: SimpleNamespace(free=2**24))
    for number in range(2 * hot._MANY):
        with store.hot.write("test") as tx:
            tx.execute(ADD, row(f"{number:03}"))
    assert log.stat().st_size < hot._LOG_BYTES


def page_count(store: Store) -> int:
    with store.read() as connection:
        return int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())


def test_only_a_synced_commit_waits_for_the_disk(store: Store) -> None:
    for synced, level in ((True, 2), (False, 1), (False, 1), (True, 2)) * 3:
        with store.hot.write("test", synced=synced) as tx:
            assert tx.rows("PRAGMA synchronous", {}) == [(level,)]


def test_an_unsynced_commit_outlives_its_process(store: Store) -> None:
    code = (
        "import os, signal, sys; from visutility.core.clock import SystemClock; from visutility.store import Store\n"
        "with Store(sys.argv[1], SystemClock()).hot.write('test', synced=False) as tx:\n"
        "    tx.execute(sys.argv[2], {'id': 'a', 'name': 'a', 'task': 't', 'created_at': 'now'})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, store.url, ADD], check=False).returncode == -9
    assert names(store) == ["a"]


def test_values_may_be_given_in_the_order_of_the_text(store: Store) -> None:
    columns = [c.name for c in model.c]
    add = hot_sql(insert(model).values({name: bindparam(name) for name in columns}), *columns)
    for place, write in enumerate((store.hot.write, store.write)):
        with write("test") as tx:
            within = tx.hot() if isinstance(tx, Tx) else tx
            within.execute(add, tuple(row(f"{place}").values()))
    assert names(store) == ["0", "1"]
    with pytest.raises(ValueError, match="in the order"):
        hot_sql(insert(model).values({name: bindparam(name) for name in columns}), *columns[::-1])


def test_a_statement_with_a_value_that_has_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="write them as bindparam"):
        hot_sql(select(model.c.name).where(model.c.name == "a"))
