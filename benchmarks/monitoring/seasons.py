"""Streams with a time of day: false alarms and delays of `seasonal`, beside `auto` and River's ADWIN.

    python -m benchmarks.monitoring.seasons [--quick] [--seed N]

Days of 240 values, after 20 of which a change comes at a random time of the day. Delays are medians over the streams of
the values from the change to the first alarm in it, with the share that did not alarm within 10 days in brackets. False
alarms are per million values of streams of 60 days without a change, of which the first 20 are counted too.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.monitoring.watchers import Watcher, fleet, one_by_one, source
from visutility.core.rng import rng

DAY, BEFORE, AFTER, CALM = 240, 20, 10, 60  # values, and days
PHASES = 12

Made = Callable[[np.random.Generator, np.ndarray[Any, Any], float], Any]


def wave(draw: np.random.Generator, hour: Any, worse: float) -> Any:
    """A sine of height 1 and normal noise of sd .5, which the change raises by `worse` sd."""
    return np.sin(2 * np.pi * hour) + 0.5 * (draw.standard_normal(hour.shape) + worse)


def night(draw: np.random.Generator, hour: Any, worse: float) -> Any:
    """Losses, Beta with a + b = 20: .10 by day, .30 by night, and `worse` more after the change."""
    mean = np.where(hour < 1 / 3, 0.3, 0.1) + worse
    return draw.beta(20 * mean, 20 * (1 - mean))


def spread(draw: np.random.Generator, hour: Any, worse: float) -> Any:
    """Normal values of mean 0 whose sd goes from .5 to 1.5 and back over the day, and which the change raises."""
    return worse + (1.0 - 0.5 * np.cos(2 * np.pi * hour)) * draw.standard_normal(hour.shape)


def chained(draw: np.random.Generator, hour: Any, worse: float) -> Any:
    """The wave with autocorrelated noise, rho = .8."""
    noise = draw.standard_normal(hour.shape)
    for at in range(1, len(noise)):
        noise[at] = 0.8 * noise[at - 1] + 0.6 * noise[at]
    return np.sin(2 * np.pi * hour) + 0.5 * (noise + worse)


SCENES: list[tuple[str, Made, tuple[float, ...]]] = [
    ("wave, rise in sd", wave, (0.5, 1.0, 2.0)),
    ("night and day, rise of the loss", night, (0.02, 0.05, 0.10)),
    ("spread by the hour, rise", spread, (0.5, 1.0)),
    ("wave with rho = .8, rise in sd", chained, (1.0, 2.0)),
]


def values(scene: Made, names: Sequence[Any], streams: int, days: int, change: tuple[int, float] | None) -> Any:
    """Return (n, streams) values; `change` is the position and the size of a change."""
    hour = np.repeat((np.arange(days * DAY) % DAY / DAY)[:, None], streams, axis=1)
    if change is None:
        return scene(rng(*names), hour, 0.0)
    at, worse = change
    return np.concatenate([scene(rng(*names, "old"), hour[:at], 0.0), scene(rng(*names, "new"), hour[at:], worse)])


def watchers() -> list[Watcher]:
    """Our two, and River's where installed."""
    seasonal = partial(fleet, "seasonal", {"period": DAY, "phases": PHASES})
    found = [Watcher("seasonal", seasonal, source()), Watcher("auto", partial(fleet, "auto", {}), source())]
    if find_spec("river"):
        from river import drift

        found.append(Watcher("River ADWIN", partial(one_by_one, drift.ADWIN), ""))
    return found


def delay(watcher: Watcher, scene: Made, worse: float, streams: int, seed: int) -> str:
    """Return the median delay, and the share of streams that missed the change."""
    start = BEFORE * DAY + int(rng(seed, "hour", scene.__name__).integers(DAY))
    alarms = watcher.watch(
        values(scene, (seed, "seasons", scene.__name__), streams, BEFORE + AFTER + 1, (start, worse))
    )
    waits = np.array([next((at - start + 1 for at in each if at >= start), np.inf) for each in alarms])
    missed = np.isinf(waits).mean()
    return f"{missed:.0%} missed" if missed >= 0.5 else f"{np.median(waits):,.0f}" + (f" ({missed:.0%})" * bool(missed))


def calm(watcher: Watcher, scene: Made, streams: int, days: int, seed: int) -> str:
    """Return the false alarms per million values."""
    stream = values(scene, (seed, "calm", scene.__name__), streams, days, None)
    return f"{sum(map(len, watcher.watch(stream))) / stream.size * 1e6:.1f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring.seasons", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 streams of one change")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    streams, days, scenes = (2, 5, [(*SCENES[0][:2], (2.0,))]) if options.quick else (100, CALM, SCENES)
    these = watchers()
    print("| delays | " + " | ".join(one.name for one in these) + " |\n| --- |" + " --: |" * len(these))
    for title, scene, sizes in scenes:
        for worse in sizes:
            row = [delay(one, scene, worse, streams, options.seed) for one in these]
            print(f"| {title} {worse:g} | " + " | ".join(row) + " |", flush=True)
    print(
        "\n| false alarms per million | "
        + " | ".join(one.name for one in these)
        + " |\n| --- |"
        + " --: |" * len(these)
    )
    for title, scene, _ in scenes:
        row = [calm(one, scene, streams, days, options.seed) for one in these]
        print(f"| {title.partition(',')[0]} | " + " | ".join(row) + " |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
