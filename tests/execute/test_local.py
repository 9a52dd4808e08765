"""What the local executor does with processes: none is left behind, whoever dies, and nothing leaks into the caller."""

import os
import selectors
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from visutility.execute import Call, Finished, Limits, LocalExecutor, local, run_call
from visutility.execute._process import WorkerProcess
from visutility.testing import _calls
from visutility.testing.executors import collect, wait_for

LONG = Limits(60)


def gone(pid: int) -> bool:
    """Wait for a process that was killed to be gone, or a zombie of a parent of its own; False after 10 s."""
    pause = threading.Event()
    for _ in range(1000):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        pause.wait(0.01)
    return False


def script(folder: Path, body: str) -> list[str]:
    path = folder / "script.py"
    path.write_text(body)
    return [sys.executable, str(path)]


@pytest.mark.parametrize("end", ["timeout", "cancel", "close"])
def test_children_of_a_call_die_with_it(end, tmp_path):
    executor = LocalExecutor(1)
    limits = Limits(0.3) if end == "timeout" else LONG
    handle = executor.submit(Call.of(_calls.beget_and_hang, str(tmp_path / "child")), limits)
    child = int(wait_for(tmp_path / "child"))
    if end == "cancel":
        executor.cancel(handle)
    if end != "close":
        collect(executor, [handle])
    else:
        executor.close()
    assert gone(child)
    executor.close()


def test_a_forked_child_dies_with_its_worker(tmp_path):
    with LocalExecutor(1) as executor:
        outcome = run_call(executor, Call.of(_calls.fork_and_leave, str(tmp_path / "child")), LONG)
        assert outcome.kind == "died"
        assert gone(int(wait_for(tmp_path / "child")))


def test_a_worker_that_died_between_two_calls_costs_neither():
    with LocalExecutor(1) as executor:
        pid = run_call(executor, Call.of(_calls.leave_later, 0.05), LONG).value
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        outcome = run_call(executor, Call.of(_calls.process_id), LONG)
        assert outcome.kind == "value"
        assert outcome.value != pid


def test_workers_are_warm_and_started_only_when_needed():
    with LocalExecutor(4) as executor:
        pids = {run_call(executor, Call.of(_calls.process_id), LONG).value for _ in range(20)}
        assert len(pids) == 1


def test_a_worker_is_replaced_after_a_deadline():
    with LocalExecutor(1) as executor:
        before = run_call(executor, Call.of(_calls.process_id), LONG).value
        assert run_call(executor, Call.of(_calls.hang_holding_the_interpreter), Limits(0.2)).kind == "timeout"
        assert run_call(executor, Call.of(_calls.process_id), LONG).value != before
        assert gone(before)


@pytest.mark.parametrize(("how", "kind"), [("raise", "timeout"), ("exit", "timeout"), ("return", "value")])
def test_a_call_that_takes_the_question_for_an_order_ran_past_its_deadline(how, kind, monkeypatch):
    """What it returns at once counts, as what it returns in that moment by itself does."""
    monkeypatch.setattr(local, "DUMP_SECONDS", 60.0)  # however slow the machine is
    with LocalExecutor(1) as executor:
        before = run_call(executor, Call.of(_calls.process_id), LONG).value
        outcome = run_call(executor, Call.of(_calls.hang_until_asked_where, how), Limits(0.2))
        assert outcome.kind == kind
        assert kind == "value" or outcome.reason.startswith("still running after 0.2 s")
        assert run_call(executor, Call.of(_calls.process_id), LONG).value != before  # it may be asked only now
        assert gone(before)


def test_the_place_is_told_from_deep_down_whatever_the_call_before_did_to_the_signal():
    with LocalExecutor(1) as executor:
        before = run_call(executor, Call.of(_calls.take_the_question_for_itself), LONG).value
        assert run_call(executor, Call.of(_calls.process_id), LONG).value == before
        outcome = run_call(executor, Call.of(_calls.hang_deep_down, 80), Limits(0.2))
        assert outcome.kind == "timeout"
        assert "in hang_at_the_bottom" in outcome.reason


def test_asking_a_worker_that_just_died_leaves_its_number_taken():
    """Else the group that is killed after could be another's."""
    with selectors.DefaultSelector() as selector:
        worker = WorkerProcess(1, selector)
        os.kill(worker.pid, signal.SIGKILL)
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
        worker.ask_where()
        assert os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        assert worker.kill() == -signal.SIGKILL


def test_a_stopped_worker_holds_up_nobody():
    with LocalExecutor(2) as executor:
        pid = run_call(executor, Call.of(_calls.process_id), LONG).value
        stopped = executor.submit(Call.of(_calls.make_bytes, 200 << 20), Limits(0.5))
        os.kill(pid, signal.SIGSTOP)
        others = [executor.submit(Call.of(_calls.add, n), LONG) for n in range(20)]
        told = collect(executor, others)
        assert [told[handle].value for handle in others] == list(range(20))
        executor.cancel(stopped)
        assert gone(pid)


def test_closing_leaves_no_process():
    executor = LocalExecutor(3)
    handles = [executor.submit(Call.of(_calls.process_id), LONG) for _ in range(3)]
    pids = {outcome.value for outcome in collect(executor, handles).values()}
    executor.close()
    assert all(gone(pid) for pid in pids)


def test_an_executor_outlives_the_thread_that_made_it():
    made = []
    thread = threading.Thread(target=lambda: made.append((LocalExecutor(1), [])))
    thread.start()
    thread.join()
    executor, _ = made[0]
    first = []
    thread = threading.Thread(target=lambda: first.append(run_call(executor, Call.of(_calls.process_id), LONG).value))
    thread.start()
    thread.join()
    assert run_call(executor, Call.of(_calls.process_id), LONG).value == first[0]
    executor.close()


def test_the_event_and_the_outcome_agree():
    with LocalExecutor(1) as executor:
        handle = executor.submit(Call.of(_calls.add, 1), LONG)
        (event,) = executor.poll()
        assert isinstance(event, Finished)
        assert event.outcome is executor.outcome(handle)


@pytest.mark.parametrize("call", ["hang", "hang_holding_the_interpreter"])
def test_workers_die_with_their_parent(call, tmp_path):
    body = f"""
import threading
from pathlib import Path
from visutility.execute import Call, Limits, LocalExecutor
from visutility.testing import _calls
executor = LocalExecutor(1)
executor.submit(Call.of(_calls.add, 1), Limits(60))
executor.poll()
pid = next(iter(executor._idle)).pid
args = ({str(tmp_path / "begun")!r},) if {call!r} == "hang" else ()
executor.submit(Call("visutility.testing._calls:{call}", args), Limits(60))
executor.poll(0.2)
_calls._write({str(tmp_path / "pid")!r}, str(pid))
executor.poll()
"""
    parent = subprocess.Popen(script(tmp_path, body))
    worker = int(wait_for(tmp_path / "pid"))
    parent.kill()
    parent.wait()
    assert gone(worker)


def test_a_script_needs_no_guard_and_hears_no_noise(tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.py").write_text("def double(x):\n    print('noise')\n    return 2 * x\n")
    body = f"""
import sys
sys.path.insert(0, {str(tmp_path / "recipes")!r})
from visutility.execute import Call, Limits, LocalExecutor, run_call
print("once")
with LocalExecutor(1) as executor:
    print(run_call(executor, Call("mine:double", (21,)), Limits(60)).value)
"""
    done = subprocess.run(script(tmp_path, body), capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "once\n42\n", "")


def hears_ctrl_c():
    """Undo what a shell does to whatever it starts in the background: have it ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_reaches_the_caller_alone(tmp_path):
    body = f"""
from visutility.execute import Call, Limits, LocalExecutor, run_call
from visutility.testing import _calls
try:
    with LocalExecutor(2) as executor:
        for n in range(2):
            handle = executor.submit(Call.of(_calls.hang, {str(tmp_path)!r} + f"/begun{{n}}"), Limits(60))
        while executor.outcome(handle) is None:
            executor.poll()
except KeyboardInterrupt:
    print("stopped")
"""
    parent = subprocess.Popen(
        script(tmp_path, body),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=hears_ctrl_c,
    )
    workers = [int(wait_for(tmp_path / f"begun{n}")) for n in range(2)]
    os.killpg(parent.pid, signal.SIGINT)  # what a terminal does
    said, _ = parent.communicate()
    assert (parent.returncode, said) == (0, "stopped\n")
    assert all(gone(worker) for worker in workers)
