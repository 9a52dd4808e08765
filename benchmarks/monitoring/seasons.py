"""Streams with a time of day: false alarms and delays of `seasonal`, beside `auto` and River's ADWIN.

    python -m benchmarks.monitoring.seasons [--quick] [--seed N]

Days of 240 values, after 20 of which a change comes at a random time of the day. Delays are medians over the streams of
the values from the change to the first alarm in it, with the share that did not alarm within 10 days in brackets. False
alarms are per million values of streams of 60 days without a change, of which the first 20 are counted too.

Then the same for traffic of no steady pace: requests at random times, 20 an hour by day and 10 from 0 to 8 o'clock,
times a factor that each day draws for itself (lognormal, sigma .5). `seasonal` is given their times, or, by position,
the mean number of requests of a day as its period.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.monitoring.watchers import Watcher, fleet, one_by_one, source
from visutility.core.rng import rng
from visutility.monitor import Fleet, Level, make_detector

DAY, BEFORE, AFTER, CALM = 240, 20, 10, 60  # values, and days
PHASES = 12
RATES, BUSY = np.repeat([10.0, 20.0], [8, 16]), 0.5  # requests in each hour of the day; how much days differ

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


TRAFFIC: list[tuple[str, Made, tuple[float, ...]]] = [
    ("wave, rise in sd", wave, (0.5, 1.0)),
    ("night and day, rise of the loss", night, (0.02, 0.05)),
    ("wave with rho = .8, rise in sd", chained, (1.0,)),
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
    return _median(alarms, [start] * streams)


def calm(watcher: Watcher, scene: Made, streams: int, days: int, seed: int) -> str:
    """Return the false alarms per million values."""
    stream = values(scene, (seed, "calm", scene.__name__), streams, days, None)
    return f"{sum(map(len, watcher.watch(stream))) / stream.size * 1e6:.1f}"


Requests = list[tuple[Any, Any]]  # of each stream: when, in seconds, and the values, both (n,)


def requests(
    scene: Made, names: Sequence[Any], streams: int, days: int, change: tuple[float, float] | None
) -> Requests:
    """Traffic of no steady pace; `change` is when, in hours, and the size of a change."""
    draw, found = rng(*names, "traffic"), []
    start, worse = change or (np.inf, 0.0)
    for stream in range(streams):
        busy = draw.lognormal(-(BUSY**2) / 2.0, BUSY, days)
        count = draw.poisson(busy[:, None] * RATES).ravel()
        when = np.repeat(np.arange(24.0 * days), count)
        when = np.sort(when + draw.random(when.shape))
        hour, old = when % 24.0 / 24.0, when < start
        parts = [
            scene(rng(*names, "old", stream), hour[old], 0.0),
            scene(rng(*names, "new", stream), hour[~old], worse),
        ]
        found.append((3600.0 * when, np.concatenate(parts)))
    return found


def timed(kind: str, settings: dict[str, Any], streams: Requests) -> list[list[int]]:
    """One of our detectors, told the times: positions of the alarms of each stream. Fed a day at a time."""
    watching = Fleet(make_detector(kind, **settings), streams=len(streams))
    alarms: list[list[int]] = [[] for _ in streams]
    ids = np.repeat(np.arange(len(streams)), [len(at) for at, _ in streams])
    at, each = (np.concatenate(column) for column in zip(*streams, strict=True))
    for day in range(int(at.max() // 86_400) + 1):
        now = at // 86_400 == day
        for verdict in watching.update(each[now], ids[now], at=at[now]):
            if verdict.level is Level.ALARM:
                alarms[verdict.stream].append(verdict.position)
    return alarms


def of_traffic() -> list[tuple[str, Callable[[Requests], list[list[int]]]]]:
    """The same, by the clock and by position."""
    mean = round(RATES.sum() / PHASES) * PHASES
    found: list[tuple[str, Callable[[Requests], list[list[int]]]]] = [
        ("seasonal by the clock", partial(timed, "seasonal", {"season": "day", "phases": PHASES})),
        ("seasonal by position", partial(timed, "seasonal", {"period": mean, "phases": PHASES})),
        ("auto", partial(timed, "auto", {})),
    ]
    if find_spec("river"):
        from river import drift

        found.append(
            ("River ADWIN", lambda streams: [one_by_one(drift.ADWIN, each[:, None])[0] for _, each in streams])
        )
    return found


def delay_in_traffic(watch: Any, scene: Made, worse: float, streams: int, seed: int) -> str:
    """Return the median delay, and the share of streams that missed the change."""
    start = 24.0 * (BEFORE + rng(seed, "hour", scene.__name__).random())
    each = requests(scene, (seed, "traffic", scene.__name__), streams, BEFORE + AFTER + 1, (start, worse))
    first = [int(np.searchsorted(at, 3600.0 * start)) for at, _ in each]
    return _median(watch(each), first)


def calm_traffic(watch: Any, scene: Made, streams: int, days: int, seed: int) -> str:
    """Return the false alarms per million values."""
    each = requests(scene, (seed, "calm traffic", scene.__name__), streams, days, None)
    return f"{sum(map(len, watch(each))) / sum(len(at) for at, _ in each) * 1e6:.1f}"


def _median(alarms: list[list[int]], first: Sequence[int]) -> str:
    """Return the median of the values from each stream's change to its first alarm from there on."""
    waits = [
        next((at - start + 1 for at in each if at >= start), np.inf) for each, start in zip(alarms, first, strict=True)
    ]
    missed = float(np.isinf(waits).mean())
    return f"{missed:.0%} missed" if missed >= 0.5 else f"{np.median(waits):,.0f}" + (f" ({missed:.0%})" * bool(missed))


def _head(title: str, names: Sequence[str]) -> str:
    return f"| {title} | " + " | ".join(names) + " |\n| --- |" + " --: |" * len(names)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring.seasons", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 streams of one change")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("steady", "traffic"), help="one of the two parts")
    options = parser.parse_args(argv)
    streams, days = (2, 5) if options.quick else (100, CALM)
    if options.only != "traffic":
        _steady([(*SCENES[0][:2], (2.0,))] if options.quick else SCENES, streams, days, options.seed)
    if options.only != "steady":
        _traffic([(*TRAFFIC[0][:2], (1.0,))] if options.quick else TRAFFIC, streams, days, options.seed)
    return 0


def _steady(scenes: list[tuple[str, Made, tuple[float, ...]]], streams: int, days: int, seed: int) -> None:
    these = watchers()
    print(_head("delay", [one.name for one in these]))
    for title, scene, sizes in scenes:
        for worse in sizes:
            row = [delay(one, scene, worse, streams, seed) for one in these]
            print(f"| {title} {worse:g} | " + " | ".join(row) + " |", flush=True)
    print("\n" + _head("false alarms per million", [one.name for one in these]))
    for title, scene, _ in scenes:
        row = [calm(one, scene, streams, days, seed) for one in these]
        print(f"| {title.partition(',')[0]} | " + " | ".join(row) + " |", flush=True)


def _traffic(scenes: list[tuple[str, Made, tuple[float, ...]]], streams: int, days: int, seed: int) -> None:
    these = of_traffic()
    print("\n" + _head("delay in traffic", [name for name, _ in these]))
    for title, scene, sizes in scenes:
        for worse in sizes:
            row = [delay_in_traffic(watch, scene, worse, streams, seed) for _, watch in these]
            print(f"| {title} {worse:g} | " + " | ".join(row) + " |", flush=True)
    print("\n" + _head("false alarms per million in traffic", [name for name, _ in these]))
    for title, scene, _ in scenes:
        row = [calm_traffic(watch, scene, streams, days, seed) for _, watch in these]
        print(f"| {title.partition(',')[0]} | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
