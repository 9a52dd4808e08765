"""Workers: who may drive a run, what happens when one dies, stops, is cut off or cannot reach something."""

import os
import subprocess
import sys
import threading

import pytest
from sqlalchemy import select, update

from visutility.core.clock import SystemClock
from visutility.core.errors import DatabaseBusy, RunNotFound, TrialFailed, WorkflowNotFound
from visutility.flow import Effect, Recorded, Worker, Workflow, lease, runs, workflow
from visutility.flow.worker import MAX_ATTEMPTS
from visutility.store.engine import Store
from visutility.store.schema import run as run_table


def sample(function, version=1, upgraders=None):
    return {"sample": Workflow("sample", version, function, upgraders or {})}


DONE = sample(lambda run, request: {})


def abandon(store, run_id, owner):
    """Leave a run as a worker leaves it that dies: running, owned, leased for a day."""
    with store.write("test.abandon") as tx:
        found = update(run_table).where(run_table.c.id == run_id)
        tx.execute(found.values(status="running", owner=owner, lease_until=lease.later(tx.clock, 86_400), fence=1))


def an_owner_that_died():
    """Return the owner text of a worker of a process that has ended."""
    code = "from visutility.flow.lease import new_owner; print(new_owner())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


# -- claiming ----------------------------------------------------------------------------------------------------------


def test_the_run_due_longest_goes_first(store, clock, start, look):
    order = []
    known = sample(lambda run, request: order.append(request["n"]) or {})
    for n in range(3):
        start(request={"n": n}, key=f"{n}")
        clock.advance(1)
    assert Worker(store, known).run_until_idle() == 3
    assert order == [0, 1, 2]


def test_nothing_is_done_when_nothing_is_due(store):
    assert Worker(store, DONE).run_once() is None
    assert Worker(store, {}).run_until_idle() == 0


def test_a_worker_of_this_host_that_died_is_noticed_at_once(store, start, look):
    run_id = start()
    abandon(store, run_id, an_owner_that_died())
    assert Worker(store, DONE).run_once() == run_id
    assert look(run_id).status == "done"


def test_a_worker_that_lives_keeps_its_run_until_its_lease_ends(store, clock, start, look):
    run_id = start()
    abandon(store, run_id, lease.new_owner())
    worker = Worker(store, DONE)
    assert worker.run_once() is None
    assert worker.run_once(run_id) is None
    clock.advance(86_400)
    assert worker.run_once() == run_id


def test_of_a_worker_elsewhere_nothing_is_assumed(store, clock, start):
    run_id = start()
    host, boot, pid, begun, nonce = an_owner_that_died().rsplit(":", 4)
    worker = Worker(store, DONE)
    for owner in (f"far:{boot}:{pid}:{begun}:{nonce}", f"{host}:other:{pid}:{begun}:{nonce}", "somebody", "a:b:c:d:e"):
        abandon(store, run_id, owner)
        assert worker.run_once() is None
    clock.advance(86_400)
    assert worker.run_once() == run_id


def test_a_process_number_that_was_given_out_again_is_not_the_owner():
    host, boot, pid, begun, nonce = lease.new_owner().rsplit(":", 4)
    assert int(pid) == os.getpid()
    assert not lease.is_dead(f"{host}:{boot}:{pid}:{begun}:{nonce}")
    assert lease.is_dead(f"{host}:{boot}:{pid}:{int(begun) - 1}:{nonce}")
    assert lease.is_dead(f"{host}:{boot}:{2**22 + 1}:{begun}:{nonce}")
    assert lease.is_dead(f"{host}:{boot}:{2**22 + 1}:-:{nonce}")
    assert not lease.is_dead(f"{host}:{boot}:{pid}:-:{nonce}")
    assert not lease.is_dead(None)


def test_a_zombie_is_dead():
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    host, boot, _, _, nonce = lease.new_owner().rsplit(":", 4)
    owner = f"{host}:{boot}:{child.pid}:{lease._started(child.pid)}:{nonce}"
    assert not lease.is_dead(owner)
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert lease.is_dead(owner)
    child.wait()


def test_a_named_run_is_driven_or_said_why_not(store, start, look):
    first, second = start(), start(key="two")
    worker = Worker(store, DONE)
    assert worker.run_once(second) == second
    assert (look(first).status, look(second).status) == ("queued", "done")
    assert worker.run_once(second) is None
    with pytest.raises(RunNotFound, match="'nothing'"):
        worker.run_once("nothing")


def test_a_run_of_an_unknown_workflow_stays_as_it_is_and_holds_up_nobody(store, start, look):
    unknown, newer = start("other", key="other"), start(key="newer", version=2)
    known = start(key="known")
    worker = Worker(store, DONE)
    assert worker.run_until_idle() == 1
    assert [look(one).status for one in (unknown, newer, known)] == ["queued", "queued", "done"]
    assert look(unknown).attempts == 0
    with pytest.raises(WorkflowNotFound, match="'other' version 1 is not known here, none of that name is"):
        worker.run_once(unknown)
    with pytest.raises(WorkflowNotFound, match=r"version 2 is not known here, versions \[1\] is"):
        worker.run_once(newer)


# -- keeping and losing ------------------------------------------------------------------------------------------------


def test_the_lease_is_extended_for_as_long_as_a_step_takes(store, start, look):
    """Real time: a step as long as several leases is neither lost nor run twice."""
    real = Store(store.url, SystemClock())
    pause = threading.Event()
    untils, stolen = set(), []

    def long(call):
        while len(untils) < 4 and not stolen:
            with real.read() as connection:
                untils.add(connection.execute(select(run_table.c.lease_until)).scalar())
            stolen.extend(filter(None, [Worker(real, DONE).run_once()]))
            pause.wait(0.01)

    run_id = start()
    Worker(real, sample(lambda run, request: run.do(Effect("long", long)) or {}), lease_seconds=0.6).run_until_idle()
    assert stolen == []
    assert look(run_id).status == "done"
    real.close()


def test_a_commit_is_refused_while_another_worker_drives_the_run(store, clock, start, look, recorded):
    def lose(call):
        clock.advance(31)
        with store.write("test.claim") as tx:
            row = tx.execute(select(run_table)).one()
            lease.claim(tx, row, "another", 30)
        return "stale"

    run_id = start()
    Worker(store, sample(lambda run, request: run.do(Effect("lose", lose)))).run_once()
    found = look(run_id)
    assert (found.status, found.owner) == ("running", "another")
    assert recorded(run_id) == {}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupted_worker_gives_its_run_back(store, start, look, error):
    interrupts = [error]

    def once(call):
        if interrupts:
            raise interrupts.pop()
        return call.attempt

    known = sample(lambda run, request: {"attempt": run.do(Effect("once", once))})
    run_id = start()
    with pytest.raises(error):
        Worker(store, known).run_once()
    found = look(run_id)
    assert (found.status, found.owner, found.attempts) == ("queued", None, 0)
    assert Worker(store, known).run_once() == run_id
    assert look(run_id).outcome == {"attempt": 1}


def test_what_is_unavailable_is_tried_again_later_and_later(store, clock, start, look):
    tries = []

    def reach(call):
        tries.append((call.attempt, clock.elapsed()))
        if len(tries) < 5:
            raise DatabaseBusy("the other side is busy")
        return "reached"

    known = sample(lambda run, request: {"said": run.do(Effect("reach", reach))})
    worker = Worker(store, known)
    run_id = start()
    worker.run_until_idle()
    found = look(run_id)
    assert (found.status, found.owner) == ("waiting", None)
    assert found.waiting_for == "attempt 2 of 10, after reach: DatabaseBusy: the other side is busy"
    for _ in range(20):
        clock.advance(1)
        worker.run_until_idle()
    assert look(run_id).outcome == {"said": "reached"}
    assert tries == [(1, 0), (2, 1), (3, 3), (4, 7), (5, 15)]


def test_what_stays_unavailable_fails_in_the_end(store, clock, start, look):
    def reach(call):
        raise DatabaseBusy("the other side is busy")

    known = sample(lambda run, request: run.do(Effect("reach", reach)))
    run_id = start()
    claims = 0
    while not look(run_id).ended:
        claims += Worker(store, known).run_until_idle()
        clock.advance(300)
    assert claims == MAX_ATTEMPTS
    found = look(run_id)
    assert (found.status, found.failure) == (
        "failed",
        "reach: DatabaseBusy: the other side is busy (10 attempts)",
    )


def test_progress_starts_the_count_of_attempts_anew(store, clock, start, look):
    tries = []

    def reach(call):
        tries.append(call.attempt)
        if call.attempt < 4:
            raise DatabaseBusy("busy")

    def flow(run, request):
        for _ in range(5):
            run.do(Effect("reach", reach))
        return {}

    run_id = start()
    while not look(run_id).ended:
        Worker(store, sample(flow)).run_until_idle()
        clock.advance(300)
    assert look(run_id).status == "done"
    assert tries == [1, 2, 3, 4] * 5
    with store.read() as connection:
        assert [one.attempt for one in runs.steps(connection, run_id)] == [4] * 5


def test_a_run_that_keeps_killing_its_workers_is_given_up(store, start, look):
    run_id = start()
    owner = an_owner_that_died()
    with store.write("test.poison") as tx:
        tx.execute(update(run_table).values(attempts=MAX_ATTEMPTS))
    abandon(store, run_id, owner)
    Worker(store, DONE).run_once()
    found = look(run_id)
    assert found.status == "failed"
    assert "10 workers in a row died at its next step" in found.failure


# -- serving -----------------------------------------------------------------------------------------------------------


def test_a_serving_worker_stops_when_told_and_gives_its_run_back(store, start, look):
    stop, begun = threading.Event(), threading.Event()

    def long(call):
        if begun.is_set():
            raise TrialFailed("the second time")
        begun.set()
        stop.wait()
        call.check()

    known = sample(lambda run, request: run.do(Effect("long", long)))
    worker = Worker(store, known)
    thread = threading.Thread(target=worker.serve, args=(stop,), kwargs={"poll_seconds": 0.01})
    thread.start()
    run_id = start()
    begun.wait()
    assert look(run_id).status == "running"
    stop.set()
    thread.join()
    found = look(run_id)
    assert (found.status, found.owner, found.attempts) == ("queued", None, 0)
    assert worker.run_once() == run_id  # by hand, after it has served
    assert look(run_id).failure == "long: TrialFailed: the second time"


# -- versions ----------------------------------------------------------------------------------------------------------


@workflow("sample", version=1)
def first(run, request):
    size = run.do(Effect("measure", lambda call: 3))
    run.ask("go-on", "?")
    return {"size": size}


def rename(has: Recorded) -> Recorded:
    """Version 2 calls the step otherwise and takes its unit from the request."""
    results = {{"measure": "weigh"}.get(key, key): value for key, value in has.results.items()}
    return Recorded({**has.request, "unit": "g"}, results)


def add_step(has: Recorded) -> Recorded:
    """Version 3 looks before it weighs."""
    return Recorded(has.request, {"look": "fine", **has.results})


def third(run, request):
    said = run.do(Effect("look", lambda call: "looked"))
    size = run.do(Effect("weigh", lambda call: 5))
    run.ask("go-on", "?")
    return {"size": size, "unit": request["unit"], "looked": said, "then": run.do(Effect("then", lambda call: "new"))}


def test_runs_under_way_go_on_under_new_code(store, clock, start, look, events):
    begun = clock.now()
    run_id = start(first)
    Worker(store, {"sample": first}).run_until_idle()
    clock.advance(60)
    with store.write("test.answer") as tx:
        runs.answer(tx, run_id, "go-on", "yes", by="ann")
    Worker(store, sample(third, 3, {1: rename, 2: add_step})).run_until_idle()
    found = look(run_id)
    assert (found.status, found.version, found.request) == ("done", 3, {"unit": "g"})
    assert found.outcome == {"size": 3, "unit": "g", "looked": "fine", "then": "new"}
    with store.read() as connection:
        times = {one.key: (one.finished_at - begun).seconds for one in runs.steps(connection, run_id)}
        (asked,) = runs.questions(connection, run_id)
    assert times == {"look": 60, "weigh": 60, "then": 60}
    assert asked.asked_at == begun  # what keeps its key keeps its time
    upgraded = events()[2]
    assert (upgraded.kind, upgraded.before["version"], upgraded.after["version"]) == ("run.upgraded", 1, 3)
    assert upgraded.after["steps"] == ["look", "weigh", "ask:go-on"]


def test_a_request_in_the_form_of_an_earlier_version_is_upgraded_too(store, start, look):
    run_id = start("sample", {"n": 1}, version=2)
    known = sample(lambda run, request: request, 3, {2: lambda has: Recorded({"m": has.request["n"]}, {})})
    Worker(store, known).run_until_idle()
    assert look(run_id).outcome == {"m": 1}


def test_without_an_upgrader_a_run_waits_for_a_release_that_has_one(store, start, look):
    run_id = start(first)
    gap = sample(third, 3, {2: add_step})
    assert Worker(store, gap).run_until_idle() == 0
    assert look(run_id).status == "queued"
    with pytest.raises(WorkflowNotFound, match=r"versions \[2, 3\]"):
        Worker(store, gap).run_once(run_id)


def test_a_broken_upgrader_does_not_end_the_run(store, clock, start, look):
    run_id = start(first)
    Worker(store, sample(third, 2, {1: lambda has: has.results["nothing"]})).run_until_idle()
    found = look(run_id)
    assert (found.status, found.version) == ("waiting", 1)
    assert "upgrade: KeyError: 'nothing'" in found.waiting_for
    clock.advance(1)
    Worker(store, {"sample": first}).run_until_idle()
    assert look(run_id).waiting_for == "?"
