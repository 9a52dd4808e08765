"""Metrics events accepted a second, in process: kept, judged, committed (`python -m benchmarks.events`).

Each event holds ten values. With one event a call every event pays its own commit to the disk; with many they share it.
CPU is this process's; the rest of the wall time is the disk.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from visutility.core.settings import Settings
from visutility.core.wire import MetricsEvent
from visutility.loop import Policy, Project
from visutility.registry import NewVersion

AT = datetime(2026, 1, 1, tzinfo=UTC)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.events", description=__doc__)
    parser.add_argument("--events", type=int, default=4000)
    parser.add_argument("--quick", action="store_true", help="a few events, to see that it runs")
    given = parser.parse_args(argv)
    total = 60 if given.quick else given.events
    print(f"{'watched':>8}  {'events a call':>13}  {'events/s':>9}  {'values/s':>9}  {'CPU ms an event':>15}")
    for watched in (False, True):
        for batch in (1, 10, 100):
            measure(watched, batch, max(batch, total // (10 if batch == 1 else 1)))
    return 0


def measure(watched: bool, batch: int, total: int) -> None:
    """Send that many events, `batch` a call, and print a row."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.load(home=Path(folder), environ={"VISUTILITY_ACTOR": "bench"})
        with Project.create(settings=settings) as project:
            prepare(project, watched)
            events = [event(at) for at in range(total)]
            wall, cpu = time.perf_counter(), time.process_time()
            for start in range(0, total, batch):
                project.monitor.ingest(*events[start : start + batch])
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"{'yes' if watched else 'no':>8}  {batch:>13}  {total / wall:>9,.0f}  {10 * total / wall:>9,.0f}  "
        f"{1000 * cpu / total:>15.3f}"
    )


def prepare(project: Project, watched: bool) -> None:
    """Register a version by hand, and watch it or not."""
    project.registry.create_model("bench", "classification", by="bench")
    new = NewVersion(
        model="bench",
        artifact_sha256=project.blobs.put(b"x"),
        artifact_format="npz",
        artifact_bytes=1,
        recipe="none:none",
    )
    project.registry.register(new, by="bench", why="a benchmark")
    project.registry.promote("bench", 1, expected=None, by="bench", why="a benchmark")
    if watched:
        project.watch("bench", Policy(), reference=[0.0] * 190 + [1.0] * 10)


def event(at: int) -> MetricsEvent:
    """Return an event of ten values, one of them an error."""
    values = [float(n == at % 10) for n in range(10)] if at % 3 == 0 else [0.0] * 10
    return MetricsEvent(id=f"e{at}", model="bench", version=1, metric="error", values=values, at=AT)


if __name__ == "__main__":
    raise SystemExit(main())
