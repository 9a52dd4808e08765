"""The migrations make exactly the tables the code knows, guard the frozen ones, and never lose a database."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import UniqueConstraint, create_engine

from visutility.core.clock import SimulatedClock
from visutility.core.errors import DatabaseDamaged, DatabaseTooNew, ReadOnly, SetupNeeded
from visutility.store import audit, health
from visutility.store.engine import Store
from visutility.store.migrate import MIGRATIONS, upgrade
from visutility.store.schema import FROZEN, REVISION, metadata

Sql = Callable[..., list[tuple[Any, ...]]]


def test_the_tables_equal_the_code_s(store: Store) -> None:
    with store.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_definitions_equal_the_code_s(path: Path, tmp_path: Path, sql: Sql) -> None:
    """Alembic's comparison does not see check constraints; the text of the definitions has everything."""
    made = create_engine(f"sqlite:///{tmp_path / 'made.db'}")
    metadata.create_all(made)
    made.dispose()
    query = "SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND tbl_name != 'alembic_version'"
    assert dict(map(_sorted_lines, sql(path, query))) == dict(map(_sorted_lines, sql(tmp_path / "made.db", query)))


def _sorted_lines(row: tuple[str, str | None]) -> tuple[str, list[str]]:
    unquoted = (row[1] or "").replace('"', "")  # a table that was rebuilt has quotes around its name
    return row[0], sorted(line.strip(" \t,") for line in unquoted.splitlines())


def test_every_frozen_table_has_its_triggers_and_no_other_table_has_any(path: Path, sql: Sql) -> None:
    found = sql(path, "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger' ORDER BY name", guarded=True)
    expected = [(f"{t}_{guard}", t) for t in FROZEN for guard in ("no_delete", "no_replace", "no_update")]
    assert found == sorted(expected)
    assert sorted(health.GUARDS) == sorted(name for name, _ in expected)


def test_the_insert_trigger_knows_every_unique_key(path: Path, sql: Sql) -> None:
    for name in FROZEN:
        (text,) = sql(path, f"SELECT sql FROM sqlite_master WHERE name = '{name}_no_replace'", guarded=True)[0]
        table = metadata.tables[name]
        key = {c.name for c in table.primary_key}
        uniques = [{c.name for c in u.columns} for u in table.constraints if isinstance(u, UniqueConstraint)]
        for columns in [key, *(u for u in uniques if not key <= u)]:
            assert any(
                all(f"{column} = NEW.{column}" in part for column in columns) for part in text.split("EXISTS")
            ), f"{name} can be replaced through {sorted(columns)}"


def test_the_revision_is_alembic_s_head_and_the_history_has_one_line(store: Store) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [REVISION]
    assert sorted(r.revision for r in script.walk_revisions()) == [f"{n:04}" for n in range(1, int(REVISION) + 1)]
    assert store.revision() == REVISION


def test_foreign_keys_are_on_again_after_an_upgrade(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'new.db'}", SimulatedClock())
    upgrade(store)
    with store.write("test") as tx:
        assert tx.connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    store.close()


def test_folders_are_made_private_and_a_second_upgrade_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "deep er" / "50%" / "visutility.db"
    store = Store(f"sqlite:///{path}", SimulatedClock())
    upgrade(store)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    with store.write("test") as tx:
        audit.append(tx, "thing.done", "thing", by="ada")
    before = _content(path)
    upgrade(store)
    assert _content(path) == before
    store.check()
    store.close()


def _content(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as raw:
        return list(raw.iterdump())


def test_processes_that_make_one_database_at_once_all_succeed(tmp_path: Path) -> None:
    code = (
        "import sys; from visutility.core.clock import SystemClock; from visutility.store.engine import Store\n"
        "from visutility.store.migrate import upgrade; store = Store(sys.argv[1], SystemClock()); upgrade(store)\n"
        "store.check(); store.close()"
    )
    url = f"sqlite:///{tmp_path / 'new' / 'visutility.db'}"
    running = [subprocess.Popen([sys.executable, "-c", code, url], stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(child.communicate()[1], child.returncode) for child in running] == [("", 0)] * 4


def test_an_upgrade_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'visutility.db'}", SimulatedClock())
    with pytest.raises(DatabaseDamaged, match="would refer to rows"):
        _make_loose_row(store)
    assert _content(tmp_path / "visutility.db") == ["BEGIN TRANSACTION;", "COMMIT;"]
    upgrade(store)
    store.check()
    store.close()


def _make_loose_row(store: Store) -> None:
    with store.migrate("test") as tx:
        tx.connection.exec_driver_sql("CREATE TABLE a (id INTEGER PRIMARY KEY)")
        tx.connection.exec_driver_sql("CREATE TABLE b (a INTEGER REFERENCES a (id))")
        tx.connection.exec_driver_sql("INSERT INTO b VALUES (1)")


def test_a_database_of_something_else_is_left_alone(tmp_path: Path, sql: Sql) -> None:
    sql(tmp_path / "theirs.db", "CREATE TABLE run (id)")
    store = Store(f"sqlite:///{tmp_path / 'theirs.db'}", SimulatedClock())
    with pytest.raises(SetupNeeded, match=r"something else \(run\)"):
        upgrade(store)
    store.close()
    assert sql(tmp_path / "theirs.db", "SELECT name FROM sqlite_master") == [("run",)]


def test_a_newer_database_is_not_upgraded(path: Path, sql: Sql, store: Store) -> None:
    sql(path, "UPDATE alembic_version SET version_num = '0999'", guarded=True)
    with pytest.raises(DatabaseTooNew, match="revision 0999"):
        upgrade(store)


def test_a_read_only_folder_is_named(public_folder: Path, child: Callable[..., Any]) -> None:
    name, message = child("upgrade(Store(url, SimulatedClock()))", url=f"sqlite:///{public_folder}/home/visutility.db")
    assert name == ReadOnly.__name__
    assert str(public_folder) in message
    assert list(public_folder.iterdir()) == []


def test_a_full_disk_is_named_and_the_next_upgrade_succeeds(tmp_path: Path, child: Callable[..., Any]) -> None:
    url = f"sqlite:///{tmp_path / 'visutility.db'}"
    name, message = child(
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\nupgrade(Store(url, SimulatedClock()))",
        unprivileged=False,
        url=url,
    )
    assert name == "DiskFull"
    assert "nothing was half-written" in message
    store = Store(url, SimulatedClock())
    upgrade(store)
    store.check()
    store.close()
