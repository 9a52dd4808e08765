"""Fleets of 200,000 and 1,000,000 streams under `eprocess`: values per CPU second, bytes a stream, peak memory.

    python -m benchmarks.monitoring.fleets [--quick | --short] [--json FILE]

Each case runs in a process of its own, with one thread, with Numba (the extra `fast`), where it is installed, and
without. Values are errors at rate .1 in float32; every stream has a baseline of 320 values before the clock starts. The
median and the fastest of the updates are printed; where it takes several to fill a block of 32, so that the last of
them costs most, of as many together. Beside each, a bare `numpy.sum` of the same array (`numpy.bincount` for ragged
ones), which is as fast as NumPy reads memory: ratios carry over to other machines, rates do not. River's ADWIN and
Page-Hinkley take values one by one, where installed.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from visutility.core.rng import rng
from visutility.monitor import Fleet, make_detector
from visutility.monitor.state import arrays

RATE = 0.1
LEARNT = 320  # values of each stream before the clock starts
BLOCK = 32  # values of a stream between decisions
DENSE = [(200_000, 16), (200_000, 64), (200_000, 256), (1_000_000, 16), (1_000_000, 64)]
RAGGED = [(200_000, 1_000_000), (1_000_000, 1_000_000), (1_000_000, 5_000_000)]


def seconds(call: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def errors(draw: np.random.Generator, shape: Any) -> Any:
    """Return errors at `RATE`, in float32, drawn in pieces that leave no large arrays behind."""
    return np.less(draw.random(shape, dtype=np.float32), RATE).astype(np.float32)


def peak() -> int:
    """Bytes of resident memory at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fleet(streams: int) -> Fleet:
    """Return a fleet whose streams have learnt a baseline."""
    found = Fleet(make_detector("eprocess"), streams=streams)
    draw = rng(0, "fleets", streams)
    for _ in range(LEARNT // 32):
        found.update(errors(draw, (streams, 32)))
    return found


def dense(streams: int, k: int, updates: int) -> dict[str, Any]:
    """Measure updates of k values for every stream."""
    watched, draw = fleet(streams), rng(1, "dense", streams, k)
    ours, bare, alarms = [], [], 0
    for _ in range(updates):
        values = errors(draw, (streams, k))
        bare.append(seconds(values.sum))
        start = time.process_time()
        alarms += int(watched.update(values).alarm.sum())
        ours.append(time.process_time() - start)
    each = max(1, BLOCK // k)
    return report("dense", streams, k, streams * k * each, together(ours, each), together(bare, each), alarms, watched)


def together(times: list[float], each: int) -> list[float]:
    """Return the sums of as many times, one after the other."""
    return [sum(times[at : at + each]) for at in range(0, len(times) - each + 1, each)]


def ragged(streams: int, n: int, updates: int) -> dict[str, Any]:
    """Measure updates of n values for random streams, in random order."""
    watched, draw = fleet(streams), rng(1, "ragged", streams, n)
    ours, bare, alarms = [], [], 0
    for _ in range(updates):
        values, ids = errors(draw, n), draw.integers(0, streams, n)
        bare.append(seconds(lambda values=values, ids=ids: np.bincount(ids, values, streams)))
        start = time.process_time()
        alarms += int(watched.update(values, ids).alarm.sum())
        ours.append(time.process_time() - start)
    return report("ragged", streams, n, n, ours, bare, alarms, watched)


def report(
    kind: str, streams: int, size: int, n: int, ours: list[float], bare: list[float], alarms: int, watched: Fleet
) -> dict[str, Any]:
    """Return what a case showed."""
    state = sum(array.nbytes for array in arrays(watched._state).values())
    return {
        "kind": kind,
        "streams": streams,
        "size": size,
        "values per second": n / float(np.median(ours)),
        "fastest": n / min(ours),
        "bare": n / float(np.median(bare)),
        "fastest bare": n / min(bare),
        "ratio": float(np.median(np.array(ours) / np.array(bare))),
        "bytes a stream": state / streams,
        "peak": peak(),
        "alarms": alarms,
    }


def river(n: int) -> list[dict[str, Any]]:
    """Measure River's detectors on one stream, value by value."""
    if find_spec("river") is None:
        return []
    from river import drift

    values = errors(rng(1, "river"), n).tolist()
    found = []
    for peer in (drift.ADWIN(), drift.PageHinkley()):

        def feed(peer: Any = peer) -> None:
            for value in values:
                peer.update(value)

        found.append({"kind": f"River {type(peer).__name__}", "values per second": n / seconds(feed)})
    return found


def child(case: list[str], *, compiled: bool) -> dict[str, Any]:
    """Run one case in a process of its own, with one thread, with Numba or without."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    one["NUMBA_DISABLE_JIT"] = "0" if compiled else "1"
    said = subprocess.run(
        [sys.executable, "-m", "benchmarks.monitoring.fleets", "--case", *case],
        env={**os.environ, **one},
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(said.stdout)
    return found | {"compiled": compiled}


def line(one: dict[str, Any]) -> str:
    """Return one row of the table."""
    if "streams" not in one:
        return f"{one['kind']:<58} {one['values per second'] / 1e6:9.1f}"
    what = (
        f"{one['kind']}, {one['streams']:,} streams, {one['size']:,} {'each' if one['kind'] == 'dense' else 'in all'}"
        f"{'' if one['compiled'] else ', NumPy alone'}"
    )
    return (
        f"{what:<58} {one['values per second'] / 1e6:9.0f} {one['fastest'] / 1e6:9.0f} {one['bare'] / 1e6:9.0f} "
        f"{one['fastest bare'] / 1e6:9.0f} {one['ratio']:8.1f} {one['bytes a stream']:8.0f} "
        f"{one['peak'] / 2**20:8.0f} {one['alarms']:7d}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the table; with --json, write what it was made of."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring.fleets", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a fifth of the updates, 200,000 streams alone")
    parser.add_argument("--quick", action="store_true", help="2,000 streams, to see that it runs")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.case:
        kind, *numbers = options.case
        print(json.dumps((dense if kind == "dense" else ragged)(*map(int, numbers))))
        return 0
    print(f"{'million values per CPU second':<58} {'median':>9} {'fastest':>9} {'bare':>9} {'fastest':>9} ", end="")
    print(f"{'ratio':>8} {'B/stream':>8} {'peak MiB':>8} {'alarms':>7}")
    found = []
    sizes = (
        {"dense": ((2000, 64),), "ragged": ((2000, 10_000),)} if options.quick else {"dense": DENSE, "ragged": RAGGED}
    )
    for kind, cases in sizes.items():
        for streams, size in cases:
            if options.short and streams > 200_000:
                continue
            n = streams * size if kind == "dense" else size
            updates = 8 if options.quick else max(8, 200_000_000 // n // (5 if options.short else 1))
            for compiled in (True, False) if find_spec("numba") else (False,):
                found.append(child([kind, str(streams), str(size), str(updates)], compiled=compiled))
                print(line(found[-1]), flush=True)
    for one in () if options.quick else river(200_000 if options.short else 1_000_000):
        found.append(one)
        print(line(one))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
