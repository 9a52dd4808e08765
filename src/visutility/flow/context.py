"""What a workflow's function is given: it asks for steps by `do`, for time by `wait`, for a person by `ask`.

The function runs from its start at every claim. What is recorded comes back from its row without running again, so
the function must ask for the same steps in the same order every time: no clock, no randomness, no reading of the world
outside of steps. Asking for others is found and fails the run.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, ParamSpec, final

from sqlalchemy import Connection, bindparam, insert, select

from visutility.core.codec import dumps, loads, to_text
from visutility.core.errors import Invalid, InvalidSetting, WorkflowDiverged
from visutility.core.ids import checked_name
from visutility.flow.lease import GIVE_BACK, Claim, check, hold, later
from visutility.flow.steps import Effect, Step, StepCall
from visutility.store.engine import Store, Tx
from visutility.store.schema import run_answer, run_step

P = ParamSpec("P")

NEVER: Final = "9999-12-31T23:59:59.999999Z"  # the wake_at of a run that waits for a person
MAX_WAIT: Final = 366 * 86_400  # seconds
ASK: Final = "ask:"  # begins the key of a question

_INSERT = insert(run_step)
_ANSWER = select(run_answer.c.value).where(
    run_answer.c.run_id == bindparam("run"), run_answer.c.question == bindparam("question")
)
_PARK = GIVE_BACK.values(
    status="waiting",
    wake_at=bindparam("wake"),
    waiting_for=bindparam("words"),
    owner=None,
    lease_until=None,
    attempts=0,
)


class Parked(BaseException):
    """The run was stored and released until it wakes. Not an Exception: no workflow should catch it."""


class Stopped(BaseException):
    """The worker is asked to end; the run goes back to the queue."""


@final
class RunContext:
    """One claim's way through a run. `id` is the run's; steps get everything else from their `StepCall`."""

    def __init__(
        self,
        store: Store,
        claim: Claim,
        recorded: list[tuple[str, str]],
        services: Any,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.id = claim.run_id
        self.at: str | None = None  # key of the step under way
        self._store = store
        self._claim = claim
        self._recorded = recorded  # (key, JSON) by position
        self._position = 0
        self._keys: set[str] = set()
        self._services = services
        self._stopping = stopping

    @property
    def attempt(self) -> int:
        """How many claims have tried the step under way, this one included."""
        return self._claim.attempt

    def do(self, step: Step[P] | Effect[P], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Return the step's recorded result; if there is none, run the step, record its result, and return that.

        Raises what the step raises, `Invalid` for a result JSON cannot hold, `WorkflowDiverged`, `Cancelled`, `Fenced`.
        """
        key = self._next_key(step.name)
        if self._has(key):
            return self._take()
        if isinstance(step, Step):
            self._check_stopping()
            started = self._now()
            with self._store.write(self._point(step.name)) as tx:
                hold(tx, self._claim)
                text = self._record(tx, key, step.function(tx, self._call(key), *args, **kwargs), started)
            return self._took(key, text)
        started = self._now()
        return self._keep(step.name, key, self._run(step, key, *args, **kwargs), started)

    def wait(self, effect: Effect[...], /, *args: Any, waiting_for: str, every: float, **kwargs: Any) -> Any:
        """Return the effect's recorded result, or try the effect now and every `every` seconds until it has one.

        While it returns None the run is stored as waiting for these words, and no process holds it.
        """
        if not 0 < every <= MAX_WAIT:
            raise InvalidSetting(
                f"{effect.name} is to be tried every {every!r} seconds", hint=f"choose above 0, at most {MAX_WAIT}"
            )
        key = self._next_key(effect.name)
        if self._has(key):
            return self._take()
        started = self._now()
        value = self._run(effect, key, *args, **kwargs)
        if value is not None:
            return self._keep(effect.name, key, value, started)
        with self._store.write(self._point(effect.name)) as tx:
            hold(tx, self._claim)
            self._park(tx, later(tx.clock, every), waiting_for)
        raise Parked

    def ask(self, question: str, words: str) -> Any:
        """Return what a person answered (`runs.answer`). Until somebody does, the run is stored as waiting.

        `question` names it, once in a run; `words` say it.
        """
        checked_name(question, "question")
        key = f"{ASK}{question}"
        if key in self._keys:
            raise Invalid(f"question {question!r} is asked twice", hint="give each question of a run its own name")
        self._keys.add(key)
        self.at = key
        asked = self._has(key)
        self._check_stopping()
        if asked:
            with self._store.read() as connection:
                answer = self._answer(connection, question)
            if answer is not None:
                self._take()
                return loads(answer)
        with self._store.write(self._point(question)) as tx:
            hold(tx, self._claim)
            if not asked:
                self._recorded.append((key, self._record(tx, key, words, self._now())))
            answer = self._answer(tx.connection, question)  # nobody can answer while this transaction is open
            if answer is None:
                self._park(tx, NEVER, words)
        if answer is None:
            raise Parked
        self._take()
        return loads(answer)

    def end(self) -> None:
        """Raise `WorkflowDiverged` if the function ended before it had asked for everything that is recorded."""
        if self._position < len(self._recorded):
            raise self._diverged("its end")

    def _next_key(self, name: str) -> str:
        key, again = name, 1
        while key in self._keys:
            again += 1
            key = f"{name}#{again}"
        self._keys.add(key)
        self.at = key
        return key

    def _has(self, key: str) -> bool:
        if self._position == len(self._recorded):
            return False
        if self._recorded[self._position][0] != key:
            raise self._diverged(repr(key))
        return True

    def _take(self) -> Any:
        text = self._recorded[self._position][1]
        self._position += 1
        return loads(text)

    def _run(self, effect: Effect[...], key: str, /, *args: Any, **kwargs: Any) -> Any:
        self._check()
        return effect.function(self._call(key), *args, **kwargs)

    def _keep(self, name: str, key: str, value: object, started: str) -> Any:
        with self._store.write(self._point(name)) as tx:
            hold(tx, self._claim, cancel=False)  # it happened: somebody's wish to stop does not undo it
            text = self._record(tx, key, value, started)
        return self._took(key, text)

    def _record(self, tx: Tx, key: str, value: object, started: str) -> str:
        text = dumps(value)
        tx.execute(
            _INSERT,
            {
                "run_id": self.id,
                "key": key,
                "position": self._position,
                "result": text,
                "attempt": self._claim.attempt,
                "started_at": started,
                "finished_at": tx.now(),
            },
        )
        return text

    def _took(self, key: str, text: str) -> Any:
        self._recorded.append((key, text))
        self._claim = replace(self._claim, attempt=1)
        return self._take()

    def _answer(self, connection: Connection, question: str) -> str | None:
        return connection.execute(_ANSWER, {"run": self.id, "question": question}).scalar()

    def _park(self, tx: Tx, wake: str, words: str) -> None:
        tx.execute(_PARK, {**self._claim.keys, "wake": wake, "words": words})

    def _call(self, key: str) -> StepCall:
        clock = self._store.clock
        return StepCall(self.id, f"{self.id}/{key}", self._services, clock, self._claim.attempt, self._check)

    def _check(self) -> None:
        self._check_stopping()
        check(self._store, self._claim)

    def _check_stopping(self) -> None:
        if self._stopping():
            raise Stopped

    def _diverged(self, asked: str) -> WorkflowDiverged:
        return WorkflowDiverged(
            f"run {self.id} has {self._recorded[self._position][0]!r} recorded at position {self._position}, "
            f"its workflow came to {asked}",
            hint="ask for the same steps in the same order, or raise the workflow's version and add an upgrader",
        )

    def _point(self, name: str) -> str:
        return f"{self._claim.workflow}.{name}"

    def _now(self) -> str:
        return to_text(self._store.clock.now())
