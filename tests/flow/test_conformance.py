"""The suite for workflows passes a good one and fails each kind of bad one."""

import shutil

import pytest
from sqlalchemy import text

from visutility.core.clock import SimulatedClock
from visutility.flow import Effect, Step, Workflow, effect, runs, step, workflow
from visutility.store.engine import Store
from visutility.testing.workflows import (
    WORKFLOW_CHECKS,
    World,
    check_interrupted_anywhere_it_leaves_the_same_world,
    check_its_code_alone_decides_nothing,
)


@step("write")
def write(tx, call, words):
    tx.connection.exec_driver_sql("INSERT INTO note (words) VALUES (?)", (words,))
    return words


@effect("store")
def store_bytes(call, data):
    call.services["blobs"].add(data)
    return data


@effect("labels")
def labels(call):
    return call.services.get("labels")


@workflow("sample")
def sample(run, request):
    said = [run.do(write, words) for words in request["words"]]
    blob = run.do(store_bytes, "bytes")
    seen = run.wait(labels, waiting_for="labels", every=60)
    if run.ask("go-on", "write more?") == "yes":
        said.append(run.do(write, "more"))
    return {"said": said, "blob": blob, "seen": seen}


@pytest.fixture
def make(empty):
    def made(folder):
        shutil.copy(empty, folder / "test.db")
        clock = SimulatedClock()
        store = Store(f"sqlite:///{folder / 'test.db'}", clock)
        services = {"blobs": set(), "lines": []}

        def nudge(found):
            with store.read() as connection:
                asked = [one.name for one in runs.questions(connection, found.id) if one.answered_by is None]
            for name in asked:
                with store.write("test.answer") as tx:
                    runs.answer(tx, found.id, name, "yes", by="ann")
            services["labels"] = [1, 2, 3]
            clock.advance(60)

        def look():
            with store.read() as connection:
                notes = list(connection.execute(text("SELECT words FROM note ORDER BY id")).scalars())
            return notes, sorted(services["blobs"]), services["lines"]

        def start(tx):
            return runs.start(tx, "sample", {"words": ["a", "b"]}, key="one", by="ann")

        return World(store, services, start, nudge, look)

    return made


@pytest.mark.parametrize("check", WORKFLOW_CHECKS)
def test_a_good_workflow_passes(check, make, tmp_path):
    check(sample, make, tmp_path)


def test_an_effect_that_adds_up_is_found(make, tmp_path):
    """Its world has two lines where an uninterrupted run leaves one."""
    add = Effect("add", lambda call: call.services["lines"].append("line"))
    bad = Workflow("sample", 1, lambda run, request: run.do(add) or {})
    with pytest.raises(AssertionError, match="the world of the interrupted run"):
        check_interrupted_anywhere_it_leaves_the_same_world(bad, make, tmp_path)


def test_a_step_that_reaches_outside_of_its_transaction_is_found(make, tmp_path):
    add = Step("add", lambda tx, call: call.services["lines"].append("line"))
    bad = Workflow("sample", 1, lambda run, request: run.do(add) or {})
    with pytest.raises(AssertionError, match="the world of the interrupted run"):
        check_interrupted_anywhere_it_leaves_the_same_world(bad, make, tmp_path)


def test_code_that_remembers_outside_of_its_steps_is_found(make, tmp_path):
    seen = []

    def remembers(run, request):
        seen.append(run.do(write, "a"))
        return {"seen": len(seen)}

    bad = Workflow("sample", 1, remembers)
    with pytest.raises(AssertionError, match="the replayed outcome"):
        check_its_code_alone_decides_nothing(bad, make, tmp_path)


def test_a_workflow_that_fails_when_it_is_interrupted_is_found(make, tmp_path):
    """It asks for a step that depends on how often its code ran."""
    claims = []

    def diverges(run, request):
        claims.append(run.id)
        run.do(write, "a")
        run.do(store_bytes if len(claims) % 2 else labels, *["x"] * (len(claims) % 2))
        run.do(write, "b")
        return {}

    with pytest.raises(AssertionError, match="the interrupted run"):
        check_interrupted_anywhere_it_leaves_the_same_world(Workflow("sample", 1, diverges), make, tmp_path)
