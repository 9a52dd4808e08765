"""The contract of an executor: it runs calls elsewhere, each with a deadline, and says how each one ended.

Every submission ends in exactly one `Finished`, whatever the called code does. `Outcome.kind` says how:

    value      it returned; `value` is what it returned
    raised     it raised, or returned what cannot be pickled, or could not be imported
    timeout    it ran past its deadline and was killed
    memory     it asked for more memory than its limit
    died       its process ended before a result: a signal, `os._exit`, `sys.exit`, code 0 included
    cancelled  somebody asked for it to stop: it was killed, or never started
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self, final

from visutility.core.errors import Cancelled, Invalid, InvalidSetting, TrialFailed, VisuTilityError

Kind = Literal["value", "raised", "timeout", "memory", "died", "cancelled"]
MAX_SECONDS: Final = 10_000_000  # 115 days


@final
@dataclass(frozen=True, slots=True)
class Call:
    """A function, named by where it is imported from, and its arguments, which must be picklable.

    A target with a parameter named `report` is given a `report(step: int, value: float)` to tell how it is getting on.
    """

    target: str  # "package.module:qualified.name"
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        module, colon, name = self.target.partition(":")
        if not colon or not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
            raise Invalid(f"target {self.target!r} is not an import path", hint="write it as 'package.module:function'")

    @classmethod
    def of(cls, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Call":
        """Return the call of a function of an importable module.

        Raises `Invalid` for lambdas, functions inside functions and functions of the script being run: another
        process could not import those.
        """
        module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
        if not module or not name or "<" in name or module == "__main__":
            raise Invalid(
                f"{function!r} cannot be imported by another process",
                hint="define it at the top of a module, and name a script's own by the script: 'script:function'",
            )
        return cls(f"{module}:{name}", args, kwargs)


@final
@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may take: seconds from its start, and megabytes on top of what its process held at the start."""

    seconds: float
    memory_mb: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= MAX_SECONDS:
            raise InvalidSetting(
                f"a deadline of {self.seconds!r} seconds", hint=f"choose above 0, at most {MAX_SECONDS}"
            )
        if self.memory_mb is not None and self.memory_mb < 1:
            raise InvalidSetting(f"a memory limit of {self.memory_mb!r} MB", hint="choose 1 or more, or None")


@final
@dataclass(frozen=True, slots=True, weakref_slot=True)
class Handle:
    """Names one submission to one executor."""

    id: int


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended. `reason` is empty for a value; its first line says what happened, the rest where.

    `seconds` is how long it ran, 0 if it never started. `error` is the exception itself when it was one of ours.
    """

    kind: Kind
    value: Any = None
    reason: str = ""
    seconds: float = 0.0
    error: VisuTilityError | None = None

    def result(self) -> Any:
        """Return the value, or raise: our own error as it was, `Cancelled`, or `TrialFailed` with the reason."""
        if self.kind == "value":
            return self.value
        if self.error is not None:
            raise self.error
        if self.kind == "cancelled":
            raise Cancelled(self.reason)
        raise TrialFailed(f"{self.kind}: {self.reason}")


@final
@dataclass(frozen=True, slots=True)
class Report:
    """An intermediate value that a running call told."""

    handle: Handle
    step: int
    value: float


@final
@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a submission."""

    handle: Handle
    outcome: Outcome


class Executor(Protocol):
    """Runs calls elsewhere. One thread drives it; nothing moves, deadlines included, unless that thread polls."""

    def submit(self, call: Call, limits: Limits) -> Handle:
        """Queue a call. Raises `Invalid` when its arguments cannot be pickled and `Closed` after `close`."""

    def poll(self, timeout: float | None = None) -> list[Report | Finished]:
        """Return what happened since the last poll, in order, waiting up to `timeout` seconds for something to.

        None waits as long as it takes. With nothing queued or running it returns at once.
        """

    def cancel(self, handle: Handle) -> None:
        """Kill a running call, or forget a queued one; its `Finished` says "cancelled". Ended ones stay as they are."""

    def outcome(self, handle: Handle) -> Outcome | None:
        """Return how a call ended, None while it has not. Kept for as long as the handle itself is."""

    def close(self) -> None:
        """Cancel everything and give back every process; a second time does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: type[BaseException] | BaseException | TracebackType | None) -> None: ...


def run_call(
    executor: Executor,
    call: Call,
    limits: Limits,
    *,
    check: Callable[[], None] = lambda: None,
    on_report: Callable[[int, float], bool] = lambda _step, _value: True,
    every: float = 0.5,
) -> Outcome:
    """Submit one call to an executor that runs nothing else, and drive it to its end.

    `check` is called every `every` seconds; when it raises (cancelled, fenced), the call is killed and the error
    passes. `on_report(step, value)` gets each report; answering False prunes: the call is killed, "cancelled".
    """
    handle = executor.submit(call, limits)
    try:
        while (outcome := executor.outcome(handle)) is None:
            check()
            for event in executor.poll(every):
                pruned = isinstance(event, Report) and not on_report(event.step, event.value)
                if pruned and event.handle == handle:
                    executor.cancel(handle)
    finally:
        executor.cancel(handle)
    return outcome
