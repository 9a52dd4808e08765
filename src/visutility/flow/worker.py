"""A worker drives runs, one at a time: claim, replay, go on, give back. Any number of them share a database."""

import contextlib
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, final

from sqlalchemy import bindparam, select

from visutility.core.codec import dumps, to_text
from visutility.core.errors import (
    Cancelled,
    Fenced,
    Invalid,
    InvalidSetting,
    RunNotFound,
    Unavailable,
    VisuTilityError,
)
from visutility.flow import lease, runs, workflows
from visutility.flow.context import Parked, RunContext, Stopped
from visutility.flow.lease import GIVE_BACK, Claim
from visutility.flow.workflows import Workflow
from visutility.store.engine import Store, Tx
from visutility.store.schema import run

MAX_ATTEMPTS: Final = 10  # claims that may try one step: what is unavailable, or kills its worker, that often fails
MAX_FAILURE: Final = 4000  # characters kept of why a run failed

_ROW = select(run).where(run.c.id == bindparam("run"))
_FREE: Final = {"owner": None, "lease_until": None}
_FINISH = GIVE_BACK.values(
    status=bindparam("ended"),
    outcome=bindparam("result"),
    failure=bindparam("reason"),
    finished_at=bindparam("now"),
    waiting_for=None,
    **_FREE,
)
_RETRY = GIVE_BACK.values(status="waiting", wake_at=bindparam("wake"), waiting_for=bindparam("words"), **_FREE)
_RELEASE = GIVE_BACK.values(status="queued", wake_at=bindparam("now"), attempts=run.c.attempts - 1, **_FREE)


@final
class Worker:
    """Drives the runs of these workflows. `services` is what their steps work with, handed to each as it is.

    `lease_seconds` is how long another host waits before it takes over a run whose worker went silent; on this host a
    dead worker is noticed at once. `on_driven` hears the id of each run that was driven as far as it went. `on_broken`
    takes part in the transaction that ends a run as failed or cancelled, with its id and why. One thread drives a
    worker.
    """

    def __init__(
        self,
        store: Store,
        workflows: Mapping[str, Workflow],
        services: Any = None,
        *,
        owner: str | None = None,
        lease_seconds: float = 30.0,
        actor: str = "worker",
        on_driven: Callable[[str], None] = lambda _run_id: None,
        on_broken: Callable[[Tx, str, str], None] = lambda _tx, _run_id, _why: None,
    ) -> None:
        if not lease_seconds > 0:
            raise InvalidSetting(f"a lease of {lease_seconds!r} seconds", hint="choose a number above 0")
        if wrong := [key for key, one in workflows.items() if one.name != key]:
            raise InvalidSetting(f"workflows listed under other names than their own: {wrong}", hint="use their names")
        self.owner = owner or lease.new_owner()
        self._store = store
        self._workflows = dict(workflows)
        self._services = services
        self._lease_seconds = lease_seconds
        self._actor = actor
        self._on_driven = on_driven
        self._on_broken = on_broken
        self._stop = threading.Event()
        known = lease.may_be_due({name: one.drivable for name, one in self._workflows.items()})
        due = (run.c.id, run.c.status, run.c.wake_at, run.c.lease_until, run.c.owner)
        self._due = select(*due).where(known).order_by(run.c.wake_at, run.c.id)

    def run_once(self, run_id: str | None = None) -> str | None:
        """Drive the run that has been due longest, or the one named, as far as it goes now; return its id.

        None: nothing is due. What a run raises ends in its row, not here. Raises `RunNotFound` and `WorkflowNotFound`
        for a named run, and what the database raises; the run then goes on from its last step at a later claim.
        """
        while (found := run_id or self._find()) is not None:
            claim = self._claim(found)
            if claim is not None:
                self._drive(claim)
                self._on_driven(found)
                return found
            if run_id is not None:
                return None
        return None

    def run_until_idle(self) -> int:
        """Drive runs until none is due; return how many times one was driven."""
        driven = 0
        while self.run_once() is not None:
            driven += 1
        return driven

    def serve(self, stop: threading.Event, *, poll_seconds: float = 0.5) -> None:
        """Drive runs as they come due until `stop` is set; the run under way then goes back to the queue."""
        self._stop = stop
        try:
            while not stop.is_set():
                with contextlib.suppress(Unavailable):
                    if self.run_once() is not None:
                        continue
                stop.wait(poll_seconds)
        finally:
            self._stop = threading.Event()

    def _find(self) -> str | None:
        now = to_text(self._store.clock.now())
        with self._store.read() as connection:
            for row in connection.execute(self._due, {"now": now}):
                if lease.is_due(row, now):
                    return str(row.id)
        return None

    def _claim(self, run_id: str) -> Claim | None:
        with self._store.write("flow.claim") as tx:
            row = tx.execute(_ROW, {"run": run_id}).one_or_none()
            if row is None:
                raise RunNotFound(f"there is no run {run_id!r}", hint="`visutility runs list` shows them")
            if not lease.is_due(row, tx.now()):
                return None
            workflows.find(self._workflows, row.workflow, row.workflow_version)
            return lease.claim(tx, row, self.owner, self._lease_seconds)

    def _drive(self, claim: Claim) -> None:
        with contextlib.suppress(Fenced), lease.Heartbeat(self._store, claim, self._lease_seconds):
            if claim.attempt > MAX_ATTEMPTS:
                self._finish(claim, "failed", reason=f"{MAX_ATTEMPTS} workers in a row died at its next step")
                return
            workflow = self._workflows[claim.workflow]
            try:
                request, recorded = workflows.load(self._store, claim, workflow, by=self._actor)
            except Exception as error:  # noqa: BLE001 an upgrader is user code; a broken one must not end the run
                self._retry(claim, claim.attempt, error, "upgrade")
                return
            self._run(claim, RunContext(self._store, claim, recorded, self._services, self._stop.is_set), request)

    def _run(self, claim: Claim, context: RunContext, request: dict[str, Any]) -> None:
        try:
            outcome = self._workflows[claim.workflow].function(context, request)
            context.end()
            if not isinstance(outcome, dict):
                raise Invalid(f"workflow {claim.workflow} returned {outcome!r:.80}", hint="return a dict")
            result = dumps(outcome)
        except Parked:
            return
        except Fenced:
            raise
        except Cancelled as error:
            self._finish(claim, "cancelled", reason=str(error))
        except Unavailable as error:
            self._retry(claim, context.attempt, error, context.at)
        except Exception as error:  # noqa: BLE001 whatever a workflow raises ends its run, not its worker
            self._finish(claim, "failed", reason=_reason(error, context.at))
        except BaseException as error:  # the process is asked to stop
            self._release(claim)
            if not isinstance(error, Stopped):
                raise
        else:
            self._finish(claim, "done", result=result)

    def _finish(self, claim: Claim, status: str, *, result: str | None = None, reason: str | None = None) -> None:
        def write(tx: Tx) -> None:
            if status != "done":
                self._on_broken(tx, claim.run_id, reason or status)
            runs.log_end(tx, claim.run_id, status, by=self._actor, why=reason or "")

        values = {"now": to_text(self._store.clock.now()), "ended": status, "result": result, "reason": reason}
        self._give_back("flow.finish", _FINISH, claim, values, write)

    def _retry(self, claim: Claim, attempt: int, error: Exception, at: str | None) -> None:
        reason = _reason(error, at)
        if attempt >= MAX_ATTEMPTS:
            self._finish(claim, "failed", reason=f"{reason} ({attempt} attempts)")
            return
        words = f"attempt {attempt + 1} of {MAX_ATTEMPTS}, after {reason}"
        wake = lease.later(self._store.clock, min(2.0 ** (attempt - 1), 300.0))
        self._give_back("flow.retry", _RETRY, claim, {"wake": wake, "words": words})

    def _release(self, claim: Claim) -> None:
        with contextlib.suppress(VisuTilityError):  # whatever it is, the lease ends
            self._give_back("flow.release", _RELEASE, claim, {"now": to_text(self._store.clock.now())})

    def _give_back(
        self,
        name: str,
        statement: Any,
        claim: Claim,
        values: Mapping[str, Any],
        write: Callable[[Tx], None] = lambda _tx: None,
    ) -> None:
        with self._store.write(name) as tx:
            if tx.execute(statement, {**claim.keys, **values}).rowcount != 1:
                raise lease.fenced(claim)
            write(tx)


def _reason(error: Exception, at: str | None) -> str:
    """Say at which step, what, and for an error that is not ours, where."""
    said = f"{at or 'its workflow'}: {type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    if frames and not isinstance(error, VisuTilityError):
        said += f" ({Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name})"
    said = said.encode(errors="backslashreplace").decode().replace("\x00", "\\x00")  # a message may quote any bytes
    return said[:MAX_FAILURE]
