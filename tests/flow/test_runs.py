"""Runs as rows: started once, listed in pages, found again."""

import contextlib

import pytest
from sqlalchemy import insert

from visutility.core.errors import AlreadyExists, Invalid, RunNotFound
from visutility.flow import Effect, Worker, Workflow, runs, workflow
from visutility.store.schema import model, retrain_trigger


@workflow("sample", version=3)
def sample(run, request):
    return request


@pytest.fixture
def trigger(store):
    """A model and a trigger for it; returns both ids."""
    with store.write("test.trigger") as tx:
        ids = tx.new_id(), tx.new_id()
        tx.execute(insert(model), {"id": ids[0], "name": "digits", "task": "classification", "created_at": tx.now()})
        tx.execute(
            insert(retrain_trigger),
            {
                "id": ids[1],
                "model_id": ids[0],
                "decision": "run",
                "reason": "alarm",
                "policy": "{}",
                "created_at": tx.now(),
                "created_by": "policy",
            },
        )
    return ids


def test_a_started_run_is_queued_and_logged(store, clock, start, look, events):
    run_id = start(sample, {"n": 1}, why="to see")
    found = look(run_id)
    assert (found.id, found.workflow, found.version, found.request) == (run_id, "sample", 3, {"n": 1})
    assert (found.status, found.key, found.attempts, found.created_at) == ("queued", "one", 0, clock.now())
    assert found.wake_at == clock.now()
    (log,) = events()
    assert (log.kind, log.subject, log.by, log.why) == ("run.started", f"run/{run_id}", "ann", "to see")
    assert [cover.table for cover in log.covers] == ["run"]


def test_a_workflow_may_be_named(start, look):
    assert (look(start("retrain")).workflow, look(start("retrain", key="two", version=4)).version) == ("retrain", 4)


def test_the_same_key_starts_one_run(start, events):
    assert start(sample, {"n": 1}) == start(sample, {"n": 1})
    assert len(events()) == 1
    with pytest.raises(AlreadyExists, match="another request"):
        start(sample, {"n": 2})
    with pytest.raises(AlreadyExists):
        start("other", {"n": 1})
    assert start(sample, {"n": 1}, key="two") != start(sample, {"n": 1})


def test_the_same_trigger_starts_one_run(start, trigger, look):
    model_id, trigger_id = trigger
    first = start(sample, {"n": 1}, model_id=model_id, trigger_id=trigger_id)
    assert start(sample, {"n": 2}, key="two", model_id=model_id, trigger_id=trigger_id) == first
    assert (look(first).model_id, look(first).trigger_id) == trigger


@pytest.mark.parametrize("key", ["", "x" * 201])
def test_a_key_has_a_length(start, key):
    with pytest.raises(Invalid, match="idempotency key"):
        start(sample, key=key)


def test_a_request_is_plain_data(start):
    with pytest.raises(Invalid):
        start(sample, {"x": float("nan")})


def test_a_start_that_is_rolled_back_starts_nothing(store):
    with contextlib.suppress(RuntimeError), store.write("test.start") as tx:
        runs.start(tx, sample, {}, key="one", by="ann")
        raise RuntimeError
    with store.read() as connection:
        assert runs.list_runs(connection) == []


def test_runs_are_listed_newest_first_in_pages(store, clock, start, trigger):
    ids = []
    for n in range(7):
        clock.advance(1)
        ids.append(start("even" if n % 2 == 0 else "odd", key=f"{n}", model_id=trigger[0] if n == 3 else None))
    with store.write("test.cancel") as tx:
        runs.cancel(tx, ids[5], by="ann")
    with store.read() as connection:

        def listed(**how):
            return [ids.index(one.id) for one in runs.list_runs(connection, **how)]

        assert listed() == [6, 5, 4, 3, 2, 1, 0]
        assert listed(limit=3) == [6, 5, 4]
        assert listed(limit=3, after=ids[4]) == [3, 2, 1]
        assert listed(workflow="odd") == [5, 3, 1]
        assert listed(status="cancelled") == [5]
        assert listed(status=runs.OPEN, workflow="odd") == [3, 1]
        assert listed(model_id=trigger[0]) == [3]
        for limit in (0, 1001):
            with pytest.raises(Invalid, match="limit"):
                runs.list_runs(connection, limit=limit)


def test_steps_are_listed_in_order_with_their_times(store, clock, start):
    take = Effect("take", lambda call, seconds: clock.advance(seconds))

    @workflow("sample")
    def flow(run, request):
        run.do(take, 2)
        run.do(take, 3)
        return {}

    begun = clock.now()
    run_id = start(flow)
    Worker(store, {"sample": flow}).run_until_idle()
    with store.read() as connection:
        found = runs.steps(connection, run_id)
    assert [(one.key, one.attempt) for one in found] == [("take", 1), ("take#2", 1)]
    assert [(one.started_at - begun).seconds for one in found] == [0, 2]
    assert [(one.finished_at - begun).seconds for one in found] == [2, 5]


def test_an_unknown_run_is_named(store):
    with store.read() as connection:
        with pytest.raises(RunNotFound, match="'nothing'"):
            runs.get(connection, "nothing")
        assert runs.steps(connection, "nothing") == []


def test_when_the_next_run_is_due(store, clock, start):
    with store.read() as connection:
        assert runs.next_wake(connection) is None
    now = clock.now()
    start(sample)
    clock.advance(5)
    start(sample, key="two")
    with store.read() as connection:
        assert runs.next_wake(connection) == now


def test_runs_that_nobody_here_can_drive_are_found(store, start):
    new = start("sample", key="new", version=4)
    start("sample", key="same", version=3)
    other = start("other", key="other")
    old = start("sample", key="old", version=1)
    known = {"sample": Workflow("sample", 3, sample.function, {2: lambda has: has})}
    with store.read() as connection:
        assert {one.id for one in runs.stranded(connection, known)} == {new, other, old}
        assert len(runs.stranded(connection, {})) == 4
