"""What an ended run leaves: its outcome, steps and answers covered by the audit log, its failure readable."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from visutility.core.clock import SimulatedClock
from visutility.flow import RunContext, StepCall, Worker, effect, runs, step, workflow
from visutility.store import Store, Tx, audit, upgrade


@step("count")
def count(tx: Tx, call: StepCall) -> int:
    return 3


@effect("look")
def look(call: StepCall) -> str:
    return "seen"


@workflow("short", version=1)
def short(run: RunContext, request: dict[str, Any]) -> dict[str, Any]:
    return {"count": run.do(count), "look": run.do(look), "said": run.ask("go-on", "Go on?")}


@workflow("odd", version=1)
def odd(run: RunContext, request: dict[str, Any]) -> dict[str, Any]:
    raise FileNotFoundError("caf\udce9\x00.png")


@pytest.fixture
def ended(tmp_path: Path) -> Callable[..., tuple[Store, str]]:
    def drive(name: str) -> tuple[Store, str]:
        store = Store(f"sqlite:///{tmp_path}/visutility.db", SimulatedClock())
        upgrade(store)
        with store.write("test") as tx:
            run_id = runs.start(tx, name, {}, key="k", by="ada")
        worker = Worker(store, {"short": short, "odd": odd}, None)
        worker.run_until_idle()
        if name == "short":
            with store.write("test") as tx:
                runs.answer(tx, run_id, "go-on", "yes", by="ada", why="why not")
            worker.run_until_idle()
        return store, run_id

    return drive


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("UPDATE run SET status = 'failed'", "run {}"),
        ("UPDATE run SET outcome = '{{}}'", "run {}"),
        ("UPDATE run_step SET result = '4' WHERE key = 'count'", "run_step {}/count"),
        ("DELETE FROM run_step WHERE key = 'look'", "run_step {}/look"),
        ("UPDATE run_answer SET value = '\"no\"'", "run_answer {}/go-on"),
    ],
)
def test_what_an_ended_run_recorded_cannot_be_changed_unseen(
    ended: Callable[..., tuple[Store, str]], tmp_path: Path, change: str, where: str
) -> None:
    store, run_id = ended("short")
    with store.read() as connection:
        assert runs.get(connection, run_id).status == "done"
        assert audit.verify(connection) == []
    with closing(sqlite3.connect(tmp_path / "visutility.db", isolation_level=None)) as raw:
        raw.execute("DROP TRIGGER run_answer_no_update")
        raw.execute(change.format())
    with store.read() as connection:
        assert [finding.where for finding in audit.verify(connection)] == [where.format(run_id)]
    store.close()


def test_a_message_of_undecoded_bytes_ends_the_run_readably(ended: Callable[..., tuple[Store, str]]) -> None:
    store, run_id = ended("odd")
    with store.read() as connection:
        found = runs.get(connection, run_id)
    assert found.status == "failed"
    assert r"caf\udce9\x00.png" in (found.failure or "")
    store.close()
