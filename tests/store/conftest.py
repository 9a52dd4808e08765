"""A store, a store whose covered tables all have rows, and plain SQL behind its back."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Float, Integer, LargeBinary, insert

from visutility.core.clock import SimulatedClock
from visutility.store import audit
from visutility.store.covered import COVERED
from visutility.store.engine import Store, Tx
from visutility.store.migrate import upgrade
from visutility.store.schema import metadata


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An upgraded database without rows; tests copy it."""
    path = tmp_path_factory.mktemp("empty") / "visutility.db"
    store = Store(f"sqlite:///{path}", SimulatedClock())
    upgrade(store)
    store.close()
    return path


@pytest.fixture
def path(empty_database: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(empty_database, tmp_path / "visutility.db"))


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def store(path: Path, clock: SimulatedClock) -> Iterator[Store]:
    opened = Store(f"sqlite:///{path}", clock)
    yield opened
    opened.close()


def row(table: str, **values: Any) -> dict[str, Any]:
    """Return values for every column: those given, None where allowed, something of the right type elsewhere."""
    filled = {}
    for column in metadata.tables[table].c:
        if column.name in values:
            filled[column.name] = values[column.name]
        elif column.nullable:
            filled[column.name] = None
        elif isinstance(column.type, Integer):
            filled[column.name] = 1
        elif isinstance(column.type, Float):
            filled[column.name] = 0.5
        elif isinstance(column.type, LargeBinary):
            filled[column.name] = b"\x00" * 8
        else:
            filled[column.name] = "{}"
    return filled


def fill(tx: Tx) -> None:
    """Write a small world, each covered row with an event that covers it."""

    def put(table: str, subject: str, *, key: tuple[Any, ...], **values: Any) -> None:
        values = {name.rstrip("_"): value for name, value in values.items()}
        tx.execute(insert(metadata.tables[table]), row(table, **values))
        if table in COVERED:
            audit.append(tx, f"{table}.made", subject, by="ada", why="a test", after=values, covers=[(table, key)])

    for model in ("digits", "faces"):
        put("model", model, key=(model,), id=model, name=model)
    chunk = {"id": "chunk-1", "event_id": "e1", "model_id": "digits"}
    put("metric_chunk", "chunk", key=("chunk-1",), **chunk)
    put("watch", "digits:1/loss", key=("watch-1",), id="watch-1", model_id="digits")
    ids = {"watch_id": "watch-1", "model_id": "digits", "chunk_id": "chunk-1"}
    put("verdict", "digits/loss", key=("verdict-1",), id="verdict-1", **ids)
    trigger = {"id": "trigger-1", "model_id": "digits", "verdict_id": "verdict-1"}
    put("retrain_trigger", "digits", key=("trigger-1",), **trigger)
    put("run", "run-1", key=("run-1",), id="run-1", model_id="digits", trigger_id="trigger-1")
    put("study", "digits-1", key=("study-1",), id="study-1", name="digits-1", model_id="digits", run_id="run-1")
    put("trial", "trial", key=("study-1", 0), study_id="study-1", number=0, told=0)
    put("study_queue", "queued", key=("study-1", 0), study_id="study-1", position=0)
    put("trial_report", "report", key=("study-1", 0, 1), study_id="study-1", trial_number=0)
    put("run_step", "step", key=("run-1", "tune"), run_id="run-1", key_="tune")
    put("run_answer", "answer", key=("run-1", "promote"), run_id="run-1", question="promote")
    put("data_snapshot", "digits", key=("snapshot-1",), id="snapshot-1", model_id="digits", run_id="run-1")
    for number in (1, 2, 3):
        run = "run-1" if number == 1 else None
        version = {"id": f"digits-{number}", "model_id": "digits", "number": number, "run_id": run}
        put("model_version", f"digits:{number}", key=(version["id"],), **version)
    gate = {"id": "gate-1", "model_id": "digits", "champion_id": "digits-1", "challenger_id": "digits-2"}
    put("gate_report", "digits:2", key=("gate-1",), run_id="run-1", **gate)
    judged = {"verdict_id": "verdict-1", "number": 1, "judgement": "true"}
    put("alarm_judgement", "digits/loss", key=("verdict-1", 1), **judged)
    put("policy", "digits", key=("digits",), model_id="digits")
    for number in (1, 2, 3):
        move(tx, number)
    ended = [("metric_chunk", ("chunk-1",)), ("trial", ("study-1", 0)), ("study.end", ("study-1",))]
    ended += [("run_step", ("run-1", "tune")), ("run_answer", ("run-1", "promote")), ("run.end", ("run-1",))]
    audit.append(tx, "run.finished", "run/run-1", by="ada", covers=ended)


def move(tx: Tx, number: int) -> None:
    """Move digits@champion to version `number`, from the one before."""
    before = None if number == 1 else _alias(number - 1)
    alias = {"model_id": "digits", "name": "champion", "version_id": f"digits-{number}", "moves": number}
    table = metadata.tables["model_alias"]
    tx.execute(table.delete())
    tx.execute(insert(table), alias)
    step = row("alias_move", model_id="digits", name="champion", number=number, after_id=f"digits-{number}")
    tx.execute(insert(metadata.tables["alias_move"]), step)
    audit.append(
        tx,
        "alias.promoted",
        "digits@champion",
        by="ada",
        before={"alias": before},
        after={"alias": alias},
        covers=[("model_alias", ("digits", "champion")), ("alias_move", ("digits", "champion", number))],
    )


def _alias(number: int) -> dict[str, Any]:
    return {"model_id": "digits", "name": "champion", "version_id": f"digits-{number}", "moves": number}


@pytest.fixture(scope="session")
def full_database(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(shutil.copy(empty_database, tmp_path_factory.mktemp("full") / "visutility.db"))
    store = Store(f"sqlite:///{path}", SimulatedClock())
    with store.write("fill") as tx:
        fill(tx)
    store.close()
    return path


@pytest.fixture
def full(full_database: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(full_database, tmp_path / "full.db"))


@pytest.fixture
def sql() -> Callable[..., list[tuple[Any, ...]]]:
    """Run plain SQL on a file, as anybody who may write it could: no foreign keys, triggers dropped when asked."""

    def run(path: Path, *statements: str, guarded: bool = False) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(path, isolation_level=None)) as raw:
            if not guarded:
                for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                    raw.execute(f"DROP TRIGGER {name}")
            rows: list[tuple[Any, ...]] = []
            for statement in statements:
                rows = raw.execute(statement).fetchall()
            return rows

    return run


@pytest.fixture
def findings() -> Callable[[Path], list[audit.Finding]]:
    """Verify the audit log of a file."""

    def verify(path: Path) -> list[audit.Finding]:
        store = Store(f"sqlite:///{path}", SimulatedClock())
        try:
            with store.read() as connection:
                return audit.verify(connection)
        finally:
            store.close()

    return verify


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


CHILD = """
import errno, json, os, resource, sqlite3, sys
from pathlib import Path
import alembic.command, alembic.config
from visutility.core.clock import SimulatedClock
from visutility.core.errors import VisuTilityError
from visutility.store import audit
from visutility.store.blobs import Blobs
from visutility.store.engine import Store
from visutility.store.migrate import upgrade
if os.getuid() == 0 and {unprivileged}:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    said = (lambda: None)()
{body}
except VisuTilityError as error:
    said = [type(error).__name__, str(error)]
print(json.dumps(said))
"""


@pytest.fixture
def child() -> Callable[..., Any]:
    """Run statements in a child, by default unprivileged (root may write everywhere); they set `said`.

    Returns it, or [name, message] of an error of ours that was raised.
    """

    def run(body: str, *, unprivileged: bool = True, **values: object) -> Any:
        lines = [f"{name} = {value!r}" for name, value in values.items()] + body.strip().splitlines()
        code = CHILD.format(unprivileged=unprivileged, body="\n".join(f"    {line}" for line in lines))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
