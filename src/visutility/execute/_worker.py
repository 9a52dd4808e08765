"""What runs inside a worker process: read a call, run it, say how it ended, read the next.

Imported by a fresh interpreter before anything else of ours, so it imports little. It answers on its own socket alone;
what the called code prints goes to a pipe that the executor keeps the tail of.
"""

import contextlib
import errno
import faulthandler
import importlib
import inspect
import os
import pickle
import resource
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from visutility.core.errors import Invalid, InvalidObservation, VisuTilityError
from visutility.execute import _frames as frames

_FRAMES_SHOWN = 8
_REASON_CHARS = 4000
_PID = os.getpid()
_STDERR = 2


def main() -> None:
    """Serve calls until the executor closes the socket named in the arguments."""
    sock, lifeline = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    for fd in (sock.fileno(), lifeline):
        os.set_inheritable(fd, False)
    _die_with(lifeline)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the executor's business
    faulthandler.enable(_STDERR)
    with contextlib.suppress(OSError):  # should the system run out of memory, rather this process than our parent
        Path("/proc/self/oom_score_adj").write_text("500")
    while (call := frames.receive(sock)) is not None:
        arguments = frames.receive(sock)
        if arguments is None:
            return
        _serve(sock, call[1], arguments[1])


def _die_with(lifeline: int) -> None:
    """Have this process group killed when the other end of the pipe closes, that is when the executor's process ends.

    On Linux the kernel does it, even while called code holds the interpreter's lock; elsewhere a thread does.
    """
    try:
        import fcntl

        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)  # type: ignore[attr-defined,unused-ignore]
        flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | fcntl.FASYNC)
    except (ImportError, AttributeError, OSError):

        def watch() -> None:
            os.read(lifeline, 1)
            os.killpg(0, signal.SIGKILL)

        threading.Thread(target=watch, daemon=True).start()
    if select.select([lifeline], [], [], 0)[0]:  # it ended before we looked
        os._exit(1)


def _serve(sock: socket.socket, call: bytes, arguments: bytes) -> None:
    def answer(kind: bytes, payload: bytes = b"") -> None:
        if os.getpid() != _PID:  # called code forked, and this is the copy
            os._exit(0)
        frames.send(sock, kind, payload)

    def report(step: int, value: float) -> None:
        """Tell the executor how the call is getting on."""
        try:
            payload = frames.REPORT.pack(int(step), float(value))
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidObservation(f"report({step!r}, {value!r}): {error}", hint="an int and a number") from None
        answer(frames.REPORTED, payload)

    path, target, memory = pickle.loads(call)  # noqa: S301 from our own parent
    if sys.path != path:
        sys.path[:] = path
        importlib.invalidate_caches()
    # Asked at its deadline, the thread says itself where it is: another thread that read its frames while it runs, as
    # `faulthandler.dump_traceback_later` does, may meet one that is half made and crash. Anew for every call: the one
    # before may have taken the signal for itself.
    faulthandler.unregister(frames.WHERE)
    faulthandler.register(frames.WHERE, _STDERR, all_threads=False)
    answer(frames.STARTED)
    try:
        payload = _run(target, arguments, memory, report)
    except SystemExit as error:
        answer(frames.QUIT, _bytes(f"called sys.exit({error.code!r}) before a result"))
    except BaseException as error:  # noqa: BLE001 whatever it is, it ends the trial and not the worker
        _lift_memory()
        if memory is not None and _is_memory(error):
            megabytes = memory >> 20
            answer(frames.MEMORY, _bytes(_describe(error, f"needed more than its {megabytes} MB of memory: ")))
            return
        if isinstance(error, VisuTilityError):
            with contextlib.suppress(Exception):
                answer(frames.ERROR, pickle.dumps(error))
        answer(frames.RAISED, _bytes(_describe(error)))
    else:
        answer(frames.VALUE, payload)
    finally:
        _lift_memory()


def _run(target: str, arguments: bytes, memory: int | None, report: Callable[[int, float], None]) -> bytes:
    function = _resolve(target)
    args, kwargs = pickle.loads(arguments)  # noqa: S301 from our own parent
    if "report" not in kwargs and _takes_report(function):
        kwargs = {**kwargs, "report": report}
    if memory is not None:
        _limit_memory(memory)
    value = function(*args, **kwargs)
    try:
        payload = pickle.dumps(value, protocol=5)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 pickling calls the value's own code
        raise Invalid(
            f"{target} returned a {type(value).__name__}, which cannot be pickled: {error}",
            hint="return plain data, or write a file and return its path",
        ) from None
    if len(payload) > frames.MAX_BYTES:
        raise Invalid(
            f"{target} returned {len(payload) >> 20} MB, the most is {frames.MAX_BYTES >> 20}",
            hint="write a file and return its path",
        )
    return payload


def _resolve(target: str) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise Invalid(f"{target} is a {type(found).__name__}", hint="name a function")
    return found  # type: ignore[no-any-return]


def _takes_report(function: Callable[..., Any]) -> bool:
    try:
        return "report" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # a built-in without a signature
        return False


def _limit_memory(memory: int) -> None:
    """Refuse private, writable memory beyond what is held now; `/proc` says how much that is (Linux alone)."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        held = next(int(line.split()[1]) for line in lines if line.startswith("VmData:")) * 1024
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        wanted = held + memory
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))


def _lift_memory() -> None:
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _is_memory(error: BaseException | None) -> bool:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def _describe(error: BaseException, prefix: str = "") -> str:
    """Return what it says, then where, innermost last, without this module's own frames."""
    said = "".join(traceback.format_exception_only(error)).strip()
    where = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__][-_FRAMES_SHOWN:]
    lines = [prefix + said[: _REASON_CHARS // 2], "".join(traceback.format_list(where)).rstrip()]
    if error.__cause__ is not None:
        lines.append(f"caused by {''.join(traceback.format_exception_only(error.__cause__)).strip()}")
    return "\n".join(line for line in lines if line)[:_REASON_CHARS]


def _bytes(text: str) -> bytes:
    return text.encode(errors="backslashreplace")
