"""What a durable step costs: CPU, time and commits, beside the same write without a record.

Each row is one run of that many steps in a fresh database on disk, synchronous=FULL as in production. CPU and wall time
are per step, the claim and the end of the run included; the wall time is mostly the disk's. `replay` claims a run whose
steps are all recorded, which is what resuming costs.
"""

import argparse
import contextlib
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from visutility.core import crash
from visutility.core.clock import SystemClock
from visutility.flow import Effect, RunContext, Step, StepCall, Worker, Workflow, runs
from visutility.store.engine import Store, Tx
from visutility.store.migrate import upgrade

INSERT = "INSERT INTO bench (words) VALUES (?)"


def write(tx: Tx, call: StepCall) -> int:
    """A step of one row."""
    tx.connection.exec_driver_sql(INSERT, (call.key,))
    return 1


def reach(call: StepCall) -> int:
    """An effect of no cost."""
    return len(call.key)


STEP, EFFECT = Step("step", write), Effect("effect", reach)


class Bench:
    """A database and a worker whose workflow asks for one step many times."""

    def __init__(self, folder: Path, step: Step[[]] | Effect[[]], steps: int, *, interrupted: bool = False) -> None:
        folder.mkdir()
        self.store = Store(f"sqlite:///{folder / 'bench.db'}", SystemClock())
        upgrade(self.store)
        with self.store.write("bench.setup") as tx:
            tx.connection.exec_driver_sql("CREATE TABLE bench (words TEXT)")
        self.steps = steps
        self._step = step
        self._interrupted = interrupted
        self._started: list[str] = []
        self.worker = Worker(self.store, {"bench": Workflow("bench", 1, self._flow)})

    def _flow(self, run: RunContext, request: dict[str, Any]) -> dict[str, Any]:
        for _ in range(self.steps):
            run.do(self._step)
        if self._interrupted and run.id not in self._started:
            self._started.append(run.id)
            raise KeyboardInterrupt
        return request

    def drive(self) -> None:
        """Start a run and drive it to its end, or to where it is interrupted."""
        with self.store.write("bench.start") as tx:
            run_id = runs.start(tx, "bench", {}, key=tx.new_id(), by="bench")
        with contextlib.suppress(KeyboardInterrupt):
            self.worker.run_once(run_id)

    def plain(self) -> None:
        """Make the same writes without a record."""
        for at in range(self.steps):
            with self.store.write("bench.plain") as tx:
                tx.connection.exec_driver_sql(INSERT, (str(at),))


def measure(title: str, steps: int, work: Callable[[], object], folder: Path) -> None:
    """Do it twice, once to count commits and once for the time, and print a row."""
    points = folder / "points"
    points.write_text("")
    crash.record(points)
    work()
    crash.record(None)
    commits = Counter(line.rpartition(":")[2] for line in points.read_text().split())["after"]
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"{title:24} {1000 * cpu / steps:12.3f} {1000 * wall / steps:13.3f} {commits / steps:13.3f}")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flow", description="What a durable step costs.")
    parser.add_argument("--quick", action="store_true", help="20 steps a run")
    parser.add_argument("--steps", type=int, default=500, help="steps a run (default 500)")
    given = parser.parse_args(argv)
    steps = 20 if given.quick else given.steps
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {steps} steps a run")
    print(f"{'':24} {'CPU ms/step':>12} {'wall ms/step':>13} {'commits/step':>13}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        step, effect = Bench(folder / "step", STEP, steps), Bench(folder / "effect", EFFECT, steps)
        again = Bench(folder / "again", STEP, steps, interrupted=True)
        measure("write without a record", steps, step.plain, folder)
        measure("durable step", steps, step.drive, folder)
        measure("durable effect", steps, effect.drive, folder)
        for _ in range(2):
            again.drive()
        measure("replay", steps, again.worker.run_once, folder)
        for one in (step, effect, again):
            one.store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
