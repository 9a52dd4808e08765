"""Steps and effects: recorded once, replayed without running, the same value in the first run and in a resumed one."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest

from visutility.core import crash
from visutility.core.errors import Fenced, InvalidName, InvalidSetting, TrialFailed
from visutility.flow import Effect, Step, Worker, Workflow, effect, runs, step, workflow


@pytest.fixture
def drive(store, start, look):
    """Run a workflow of this function to wherever it gets, and return its row."""

    def made(function, request=None, services=None, *, key="one"):
        run_id = start(request=request, key=key)
        Worker(store, {"sample": Workflow("sample", 1, function)}, services).run_until_idle()
        return look(run_id)

    return made


def test_a_run_does_its_steps_and_ends_with_its_outcome(notes, drive, recorded):
    @step("write")
    def write(tx, call, words):
        notes.add(tx, words)
        return len(words)

    @effect("measure")
    def measure(call, factor, *, plus=0):
        return call.services["unit"] * factor + plus

    def flow(run, request):
        return {"length": run.do(write, request["words"]), "size": run.do(measure, 3, plus=1)}

    found = drive(flow, {"words": "hello"}, {"unit": 10})
    assert (found.status, found.outcome, found.failure) == ("done", {"length": 5, "size": 31}, None)
    assert (found.ended, found.owner, found.waiting_for) == (True, None, None)
    assert notes.all() == ["hello"]
    assert recorded(found.id) == {"write": 5, "measure": 31}


def test_a_step_is_told_which_call_it_serves(clock, drive, recorded):
    seen = {}

    @step("a")
    def one(tx, call):
        seen["a"] = call

    @effect("b")
    def two(call):
        seen["b"] = call
        call.check()

    def flow(run, request):
        run.do(one)
        run.do(two)
        run.do(two)
        return {"run": run.id}

    found = drive(flow, services="tools")
    assert found.outcome == {"run": found.id}
    assert (seen["a"].key, seen["b"].key) == (f"{found.id}/a", f"{found.id}/b#2")
    assert (seen["a"].run_id, seen["a"].services, seen["a"].clock, seen["a"].attempt) == (found.id, "tools", clock, 1)
    assert list(recorded(found.id)) == ["a", "b", "b#2"]


@dataclass
class Point:
    x: int
    y: tuple[int, int]


@pytest.mark.parametrize("kind", ["step", "effect"])
def test_results_look_the_same_in_the_first_run_and_in_a_resumed_one(kind, drive):
    value = {"tuple": (1, 2), "point": Point(1, (2, 3)), "number": np.float64(0.5), "nothing": None}
    wanted = {"tuple": [1, 2], "point": {"x": 1, "y": [2, 3]}, "number": 0.5, "nothing": None}
    make = Step("make", lambda tx, call: value) if kind == "step" else Effect("make", lambda call: value)
    seen = []
    pause = [KeyboardInterrupt]

    def flow(run, request):
        seen.append(run.do(make))
        if pause:
            raise pause.pop()
        return {}

    with pytest.raises(KeyboardInterrupt):
        drive(flow)
    assert drive(flow).status == "done"
    assert seen == [wanted, wanted]
    assert type(seen[0]["number"]) is float
    assert seen[0] is not seen[1]


def test_a_step_that_returns_nothing_is_recorded_too(drive):
    calls = []
    nothing = Effect("nothing", lambda call: calls.append(1))
    pause = [KeyboardInterrupt]

    def flow(run, request):
        assert run.do(nothing) is None
        if pause:
            raise pause.pop()
        return {}

    with pytest.raises(KeyboardInterrupt):
        drive(flow)
    assert drive(flow).status == "done"
    assert calls == [1]


def test_a_step_that_fails_leaves_nothing_and_ends_the_run_with_the_reason(notes, drive, recorded):
    @step("write")
    def write(tx, call):
        notes.add(tx, "half")
        raise TrialFailed("no trial gave a value", hint="mend the recipe")

    found = drive(lambda run, request: run.do(write))
    assert (found.status, found.outcome) == ("failed", None)
    assert found.failure == "write: TrialFailed: no trial gave a value. mend the recipe"
    assert notes.all() == []
    assert recorded(found.id) == {}


def test_an_error_of_somebody_else_says_where_it_was_raised(drive):
    found = drive(lambda run, request: run.do(Effect("divide", lambda call: 1 / 0)))
    assert found.failure.startswith("divide: ZeroDivisionError: division by zero (test_steps.py:")
    assert "AttributeError" in drive(lambda run, request: run.do(3), key="two").failure


@pytest.mark.parametrize("value", [float("nan"), object(), {"x": float("inf")}])
def test_a_result_that_json_cannot_hold_fails_the_run(notes, value, drive):
    @step("make")
    def make(tx, call):
        notes.add(tx, "half")
        return value

    found = drive(lambda run, request: run.do(make))
    assert found.status == "failed"
    assert "make: Invalid" in found.failure
    assert notes.all() == []


@pytest.mark.parametrize("outcome", [None, [1], "done", {"x": float("nan")}])
def test_an_outcome_is_a_dict_that_json_can_hold(outcome, drive):
    found = drive(lambda run, request: outcome)
    assert found.status == "failed"
    assert "Invalid" in found.failure


def test_a_workflow_may_handle_the_failure_of_a_step(notes, drive):
    @step("try")
    def attempt(tx, call):
        notes.add(tx, "half")
        raise TrialFailed("no luck")

    @step("else")
    def otherwise(tx, call):
        notes.add(tx, "whole")

    def flow(run, request):
        try:
            run.do(attempt)
        except TrialFailed:
            run.do(otherwise)
        return {}

    assert drive(flow).status == "done"
    assert notes.all() == ["whole"]


def test_a_workflow_that_asks_for_other_steps_than_recorded_fails_clearly(drive):
    a, b = Effect("a", lambda call: 1), Effect("b", lambda call: 2)
    order = [a, b]
    pause = [KeyboardInterrupt]

    def flow(run, request):
        for one in order:
            run.do(one)
        if pause:
            raise pause.pop()
        return {}

    with pytest.raises(KeyboardInterrupt):
        drive(flow)
    order.reverse()
    found = drive(flow)
    assert found.status == "failed"
    assert "WorkflowDiverged" in found.failure
    assert "'a' recorded at position 0, its workflow came to 'b'" in found.failure


def test_a_workflow_that_ends_before_what_is_recorded_fails_clearly(drive):
    a = Effect("a", lambda call: 1)
    steps = [a, a]
    pause = [KeyboardInterrupt]

    def flow(run, request):
        for one in steps:
            run.do(one)
        if pause:
            raise pause.pop()
        return {}

    with pytest.raises(KeyboardInterrupt):
        drive(flow)
    steps.pop()
    assert "'a#2' recorded at position 1, its workflow came to its end" in drive(flow).failure


def test_recorded_steps_are_not_run_again_and_cost_no_commit(tmp_path, drive):
    calls = []
    one = Effect("one", lambda call: calls.append(call.attempt))
    pauses = [KeyboardInterrupt, KeyboardInterrupt]

    def flow(run, request):
        for _ in range(20):
            run.do(one)
        if pauses:
            raise pauses.pop()
        return {}

    with pytest.raises(KeyboardInterrupt):
        drive(flow)
    crash.record(tmp_path / "points")
    with pytest.raises(KeyboardInterrupt):
        drive(flow)
    crash.record(None)
    assert calls == [1] * 20
    points = (tmp_path / "points").read_text().split()
    assert [point for point in points if point.endswith(":after") and not point.startswith("test.")] == [
        "flow.claim:after",
        "flow.release:after",
    ]


def test_a_cancelled_effect_stops_at_its_next_check(store, drive, recorded):
    @effect("long")
    def long(call):
        with store.write("test.cancel") as tx:
            assert runs.cancel(tx, call.run_id, by="ann", why="too dear") == "running"
        call.check()
        raise AssertionError("check() let it go on")

    found = drive(lambda run, request: run.do(long))
    assert (found.status, found.cancel_requested) == ("cancelled", True)
    assert recorded(found.id) == {}


def test_what_happened_before_the_cancellation_was_seen_stays_recorded(store, notes, drive, recorded):
    @effect("first")
    def first(call):
        with store.write("test.cancel") as tx:
            runs.cancel(tx, call.run_id, by="ann")
        return "happened"

    @step("second")
    def second(tx, call):
        notes.add(tx, "never")

    def flow(run, request):
        run.do(first)
        run.do(second)
        return {}

    found = drive(flow)
    assert found.status == "cancelled"
    assert recorded(found.id) == {"first": "happened"}
    assert notes.all() == []


def test_a_worker_that_lost_its_run_can_commit_nothing(store, clock, notes, start, look, events):
    """While the first worker is inside the step its lease lapses, and a second one takes the run over to its end."""
    second = []

    def lose(call):
        if not second:
            second.append(True)
            clock.advance(31)
            Worker(store, {"sample": flow}).run_until_idle()
            with pytest.raises(Fenced):
                call.check()
            return "stale"
        return "fresh"

    lost = Effect("lose", lose)

    @step("write")
    def write(tx, call):
        notes.add(tx, "written")

    @workflow("sample")
    def flow(run, request):
        said = run.do(lost)
        run.do(write)
        return {"said": said}

    run_id = start()
    Worker(store, {"sample": flow}).run_once()
    found = look(run_id)
    assert (found.status, found.outcome) == ("done", {"said": "fresh"})
    assert notes.all() == ["written"]
    assert [one.kind for one in events()] == ["run.started", "run.finished"]


def test_a_step_commits_only_under_the_newest_fence(store, clock, notes, start, look):
    """The lease lapses between two steps: the next transaction is refused as a whole."""
    lost = []

    @step("write")
    def write(tx, call):
        notes.add(tx, "written")

    @workflow("sample")
    def flow(run, request):
        if not lost:
            lost.append(True)
            clock.advance(31)
            Worker(store, {"sample": flow}).run_until_idle()
            with pytest.raises(Fenced):
                run.do(write)
            raise Fenced("seen")
        run.do(write)
        return {}

    run_id = start()
    Worker(store, {"sample": flow}).run_once()
    assert look(run_id).status == "done"
    assert notes.all() == ["written"]


def test_swallowing_the_loss_of_a_run_does_not_end_it(store, clock, start, look):
    """A workflow that catches everything still cannot write what its run is."""
    lost = []

    @workflow("sample")
    def flow(run, request):
        if not lost:
            lost.append(True)
            clock.advance(31)
            Worker(store, {"sample": flow}).run_once()
            return {"by": "the one that lost it"}
        return {"by": "the one that has it"}

    run_id = start()
    assert Worker(store, {"sample": flow}).run_once() == run_id
    assert look(run_id).outcome == {"by": "the one that has it"}


def test_names_fit_the_pattern():
    for make in (step, effect, workflow):
        with pytest.raises(InvalidName):
            make("Has Blanks")(lambda *args: None)


def test_settings_are_checked(store):
    with pytest.raises(InvalidSetting, match="versions count from 1"):
        Workflow("sample", 0, lambda run, request: {})
    with pytest.raises(InvalidSetting, match="lease"):
        Worker(store, {}, lease_seconds=0)
    with pytest.raises(InvalidSetting, match="other names"):
        Worker(store, {"other": Workflow("sample", 1, lambda run, request: {})})


def test_steps_of_two_threads_do_not_mix(store, notes, start, look):
    @step("write")
    def write(tx, call, words):
        notes.add(tx, words)

    @workflow("sample")
    def flow(run, request):
        for _ in range(5):
            run.do(write, request["words"])
        return request

    ids = [start(request={"words": f"w{n}"}, key=f"{n}") for n in range(6)]
    workers = [threading.Thread(target=Worker(store, {"sample": flow}).run_until_idle) for _ in range(3)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert [look(run_id).outcome for run_id in ids] == [{"words": f"w{n}"} for n in range(6)]
    assert sorted(notes.all()) == sorted([f"w{n}" for n in range(6)] * 5)
