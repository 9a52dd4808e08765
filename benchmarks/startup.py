"""Time and modules to `import visutility` and to `visutility --help`, beside peers that are installed.

Each row is the median over child processes, taken in turns so that a busy moment hits every row. `import` is the time
of the import statement alone; `--help` is the time of the whole process, interpreter start included. `modules` is
`len(sys.modules)` at the end. Peers are compared with ours: x 3 took three times as long.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

IMPORT = """
import sys, time
start = time.perf_counter()
import {module}
took = time.perf_counter() - start
print(took, len(sys.modules), file=sys.stderr)
"""
HELP = """
import atexit, sys
atexit.register(lambda: print(len(sys.modules), file=sys.stderr))
from {module} import {call}
sys.exit({call}())
"""


@dataclass
class Row:
    """One thing that starts: what it is called, what it needs, and what was measured, in milliseconds."""

    title: str
    package: str
    code: str
    times_itself: bool  # the child prints its own time
    against: str = ""  # title of the row of ours that it is compared with
    goal_ms: float | None = None
    took: list[float] = field(default_factory=list)
    modules: int = 0

    def measure(self) -> None:
        """Run one child and keep what it took. Raises `CalledProcessError` when it failed."""
        start = time.perf_counter()
        command = [sys.executable, "-c", self.code, *([] if self.times_itself else ["--help"])]
        child = subprocess.run(command, capture_output=True, text=True, check=True)
        wall = time.perf_counter() - start
        *own, modules = child.stderr.split()[-2 if self.times_itself else -1 :]
        self.took.append(1000 * (float(own[0]) if own else wall))
        self.modules = int(modules)

    @property
    def median(self) -> float:
        """Median time in milliseconds."""
        return statistics.median(self.took)


def rows() -> list[Row]:
    """Return the rows whose package is installed here; our own are always among them."""
    bare = "import sys; print(len(sys.modules), file=sys.stderr)"
    ours = [
        Row("import visutility", "visutility", IMPORT.format(module="visutility"), True, goal_ms=100),
        Row("visutility --help", "visutility", HELP.format(module="visutility.cli", call="main"), False, goal_ms=400),
        Row("bare interpreter", "sys", bare, False),
    ]
    peers = [
        Row("import optuna", "optuna", IMPORT.format(module="optuna"), True, ours[0].title),
        Row("optuna --help", "optuna", HELP.format(module="optuna.cli", call="main"), False, ours[1].title),
        Row("import mlflow", "mlflow", IMPORT.format(module="mlflow"), True, ours[0].title),
        Row("mlflow --help", "mlflow", HELP.format(module="mlflow.cli", call="cli"), False, ours[1].title),
    ]
    return ours + [row for row in peers if find_spec(row.package)]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the table; return 0, or 1 when something did not start."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description="Time to start.")
    parser.add_argument("--quick", action="store_true", help="3 child processes a row")
    parser.add_argument("--runs", type=int, default=21, help="child processes a row (default 21)")
    given = parser.parse_args(argv)
    table = rows()
    try:
        for row in table:
            row.measure()  # fills the disk cache and writes byte code; not counted
            row.took.clear()
        for _ in range(3 if given.quick else given.runs):
            for row in table:
                row.measure()
    except subprocess.CalledProcessError as error:
        print(f"{row.title} failed:\n{error.stderr}", file=sys.stderr)
        return 1
    medians = {row.title: row.median for row in table}
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} processors")
    print(f"{'':20} {'median ms':>10} {'min ms':>8} {'max ms':>8} {'modules':>8} {'goal ms':>8} {'x ours':>7}")
    for row in table:
        goal = f"{row.goal_ms:.0f}" if row.goal_ms else "-"
        ratio = f"{row.median / medians[row.against]:.1f}" if row.against else "-"
        low, high = min(row.took), max(row.took)
        print(f"{row.title:20} {row.median:10.1f} {low:8.1f} {high:8.1f} {row.modules:8} {goal:>8} {ratio:>7}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
