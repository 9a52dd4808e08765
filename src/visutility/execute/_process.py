"""One worker process as the executor sees it: its socket, its output, its end."""

import contextlib
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, final

from visutility.execute._frames import WHERE, Channel

# One thread each, or as many as were asked for: read by these libraries when they load, so it is set before they can.
THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)
_PATH: Final = "VISUTILITY_WORKER_PATH"
_BOOT: Final = (
    f"import json, os, sys; sys.path[:] = json.loads(os.environ.pop('{_PATH}')); "
    "from visutility.execute._worker import main; main()"
)
_TAIL: Final = 2000  # characters of output shown, and of a stack
_KEPT: Final = 1 << 15  # bytes of output kept: a dumped stack has up to 100 lines, the one that counts first
_STACK: Final = "Stack (most recent call first):"
_WORKER: Final = str(Path(__file__).with_name("_worker.py"))

Source = Literal["socket", "output", "exit"]


@final
class WorkerProcess:
    """A fresh interpreter in a session of its own, that imports neither the running script nor anything heavy.

    Its process group is killed as a whole, so that its children go with it.
    """

    def __init__(self, threads: int, selector: selectors.BaseSelector) -> None:
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        self._output, output = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 our own interpreter, our own code
                [sys.executable, "-u", "-c", _BOOT, str(theirs.fileno()), str(lifeline)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(), lifeline),
                start_new_session=True,
                env=environment(threads, os.environ),
            )
        except BaseException:
            ours.close()
            os.close(self._lifeline)
            os.close(self._output)
            raise
        finally:
            theirs.close()
            os.close(lifeline)
            os.close(output)
        os.set_blocking(self._output, False)
        self.channel = Channel(ours)
        self.alive = True
        self._tail = b""
        self._selector = selector
        self._pidfd = os.pidfd_open(self._process.pid) if hasattr(os, "pidfd_open") else None
        self._watch()

    @property
    def pid(self) -> int:
        """The process id, which is its process group's too."""
        return self._process.pid

    def tail(self) -> str:
        """Return the last of what it printed since `forget`."""
        self.read_output()
        text = self._tail.decode(errors="replace").strip()
        text = text.partition(f'\n  File "{_WORKER}"')[0]  # a dumped stack ends in our own frames
        printed, asked, stack = text.rpartition(_STACK) if _STACK in text else (text, "", "")
        shown = f"…{printed[-_TAIL:]}" if len(printed) > _TAIL else printed
        return f"{shown}{asked}{stack[:_TAIL]}…" if len(stack) > _TAIL else f"{shown}{asked}{stack}"

    def forget(self) -> None:
        """Drop what it printed so far."""
        self.read_output()
        self._tail = b""

    def read_output(self) -> None:
        """Take what it printed off its pipe."""
        for _ in range(64):
            try:
                chunk = os.read(self._output, 1 << 16)
            except BlockingIOError:
                return
            self._tail = (self._tail + chunk)[-_KEPT:]
            if not chunk:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(self._output)
                return

    def ask_where(self) -> None:
        """Have it print the stack of its main thread, even where called code holds the interpreter's lock."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, WHERE)  # and not `send_signal`, which waits for a process that died: see `kill`

    def want_writing(self) -> None:
        """Have the selector say when more can be sent, as long as there is more to send."""
        write = selectors.EVENT_WRITE if self.channel.unsent else 0
        self._selector.modify(self.channel.sock, selectors.EVENT_READ | write, (self, "socket"))

    def kill(self, grace: float = 0.0) -> int:
        """End it and every process of its group; return its exit code, negative for a signal.

        With `grace`, an idle one is told to leave by itself and given that many seconds to.
        """
        self.alive = False
        for watched in (self.channel.sock, self._output, self._pidfd):
            if watched is not None:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(watched)
        self.channel.sock.close()
        if grace and self._pidfd is not None:
            select.select([self._pidfd], [], [], grace)
        # Before the process is waited for: until then its group's number cannot belong to anybody else.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._process.wait()
        for fd in (self._lifeline, self._output, self._pidfd):
            if fd is not None:
                os.close(fd)
        return code

    def _watch(self) -> None:
        def watch(source: Source, fd: socket.socket | int) -> None:
            self._selector.register(fd, selectors.EVENT_READ, (self, source))

        watch("socket", self.channel.sock)
        watch("output", self._output)
        if self._pidfd is not None:  # a forked child may hold the socket open after its parent is gone
            watch("exit", self._pidfd)


def environment(threads: int, base: Mapping[str, str]) -> dict[str, str]:
    """Return a worker's environment: thread counts, a fixed hash seed, and where to import from."""
    return {
        "PYTHONHASHSEED": "0",  # sets of strings iterate alike in every worker
        **base,
        **dict.fromkeys(THREADS, str(threads)),
        _PATH: json.dumps(import_path()),
    }


def import_path() -> list[str]:
    """Return where this process imports from, so that a worker imports the same."""
    return [entry or str(Path.cwd()) for entry in sys.path]


def ended(code: int) -> str:
    """Say in words how a process with that exit code ended."""
    if code >= 0:
        return f"exited with code {code} before a result"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (
        ", not by us: perhaps the system ran out of memory" if code == -signal.SIGKILL else ""
    )
