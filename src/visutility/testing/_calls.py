"""Well and badly behaved functions for executors to run: importable by name, as called code must be."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from visutility.core.errors import EmptyWindow


def add(a: float, b: float = 0.0) -> float:
    """Return the sum."""
    return a + b


def fail(message: str) -> None:
    """Raise an error of Python's own."""
    raise ValueError(message)


def fail_named(rows: int) -> None:
    """Raise an error of this package's own."""
    raise EmptyWindow(f"the window has {rows} rows", hint="wait for more")


def hang(marker: str) -> None:
    """Say in a file that it began, print where it is, then never end."""
    _write(marker, str(os.getpid()))
    threading.Event().wait()


def hang_holding_the_interpreter() -> None:
    """Hang inside one C call, so that no other thread of the process runs either."""
    re.match(r"(a+)+$", "a" * 64 + "b")


def ignore_signals_and_hang(marker: str) -> None:
    """Hang, deaf to every signal that a process can be deaf to."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    hang(marker)


def hang_until_any_signal(marker: str) -> None:
    """Hang, with every signal's default action back in place, so that the first one ends the process."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGINT}:
        with contextlib.suppress(OSError):  # what the C library keeps for itself
            signal.signal(number, signal.SIG_DFL)
    hang(marker)


def hang_until_asked_where(how: str) -> None:
    """Hang, and take the question where for an order: to "raise", to "exit", or to "return"."""

    def stop(*_: object) -> None:
        if how == "exit":
            sys.exit(3)
        raise TimeoutError("told to stop")

    signal.signal(signal.SIGXCPU, stop)
    try:
        threading.Event().wait()
    except TimeoutError:
        if how == "raise":
            raise


def take_the_question_for_itself() -> int:
    """Leave the signal that asks where a call hangs with its default action; return the process id."""
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    return os.getpid()


def hang_deep_down(depth: int) -> None:
    """Hang below so many calls."""
    if depth:
        hang_deep_down(depth - 1)
    hang_at_the_bottom()


def hang_at_the_bottom() -> None:
    """Hang."""
    threading.Event().wait()


def hang_in_frames_that_come_and_go() -> None:
    """Never end, calling functions that are made and dropped all the time, as an import does."""
    source = "def f(n):\n  return n if n == 0 else f(n - 1)\nf(40)\n"
    while True:
        exec(compile(source, "made.py", "exec"), {})  # noqa: S102 our own text


def eat_memory() -> int:
    """Take memory until there is none."""
    eaten = [bytearray(1 << 24)]
    while True:
        eaten.append(bytearray(1 << 24))


def eat_memory_politely() -> None:
    """Run out of memory and say so with an error of another type."""
    try:
        eat_memory()
    except MemoryError as error:
        raise RuntimeError("could not allocate") from error


def leave(code: int) -> None:
    """End the process at once with that exit code."""
    os._exit(code)


def leave_politely(code: int) -> None:
    """Raise SystemExit."""
    sys.exit(code)


def leave_later(seconds: float) -> int:
    """Return the process id, and end the process that much later."""
    threading.Timer(seconds, os._exit, (3,)).start()
    return os.getpid()


def kill_itself() -> None:
    """Send SIGKILL to its own process."""
    os.kill(os.getpid(), signal.SIGKILL)


def crash() -> None:
    """Die of a segmentation fault."""
    os.kill(os.getpid(), signal.SIGSEGV)


def beget_and_hang(marker: str) -> None:
    """Start a child process that outlives it, and hang."""
    child = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"])
    _write(marker, str(child.pid))
    child.wait()


def fork_and_leave(marker: str) -> None:
    """Fork a child that keeps every open file, then end without a result."""
    child = os.fork()
    if child == 0:
        threading.Event().wait()
    _write(marker, str(child))
    os._exit(0)


def fork_and_return() -> str:
    """Fork, and return from both processes."""
    os.fork()
    return "once"


def make_bytes(count: int) -> bytes:
    """Return that many bytes."""
    return bytes(count)


def make_unpicklable() -> Callable[[], None]:
    """Return what no other process can have."""
    return lambda: None


class Unreadable:
    """Pickles, and cannot be read back."""

    def __reduce__(self) -> tuple[object, ...]:
        return fail, ("unreadable",)


def make_unreadable() -> Unreadable:
    """Return what pickles and cannot be read back."""
    return Unreadable()


def make_noise(lines: int) -> str:
    """Write to both outputs, past Python and through it."""
    for _ in range(lines):
        print("noise " * 20)  # noqa: T201 printing is the point
        os.write(2, b"noise " * 20)
    return "heard"


def report_up_to(steps: int, report: Callable[[int, float], None]) -> int:
    """Report 1, 1/2, 1/3, …, then return the number of reports."""
    for step in range(steps):
        report(step, 1.0 / (step + 1))
    return steps


def report_and_hang(report: Callable[[int, float], None]) -> None:
    """Report once, then never end."""
    report(0, 0.5)
    threading.Event().wait()


def report_wrongly(report: Callable[..., None]) -> None:
    """Report what is not a number."""
    report("first", None)


def process_id() -> int:
    """Return the id of the process it runs in."""
    return os.getpid()


def variable(name: str) -> str | None:
    """Return an environment variable."""
    return os.environ.get(name)


def modules() -> list[str]:
    """Return the names of all imported modules."""
    return sorted(sys.modules)


def _write(path: str, text: str) -> None:
    whole = Path(path).with_suffix(".part")
    whole.write_text(text)
    whole.rename(path)
