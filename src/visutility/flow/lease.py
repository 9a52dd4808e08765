"""Who may drive a run: a lease, a fencing token, and how to see that the holder of a lease is dead.

A claim grows the run's fence; every commit of a worker asks for the fence it claimed under, so that a worker which
lost its run, having been stopped or cut off, can change nothing any more, however late it wakes.
"""

import contextlib
import os
import platform
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, final

from sqlalchemy import ColumnElement, and_, bindparam, false, or_, select, update

from visutility.core.clock import Clock
from visutility.core.codec import to_text
from visutility.core.errors import Cancelled, Fenced, VisuTilityError
from visutility.store.engine import Store, Tx
from visutility.store.schema import run

_UNKNOWN: Final = "-"
_mine = and_(run.c.id == bindparam("run"), run.c.fence == bindparam("token"), run.c.status == "running")
_HOLD = update(run).where(_mine, run.c.cancel_requested <= bindparam("tolerated")).values(attempts=1)
_EXTEND = update(run).where(_mine).values(lease_until=bindparam("until"))
_CLAIM = (
    update(run)
    .where(run.c.id == bindparam("run"), run.c.fence == bindparam("token"))
    .values(
        status="running",
        fence=run.c.fence + 1,
        attempts=run.c.attempts + 1,
        owner=bindparam("worker"),
        lease_until=bindparam("until"),
        waiting_for=None,
    )
)
_STATE = select(run.c.fence, run.c.status, run.c.cancel_requested).where(run.c.id == bindparam("run"))
GIVE_BACK: Final = update(run).where(_mine)  # with the values of whatever comes after this claim


@final
@dataclass(frozen=True, slots=True)
class Claim:
    """The right to drive a run, for as long as its fence is the newest."""

    run_id: str
    workflow: str
    version: int  # of the workflow whose code wrote what is recorded
    request: str  # JSON
    fence: int
    attempt: int  # at the step under way, from 1

    @property
    def keys(self) -> dict[str, Any]:
        """What the statements that ask for the fence are bound to."""
        return {"run": self.run_id, "token": self.fence}


def claim(tx: Tx, row: Any, owner: str, lease_seconds: float) -> Claim:
    """Take over a run that is due, as this transaction read it."""
    until = later(tx.clock, lease_seconds)
    tx.execute(_CLAIM, {"run": row.id, "token": row.fence, "worker": owner, "until": until})
    return Claim(row.id, row.workflow, row.workflow_version, row.request, row.fence + 1, row.attempts + 1)


def hold(tx: Tx, held: Claim, *, cancel: bool = True) -> None:
    """Make sure, for the rest of the transaction, that the run is still ours.

    Raises `Fenced` when it is not, and, if `cancel`, `Cancelled` when somebody asked for it to stop.
    """
    if tx.execute(_HOLD, {**held.keys, "tolerated": 0 if cancel else 1}).rowcount != 1:
        _refuse(tx.execute(_STATE, {"run": held.run_id}).one_or_none(), held)


def check(store: Store, held: Claim) -> None:
    """Raise `Fenced` or `Cancelled` if the run is no longer ours, or is to stop."""
    with store.read() as connection:
        _refuse(connection.execute(_STATE, {"run": held.run_id}).one_or_none(), held)


def fenced(held: Claim) -> Fenced:
    """Return the error for a worker that lost its run."""
    return Fenced(
        f"run {held.run_id} passed to another worker after claim {held.fence}",
        hint="nothing to do: that worker carries on from the last recorded step",
    )


def later(clock: Clock, seconds: float) -> str:
    """Return the stored text of the time that many seconds from now."""
    return to_text(clock.now() + timedelta(seconds=seconds))


def _refuse(row: Any, held: Claim) -> None:
    if row is None or row.fence != held.fence or row.status != "running":
        raise fenced(held)
    if row.cancel_requested:
        raise Cancelled(f"run {held.run_id} was asked to stop")


def may_be_due(versions: Mapping[str, frozenset[int]]) -> ColumnElement[bool]:
    """Return the condition of the runs of these workflows and versions that a claim has to look at, bound to `now`."""
    known = [and_(run.c.workflow == name, run.c.workflow_version.in_(sorted(v))) for name, v in versions.items()]
    waiting = and_(run.c.status.in_(("queued", "waiting")), run.c.wake_at <= bindparam("now"))
    return and_(or_(false(), *known), or_(waiting, run.c.status == "running"))


def is_due(row: Any, now: str) -> bool:
    """Return whether a run may be claimed: it waits for nobody, or whoever drives it is gone."""
    if row.status == "running":
        return row.lease_until is None or row.lease_until <= now or is_dead(row.owner)
    return row.status in ("queued", "waiting") and row.wake_at <= now


@final
class Heartbeat:
    """Extends a lease from a thread of its own for as long as the block lasts, or until the run is lost."""

    def __init__(self, store: Store, held: Claim, lease_seconds: float) -> None:
        self._store = store
        self._claim = held
        self._seconds = lease_seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease of {held.run_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._end.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._end.wait(self._seconds / 3):
            with contextlib.suppress(VisuTilityError), self._store.write("flow.heartbeat") as tx:
                until = later(tx.clock, self._seconds)
                if tx.execute(_EXTEND, {**self._claim.keys, "until": until}).rowcount != 1:
                    return  # lost: the worker learns it at its next check or commit


# -- owners ------------------------------------------------------------------------------------------------------------


def new_owner() -> str:
    """Return a name for a worker of this process: "host:boot:pid:start:nonce", so that others can see it die."""
    pid = os.getpid()
    return f"{platform.node()}:{_boot()}:{pid}:{_started(pid) or _UNKNOWN}:{secrets.token_hex(4)}"


def is_dead(owner: str | None) -> bool:
    """Return whether the owner's process ran on this host, since its last start, and is gone.

    Of an owner elsewhere nothing is known, so it counts as alive until its lease ends.
    """
    parts = (owner or "").rsplit(":", 4)
    if len(parts) != 5 or parts[:2] != [platform.node(), _boot()] or not parts[2].isdecimal():
        return False
    pid, started = int(parts[2]), parts[3]
    if started != _UNKNOWN:
        return _started(pid) != started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _boot() -> str:
    """Name this start of this machine and this container's own process numbers, which others do not share."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return _UNKNOWN


def _started(pid: int) -> str | None:
    """Return when a process started, in ticks since the machine did; None when it is gone, a zombie, or unknowable."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
