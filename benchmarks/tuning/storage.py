"""How fast trials are kept: ask and tell of 1, 2 and 4 processes on one study, and opening a study of many trials.

Every trial is on the disk (`synchronous=FULL`) before its `tell` returns. A bare commit, one row of a plain table with
nothing else in the program, is timed in the same folder just before and just after (the median of both): on a shared
machine it says what the disk was worth at that moment. (It makes its file longer each time; a study's trials do not for
long, so the median of them may be the lower one.) Each row is the best of several runs: what others do to the machine
only ever takes away. CPU is what the process itself used. Optuna runs where it is installed, or in the Python named by
`--optuna`, with its default settings.

python -m benchmarks.tuning.storage [--quick] [--runs N] [--trials N] [--folder DIR] [--optuna PYTHON]
"""

import argparse
import contextlib
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from visutility.core import codec
from visutility.core.clock import SystemClock
from visutility.core.errors import DatabaseBusy, StudyClosed
from visutility.core.rng import rng
from visutility.registry import _study_rows as rows
from visutility.registry import studies
from visutility.registry.studies import DurableStudy
from visutility.store import Store, upgrade
from visutility.tune import Choice, Float, Int, Space

SPACE = Space(
    {
        "lr": Float(1e-5, 1e-1, log=True),
        "decay": Float(1e-6, 1e-2, log=True),
        "dropout": Float(0, 0.9),
        "momentum": Float(0, 0.99),
        "layers": Int(1, 8),
        "optimizer": Choice(["sgd", "adam"]),
    }
)
SIZES = (1_000, 10_000, 100_000)  # trials of the studies that are opened
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}

OPTUNA = """
import json, sys, time
import optuna
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

kind, path, budget, mode = sys.argv[1:]
optuna.logging.set_verbosity(optuna.logging.ERROR)
start = time.perf_counter(), time.process_time()
storage = JournalStorage(JournalFileBackend(path)) if kind == "journal" else RDBStorage(f"sqlite:///{path}")
study = optuna.create_study(
    storage=storage, study_name="s", sampler=optuna.samplers.RandomSampler(seed=0), load_if_exists=True
)

def ask():
    trial = study.ask()
    values = [trial.suggest_float("lr", 1e-5, 1e-1, log=True), trial.suggest_float("decay", 1e-6, 1e-2, log=True)]
    values += [trial.suggest_float("dropout", 0, 0.9), trial.suggest_float("momentum", 0, 0.99)]
    trial.suggest_int("layers", 1, 8), trial.suggest_categorical("optimizer", ["sgd", "adam"])
    return trial, values[0]

if mode == "open":
    ask()
    print(json.dumps([time.perf_counter() - start[0], time.process_time() - start[1]]))
    sys.exit()
print("ready", flush=True)
sys.stdin.readline()
errors, took, start = 0, [], time.process_time()
for _ in range(int(budget)):
    begun = time.perf_counter()
    try:
        study.tell(*ask())
        took.append(time.perf_counter() - begun)
    except Exception as error:
        errors += "locked" in str(error)
print(json.dumps([time.process_time() - start, errors, took]))
"""


@dataclass(frozen=True)
class Row:
    """What several processes did together on one study."""

    processes: int
    trials: int
    seconds: float
    cpu: float
    errors: int
    shares: list[int]
    usual: float  # median seconds of an ask and a tell
    slowest: float
    bare: float  # seconds of a bare commit

    @property
    def rate(self) -> float:
        """Trials a second."""
        return self.trials / self.seconds

    def words(self) -> str:
        """The row of the table."""
        return (
            f"{self.processes:9} {self.rate:9,.0f} {self.cpu / self.trials * 1e3:14.3f} {self.bare * 1e3:11.3f}"
            f" {self.usual * 1e3:9.3f} {self.slowest * 1e3:10.1f} {self.errors:7}   {' '.join(map(str, self.shares))}"
        )


HEAD = f"{'processes':>9} {'trials/s':>9} {'CPU ms a trial':>14} {'bare commit':>11} {'median ms':>9}"
HEAD += f" {'slowest ms':>10} {'errors':>7}   trials of each process"


def bare_commit(folder: Path, commits: int) -> float:
    """Return the seconds of one commit of one row, the median of that many."""
    path = folder / "bare.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as raw:
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE IF NOT EXISTS t (words)"):
            raw.execute(statement)
        took = []
        for _ in range(commits):
            start = time.perf_counter()
            raw.execute("INSERT INTO t VALUES ('a row of some length')")
            took.append(time.perf_counter() - start)
    return median(took)


@contextlib.contextmanager
def project(folder: Path, **options: Any) -> Iterator[Store]:
    """A database with one study, "s"."""
    store = Store(f"sqlite:///{folder / 'visutility.db'}", SystemClock())
    upgrade(store)
    with store.write("bench.create") as tx:
        studies.create(tx, name="s", space=SPACE, strategy="random", by="bench", why="a benchmark", **options)
    yield store
    store.close()


def work(url: str) -> None:
    """What each process does: ask and tell until the budget is spent; print what it did as JSON."""
    study = DurableStudy(Store(url, SystemClock()), "s")
    print("ready", flush=True)
    sys.stdin.readline()
    errors, took = 0, []
    cpu = time.process_time()
    with contextlib.suppress(StudyClosed):
        while True:
            begun = time.perf_counter()
            try:
                trial = study.ask()
                study.tell(trial, float(trial.params["lr"] or 0.0))
                took.append(time.perf_counter() - begun)
            except DatabaseBusy:
                errors += 1
    print(json.dumps([time.process_time() - cpu, errors, took]))


def together(command: Sequence[str], processes: int, folder: Path) -> Row:
    """Start the processes, let them go at once, and return what they did."""
    environment = {**os.environ, **ONE_THREAD}
    before = bare_commit(folder, 300)
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(processes)
    ]
    for one in running:
        if one.stdout is None or one.stdout.readline() != "ready\n":
            raise SystemExit(f"{' '.join(command[:3])} did not start")
    start = time.perf_counter()
    for one in running:
        if one.stdin is not None:
            one.stdin.write("go\n")
            one.stdin.flush()
    said = [json.loads(one.communicate()[0]) for one in running]
    seconds = time.perf_counter() - start
    cpu, errors, took = zip(*said, strict=True)
    every = sorted(seconds for one in took for seconds in one)
    bare = (before + bare_commit(folder, 300)) / 2
    shares = [len(one) for one in took]
    return Row(processes, len(every), seconds, sum(cpu), sum(errors), shares, median(every), every[-1], bare)


def ours(processes: int, trials: int, parent: Path) -> Row:
    """Measure VisuTility."""
    with tempfile.TemporaryDirectory(dir=parent) as folder, project(Path(folder), budget=trials) as store:
        row = together(
            [sys.executable, "-m", "benchmarks.tuning.storage", "--work", store.url], processes, Path(folder)
        )
        found = DurableStudy(store, "s").trials
        if [trial.number for trial in found] != list(range(trials)) or {t.state for t in found} != {"complete"}:
            raise SystemExit("trials were lost")
        return row


def optuna(python: str, kind: str, processes: int, trials: int, parent: Path) -> Row:
    """Measure Optuna with one of its storages."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        path = str(Path(folder) / "optuna")
        subprocess.run([python, "-c", OPTUNA, kind, path, "0", "open"], check=True, stdout=subprocess.DEVNULL)
        return together([python, "-c", OPTUNA, kind, path, str(trials // processes), "run"], processes, Path(folder))


def fill(store: Store, trials: int) -> None:
    """Write that many complete trials, as the study itself would have, in few commits."""
    with store.read() as connection:
        study = rows.read_study(connection, "s")
    draw = rng(0, "storage")
    for start in range(0, trials, 10_000):
        with store.hot.write("bench.fill") as tx:
            now = tx.now()
            for number in range(start, min(start + 10_000, trials)):
                params = codec.dumps(SPACE.decode(draw.random(SPACE.dim)))
                tx.execute(rows.insert_trial, (study.id, number, params, "random", "pending", now))
                end = ("complete", number / trials, None, None, number, now)
                tx.execute(rows.end_trial, (*end, study.id, number))


def reload_ours(trials: int, parent: Path) -> tuple[float, float]:
    """Return (wall, CPU) seconds of opening a study of that many trials and asking for the next one."""
    with tempfile.TemporaryDirectory(dir=parent) as folder, project(Path(folder)) as store:
        fill(store, trials)
        wall, cpu = time.perf_counter(), time.process_time()
        DurableStudy(store, "s").ask()
        return time.perf_counter() - wall, time.process_time() - cpu


def reload_optuna(python: str, kind: str, trials: int, parent: Path) -> tuple[float, float]:
    """Return (wall, CPU) seconds for the same in Optuna, which wrote the trials itself."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        path = str(Path(folder) / "optuna")
        for budget, mode in (("0", "open"), (str(trials), "run"), ("0", "open")):
            command = [python, "-c", OPTUNA, kind, path, budget, mode]
            said = subprocess.run(command, check=True, capture_output=True, text=True, input="go\n").stdout
        wall, cpu = json.loads(said)
        return wall, cpu


def version(python: str) -> str | None:
    """Return the version of Optuna in a Python, or None when it is not installed there."""
    code = "import importlib.metadata as m; print(m.version('optuna'))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None


def table(title: str, measure: Callable[[int], Row], processes: Sequence[int], runs: int) -> dict[int, Row]:
    """Print one table and return its rows: for each number of processes the fastest run, with the errors of all."""
    print(f"\n{title}, best of {runs}\n{HEAD}", flush=True)
    found = {}
    for count in processes:
        made = [measure(count) for _ in range(runs)]
        best = max(made, key=lambda row: row.rate)
        found[count] = replace(best, errors=sum(row.errors for row in made))
        print(found[count].words(), flush=True)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; return 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning.storage", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--runs", type=int, default=3, help="how many runs the fastest one is taken of")
    parser.add_argument("--trials", type=int, default=3000, help="how many trials a run has")
    parser.add_argument("--folder", type=Path, default=None, help="where the databases are made")
    parser.add_argument("--optuna", default=sys.executable, metavar="PYTHON", help="a Python that has Optuna")
    parser.add_argument("--work", metavar="URL", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.work:
        work(given.work)
        return 0
    parent = Path(given.folder or tempfile.gettempdir())
    trials, few, sizes = (200, 20, (100, 200)) if given.quick else (given.trials, given.trials // 10, SIZES)
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores")
    ask_and_tell = table("VisuTility, SQLite", lambda count: ours(count, trials, parent), (1, 2, 4), given.runs)
    print("\nVisuTility, open and ask\n   trials   wall ms    CPU ms   CPU µs a trial")
    reload_ours(10, parent)  # what is imported or compiled once
    for size in sizes:
        wall, cpu = reload_ours(size, parent)
        print(f"{size:9,} {wall * 1e3:9.1f} {cpu * 1e3:9.1f} {cpu / size * 1e6:16.1f}", flush=True)
    found = version(given.optuna)
    if found is None:
        print("\nOptuna: not installed (name a Python that has it with --optuna)")
        return 0
    for kind, asked in (("SQLite", few), ("journal", trials // 4)):
        measured = table(
            f"Optuna {found}, {kind}",
            lambda count, kind=kind, asked=asked: optuna(given.optuna, kind, count, asked, parent),  # type: ignore[misc]
            (1, 2, 4),
            given.runs,
        )
        ratios = ", ".join(f"{n}: {ask_and_tell[n].rate / row.rate:.1f}" for n, row in measured.items())
        print(f"VisuTility / Optuna {kind}, by processes: {ratios}")
        wall, cpu = reload_optuna(given.optuna, kind, asked, parent)
        print(f"open and ask after {asked} trials: {wall * 1e3:.1f} ms, {cpu / asked * 1e6:.1f} CPU µs a trial")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
