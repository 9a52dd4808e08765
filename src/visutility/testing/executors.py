"""What every executor promises, as checks: give each of `EXECUTOR_CHECKS` a way to make one.

    @pytest.mark.parametrize("check", EXECUTOR_CHECKS)
    def test_conformance(check, tmp_path):
        check(lambda workers: LocalExecutor(workers), tmp_path)

A check makes its own executor of so many workers, closes it, and fails by AssertionError. Called code runs from
`visutility.testing._calls`, which has to be importable where the executor runs it.
"""
# ruff: noqa: ARG001  every check takes the same two arguments

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from visutility.core.errors import Closed, EmptyWindow, Invalid
from visutility.execute import Call, Executor, Finished, Handle, Kind, Limits, Outcome, Report, run_call
from visutility.testing import _calls
from visutility.testing._expect import expect, expect_equal

MakeExecutor = Callable[[int], Executor]
Check = Callable[[MakeExecutor, Path], None]

SHORT: Final = Limits(seconds=0.3)
LONG: Final = Limits(seconds=60)
SMALL: Final = Limits(seconds=60, memory_mb=50)


def collect(executor: Executor, handles: list[Handle]) -> dict[Handle, Outcome]:
    """Poll until all of these have ended, and return how, as the polls told it."""
    told: dict[Handle, Outcome] = {}
    while not set(handles) <= set(told):
        for event in executor.poll():
            if isinstance(event, Finished):
                expect(event.handle not in told, f"{event.handle} ended twice")
                told[event.handle] = event.outcome
    return told


def wait_for(path: Path) -> str:
    """Return the text of a file that called code is about to write; fails after a minute."""
    pause = threading.Event()
    for _ in range(6_000):
        if path.exists():
            return path.read_text()
        pause.wait(0.01)
    raise AssertionError(f"nothing wrote {path}")


def _ends(make: MakeExecutor, call: Call, limits: Limits, kind: Kind, *reasons: str) -> Outcome:
    """Check how a call ends, and that it cost nothing but itself: the next one runs."""
    with make(1) as executor:
        run_call(executor, Call.of(_calls.add, 1), LONG)  # now its module is imported: short deadlines are fair
        outcome = run_call(executor, call, limits)
        expect(outcome.kind == kind, outcome)
        for reason in reasons:
            expect(reason in outcome.reason, outcome.reason)
        expect_equal(run_call(executor, Call.of(_calls.add, 1, b=2), LONG).value, 3)
    return outcome


def check_returns_the_value(make: MakeExecutor, folder: Path) -> None:
    """A value comes back as it was, with how long it took and no reason."""
    outcome = _ends(make, Call.of(_calls.add, 1.5, b=2), LONG, "value")
    expect_equal((outcome.value, outcome.reason, outcome.result()), (3.5, "", 3.5))
    expect(0 <= outcome.seconds < LONG.seconds, outcome)


def check_raising_is_told(make: MakeExecutor, folder: Path) -> None:
    """An exception comes back as text: its type, what it said, and where."""
    outcome = _ends(make, Call.of(_calls.fail, "depth is 3"), LONG, "raised", "in fail")
    expect(outcome.reason.startswith("ValueError: depth is 3\n"), outcome.reason)
    expect_equal(outcome.error, None)


def check_our_errors_come_back(make: MakeExecutor, folder: Path) -> None:
    """An error of this package comes back as itself."""
    outcome = _ends(make, Call.of(_calls.fail_named, 0), LONG, "raised", "the window has 0 rows")
    expect(isinstance(outcome.error, EmptyWindow) and outcome.error.hint == "wait for more", repr(outcome.error))


def check_unknown_target_is_told(make: MakeExecutor, folder: Path) -> None:
    """A target that cannot be imported, or is no function, is the call's failure."""
    _ends(make, Call("visutility.nowhere:f"), LONG, "raised", "visutility.nowhere")
    _ends(make, Call("visutility.testing._calls:nothing"), LONG, "raised", "nothing")
    _ends(make, Call("math:pi"), LONG, "raised", "math:pi is a float")


def check_hanging_is_killed(make: MakeExecutor, folder: Path) -> None:
    """A call past its deadline is killed, deaf to signals or holding the interpreter though it be."""
    _ends(make, Call.of(_calls.hang, str(folder / "a")), SHORT, "timeout", "0.3 s", "in hang")
    _ends(make, Call.of(_calls.ignore_signals_and_hang, str(folder / "b")), SHORT, "timeout")
    _ends(make, Call.of(_calls.hang_holding_the_interpreter), SHORT, "timeout", "in hang_holding_the_interpreter")
    _ends(make, Call.of(_calls.hang_in_frames_that_come_and_go), SHORT, "timeout", "in hang_in_frames")
    _ends(make, Call.of(_calls.hang_until_any_signal, str(folder / "c")), SHORT, "timeout", "0.3 s")


def check_eating_memory_is_refused(make: MakeExecutor, folder: Path) -> None:
    """A call that wants more memory than its limit ends as "memory", also when it wraps the error."""
    _ends(make, Call.of(_calls.eat_memory), SMALL, "memory", "50 MB")
    _ends(make, Call.of(_calls.eat_memory_politely), SMALL, "memory", "50 MB", "could not allocate")


def check_memory_limit_is_per_call(make: MakeExecutor, folder: Path) -> None:
    """What one call was refused, the next without a limit may have."""
    with make(1) as executor:
        expect_equal(run_call(executor, Call.of(_calls.make_bytes, 100 << 20), SMALL).kind, "memory")
        expect_equal(run_call(executor, Call.of(_calls.make_bytes, 1 << 20), SMALL).kind, "value")
        expect_equal(len(run_call(executor, Call.of(_calls.make_bytes, 100 << 20), LONG).value), 100 << 20)


def check_leaving_is_death(make: MakeExecutor, folder: Path) -> None:
    """An exit before a result is a failure, with code 0 too."""
    for code in (0, 1):
        _ends(make, Call.of(_calls.leave, code), LONG, "died", f"exited with code {code}")
        _ends(make, Call.of(_calls.leave_politely, code), LONG, "died", f"sys.exit({code})")


def check_dying_by_signal_is_told(make: MakeExecutor, folder: Path) -> None:
    """A call whose process is killed says by which signal."""
    _ends(make, Call.of(_calls.kill_itself), LONG, "died", "SIGKILL")
    _ends(make, Call.of(_calls.crash), LONG, "died", "SIGSEGV", "Segmentation fault")


def check_forking_is_survived(make: MakeExecutor, folder: Path) -> None:
    """A fork that keeps the worker's files open hides neither its end nor doubles its answer."""
    _ends(make, Call.of(_calls.fork_and_leave, str(folder / "a")), LONG, "died", "exited with code 0")
    expect_equal(_ends(make, Call.of(_calls.fork_and_return), LONG, "value").value, "once")


def check_huge_results_arrive(make: MakeExecutor, folder: Path) -> None:
    """A result far larger than a pipe holds arrives whole, and so does such an argument."""
    with make(1) as executor:
        expect_equal(run_call(executor, Call.of(_calls.make_bytes, 50 << 20), LONG).value, bytes(50 << 20))
        expect_equal(run_call(executor, Call("builtins:len", (bytes(50 << 20),)), LONG).value, 50 << 20)


def check_unpicklable_results_are_told(make: MakeExecutor, folder: Path) -> None:
    """A result that cannot travel is a failure that says so."""
    _ends(make, Call.of(_calls.make_unpicklable), LONG, "raised", "cannot be pickled")
    _ends(make, Call.of(_calls.make_unreadable), LONG, "raised", "cannot be read back")


def check_unpicklable_arguments_are_refused(make: MakeExecutor, folder: Path) -> None:
    """An argument that cannot travel is refused when it is submitted."""
    with make(1) as executor:
        try:
            executor.submit(Call("builtins:len", (lambda: None,)), LONG)
        except Invalid as error:
            expect("builtins:len" in str(error), error)
        else:
            raise AssertionError("submit took what it cannot send")
        expect_equal(executor.poll(), [])


def check_noise_is_harmless(make: MakeExecutor, folder: Path) -> None:
    """What called code prints, a megabyte of it, disturbs nothing."""
    expect_equal(_ends(make, Call.of(_calls.make_noise, 5_000), LONG, "value").value, "heard")


def check_reports_arrive_in_order(make: MakeExecutor, folder: Path) -> None:
    """Every report arrives, in order, before the end; a report of no number is the call's failure."""
    seen: list[tuple[int, float]] = []

    def note(step: int, value: float) -> bool:
        seen.append((step, value))
        return True

    with make(1) as executor:
        outcome = run_call(executor, Call.of(_calls.report_up_to, 5_000), LONG, on_report=note)
        expect_equal(outcome.value, 5_000)
        expect_equal(seen, [(step, 1.0 / (step + 1)) for step in range(5_000)])
    _ends(make, Call.of(_calls.report_wrongly), LONG, "raised", "'first'")


def check_pruning_kills(make: MakeExecutor, folder: Path) -> None:
    """A call whose report is answered with "stop" ends as cancelled."""
    with make(1) as executor:
        outcome = run_call(executor, Call.of(_calls.report_and_hang), LONG, on_report=lambda _step, _value: False)
        expect_equal(outcome.kind, "cancelled")
        expect_equal(run_call(executor, Call.of(_calls.add, 1), LONG).value, 1)


def check_cancelling_ends_both_kinds(make: MakeExecutor, folder: Path) -> None:
    """A running call is killed, a queued one never starts, an ended one stays as it was."""
    with make(1) as executor:
        ended = executor.submit(Call.of(_calls.add, 1), LONG)
        expect_equal(collect(executor, [ended])[ended].value, 1)
        running = executor.submit(Call.of(_calls.report_and_hang), LONG)
        queued = executor.submit(Call.of(_calls.hang, str(folder / "never")), LONG)
        while not any(isinstance(event, Report) for event in executor.poll()):
            pass
        for handle in (ended, queued, running, running):
            executor.cancel(handle)
        told = collect(executor, [queued, running])
        expect_equal({told[queued].kind, told[running].kind}, {"cancelled"})
        expect_equal(told[queued].seconds, 0)
        expect(not (folder / "never").exists(), "a cancelled call that was queued has run")
        outcome = executor.outcome(ended)
        expect(outcome is not None and outcome.value == 1, f"cancelling changed an outcome: {outcome}")


def check_one_bad_call_among_many_costs_itself(make: MakeExecutor, folder: Path) -> None:
    """Two workers, bad calls among 200 small ones: each ends once, and only the bad ones badly."""
    with make(2) as executor:
        bad = {20: Call.of(_calls.leave, 0), 60: Call.of(_calls.kill_itself), 100: Call.of(_calls.fail, "x")}
        bad[140] = Call.of(_calls.hang_holding_the_interpreter)
        handles = [executor.submit(bad.get(n, Call.of(_calls.add, n)), SHORT if n == 140 else LONG) for n in range(200)]
        told = collect(executor, handles)
        wanted = [None if n in bad else n for n in range(200)]
        expect_equal([told[handle].value for handle in handles], wanted)
        expect_equal([told[handles[n]].kind for n in sorted(bad)], ["died", "died", "raised", "timeout"])


def check_workers_run_side_by_side(make: MakeExecutor, folder: Path) -> None:
    """Two workers run two calls at a time: one that waits does not hold up the other."""
    with make(2) as executor:
        waiting = executor.submit(Call.of(_calls.hang, str(folder / "begun")), LONG)
        wait_for(folder / "begun")
        other = executor.submit(Call.of(_calls.add, 4), LONG)
        expect_equal(collect(executor, [other])[other].value, 4)
        expect_equal(executor.outcome(waiting), None)
        expect_equal(executor.poll(0), [])


def check_workers_have_one_thread(make: MakeExecutor, folder: Path) -> None:
    """Numerical libraries are told to use one thread before they load."""
    with make(1) as executor:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            expect_equal(run_call(executor, Call.of(_calls.variable, name), LONG).value, "1")
        loaded = run_call(executor, Call.of(_calls.modules), LONG).value
        expect("numpy" not in loaded, "a fresh worker has numpy loaded")


def check_check_stops_a_call(make: MakeExecutor, folder: Path) -> None:
    """An error from `check` (cancelled, fenced) passes, and the call it watched over is killed."""
    marker = folder / "begun"

    def check() -> None:
        if marker.exists():
            raise KeyboardInterrupt

    with make(1) as executor:
        try:
            run_call(executor, Call.of(_calls.hang, str(marker)), LONG, check=check, every=0.01)
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("the error of check() was swallowed")
        expect_equal([event.outcome.kind for event in executor.poll() if isinstance(event, Finished)], ["cancelled"])


def check_closing_cancels(make: MakeExecutor, folder: Path) -> None:
    """Closing ends what runs and what waits, twice is once, and nothing is taken any more."""
    executor = make(1)
    handles = [executor.submit(Call.of(_calls.hang, str(folder / f"{n}")), LONG) for n in range(3)]
    wait_for(folder / "0")
    executor.close()
    executor.close()
    outcomes = [executor.outcome(handle) for handle in handles]
    expect_equal([o and o.kind for o in outcomes], ["cancelled"] * 3)
    try:
        executor.submit(Call.of(_calls.add, 1), LONG)
    except Closed:
        return
    raise AssertionError("a closed executor took a call")


EXECUTOR_CHECKS: Final[tuple[Check, ...]] = (
    check_returns_the_value,
    check_raising_is_told,
    check_our_errors_come_back,
    check_unknown_target_is_told,
    check_hanging_is_killed,
    check_eating_memory_is_refused,
    check_memory_limit_is_per_call,
    check_leaving_is_death,
    check_dying_by_signal_is_told,
    check_forking_is_survived,
    check_huge_results_arrive,
    check_unpicklable_results_are_told,
    check_unpicklable_arguments_are_refused,
    check_noise_is_harmless,
    check_reports_arrive_in_order,
    check_pruning_kills,
    check_cancelling_ends_both_kinds,
    check_one_bad_call_among_many_costs_itself,
    check_workers_run_side_by_side,
    check_workers_have_one_thread,
    check_check_stops_a_call,
    check_closing_cancels,
)
