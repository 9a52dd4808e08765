"""The contract's value types, and every executor against the conformance suite."""

import pytest

from visutility.core.errors import Cancelled, Invalid, InvalidSetting, TrialFailed
from visutility.execute import Call, Handle, Limits, LocalExecutor, Outcome
from visutility.testing.executors import EXECUTOR_CHECKS

EXECUTORS = {"local": LocalExecutor}
CHECKS = [
    pytest.param(check, marks=[pytest.mark.slow] if check.__name__ == "check_hanging_is_killed" else [])
    for check in EXECUTOR_CHECKS
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("kind", EXECUTORS)
def test_conformance(kind, check, tmp_path):
    check(EXECUTORS[kind], tmp_path)


def test_a_call_is_named_by_its_import_path():
    assert Call.of(Outcome.result, 1, x=2) == Call("visutility.execute.executor:Outcome.result", (1,), {"x": 2})


@pytest.mark.parametrize("target", ["", "math", "math:", ":sqrt", "math.sqrt", "a b:c", "math:sqrt()", "../x:y"])
def test_a_target_that_is_no_import_path_is_refused(target):
    with pytest.raises(Invalid, match="import path"):
        Call(target)


def test_functions_that_cannot_be_imported_are_refused():
    def inner(): ...

    main = type(inner)(inner.__code__, {}, "main")
    main.__module__, main.__qualname__ = "__main__", "main"
    for function in (inner, lambda: None, main):
        with pytest.raises(Invalid, match="cannot be imported"):
            Call.of(function)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e9])
def test_every_call_needs_a_deadline(seconds):
    with pytest.raises(InvalidSetting, match="deadline"):
        Limits(seconds)


def test_a_memory_limit_is_at_least_a_megabyte():
    with pytest.raises(InvalidSetting, match="memory"):
        Limits(1, 0)


@pytest.mark.parametrize("workers", [0, -1, 257, 1.5, True])
def test_an_executor_has_a_sensible_number_of_workers(workers):
    with pytest.raises(InvalidSetting, match="workers"):
        LocalExecutor(workers)


def test_a_result_is_the_value_or_the_right_error():
    assert Outcome("value", 3).result() == 3
    with pytest.raises(Cancelled, match="stopped"):
        Outcome("cancelled", reason="stopped").result()
    with pytest.raises(TrialFailed, match="timeout: still running"):
        Outcome("timeout", reason="still running").result()
    with pytest.raises(InvalidSetting, match="itself"):
        Outcome("raised", reason="…", error=InvalidSetting("itself")).result()


def test_outcomes_are_kept_as_long_as_their_handles():
    with LocalExecutor(1) as executor:
        handle = executor.submit(Call("math:sqrt", (4,)), Limits(60))
        executor.poll()
        assert executor.outcome(Handle(handle.id)).value == 2
        again = Handle(handle.id)
        del handle
        assert executor.outcome(again) is None
