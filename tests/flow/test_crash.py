"""Killed at any commit, stopped, or racing another: what commits happens once, what is outside under one key."""

import os
import runpy
import shutil
import signal
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from visutility.core.clock import SimulatedClock, SystemClock
from visutility.core.rng import rng
from visutility.flow import Worker, runs
from visutility.store import audit
from visutility.store.engine import Store
from visutility.testing.crashes import crash_points, run_child, start_child

CHILD = Path(__file__).with_name("child.py")
COMMITS = [  # of the sample run, from its start to its end
    "test.start",
    "flow.claim",
    "sample.open",
    "sample.train",
    "sample.train",
    "sample.labels",
    "flow.claim",
    "sample.labels",
    "flow.claim",
    "sample.labels",
    "sample.go-on",
    "test.answer",
    "flow.claim",
    "sample.promote",
    "flow.finish",
]
POINTS = [
    (f"{name}:{when}", COMMITS[: at + 1].count(name)) for at, name in enumerate(COMMITS) for when in ("before", "after")
]
BETWEEN = [  # an effect has happened and is not recorded: the only points at which one happens again
    ("sample.train:before", 1),
    ("sample.train:before", 2),
    ("sample.labels:before", 3),
]


@pytest.fixture
def folder(tmp_path, empty):
    shutil.copy(empty, tmp_path / "test.db")
    return tmp_path


def check_world(folder):
    """Everything happened: what commits once, what is outside under its one key. Returns how often the outside did."""
    store = Store(f"sqlite:///{folder}/test.db", SystemClock())
    with store.read() as connection:
        (found,) = runs.list_runs(connection)
        assert (found.status, found.failure) == ("done", None)
        trained = [{"size": 1, "key": f"{found.id}/train"}, {"size": 2, "key": f"{found.id}/train#2"}]
        assert found.outcome == {
            "opened": {"words": "opened"},
            "trained": trained,
            "seen": "looked",
            "said": "yes",
            "found": 2,
        }
        assert list(connection.execute(text("SELECT words FROM note ORDER BY id")).scalars()) == ["opened", "promoted"]
        keys = [one.key for one in runs.steps(connection, found.id)]
        assert keys == ["open", "train", "train#2", "labels", "promote"]
        assert audit.verify(connection) == []
        kinds = [one.kind for one in audit.events(connection)]
        assert kinds == ["run.started", "run.answered", "run.finished"]
    lines = (folder / "outside.log").read_text().splitlines()
    assert set(lines) == {
        f"trained {found.id}/train",
        f"trained {found.id}/train#2",
        f"looked {found.id}/labels",
    }
    assert lines.count(f"looked {found.id}/labels") >= 3
    store.close()
    return len(lines)


def test_the_sample_run_passes_every_point(folder):
    """The list above is the truth: a commit that is missing there would be killed by no test."""
    assert crash_points(CHILD, folder, record=folder / "points") == POINTS
    assert check_world(folder) == 5


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS, ids=[f"{name}-{nth}" for name, nth in POINTS])
def test_killed_anywhere_then_restarted(point, folder):
    assert run_child(CHILD, folder, crash_at=point) == -signal.SIGKILL
    assert run_child(CHILD, folder) == 0
    assert check_world(folder) == (6 if point in BETWEEN else 5)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS[2:], ids=[f"{name}-{nth}" for name, nth in POINTS[2:]])
def test_killed_anywhere_while_another_races(point, folder):
    """Their clocks run apart, so each takes the other's run over again and again: fenced, not repeated."""
    armed, other = start_child(CHILD, folder, crash_at=point), start_child(CHILD, folder)
    assert armed.wait(120) in (0, -signal.SIGKILL)  # it may never come to that point: the other did that part
    assert other.wait(120) == 0
    check_world(folder)


@pytest.mark.slow
def test_four_race(folder):
    racing = [start_child(CHILD, folder) for _ in range(4)]
    assert [one.wait(120) for one in racing] == [0] * 4
    check_world(folder)


@pytest.mark.slow
def test_killed_at_random_times(folder):
    """Killed after a time drawn anew each run, 12 times or until one gets through, then left alone."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    draw = rng(seed, "kill")
    for _ in range(12):
        child = start_child(CHILD, folder)
        threading.Event().wait(draw.uniform(0.1, 0.7))
        child.kill()
        child.wait()
    assert run_child(CHILD, folder) == 0
    check_world(folder)


STOPPED = """
import sys, threading
from pathlib import Path
from visutility.core.clock import SystemClock
from visutility.flow import Effect, Step, Worker, Workflow
from visutility.store.engine import Store

def flow(run, request):
    said = run.do(Effect("long", long), request["folder"])
    run.do(Step("write", write), said)
    return {"said": said}

def long(call, folder):
    Path(folder, "begun").touch()
    while not Path(folder, "go").exists():
        threading.Event().wait(0.01)
    return call.services

def write(tx, call, said):
    tx.connection.exec_driver_sql("INSERT INTO note (words) VALUES (?)", (said,))

WORKFLOWS = {"sample": Workflow("sample", 1, flow)}

if __name__ == "__main__":
    store = Store(f"sqlite:///{sys.argv[1]}/test.db", SystemClock())
    Worker(store, WORKFLOWS, "the stopped one").run_once()
"""


def test_a_stopped_worker_whose_lease_lapsed_can_commit_nothing(folder):
    (folder / "stopped.py").write_text(STOPPED)
    store = Store(f"sqlite:///{folder}/test.db", SystemClock())
    known = runpy.run_path(str(folder / "stopped.py"))["WORKFLOWS"]
    with store.write("test.start") as tx:
        run_id = runs.start(tx, known["sample"], {"folder": str(folder)}, key="one", by="ann")
    child = start_child(folder / "stopped.py", folder)
    pause = threading.Event()
    while not (folder / "begun").exists():
        pause.wait(0.01)
    os.kill(child.pid, signal.SIGSTOP)
    (folder / "go").touch()
    assert Worker(store, known, "nobody yet").run_once() is None  # it lives, and its lease has not ended
    later = Store(store.url, SimulatedClock(SystemClock().now() + timedelta(hours=1)))
    assert Worker(later, known, "the next one").run_once() == run_id
    os.kill(child.pid, signal.SIGCONT)
    assert child.wait(60) == 0
    with store.read() as connection:
        assert runs.get(connection, run_id).outcome == {"said": "the next one"}
        assert list(connection.execute(text("SELECT words FROM note")).scalars()) == ["the next one"]
        assert [one.result for one in runs.steps(connection, run_id)] == ["the next one", None]
        assert [one.kind for one in audit.events(connection)] == ["run.started", "run.finished"]
        assert audit.verify(connection) == []
    later.close()
    store.close()
