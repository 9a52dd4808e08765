"""How far a change has come when the retrain run calls it settled (`python -m benchmarks.settle`).

The error rate rises from .03 to .5 over a number of values; the e-detector (ARL 1e6) alarms, and from then on
`loop.settled` is asked every ten values. "early" is the share of runs in which it says yes while the rate still rises.
"""

import argparse
from collections.abc import Sequence

import numpy as np

from visutility.core.rng import rng
from visutility.loop.policy import settled
from visutility.monitor import Level, make_detector

BEFORE, AFTER = 0.03, 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.settle", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="a few runs, to see that it runs")
    given = parser.parse_args(argv)
    runs = 5 if given.quick else given.runs
    print(f"{'settle_rows':>11}  {'rises over':>10}  {'early':>6}  {'error rate then':>15}  {'values waited':>13}")
    for rows in (30, 100):
        for ramp in (30, 60, 150, 300, 600):
            found = [one(rows, ramp, run) for run in range(runs)]
            early, rate, waited = (np.array(column) for column in zip(*found, strict=True))
            print(
                f"{rows:>11}  {ramp:>10}  {early.mean():>6.0%}  {np.median(rate):>15.2f}  {np.median(waited):>13.0f}",
                flush=True,
            )
    return 0


def one(rows: int, ramp: int, run: int) -> tuple[bool, float, int]:
    """Return whether it was called settled early, the error rate at that moment, and the values waited."""
    draw = rng(5, "settle", ramp, run)
    rate = np.concatenate([np.linspace(BEFORE, AFTER, ramp), np.full(4000, AFTER)])
    values = (draw.random(len(rate)) < rate).astype(np.float64)
    detector = make_detector("e-detector", arl=1e6)
    _, verdicts = detector.update(detector.init([(draw.random(150) < BEFORE).astype(np.float64)]), values)
    alarm = next(verdict.position for verdict in verdicts if verdict.level == Level.ALARM)
    for at in range(alarm + 10, len(values), 10):
        if settled(values[alarm:at], rows):
            return at < ramp, float(rate[at]), at - alarm
    return False, AFTER, len(values) - alarm


if __name__ == "__main__":
    raise SystemExit(main())
