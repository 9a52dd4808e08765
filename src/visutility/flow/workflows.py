"""Workflows: a name, a version, a function, and how to carry over the runs that an earlier version began."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from sqlalchemy import bindparam, delete, insert, select, update

from visutility.core.codec import dumps, loads
from visutility.core.errors import InvalidSetting, WorkflowNotFound
from visutility.core.ids import checked_name
from visutility.flow.context import RunContext
from visutility.flow.lease import Claim, hold
from visutility.store import audit
from visutility.store.engine import Store
from visutility.store.schema import run, run_step

_STEPS = select(run_step).where(run_step.c.run_id == bindparam("run")).order_by(run_step.c.position)
_FORGET = delete(run_step).where(run_step.c.run_id == bindparam("run"))
_CARRY = (
    update(run)
    .where(run.c.id == bindparam("run"))
    .values(workflow_version=bindparam("new_version"), request=bindparam("new_request"))
)


@final
@dataclass(frozen=True, slots=True)
class Recorded:
    """What a run has so far: its request, and the results of its steps by key, in the order they were recorded."""

    request: dict[str, Any]
    results: dict[str, Any]


Upgrader = Callable[[Recorded], Recorded]


@final
@dataclass(frozen=True, slots=True)
class Workflow:
    """A function of `(run, request)` that returns its outcome, a dict; it must ask for the same steps every time.

    Raise `version` when steps are added, removed, renamed or reordered, and say in `upgraders[n]` how what version n
    recorded becomes what version n + 1 would have: runs under way go on under the new code. A run for which no chain
    of upgraders leads here stays queued until a release that has one.
    """

    name: str
    version: int
    function: Callable[[RunContext, dict[str, Any]], dict[str, Any]]
    upgraders: Mapping[int, Upgrader] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_name(self.name, "workflow")
        if self.version < 1:
            raise InvalidSetting(f"workflow {self.name} has version {self.version}", hint="versions count from 1")
        if strange := [n for n in self.upgraders if not 1 <= n < self.version]:
            raise InvalidSetting(
                f"workflow {self.name} of version {self.version} has upgraders from {strange}",
                hint=f"upgrade from 1 to {self.version - 1}",
            )

    @property
    def drivable(self) -> frozenset[int]:
        """The versions of runs that this one can drive: its own, and those its upgraders lead here from."""
        oldest = self.version
        while oldest - 1 in self.upgraders:
            oldest -= 1
        return frozenset(range(oldest, self.version + 1))


def workflow(
    name: str, version: int = 1, upgraders: Mapping[int, Upgrader] | None = None
) -> Callable[[Callable[[RunContext, dict[str, Any]], dict[str, Any]]], Workflow]:
    """Make a `Workflow` of a function."""

    def made(function: Callable[[RunContext, dict[str, Any]], dict[str, Any]]) -> Workflow:
        return Workflow(name, version, function, upgraders or {})

    return made


def find(workflows: Mapping[str, Workflow], name: str, version: int) -> Workflow:
    """Return the workflow that can drive a run of that name and version. Raises `WorkflowNotFound`."""
    found = workflows.get(name)
    if found is not None and version in found.drivable:
        return found
    knows = "none of that name" if found is None else f"versions {sorted(found.drivable)}"
    raise WorkflowNotFound(
        f"workflow {name!r} version {version} is not known here, {knows} is",
        hint="the run stays as it is: drive it with a release that knows the version or has an upgrader from it",
    )


def load(store: Store, held: Claim, to: Workflow, *, by: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return a claimed run's request and its recorded (key, JSON) by position, upgraded to the workflow's version."""
    with store.read() as connection:
        rows = connection.execute(_STEPS, {"run": held.run_id}).mappings().all()
    if held.version == to.version:
        return loads(held.request), [(row["key"], row["result"]) for row in rows]
    has = Recorded(loads(held.request), {row["key"]: loads(row["result"]) for row in rows})
    for version in range(held.version, to.version):
        has = to.upgraders[version](has)
    request, results = dumps(has.request), {key: dumps(value) for key, value in has.results.items()}
    with store.write("flow.upgrade") as tx:
        hold(tx, held, cancel=False)
        kept = {row["key"]: row for row in rows}
        new = {"attempt": held.attempt, "started_at": tx.now(), "finished_at": tx.now()}
        tx.execute(_FORGET, {"run": held.run_id})
        for position, (key, result) in enumerate(results.items()):
            record = {**new, **kept.get(key, {}), "run_id": held.run_id, "key": key}
            tx.execute(insert(run_step), {**record, "position": position, "result": result})
        tx.execute(_CARRY, {"run": held.run_id, "new_version": to.version, "new_request": request})
        audit.append(
            tx,
            "run.upgraded",
            f"run/{held.run_id}",
            by=by,
            why=f"{to.name} is at version {to.version}",
            before={"version": held.version, "request": loads(held.request), "steps": list(kept)},
            after={"version": to.version, "request": has.request, "steps": list(results)},
            covers=[("run", (held.run_id,))],
        )
    return loads(request), list(results.items())
