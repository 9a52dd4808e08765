"""Delays of `eprocess` by how much it has learnt, and how long a breakdown after no errors at all takes.

    python -m benchmarks.monitoring.learnt [--quick] [--seed N]

Medians over 300 streams of the values from the change to the alarm; in brackets the share of streams that did not alarm
within 10,000 values. Losses are Beta with a + b = 20.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from visutility.core.rng import rng
from visutility.monitor import Fleet

AFTER = 10_000  # values
CHANGES = [(0.1, 0.15), (0.1, 0.2), (0.1, 0.3), (0.1, 0.4), (0.02, 0.05), (0.02, 0.5)]
LOSSES = [(0.2, 0.25), (0.2, 0.4)]
PERFECT = (0.1, 0.3, 1.0)


def errors(draw: np.random.Generator, rate: float, shape: tuple[int, int]) -> Any:
    return (draw.random(shape) < rate).astype(np.float32)


def losses(draw: np.random.Generator, mean: float, shape: tuple[int, int]) -> Any:
    return draw.beta(20 * mean, 20 * (1 - mean), shape).astype(np.float32)


def delay(
    draw: Callable[[float, int], Any], streams: int, before: int, change: tuple[float, float], given: bool
) -> str:
    """Return the median delay of a change after so many values, which are a reference window where it is given."""
    old = draw(change[0], before)
    fleet = Fleet("eprocess", list(old) if given else streams)
    if not given:
        fleet.update(old)
    start = 0 if given else before
    found = np.full(streams, np.inf)
    for verdict in reversed(list(fleet.update(draw(change[1], AFTER)))):
        found[verdict.stream] = verdict.position - start + 1
    missed, median = np.isinf(found).mean(), np.median(found)
    if np.isinf(median):
        return f"{missed:.0%} missed"
    return f"{median:,.0f}" + (f" ({missed:.1%})" if missed else "")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring.learnt", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 streams that have learnt 1,000 values")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    streams = 20 if options.quick else 300
    learnt = [(1000, False)] if options.quick else [(1000, False), (5000, False), (20_000, False), (5000, True)]
    cases = [(errors, change) for change in CHANGES] + [(losses, change) for change in LOSSES]
    titles = [f"{one.__name__} {old:.2f} to {new:.2f}" for one, (old, new) in cases]
    print("| learnt before | " + " | ".join(titles) + " |\n| --- |" + " --: |" * len(cases))
    for before, given in learnt:
        row = []
        for of, change in cases:
            draw = rng(options.seed, "learnt", before, int(given), of.__name__, *map(str, change))
            row.append(
                delay(lambda rate, n, of=of, draw=draw: of(draw, rate, (streams, n)), streams, before, change, given)
            )
        print(f"| {'reference of ' if given else ''}{before:,} | " + " | ".join(row) + " |", flush=True)
    print(
        "\n| values without an error | "
        + " | ".join(f"then {rate:.0%}" for rate in PERFECT)
        + " |\n| --- |"
        + " --: |" * 3
    )
    for before in (1000,) if options.quick else (512, 1000, 5000, 8192, 20_000, 100_000):
        row = []
        for rate in PERFECT:
            draw = rng(options.seed, "perfect", before, str(rate))
            row.append(
                delay(lambda p, n, draw=draw: errors(draw, p, (streams, n)), streams, before, (0.0, rate), given=False)
            )
        print(f"| {before:,} | " + " | ".join(row) + " |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
