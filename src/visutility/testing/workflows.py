"""What every workflow promises: interrupted anywhere and resumed, it leaves the same world. "Run twice, same world."

    @pytest.mark.parametrize("check", WORKFLOW_CHECKS)
    def test_conformance(check, tmp_path):
        check(my_workflow, make_world, tmp_path)

Each step and effect is run to its end and interrupted before its result is recorded, as a crash would, then run again;
and the run is interrupted once more after each record. The world must look as if nothing had happened.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from visutility.core.codec import dumps
from visutility.flow import Effect, Run, RunContext, Step, StepCall, Worker, Workflow, runs
from visutility.store import audit
from visutility.store.engine import Store, Tx
from visutility.testing._expect import expect_equal

MOST_CLAIMS: Final = 10_000


@dataclass(frozen=True, slots=True)
class World:
    """Where a workflow runs. Two of them, made alike, must be equal but for ids and times."""

    store: Store  # with every table
    services: Any  # what the steps work with
    start: Callable[[Tx], str]  # queue the run and return its id
    nudge: Callable[[Run], None]  # nothing is due: let time pass, bring what it waits for, answer what it asks
    look: Callable[[], Any]  # what there is, without ids and times


MakeWorld = Callable[[Path], World]


class Interrupted(BaseException):
    """Stands for the end of a worker."""


def drive_to_end(workflow: Workflow, world: World) -> Run:
    """Start the run and drive it, with a new worker after each interruption, until it has ended."""
    with world.store.write("testing.start") as tx:
        run_id = world.start(tx)
    for _ in range(MOST_CLAIMS):
        with world.store.read() as connection:
            found = runs.get(connection, run_id)
        if found.ended:
            return found
        worker = Worker(world.store, {workflow.name: workflow}, world.services)
        try:
            if worker.run_once() is None:
                world.nudge(found)
        except Interrupted:
            continue
    raise AssertionError(f"run {run_id} has not ended after {MOST_CLAIMS} claims")


def interrupted_everywhere(workflow: Workflow) -> Workflow:
    """Return the workflow with a worker that ends at each step: once before its record, once after."""
    met: set[str] = set()

    def function(run: RunContext, request: dict[str, Any]) -> dict[str, Any]:
        return workflow.function(cast("RunContext", _Interrupting(run, met)), request)

    return Workflow(workflow.name, workflow.version, function, workflow.upgraders)


def check_interrupted_anywhere_it_leaves_the_same_world(workflow: Workflow, make: MakeWorld, folder: Path) -> None:
    """Every step run twice, every claim cut short: same outcome, same recorded steps, same world, whole audit log."""
    worlds = []
    for name, how in (("calm", workflow), ("interrupted", interrupted_everywhere(workflow))):
        (folder / name).mkdir()
        world = make(folder / name)
        ended = drive_to_end(how, world)
        expect_equal(ended.status, "done", f"the {name} run ({ended.failure})")
        with world.store.read() as connection:
            expect_equal(audit.verify(connection), [], "what the audit log finds")
            keys = [one.key for one in runs.steps(connection, ended.id)]
        worlds.append((keys, world.look()))
        world.store.close()
    expect_equal(worlds[1][0], worlds[0][0], "the steps of the interrupted run")
    expect_equal(worlds[1][1], worlds[0][1], "the world of the interrupted run")


def check_its_code_alone_decides_nothing(workflow: Workflow, make: MakeWorld, folder: Path) -> None:
    """Replayed from its records alone, once it has ended, the function comes to the same outcome and runs no step."""
    (folder / "replayed").mkdir()
    world = make(folder / "replayed")
    ended = drive_to_end(workflow, world)
    with world.store.read() as connection:
        results = {one.key: one.result for one in runs.steps(connection, ended.id)}
        answers = {one.name: one.answer for one in runs.questions(connection, ended.id)}
    for _ in range(2):
        outcome = workflow.function(cast("RunContext", _Replaying(ended.id, results, answers)), dict(ended.request))
        expect_equal(dumps(outcome), dumps(ended.outcome), "the replayed outcome")
    world.store.close()


Check = Callable[[Workflow, MakeWorld, Path], None]
WORKFLOW_CHECKS: Final[tuple[Check, ...]] = (
    check_interrupted_anywhere_it_leaves_the_same_world,
    check_its_code_alone_decides_nothing,
)


class _Keys:
    """Names steps as a run does: repeats get '#2' and on."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def next(self, name: str) -> str:
        key, again = name, 1
        while key in self._seen:
            again += 1
            key = f"{name}#{again}"
        self._seen.add(key)
        return key


class _Interrupting:
    def __init__(self, run: RunContext, met: set[str]) -> None:
        self.id = run.id
        self._run = run
        self._met = met
        self._keys = _Keys()

    def do(self, step: Step[...] | Effect[...], /, *args: Any, **kwargs: Any) -> Any:
        key = self._keys.next(step.name)
        value = self._run.do(self._cut(step, key), *args, **kwargs)
        self._once(f"{key} is recorded")
        return value

    def wait(self, effect: Effect[...], /, *args: Any, waiting_for: str, every: float, **kwargs: Any) -> Any:
        key = self._keys.next(effect.name)
        cut = cast("Effect[...]", self._cut(effect, key, polled=True))
        value = self._run.wait(cut, *args, waiting_for=waiting_for, every=every, **kwargs)
        self._once(f"{key} is recorded")
        return value

    def ask(self, question: str, words: str) -> Any:
        self._once(f"{question} is to be asked")
        answer = self._run.ask(question, words)
        self._once(f"{question} is answered")
        return answer

    def _once(self, where: str) -> None:
        if where not in self._met:
            self._met.add(where)
            raise Interrupted(where)

    def _cut(self, step: Step[...] | Effect[...], key: str, *, polled: bool = False) -> Step[...] | Effect[...]:
        if isinstance(step, Step):
            whole = step.function

            def cut_step(tx: Tx, call: StepCall, *args: Any, **kwargs: Any) -> Any:
                value = whole(tx, call, *args, **kwargs)
                self._once(f"{key} has run")
                return value

            return Step(step.name, cut_step)
        effect = step.function

        def cut_effect(call: StepCall, *args: Any, **kwargs: Any) -> Any:
            value = effect(call, *args, **kwargs)
            if value is not None or not polled:
                self._once(f"{key} has run")
            return value

        return Effect(step.name, cut_effect)


class _Replaying:
    def __init__(self, run_id: str, results: dict[str, Any], answers: dict[str, Any]) -> None:
        self.id = run_id
        self._results = results
        self._answers = answers
        self._keys = _Keys()

    def do(self, step: Step[...] | Effect[...], /, *_args: Any, **_kwargs: Any) -> Any:
        key = self._keys.next(step.name)
        if key not in self._results:
            raise AssertionError(f"replayed, the workflow asks for step {key!r}, which its run has not recorded")
        return self._results[key]

    def wait(self, effect: Effect[...], /, *args: Any, **kwargs: Any) -> Any:
        return self.do(effect, *args, **kwargs)

    def ask(self, question: str, _words: str) -> Any:
        return self._answers[question]
