"""Calls in a few warm worker processes on this machine, one call at a time each.

A worker that hangs, is pruned, eats memory or dies is killed with its children and replaced by a fresh one: it costs
exactly its own call. docs/execution.md says what is promised and why this is not built on a pool library.
"""

import pickle
import selectors
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, final
from weakref import WeakKeyDictionary

from visutility.core.clock import SystemClock
from visutility.core.errors import Closed, Invalid, InvalidSetting, VisuTilityError
from visutility.execute import _frames as frames
from visutility.execute._process import WorkerProcess, ended, import_path
from visutility.execute.executor import Call, Finished, Handle, Kind, Limits, Outcome, Report

START_SECONDS: Final = 60.0  # for a fresh worker to begin its first call
DUMP_SECONDS: Final = 0.2  # after the deadline, for the worker to say where it hangs
LEAVE_SECONDS: Final = 1.0  # for an idle worker to leave by itself when the executor closes


@dataclass(slots=True)
class _Job:
    handle: Handle
    call: bytes
    arguments: bytes
    limits: Limits
    deadline: float = 0.0
    started: float | None = None
    overdue: bool = False  # past its deadline, and asked where it is
    error: VisuTilityError | None = None
    handed_over: int = 0  # to how many workers


@final
class LocalExecutor:
    """An `Executor` of up to `workers` processes, started when first needed, each with `threads` BLAS threads.

    One thread drives it. Not to be used after a fork.
    """

    def __init__(self, workers: int = 2, *, threads: int = 1) -> None:
        for name, value in (("workers", workers), ("threads", threads)):
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 256:
                raise InvalidSetting(f"{name} is {value!r}", hint="choose a whole number from 1 to 256")
        self._size = workers
        self._threads = threads
        self._clock = SystemClock()  # processes run in the machine's time, whatever clock the rest is given
        self._selector = selectors.DefaultSelector()
        self._queue: deque[_Job] = deque()
        self._busy: dict[WorkerProcess, _Job] = {}
        self._idle: list[WorkerProcess] = []
        self._events: list[Report | Finished] = []
        self._outcomes: WeakKeyDictionary[Handle, Outcome] = WeakKeyDictionary()
        self._submitted = 0
        self._closed = False

    def submit(self, call: Call, limits: Limits) -> Handle:
        """Queue a call; it starts as soon as a worker is free. Raises `Invalid` or `Closed`."""
        if self._closed:
            raise Closed("the executor was closed", hint="make another one")
        try:
            arguments = pickle.dumps((call.args, dict(call.kwargs)), protocol=5)
        except Exception as error:  # noqa: BLE001 pickling calls the arguments' own code
            raise Invalid(
                f"the arguments of {call.target} cannot be pickled: {error}", hint="pass plain data or a file's path"
            ) from None
        memory = None if limits.memory_mb is None else limits.memory_mb << 20
        head = pickle.dumps((import_path(), call.target, memory))
        self._submitted += 1
        handle = Handle(self._submitted)
        self._queue.append(_Job(handle, head, arguments, limits))
        self._dispatch()
        return handle

    def poll(self, timeout: float | None = None) -> list[Report | Finished]:
        """Return what happened, waiting up to `timeout` seconds for something to; None: as long as it takes."""
        now = self._clock.elapsed()
        end = None if timeout is None else now + timeout
        while True:
            self._dispatch()
            if self._events or not self._busy:
                break
            wake = min(job.deadline for job in self._busy.values())
            self._wait(max(0.0, (wake if end is None else min(wake, end)) - now))
            now = self._clock.elapsed()
            self._kill_overdue(now)
            if end is not None and now >= end:
                break
        events, self._events = self._events, []
        return events

    def cancel(self, handle: Handle) -> None:
        """Kill a running call, or forget a queued one. Nothing happens to one that ended."""
        for job in self._queue:
            if job.handle == handle:
                self._queue.remove(job)
                self._finish(job, "cancelled", reason="cancelled before it started")
                return
        for worker, job in self._busy.items():
            if job.handle == handle:
                self._replace(worker, "cancelled", "cancelled while it ran")
                return

    def outcome(self, handle: Handle) -> Outcome | None:
        """Return how a call ended, None while it has not. Kept for as long as the handle itself is."""
        return self._outcomes.get(handle)

    def close(self) -> None:
        """Cancel everything and end every worker. What already happened can still be polled."""
        self._closed = True
        for job in list(self._queue):
            self.cancel(job.handle)
        for job in list(self._busy.values()):
            self.cancel(job.handle)
        while self._idle:
            self._idle.pop().kill(LEAVE_SECONDS)
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _dispatch(self) -> None:
        while self._queue and len(self._busy) < self._size:
            try:
                worker = self._idle.pop() if self._idle else WorkerProcess(self._threads, self._selector)
            except OSError as error:  # no more processes, files or memory
                if not self._busy:
                    self._finish(self._queue.popleft(), "died", reason=f"no worker could be started: {error}")
                return
            job = self._queue.popleft()
            job.handed_over += 1
            job.deadline = self._clock.elapsed() + START_SECONDS
            self._busy[worker] = job
            worker.forget()
            worker.channel.send(frames.CALL, job.call)
            worker.channel.send(frames.ARGUMENTS, job.arguments)
            worker.want_writing()

    def _wait(self, seconds: float) -> None:
        for key, mask in self._selector.select(seconds):
            worker, source = key.data
            if not worker.alive:  # ended by an earlier event of this turn
                continue
            if source == "output":
                worker.read_output()
                continue
            if mask & selectors.EVENT_WRITE:
                worker.channel.flush()
                worker.want_writing()
            for kind, payload in worker.channel.receive():
                self._told(worker, kind, payload)
            if worker.alive and worker.channel.drained and (source == "exit" or not worker.channel.open):
                self._died(worker)

    def _told(self, worker: WorkerProcess, kind: bytes, payload: bytes) -> None:
        job = self._busy.get(worker)
        if job is None:
            return
        if kind == frames.STARTED:
            job.started = self._clock.elapsed()
            job.deadline = job.started + job.limits.seconds
        elif kind == frames.REPORTED:
            step, value = frames.REPORT.unpack(payload)
            self._events.append(Report(job.handle, step, value))
        elif job.overdue and kind != frames.VALUE:  # called code may take our question for an order to stop
            self._replace(worker, "timeout", _still_running(job))
        elif kind == frames.ERROR:
            job.error = _load_error(payload)
        elif kind == frames.MEMORY:
            self._replace(worker, "memory", payload.decode())
        elif kind == frames.QUIT:
            self._replace(worker, "died", payload.decode())
        else:
            del self._busy[worker]
            if job.overdue:  # the question may reach it only now, and would be one to the next call
                worker.kill()
            else:
                self._idle.append(worker)
            if kind == frames.RAISED:
                self._finish(job, "raised", reason=payload.decode())
            else:
                self._finish_with_value(job, payload)

    def _finish_with_value(self, job: _Job, payload: bytes) -> None:
        try:
            value = pickle.loads(payload)  # noqa: S301 from our own worker, running the operator's own code
        except Exception as error:  # noqa: BLE001 a type whose unpickling fails is its author's affair
            reason = f"returned what cannot be read back: {type(error).__name__}: {error}"
            self._finish(job, "raised", reason=reason)
        else:
            self._finish(job, "value", value=value)

    def _died(self, worker: WorkerProcess) -> None:
        job = self._busy.get(worker)
        if job is None:
            self._idle.remove(worker)
            worker.kill()
        elif job.started is None and job.handed_over == 1:  # what an earlier call left behind ended it
            del self._busy[worker]
            worker.kill()
            self._queue.appendleft(job)
        elif job.overdue:  # our question may end called code, yet what ended it is its deadline
            self._replace(worker, "timeout", _still_running(job))
        else:
            out_of_memory = job.limits.memory_mb is not None and "bad_alloc" in worker.tail()
            self._replace(worker, "memory" if out_of_memory else "died", None)

    def _kill_overdue(self, now: float) -> None:
        for worker, job in list(self._busy.items()):
            if now < job.deadline:
                continue
            if job.started is None:
                self._replace(worker, "died", f"its worker did not start within {START_SECONDS:g} s")
            elif job.overdue:
                self._replace(worker, "timeout", _still_running(job))
            else:
                job.overdue, job.deadline = True, now + DUMP_SECONDS
                worker.ask_where()

    def _replace(self, worker: WorkerProcess, kind: Kind, reason: str | None) -> None:
        """End a worker and its call; the next call to need one starts a fresh worker. No reason: the exit code's."""
        job = self._busy.pop(worker)
        said = worker.tail() if kind in ("timeout", "died", "memory") else ""
        code = worker.kill()
        first = ended(code) if reason is None else reason
        self._finish(job, kind, reason=f"{first}\nits last output: {said}" if said else first)

    def _finish(self, job: _Job, kind: Kind, *, value: object = None, reason: str = "") -> None:
        seconds = 0.0 if job.started is None else self._clock.elapsed() - job.started
        outcome = Outcome(kind, value, reason, seconds, job.error)
        self._outcomes[job.handle] = outcome
        self._events.append(Finished(job.handle, outcome))


def _still_running(job: _Job) -> str:
    return f"still running after {job.limits.seconds:g} s"


def _load_error(payload: bytes) -> VisuTilityError | None:
    try:
        error = pickle.loads(payload)  # noqa: S301 from our own worker
    except Exception:  # noqa: BLE001 its text comes anyway
        return None
    return error if isinstance(error, VisuTilityError) else None
