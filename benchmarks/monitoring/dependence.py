"""False alarms of `auto` on unchanged 0/1 streams, by how their errors hang together.

`python -m benchmarks.monitoring.dependence` (10 CPU minutes). Each figure is of 1,000 streams of 10,000 values from
their first one on: alarms per million values. River's ADWIN takes part where it is installed, on the first tenth.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.monitoring.scenes import Array, chain, errors, hidden, wandering
from benchmarks.tuning.page import write
from visutility.core.rng import rng
from visutility.monitor import Fleet, Level, make_detector

STREAMS, LENGTH, PIECE = 1000, 10_000, 500


class Row(NamedTuple):
    """A kind of streams, `kind(*settings, g, zeros (n,), streams)` -> (n, streams), and the settings in the title."""

    title: str
    kind: Callable[..., Array]
    settings: tuple[tuple[float, ...], ...]


def bursts(starts: float, ends: float, g: np.random.Generator, rise: Array, streams: int) -> Array:
    """Nothing but errors in bursts: one starts with probability `starts` and ends with probability `ends`."""
    u, state = g.random((len(rise), streams)), np.zeros(streams, np.bool_)
    found = np.empty(u.shape)
    for at, row in enumerate(u):
        state = np.where(state, row >= ends, row < starts)
        found[at] = state
    return found


def alternating(g: np.random.Generator, rise: Array, streams: int) -> Array:
    """0, 1, 0, 1, … from either on."""
    return (np.arange(len(rise))[:, None] + g.integers(0, 2, streams)) % 2.0


def season(period: int, g: np.random.Generator, rise: Array, streams: int) -> Array:
    """Errors at .15 + .10 sin, each stream from an hour of its own."""
    hour = np.arange(len(rise))[:, None] + g.integers(0, period, streams)
    return (g.random(hour.shape) < 0.15 + 0.10 * np.sin(2 * np.pi * hour / period)).astype(float)


def drifting(g: np.random.Generator, rise: Array, streams: int) -> Array:
    """Errors whose log-odds wander around .15: an autoregression over 50 values, sd .8."""
    odds = np.log(0.15 / 0.85) + 0.8 * wandering(np.exp(-1 / 50), g, rise, streams)
    return (g.random(odds.shape) < 1.0 / (1.0 + np.exp(-odds))).astype(float)


def threshold(same: float, g: np.random.Generator, rise: Array, streams: int) -> Array:
    """Errors where an autoregression is above 1.28 sd."""
    return (wandering(same, g, rise, streams) > 1.28).astype(float)


def batches(size: int, g: np.random.Generator, rise: Array, streams: int) -> Array:
    """Errors in batches that share a rate from Beta(10, 90)."""
    rate = np.repeat(g.beta(10, 90, (-(-len(rise) // size), streams)), size, axis=0)[: len(rise)]
    return (g.random(rate.shape) < rate).astype(float)


ROWS = (
    Row(
        "independent, rate .002 / .01 / .02 / .05 / .1 / .3 / .5",
        errors,
        ((0.002,), (0.01,), (0.02,), (0.05,), (0.1,), (0.3,), (0.5,)),
    ),
    Row(
        "two-state chain of autocorrelation .5, rate .005 / .01 / .02", chain, ((0.005, 0.5), (0.01, 0.5), (0.02, 0.5))
    ),
    Row("the same, rate .05 / .1 / .2 / .3", chain, ((0.05, 0.5), (0.1, 0.5), (0.2, 0.5), (0.3, 0.5))),
    Row(
        "two-state chain of autocorrelation .8, rate .02 / .05 / .1",
        chain,
        ((0.02, 0.8), (0.05, 0.8), (0.1, 0.8)),
    ),
    Row("two-state chain of autocorrelation .25, rate .1", chain, ((0.1, 0.25),)),
    Row(
        "hidden states that stay with probability .99, rates .02 and .20 / .02 and .30 / .05 and .15 / .05 and .20",
        hidden,
        ((0.02, 0.20, 0.99), (0.02, 0.30, 0.99), (0.05, 0.15, 0.99), (0.05, 0.20, 0.99)),
    ),
    Row(
        "the same, rates .05 and .25 / .05 and .40 / .10 and .30 / .10 and .40",
        hidden,
        ((0.05, 0.25, 0.99), (0.05, 0.40, 0.99), (0.10, 0.30, 0.99), (0.10, 0.40, 0.99)),
    ),
    Row(
        "hidden states, stay .95, .05 and .40 / stay .98, .10 and .25 / stay .995, .02 and .30",
        hidden,
        ((0.05, 0.40, 0.95), (0.10, 0.25, 0.98), (0.02, 0.30, 0.995)),
    ),
    Row("hidden states that stay .998 (500 values on average), rates .05 and .20", hidden, ((0.05, 0.20, 0.998),)),
    Row(
        "bursts of ten errors on average, which start at one value in 1,000 / 10,000",
        bursts,
        ((1e-3, 0.1), (1e-4, 0.1)),
    ),
    Row("strict alternation", alternating, ((),)),
    Row("rate .15 ± .10 in a season of 48 / 336 values", season, ((48,), (336,))),
    Row(
        "log-odds that wander (first-order autoregression over 50 values, sd .8) around .15",
        drifting,
        ((),),
    ),
    Row("an error is a first-order autoregression of coefficient .98 above 1.28 sd", threshold, ((0.98,),)),
    Row("batches of 100 / 500 that share a rate drawn from Beta(10, 90)", batches, ((100,), (500,))),
)


def drawn(row: Row, settings: tuple[float, ...], seed: int, streams: int, length: int) -> NDArray[np.float32]:
    """Return unchanged streams, (streams, length); each kind and its settings draw numbers of their own."""
    g = rng(seed, "dependence", row.kind.__name__, *map(str, settings))
    return np.ascontiguousarray(row.kind(*settings, g, np.zeros(length), streams).T.astype(np.float32))


def alarms(name: str, arl: float, values: NDArray[np.float32]) -> int:
    """Return how often a detector alarms on these streams."""
    fleet = Fleet(make_detector(name, arl=arl), len(values))
    pieces = (fleet.update(values[:, at : at + PIECE]) for at in range(0, values.shape[1], PIECE))
    return sum(int((said.level == Level.ALARM).sum()) for said in pieces)


def river(values: NDArray[np.float32]) -> int | None:
    """Return how often River's ADWIN alarms, one detector a stream; None without River."""
    try:
        from river.drift import ADWIN
    except ImportError:
        return None
    found = 0
    for stream in values:
        adwin = ADWIN()
        for value in stream.tolist():
            adwin.update(value)
            found += adwin.drift_detected
    return found


def shown(rate: float) -> str:
    """Return three digits, and whole numbers from a thousand on."""
    return f"{rate:.3g}" if rate < 1000.0 else f"{rate:,.0f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; with --page, put it into a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring.dependence", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two kinds, few streams, to see that it runs")
    parser.add_argument("--arl", type=float, nargs="+", default=[1e6], help="a column each")
    parser.add_argument("--streams", type=int, default=STREAMS)
    parser.add_argument("--length", type=int, default=LENGTH, help="values a stream")
    parser.add_argument("--times", type=int, default=1, help="times as many streams of each kind")
    parser.add_argument("--only", default="", help="only rows whose title holds this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, help="a page with <!-- dependence -->")
    given = parser.parse_args(argv)
    rows = [row for row in ROWS if given.only in row.title]
    streams, length = (20, 1000) if given.quick else (given.streams, given.length)
    lines = [
        "| unchanged streams | " + " | ".join(f"`auto`, `arl` {arl:g}" for arl in given.arl) + " | River's ADWIN |"
    ]
    lines.append("| --- |" + " --: |" * (len(given.arl) + 1))
    print("\n".join(lines), flush=True)
    for row in rows[:1] if given.quick else rows:
        cells: list[list[str]] = [[] for _ in range(len(given.arl) + 1)]
        for settings in row.settings:
            found, peers = np.zeros(len(given.arl)), None
            for at in range(given.times):
                values = drawn(row, settings, given.seed + at, streams, length)
                found += [alarms("auto", arl, values) for arl in given.arl]
                peers = river(values[: streams // 10]) if at == 0 else peers
            for cell, count in zip(cells, found, strict=False):
                cell.append(shown(1e6 * count / (given.times * streams * length)))
            cells[-1].append("–" if peers is None else shown(1e7 * peers / (streams * length)))
        lines.append(f"| {row.title} | " + " | ".join(" / ".join(cell) for cell in cells) + " |")
        print(lines[-1], flush=True)
    if given.page:
        write(given.page, "dependence", lines)
    print(f"{time.process_time():.0f} CPU s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
