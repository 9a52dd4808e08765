"""Transactions, and what the database refuses as errors that say what to do."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from visutility.core import crash
from visutility.core.clock import SimulatedClock
from visutility.core.errors import (
    AlreadyExists,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseTooNew,
    Invalid,
    NoProject,
    NotFound,
    ReadOnly,
    SetupNeeded,
)
from visutility.store import audit, health
from visutility.store.engine import Store, sqlite_path
from visutility.store.migrate import upgrade
from visutility.store.schema import model, model_alias

Child = Callable[..., Any]


def put(store: Store, name: str) -> None:
    with store.write("test") as tx:
        tx.execute(insert(model), {"id": name, "name": name, "task": "classify", "created_at": tx.now()})


def names(store: Store) -> list[str]:
    with store.read() as connection:
        return list(connection.execute(select(model.c.name).order_by(model.c.name)).scalars())


def test_a_block_that_raises_leaves_nothing(store: Store) -> None:
    put(store, "kept")
    with pytest.raises(RuntimeError):
        _put_and_raise(store)
    assert names(store) == ["kept"]


def _put_and_raise(store: Store) -> None:
    with store.write("test") as tx:
        tx.execute(insert(model), {"id": "lost", "name": "lost", "task": "t", "created_at": tx.now()})
        raise RuntimeError


def test_a_refused_row_leaves_the_transaction_usable(store: Store) -> None:
    row = {"id": "a", "name": "a", "task": "t", "created_at": "now"}
    with store.write("test") as tx:
        tx.execute(insert(model), row)
        with pytest.raises(AlreadyExists, match=r"model\.name"):
            tx.execute(insert(model), row)
        tx.execute(insert(model), {**row, "id": "b", "name": "b"})
    assert names(store) == ["a", "b"]


def test_what_a_row_lacks_is_named(store: Store) -> None:
    with pytest.raises(NotFound, match="does not exist"), store.write("test") as tx:
        tx.execute(insert(model_alias), {"model_id": "x", "name": "champion", "version_id": "x", "moves": 1})
    with pytest.raises(Invalid, match=r"model\.task"), store.write("test") as tx:
        tx.execute(text("INSERT INTO model (id, name, created_at) VALUES ('a', 'a', 'now')"))


@pytest.mark.parametrize(("column", "value"), [("task", "caf\udce9"), ("created_at", 2**63)])
def test_a_value_that_no_column_holds_is_refused(store: Store, column: str, value: object) -> None:
    row = {"id": "a", "name": "a", "task": "t", "created_at": "now", column: value}
    with pytest.raises(Invalid), store.write("test") as tx:
        tx.execute(insert(model), row)
    assert names(store) == []


def test_a_reading_transaction_cannot_write_and_writing_ones_still_can(store: Store) -> None:
    with pytest.raises(ReadOnly), store.read() as connection:
        connection.execute(insert(model), {"id": "a", "name": "a", "task": "t", "created_at": "now"})
    put(store, "b")
    assert names(store) == ["b"]


def test_a_reader_sees_one_snapshot_and_does_not_block_a_writer(store: Store) -> None:
    put(store, "a")
    with store.read() as connection:
        query = select(model.c.name)
        assert connection.execute(query).scalars().all() == ["a"]
        put(store, "b")
        assert connection.execute(query).scalars().all() == ["a"]
    assert names(store) == ["a", "b"]


def test_writers_wait_for_each_other(store: Store) -> None:
    def add() -> None:
        for _ in range(20):
            with store.write("test") as tx:
                moves = tx.execute(select(model.c.task)).scalar_one()
                tx.execute(update(model).values(task=str(int(moves) + 1)))

    with store.write("test") as tx:
        tx.execute(insert(model), {"id": "a", "name": "a", "task": "0", "created_at": tx.now()})
    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as connection:
        assert connection.execute(select(model.c.task)).scalar_one() == "120"


def test_a_database_held_too_long_is_busy(store: Store, path: Path) -> None:
    impatient = Store(f"sqlite:///{path}", SimulatedClock())
    with impatient.read() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    with store.write("test"), pytest.raises(DatabaseBusy, match="try again"), impatient.write("test"):
        pass
    impatient.close()


def test_what_waits_for_the_commit_is_called_after_it(store: Store) -> None:
    said: list[Any] = []

    def fail() -> None:
        said.append("failed")
        raise RuntimeError("an observer")

    def write() -> None:
        with store.write("test") as tx:
            tx.after_commit(fail)
            tx.after_commit(lambda: said.append(names(store)))
            tx.execute(insert(model), {"id": "a", "name": "a", "task": "t", "created_at": tx.now()})
            assert said == []

    with pytest.raises(RuntimeError, match="an observer"):
        write()
    assert said == ["failed", ["a"]]


def test_what_waits_for_a_commit_that_never_comes_is_not_called(store: Store) -> None:
    said: list[str] = []
    with pytest.raises(KeyError), store.write("test") as tx:
        raise KeyError(tx.after_commit(lambda: said.append("never")))
    put(store, "a")
    assert said == []


def test_every_commit_passes_a_crash_point_before_and_after(store: Store, tmp_path: Path) -> None:
    crash.record(tmp_path / "points")
    try:
        put(store, "a")
        with pytest.raises(KeyError), store.write("failed"):
            raise KeyError
        with store.migrate("migrated"):
            pass
    finally:
        crash.record(None)
    assert (tmp_path / "points").read_text().split() == [
        "test:before",
        "test:after",
        "migrated:before",
        "migrated:after",
    ]


# -- check -------------------------------------------------------------------------------------------------------------


def check(path: Path) -> None:
    store = Store(f"sqlite:///{path}", SimulatedClock())
    try:
        store.check()
    finally:
        store.close()


def test_a_place_without_a_project_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.db", tmp_path / "no folder" / "none.db"):
        with pytest.raises(NoProject, match="visutility init"):
            check(path)
        assert not path.exists()
    store = Store(f"sqlite:///{tmp_path / 'no folder' / 'none.db'}", SimulatedClock())
    with pytest.raises(NoProject, match="no folder"), store.read():
        pass


def test_a_database_without_our_tables_is_no_project(tmp_path: Path, sql: Callable[..., Any]) -> None:
    sql(tmp_path / "other.db", "CREATE TABLE other (id)")
    with pytest.raises(NoProject, match="no VisuTility tables"):
        check(tmp_path / "other.db")
    store = Store(f"sqlite:///{tmp_path / 'other.db'}", SimulatedClock())
    with pytest.raises(NoProject, match="no such table: model"):
        names(store)
    store.close()


@pytest.mark.parametrize(("found", "error"), [("0999", DatabaseTooNew), ("0000", SetupNeeded)])
def test_another_revision_is_named(path: Path, sql: Callable[..., Any], found: str, error: type[Exception]) -> None:
    sql(path, f"UPDATE alembic_version SET version_num = '{found}'")
    with pytest.raises(error, match=found):
        check(path)


@pytest.mark.parametrize("kept", [0, 1, 15, 16, 99, 100, 511, 512, 1000, 4096, 0.1, 0.5, 0.9, -4096, -1])
def test_a_truncated_database_is_damaged_however_short(full: Path, kept: float) -> None:
    size = full.stat().st_size
    length = int(size * kept) if isinstance(kept, float) else int(kept) + (size if kept < 0 else 0)
    with full.open("r+b") as file:
        file.truncate(length)
    with pytest.raises(DatabaseDamaged):
        check(full)
    assert full.stat().st_size == length


def test_a_file_that_is_no_database_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "note.db").write_text("Dear diary, " * 1000)
    with pytest.raises(DatabaseDamaged, match="not a database"):
        check(tmp_path / "note.db")


def test_a_page_overwritten_in_the_middle_is_found_by_the_doctor(full: Path) -> None:
    with full.open("r+b") as file:
        file.seek(full.stat().st_size // 4096 // 2 * 4096)
        file.write(b"\xff" * 4096)
    store = Store(f"sqlite:///{full}", SimulatedClock())
    store.check()
    try:
        with store.read() as connection:
            found = health.examine(connection)
    except DatabaseDamaged:
        found = [health.Finding("database", "cannot be read")]
    assert "database" in {finding.where for finding in found}
    store.close()


def test_the_doctor_finds_loose_references_and_missing_guards(full: Path, sql: Callable[..., Any]) -> None:
    store = Store(f"sqlite:///{full}", SimulatedClock())
    with store.read() as connection:
        assert health.examine(connection) == []
    sql(full, "DROP TRIGGER verdict_no_update", "UPDATE policy SET model_id = 'nobody'", guarded=True)
    with store.read() as connection:
        found = [str(finding) for finding in health.examine(connection)]
    assert len(found) == 2
    assert "policy row 1 refers to a row of model that does not exist" in found
    assert found[1].startswith("trigger verdict_no_update is missing")
    store.close()


@pytest.mark.parametrize("url", ["postgresql://ada:secret@host/base", "sqlite://", "sqlite:///:memory:", "a file.db"])
def test_only_a_sqlite_file_is_taken(url: str) -> None:
    with pytest.raises(SetupNeeded, match="use sqlite:/// and the path of a file") as caught:
        Store(url, SimulatedClock())
    assert "secret" not in str(caught.value)
    assert sqlite_path(url) is None


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "a%41.db", "a?b=c.db", "a#b.db", "größe.db"])
def test_a_path_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    store = Store(f"sqlite:///{tmp_path / name}", SimulatedClock())
    upgrade(store)
    store.close()
    assert sqlite_path(store.url) == tmp_path / name
    assert [path.name for path in tmp_path.iterdir()] == [name]


# -- read-only folders and full disks ----------------------------------------------------------------------------------

WRITE = """
store = Store(url, SimulatedClock())
store.check()
with store.write("test") as tx:
    audit.append(tx, "thing.done", "thing", by="ada")
"""


def test_a_read_only_database_is_named(full: Path, public_folder: Path, child: Child) -> None:
    path = public_folder / "visutility.db"
    path.write_bytes(full.read_bytes())
    name, message = child(WRITE, url=f"sqlite:///{path}")
    assert name == "ReadOnly"
    assert str(path) in message
    public_folder.chmod(0o700)
    assert child(WRITE, url=f"sqlite:///{path}")[0] in ("SetupNeeded", "ReadOnly")


FILL = """
import sqlalchemy
store = Store(url, SimulatedClock())
with store.read() as connection:
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
count = 0
try:
    while True:
        with store.write("test") as tx:
            for _ in range(20):
                audit.append(tx, "thing.done", "thing", by="ada", why="x" * 1000)
        count += 20
except VisuTilityError as error:
    with store.read() as connection:
        said = [type(error).__name__, str(error), count, audit.head(connection).seq, audit.verify(connection) == []]
"""
LIMIT = """
resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, resource.RLIM_INFINITY))
"""


@pytest.mark.parametrize("limit", ["pages", "bytes"])
def test_a_full_disk_is_named_and_undoes_the_whole_transaction(
    full: Path, child: Child, findings: Callable[[Path], list[audit.Finding]], limit: str
) -> None:
    before = 18
    body = FILL if limit == "pages" else LIMIT + FILL.replace("pages + 2", "100_000")
    name, message, count, seq, whole = child(body, unprivileged=False, url=f"sqlite:///{full}")
    assert name == "DiskFull"
    assert "nothing was half-written" in message
    assert seq == before + count
    assert whole
    assert findings(full) == []
