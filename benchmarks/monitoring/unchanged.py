"""Fleets whose streams never change, under a stated false discovery rate: how often any stream is reported at all.

`python -m benchmarks.monitoring.unchanged` (80 CPU seconds). 1,000 streams of 10,000 values of each kind, looked at
every 50: the share of streams whose e-value ever reached 20, and of 100 fleets of ten that ever reported anything at
5 %. Both are promised to be at most .05 where the detector's law fits; on the other kinds nothing is promised.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.monitoring.many import MANY
from visutility.core.rng import rng
from visutility.monitor import Fleet, StreamFDR, make_detector

STREAMS, EACH, LENGTH, TICK = 1000, 10, 10_000, 50
LEVEL = 0.05


def independent(draw):
    """Return values without a memory."""
    return lambda g, last, n: (draw(g, n), last)


def errors(rate):
    """Return independent errors."""
    return lambda g, n: g.random((n, TICK)) < rate


def stepped(start, step):
    """Return values made one by one: `start(g, n)` gives what is remembered, `step(g, last, n)` it and a value."""

    def tick(g, last, n):
        last = start(g, n) if last is None else last
        values = np.empty((n, TICK), np.float32)
        for at in range(TICK):
            last, values[:, at] = step(g, last, n)
        return values, last

    return tick


def chain(rate, keep):
    """Return errors that repeat the one before with probability `keep`."""

    def step(g, last, n):
        last = np.where(g.random(n) < keep, last, g.random(n) < rate)
        return last, last

    return stepped(lambda g, n: g.random(n) < rate, step)


def hidden(stay, draw):
    """Return values that depend on a hidden state, 0 or 1, which stays with probability `stay`."""

    def step(g, state, n):
        state = np.where(g.random(n) < stay, state, ~state)
        return state, draw(g, state)

    return stepped(lambda g, n: g.random(n) < 0.5, step)


def rates(low, high):
    """Return errors at one of two rates."""
    return lambda g, state: g.random(len(state)) < np.where(state, high, low)


def autoregression(rho):
    """Return normal values, each rho times the one before and something new."""

    def step(g, last, n):
        last = rho * last + np.sqrt(1 - rho * rho) * g.normal(size=n)
        return last, last

    return stepped(lambda g, n: g.normal(size=n), step)


KINDS = {
    "errors .1": independent(errors(0.1)),
    "errors .02": independent(errors(0.02)),
    "chain .5 rate .1": chain(0.1, 0.5),
    "chain .8 rate .1": chain(0.1, 0.8),
    "hidden .99 .02/.30": hidden(0.99, rates(0.02, 0.30)),
    "hidden .99 .05/.15": hidden(0.99, rates(0.05, 0.15)),
    "hidden .998 .05/.20": hidden(0.998, rates(0.05, 0.20)),
    "beta": independent(lambda g, n: g.beta(2, 8, (n, TICK))),
    "lognormal": independent(lambda g, n: g.lognormal(sigma=1.5, size=(n, TICK))),
    "AR(1) .5": autoregression(0.5),
    "AR(1) .95": autoregression(0.95),
    "levels 2 sd apart .99": hidden(0.99, lambda g, state: g.normal(size=len(state)) + np.where(state, 2.0, 0.0)),
}
ROWS = (
    *(("eprocess", kind) for kind in ("errors .1", "errors .02", "beta", "chain .5 rate .1")),
    *(("auto", kind) for kind in KINDS),
)


def watch(name, kind, *, n=STREAMS, length=LENGTH):
    """Return the share of streams whose e-value ever reached 1 / LEVEL, and of fleets of ten that ever reported."""
    g, last, tick = rng(2026, "measured", name, kind), None, KINDS[kind]
    fleet, fdr = Fleet(make_detector(name, arl=MANY), n), StreamFDR(level=LEVEL)
    state, most, ever = fdr.init(n), np.full(n, -np.inf), np.zeros(n // EACH, np.bool_)
    needed = np.log(EACH / (LEVEL * np.arange(1, EACH + 1)))
    for _ in range(length // TICK):
        values, last = tick(g, last, n)
        state, found = fdr.follow(state, fleet, fleet.update(values.astype(np.float32)))
        most = np.maximum(most, found.log_evidence)
        ever |= (np.sort(found.log_evidence.reshape(-1, EACH))[:, ::-1] >= needed).any(axis=1)
    return float((most >= -np.log(LEVEL)).mean()), float(ever.mean())


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring.unchanged", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few streams, to see that it runs")
    quick = parser.parse_args(argv).quick
    print("| detector | unchanged streams | e-value ever 20 | fleets of ten that ever reported |")
    for name, kind in ROWS[-3:] if quick else ROWS:
        share, reported = watch(name, kind, **({"n": 20, "length": 1000} if quick else {}))
        print(f"| {name} | {kind} | {share:.4f} | {reported:.3f} |", flush=True)
    print(f"{time.process_time():.0f} CPU s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
