"""The same seed and the same order of completion give the same trials by number: whoever works, however often it dies.

A schedule says when to ask and which trial under way ends next. It is played by 1, 2 or 4 workers in turn, on studies
that are opened afresh or restored at any point, and by processes that are killed at any commit.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from visutility.core.clock import SystemClock
from visutility.core.rng import rng
from visutility.registry import studies
from visutility.registry.studies import DurableStudy
from visutility.store import Store, audit, upgrade
from visutility.tune import STRATEGIES, Choice, Equals, Failure, Float, Int, Space, Study, Trial

SPACE = Space(
    {
        "momentum": Float(0, 0.99, when=Equals("opt", "sgd")),
        "opt": Choice(["sgd", "adam"]),
        "lr": Float(1e-4, 1e-1, log=True),
        "layers": Int(1, 8),
    }
)
NUMBERS = Space({"a": Float(0, 1), "b": Float(0, 1)})  # what every strategy can search


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "visutility.db"
    store = Store(f"sqlite:///{path}", SystemClock())
    upgrade(store)
    store.close()
    return path


@pytest.fixture
def store(empty_database: Path, tmp_path: Path) -> Iterator[Store]:
    path = shutil.copy(empty_database, tmp_path / "visutility.db")
    opened = Store(f"sqlite:///{path}", SystemClock())
    yield opened
    opened.close()


def create(store: Store, name: str, strategy: str) -> None:
    with store.write("test.create") as tx:
        space = space_of(strategy)
        studies.create(tx, name=name, space=space, strategy=strategy, seed=5, by="ada", why="a test")


def space_of(strategy: str) -> Space:
    return NUMBERS if strategy == "cmaes" else SPACE


def schedule(trials: int, most: int) -> list[int | None]:
    """When to ask (None), and which of the trials under way ends next (its place); at most `most` at once."""
    draw = rng(trials, "schedule", most)
    moves: list[int | None] = []
    asked = waiting = 0
    while asked < trials or waiting:
        if asked < trials and (not waiting or (waiting < most and draw.random() < 0.6)):
            moves.append(None)
            asked, waiting = asked + 1, waiting + 1
        else:
            moves.append(int(draw.integers(waiting)))
            waiting -= 1
    return moves


def value(trial: Trial) -> float:
    """A loss that depends on the order of the parameters, in its last digit."""
    return float(sum(abs(float(v) - 0.3) for v in trial.params.values() if isinstance(v, (int, float))))


def move(study: Study | DurableStudy, which: int | None) -> None:
    if which is None:
        study.ask()
        return
    trial = [t for t in study.trials if t.state == "pending"][which]
    study.report(trial, 1, value(trial))
    study.tell(trial, Failure("none") if trial.number % 5 == 4 else value(trial))


def in_memory(strategy: str, moves: list[int | None]) -> tuple[Trial, ...]:
    study = Study(space_of(strategy), strategy=strategy, seed=5)
    for which in moves:
        move(study, which)
    return study.trials


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_any_number_of_workers_and_any_interruption_give_the_same_trials(store: Store, strategy: str) -> None:
    moves = schedule(12, 4)
    expected = in_memory(strategy, moves)
    for workers in (1, 2, 4):
        name = f"study-{workers}"
        create(store, name, strategy)
        open_ones = [DurableStudy(store, name) for _ in range(workers)]
        draw = rng(workers, "interruptions")
        memory = Study(space_of(strategy), strategy=strategy, seed=5)
        for turn, which in enumerate(moves):
            if draw.random() < 0.3:
                open_ones[turn % workers] = DurableStudy(store, name)
                memory = Study.restore(json.loads(json.dumps(memory.snapshot())))
            move(open_ones[turn % workers], which)
            move(memory, which)
        assert open_ones[0].trials == memory.trials == expected


WORKER = """
import json, sys
from visutility.core import crash
from visutility.core.clock import SystemClock
from visutility.registry.studies import DurableStudy
from visutility.store import Store
from visutility.tune import Failure

store, studies = Store(sys.argv[1], SystemClock()), {}
for line in sys.stdin:
    name, call, number, value, point = json.loads(line)
    if name not in studies:
        studies[name] = DurableStudy(store, name)
    study = studies[name]
    crash.arm(point)
    if call == "ask":
        study.ask()
    elif call == "report":
        study.report(number, 1, value)
    else:
        study.tell(number, Failure("none") if value is None else value)
    print("done", flush=True)
"""


class Worker:
    """A process that does what it is told on any study, and may be killed at a commit."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[str]":
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-c", WORKER, self._url]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def do(self, *what: object) -> bool:
        """Return whether it was done; False when the process was killed, and a new one is there in its place."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(what) + "\n")
        stdin.flush()
        if stdout.readline() == "done\n":
            return True
        self._process.communicate()
        assert self._process.returncode == -signal.SIGKILL
        self._process = self._start()
        return False

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()


def play(workers: list[Worker], study: DurableStudy, name: str, moves: list[int | None], deaths: bool) -> int:
    """Have the workers play a schedule in turn, one call at a time; return how often one was killed."""
    draw, killed, turn = rng(len(workers), "deaths", name), 0, 0

    def call(what: str, number: int | None = None, told: float | None = None) -> None:
        nonlocal killed, turn
        turn += 1
        point = f"study.{what}:{('before', 'after')[int(draw.integers(2))]}" if deaths and draw.random() < 0.1 else None
        if not workers[turn % len(workers)].do(name, what, number, told, point):
            killed += 1
            if str(point).endswith("before"):  # what was not committed never was: another one does it
                assert workers[(turn + 1) % len(workers)].do(name, what, number, told, None)

    for which in moves:
        if which is None:
            call("ask")
            continue
        trial = [t for t in study.trials if t.state == "pending"][which]
        call("report", trial.number, value(trial))
        call("tell", trial.number, None if trial.number % 5 == 4 else value(trial))
    return killed


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_that_are_killed_at_commits_give_the_same_trials(store: Store, count: int) -> None:
    moves = schedule(10, 4)
    workers = [Worker(store.url) for _ in range(count)]
    killed = 0
    for strategy in sorted(STRATEGIES):
        create(store, strategy, strategy)
        study = DurableStudy(store, strategy)
        killed += play(workers, study, strategy, moves, deaths=strategy in ("bayesian", "random"))
        assert study.trials == in_memory(strategy, moves)
    for worker in workers:
        worker.stop()
    assert killed > 1
    with store.read() as connection:
        assert audit.verify(connection) == []


FREE = """
import sys
from visutility.core.clock import SystemClock
from visutility.core.errors import StudyClosed
from visutility.registry.studies import DurableStudy
from visutility.store import Store

study = DurableStudy(Store(sys.argv[1], SystemClock()), "free")
done = 0
try:
    while True:
        trial = study.ask()
        study.tell(trial, trial.params["lr"])
        done += 1
except StudyClosed:
    print(done)
"""


@pytest.mark.slow
def test_four_processes_that_write_as_fast_as_they_can_see_no_lock(store: Store) -> None:
    with store.write("test.create") as tx:
        studies.create(tx, name="free", space=SPACE, strategy="random", budget=400, seed=5, by="ada", why="a test")
    command = [sys.executable, "-c", FREE, store.url]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(4)
    ]
    said = [one.communicate(timeout=300) for one in running]
    assert [errors for _, errors in said] == [""] * 4
    assert sum(int(done) for done, _ in said) == 400
    study = DurableStudy(store, "free")
    memory = Study(SPACE, strategy="random", seed=5).ask_batch(400)
    assert [(t.number, t.params) for t in study.trials] == [(t.number, t.params) for t in memory]
    assert {t.state for t in study.trials} == {"complete"}
