"""Steps: what a workflow does to the world, each recorded under its run.

A `Step` writes to our database in the transaction that records it, so it happens once. An `Effect` reaches outside, so
it runs at least once, under an idempotency key that stays the same however often it runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, final

from visutility.core.clock import Clock
from visutility.core.ids import checked_name
from visutility.store.engine import Tx

P = ParamSpec("P")


@final
@dataclass(frozen=True, slots=True)
class StepCall:
    """What a step is told about the call it serves.

    `key` is the idempotency key, "<run id>/<step>": equal for every attempt at this step of this run, and for no other.
    `attempt` counts from 1. A long effect calls `check()` now and then: it raises `Cancelled` when somebody asked for
    the run to stop and `Fenced` when the run passed to another worker, and is to be let through.
    """

    run_id: str
    key: str
    services: Any
    clock: Clock
    attempt: int
    check: Callable[[], None]


@final
@dataclass(frozen=True, slots=True)
class Step(Generic[P]):
    """A function of `(tx, call, *args)` that commits together with the record of its result."""

    name: str
    function: Callable[Concatenate[Tx, StepCall, P], Any]

    def __post_init__(self) -> None:
        checked_name(self.name, "step")


@final
@dataclass(frozen=True, slots=True)
class Effect(Generic[P]):
    """A function of `(call, *args)` whose result is recorded after it; a crash in between has it run again."""

    name: str
    function: Callable[Concatenate[StepCall, P], Any]

    def __post_init__(self) -> None:
        checked_name(self.name, "effect")


def step(name: str) -> Callable[[Callable[Concatenate[Tx, StepCall, P], Any]], Step[P]]:
    """Make a `Step` of a function: short, and touching nothing but the transaction, which holds the write lock.

    Its result is JSON-able. The workflow always sees the result as it comes back from JSON, in the first run as in a
    resumed one: a tuple is a list, a dataclass a dict.
    """

    def made(function: Callable[Concatenate[Tx, StepCall, P], Any]) -> Step[P]:
        return Step(name, function)

    return made


def effect(name: str) -> Callable[[Callable[Concatenate[StepCall, P], Any]], Effect[P]]:
    """Make an `Effect` of a function: as long as it takes, and safe to run again under the same `call.key`.

    Its result is JSON-able, and seen as it comes back from JSON.
    """

    def made(function: Callable[Concatenate[StepCall, P], Any]) -> Effect[P]:
        return Effect(name, function)

    return made
