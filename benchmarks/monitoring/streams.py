"""Delays and false alarms of every detector on streams, beside River, Frouros, CapyMOA, an oracle and an always-fire.

Delays: medians over the seeds of the values from the change to the first alarm in it, after exactly 5,000 unchanged
values; a missed change counts as infinite. False alarms: per million values of unchanged streams, each watched from
its first value on. The first values of a stream are its own reference window. Values a second: by CPU time, the
median over the unchanged streams.
"""

import argparse
import json
import math
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.monitoring.images import folder
from benchmarks.monitoring.peers import left_out
from benchmarks.monitoring.scenes import HEALTHY, Scene, changes, nulls
from benchmarks.monitoring.watchers import Watcher, absent, delays, oracle, watchers
from benchmarks.tuning.memo import cache_folder
from benchmarks.tuning.page import write
from visutility.core.errors import InvalidObservation

SLOW = ("River", "Frouros", "CapyMOA", "always")  # one value at a time: fewer values of the nulls
MOST = 1_000_000  # of them


def measured(watcher: Watcher, scene: Scene, streams: int, n: int | None, seed: int) -> dict[str, Any]:
    """A change when `n` is None, else a null of `n` values a stream; kept on disk."""
    key = json.dumps([watcher.name, watcher.identity, scene.title, streams, n, seed, bool(folder())])
    with closing(sqlite3.connect(cache_folder() / "streams.sqlite", timeout=60, isolation_level=None)) as file:
        file.execute("CREATE TABLE IF NOT EXISTS cell (key TEXT PRIMARY KEY, found TEXT)")
        if row := file.execute("SELECT found FROM cell WHERE key = ?", (key,)).fetchone():
            return dict(json.loads(row[0]))
        values = scene.values(streams, seed) if n is None else scene.null(streams, n, seed)
        began = time.process_time()
        try:
            alarms = watcher.watch(values)
        except InvalidObservation:  # values that it is not for
            return {"delays": [math.nan], "alarms": math.nan}
        cpu = 1e6 * (time.process_time() - began) / values.size
        found: dict[str, Any] = {"cpu": cpu}
        if n is None:
            found["delays"] = delays(alarms)
            found["before"] = sum(at < HEALTHY for each in alarms for at in each)
        else:
            found["alarms"] = sum(map(len, alarms))
        file.execute("INSERT OR REPLACE INTO cell VALUES (?, ?)", (key, json.dumps(found)))
    return found


def shown(value: float) -> str:
    return "–" if math.isnan(value) else "missed" if math.isinf(value) else f"{value:,.0f}"


def table(rows: list[Scene], columns: list[Watcher | str], cell: Callable[[Scene, Any], str]) -> list[str]:
    """A row a scene, printed as it is done."""
    names = [column if isinstance(column, str) else column.name for column in columns]
    lines = ["| | " + " | ".join(names) + " |", "| --- |" + " --: |" * len(names)]
    print("\n".join(lines), flush=True)
    for scene in rows:
        lines.append(f"| {scene.title} | " + " | ".join(cell(scene, column) for column in columns) + " |")
        print(lines[-1], flush=True)
    return lines


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring.streams", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few short streams, to see that it runs")
    parser.add_argument("--half", choices=("report", "dev"), default="report")
    parser.add_argument("--only", nargs="*", help="these rows")
    parser.add_argument("--scenes", default="", help="only scenes whose title holds this")
    parser.add_argument("--tables", choices=("both", "delays", "nulls"), default="both")
    parser.add_argument("--seeds", type=int, default=300, help="streams a change")
    parser.add_argument("--values", type=int, default=10_000_000, help="values a null; peers get at most a million")
    parser.add_argument("--streams", type=int, default=100, help="streams a null")
    parser.add_argument("--page", type=Path, help="a page with <!-- stream-delays --> and <!-- stream-nulls -->")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Print both tables; with --page, put them into a page."""
    given = arguments(argv)
    chosen = [one for one in watchers() if not given.only or one.name in given.only]
    moves = [s for s in changes() if s.half == given.half and given.scenes in s.title]
    still = [s for s in nulls() if s.half == given.half and given.scenes in s.title]
    moves, still = [] if given.tables == "nulls" else moves, [] if given.tables == "delays" else still
    seeds, values, streams = given.seeds, given.values, given.streams
    if given.quick:
        chosen = [one for one in chosen if one.name in ("auto", "eprocess", "always fires")]
        moves, still, seeds, values, streams = moves[3:4], still[:2], 3, 6000, 3

    def delay(scene: Scene, column: Watcher | str) -> str:
        watcher = oracle(scene) if isinstance(column, str) else column
        if watcher is None:
            return "–"
        count = min(seeds, 30) if watcher.name == "always fires" else seeds
        return shown(float(np.median(measured(watcher, scene, count, None, 0)["delays"])))

    def null(scene: Scene, column: Watcher) -> tuple[float, float]:
        n = max((min(values, MOST) if column.name.startswith(SLOW) else values) // streams, 1)
        found = measured(column, scene, streams, n, 0)
        return 1e6 * found["alarms"] / (n * streams), found.get("cpu", math.nan)

    def rate(scene: Scene, column: Watcher) -> str:
        alarms = null(scene, column)[0]
        return "–" if math.isnan(alarms) else f"{alarms:.3g}"

    def speed(column: Watcher) -> str:
        cpu = [one for scene in still if not math.isnan(one := null(scene, column)[1])]
        return f"{1 / np.median(cpu):.3g}" if cpu else "–"

    print(left_out(absent()), end="", flush=True)
    print(f"median delay over {seeds} seeds\n", flush=True)
    first = table(moves, [*chosen, *(["oracle"] if not given.only or "oracle" in given.only else [])], delay)
    print(
        f"\nfalse alarms per million of {values:,} values, {streams} streams (peers: at most a million)\n", flush=True
    )
    second = table(still, list(chosen), rate)
    if still:
        second.append("| million values a second | " + " | ".join(map(speed, chosen)) + " |")
        print(second[-1], flush=True)
    if given.page:
        write(given.page, "stream-delays", first)
        write(given.page, "stream-nulls", second)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
