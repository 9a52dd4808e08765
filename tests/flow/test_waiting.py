"""Waiting for the world and asking a person: the run is a row meanwhile, and no process holds it."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from visutility.core.errors import NotWaiting, RunEnded, RunNotFound
from visutility.flow import Effect, Worker, runs, workflow
from visutility.store.schema import run


@pytest.fixture
def labels():
    return []


@pytest.fixture
def worker(store, labels):
    """Waits for 3 labels, asks whether to go on, and returns both."""
    fetch = Effect("fetch", lambda call, want: labels[:want] if len(labels) >= want else None)

    @workflow("sample")
    def sample(run, request):
        got = run.wait(fetch, 3, waiting_for="3 labels", every=60)
        if run.ask("go-on", f"train on {len(got)} labels?") != "yes":
            return {"trained": 0}
        return {"trained": len(got)}

    return Worker(store, {"sample": sample})


def answer(store, run_id, value="yes", question="go-on", by="bea", why="looks right"):
    with store.write("test.answer") as tx:
        runs.answer(tx, run_id, question, value, by=by, why=why)


def test_a_run_waits_in_its_row_until_the_effect_has_a_value(store, clock, worker, labels, start, look, recorded):
    run_id = start()
    assert worker.run_until_idle() == 1
    found = look(run_id)
    assert (found.status, found.waiting_for, found.owner, found.attempts) == ("waiting", "3 labels", None, 0)
    assert found.wake_at == clock.now() + timedelta(seconds=60)
    labels += [1, 2, 3, 4]
    assert worker.run_once() is None
    clock.advance(59)
    assert worker.run_once() is None
    clock.advance(1)
    assert worker.run_once() == run_id
    assert look(run_id).waiting_for == "train on 3 labels?"
    assert recorded(run_id) == {"fetch": [1, 2, 3]}


def test_waiting_for_long_is_not_failing(clock, worker, labels, start, look):
    run_id = start()
    for _ in range(50):
        worker.run_until_idle()
        clock.advance(60)
    assert look(run_id).status == "waiting"


def test_a_waiting_run_can_be_woken(store, worker, labels, start, look):
    run_id = start()
    worker.run_until_idle()
    labels += [1, 2, 3]
    with store.write("test.wake") as tx:
        assert runs.wake(tx, run_id)
        assert not runs.wake(tx, run_id)
    worker.run_until_idle()
    assert look(run_id).waiting_for == "train on 3 labels?"
    with store.write("test.wake") as tx:
        assert not runs.wake(tx, run_id)
        with pytest.raises(RunNotFound):
            runs.wake(tx, "nothing")


def test_a_run_waits_for_a_person_as_long_as_it_takes(store, clock, worker, labels, start, look):
    labels += [1, 2, 3]
    run_id = start()
    worker.run_until_idle()
    found = look(run_id)
    assert (found.status, found.wake_at, found.owner) == ("waiting", None, None)
    clock.advance(1e9)
    assert worker.run_once() is None
    with store.read() as connection:
        assert runs.next_wake(connection) is None
        (asked,) = runs.questions(connection, run_id)
    assert (asked.name, asked.words, asked.answered_by) == ("go-on", "train on 3 labels?", None)
    answer(store, run_id)
    assert worker.run_once() == run_id
    assert look(run_id).outcome == {"trained": 3}
    with store.read() as connection:
        (asked,) = runs.questions(connection, run_id)
    assert (asked.answer, asked.answered_by, asked.why) == ("yes", "bea", "looks right")


def test_the_answer_decides(store, worker, labels, start, look, events):
    labels += [1, 2, 3]
    run_id = start()
    worker.run_until_idle()
    answer(store, run_id, "no")
    worker.run_until_idle()
    assert look(run_id).outcome == {"trained": 0}
    log = events()
    assert [(one.kind, one.by) for one in log] == [
        ("run.started", "ann"),
        ("run.answered", "bea"),
        ("run.finished", "worker"),
    ]
    assert log[1].after == {"question": "go-on", "words": "train on 3 labels?", "answer": "no"}
    assert log[1].why == "looks right"


def test_only_what_was_asked_can_be_answered_and_only_once(store, worker, labels, start):
    run_id = start()
    worker.run_until_idle()
    with pytest.raises(NotWaiting, match="did not ask"):
        answer(store, run_id)
    labels += [1, 2, 3]
    with store.write("test.wake") as tx:
        runs.wake(tx, run_id)
    worker.run_until_idle()
    with pytest.raises(NotWaiting, match=r"it waits for \['go-on'\]"):
        answer(store, run_id, question="other")
    answer(store, run_id)
    with pytest.raises(NotWaiting, match="bea answered 'yes'"):
        answer(store, run_id, "no", by="cyd")
    worker.run_until_idle()
    with pytest.raises(NotWaiting, match="it is done"):
        answer(store, run_id)
    with pytest.raises(RunNotFound):
        answer(store, "nothing")


def test_an_answer_given_while_the_run_is_being_driven_is_seen(store, start, look):
    """Woken for another reason, the run is on its way to its question when the answer is given."""
    claims = []

    @workflow("sample")
    def sample(run, request):
        claims.append(run.id)
        if len(claims) == 2:
            answer(store, run.id)
        return {"said": run.ask("go-on", "?")}

    run_id = start()
    worker = Worker(store, {"sample": sample})
    worker.run_until_idle()
    with store.write("test.wake") as tx:
        tx.execute(update(run).values(wake_at=tx.now()))
    worker.run_until_idle()
    assert look(run_id).outcome == {"said": "yes"}


def test_a_question_is_asked_once(store, start, look):
    @workflow("sample")
    def sample(run, request):
        run.ask("same", "?")
        return {"again": run.ask("same", "?")}

    run_id = start()
    worker = Worker(store, {"sample": sample})
    worker.run_until_idle()
    answer(store, run_id, question="same")
    worker.run_until_idle()
    assert "question 'same' is asked twice" in look(run_id).failure


@pytest.mark.parametrize("every", [0, -1, float("nan"), float("inf"), 1e9])
def test_how_often_to_try_is_a_number_above_0(store, start, look, every):
    @workflow("sample")
    def sample(run, request):
        run.wait(Effect("never", lambda call: None), waiting_for="it", every=every)
        return {}

    run_id = start()
    Worker(store, {"sample": sample}).run_until_idle()
    assert "InvalidSetting" in look(run_id).failure


@pytest.mark.parametrize("waits_for", ["its turn", "labels", "a person"])
def test_a_run_that_nobody_holds_is_cancelled_at_once(store, clock, worker, labels, start, look, events, waits_for):
    run_id = start()
    if waits_for == "a person":
        labels += [1, 2, 3]
    if waits_for != "its turn":
        worker.run_until_idle()
    with store.write("test.cancel") as tx:
        assert runs.cancel(tx, run_id, by="bea", why="not needed") == "cancelled"
    with store.write("test.cancel") as tx:
        assert runs.cancel(tx, run_id, by="cyd") == "cancelled"
    clock.advance(3600)
    assert worker.run_once() is None
    found = look(run_id)
    assert (found.status, found.ended, found.waiting_for) == ("cancelled", True, None)
    assert [one.kind for one in events()] == ["run.started", "run.cancel-requested", "run.finished"]


def test_what_has_ended_cannot_be_cancelled(store, worker, labels, start):
    labels += [1, 2, 3]
    run_id = start()
    worker.run_until_idle()
    answer(store, run_id)
    worker.run_until_idle()
    with store.write("test.cancel") as tx, pytest.raises(RunEnded, match="is done"):
        runs.cancel(tx, run_id, by="bea")
    with store.write("test.cancel") as tx, pytest.raises(RunNotFound):
        runs.cancel(tx, "nothing", by="bea")
