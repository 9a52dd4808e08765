"""Delays, misses and false alarms of the detectors over 300 seeds, and values per second, beside River's ADWIN.

Every stream is `healthy` values before the change and up to `after` past it; each has its own reference window, which
ADWIN gets as the first values of its stream. A delay counts values from the change to the first alarm past it; the
median is over all seeds, with the share that was missed. False alarms are those before the change, per million.
`known` is the e-detector told the true mean instead of a reference: the price of learning is what the others add.
ADWIN takes part where `river` is installed, with its default delta = 0.002 and with 1e-6.
"""

import argparse
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from visutility.core.rng import rng
from visutility.monitor import AbstractDetector, EDetector, Level, Rolling, Score, judge, pooled, run_length
from visutility.monitor.detectors.betting import shares
from visutility.monitor.state import arrays

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
CUT = 500  # steps drawn and fed at a time


def errors(rate: float) -> Draw:
    return lambda g, shape: (g.random(shape) < rate).astype(float)


def losses(mean: float) -> Draw:
    return lambda g, shape: g.beta(20 * mean, 20 * (1 - mean), shape)


@dataclass(frozen=True)
class Scene:
    """What the values are before and after the change."""

    title: str
    before: Draw
    after: Draw
    mean: float
    healthy: int = 5000
    past: int = 10_000


def scenes() -> list[Scene]:
    rises = [Scene(f"errors .10 +{d:.2f}", errors(0.1), errors(0.1 + d), 0.1) for d in (0.05, 0.10, 0.20, 0.30)]
    beta = [Scene(f"losses .20 +{d:.2f}", losses(0.2), losses(0.2 + d), 0.2) for d in (0.02, 0.05)]
    return [*rises, *beta, Scene("errors .02 -> .50", errors(0.02), errors(0.5), 0.02)]


def chunks(scene: Scene, seeds: int, steps: int) -> Iterator[np.ndarray]:
    """Values (k, seeds) of all streams, a piece at a time; the same for every detector."""
    g = rng(0, "benchmark", scene.title, seeds)
    for first in range(0, steps, CUT):
        draw = scene.before if first < scene.healthy else scene.after
        yield draw(g, (min(CUT, steps - first), seeds))


def references(scene: Scene, size: int, seeds: int) -> np.ndarray:
    return scene.before(rng(1, "reference", scene.title, size), (seeds, size))


def ours(detector: AbstractDetector[Any], size: int | None = 150) -> Callable[[Scene, int], Score]:
    """Judge one fleet of a stream a seed; a `size` of None tells the e-detector the true mean."""

    def measure(scene: Scene, seeds: int) -> Score:
        state = detector.init(list(references(scene, size or 100, seeds)))
        if size is None:
            bound = np.full(seeds, scene.mean)
            state = replace(state, bound=bound, bets=shares(bound) / bound)
        alarms: list[list[int]] = [[] for _ in range(seeds)]
        steps, ids = scene.healthy + scene.past, np.tile(np.arange(seeds), CUT)
        for piece in chunks(scene, seeds, steps):
            state, said = detector.update(state, piece.ravel(), ids[: piece.size])
            for verdict in said:
                if verdict.level is Level.ALARM:
                    alarms[verdict.stream].append(verdict.position)
            if all(found and found[-1] >= scene.healthy for found in alarms):
                break
        return pooled(judge(found, [(scene.healthy, steps)], steps) for found in alarms)

    return measure


def adwin(delta: float, size: int) -> Callable[[Scene, int], Score]:
    """Judge River's ADWIN, a stream after the other."""
    from river.drift import ADWIN

    def measure(scene: Scene, seeds: int) -> Score:
        steps = scene.healthy + scene.past
        first = references(scene, size, seeds)
        rest = np.concatenate(list(chunks(scene, seeds, steps)))
        scores = []
        for seed in range(seeds):
            detector, alarms = ADWIN(delta=delta), []
            for value in first[seed].tolist():
                detector.update(value)
            for at, value in enumerate(rest[:, seed].tolist()):
                detector.update(value)
                if detector.drift_detected:
                    alarms.append(at)
                    if at >= scene.healthy:
                        break
            scores.append(judge(alarms, [(scene.healthy, steps)], steps))
        return pooled(scores)

    return measure


def told(score: Score) -> str:
    """Median delay, share missed and false alarms per million, in 22 characters."""
    delay = "missed" if math.isnan(score.median_delay) else f"{score.median_delay:.0f}"
    missed = f"{100 * score.missed_rate:.0f}%" if score.missed_rate else ""
    return f"{delay:>8}{missed:>6}{score.false_alarms_per_million:>8.1f}"


def delays(seeds: int) -> None:
    """Print the delay table."""
    rows = {
        "e-detector, 150": ours(EDetector()),
        "e-detector, 1000": ours(EDetector(), 1000),
        "e-detector, 10000": ours(EDetector(), 10_000),
        "e-detector, known": ours(EDetector(), None),
        "rolling 100, 150": ours(Rolling()),
        "rolling 100, 1000": ours(Rolling(), 1000),
        "rolling 500, 1000": ours(Rolling(window=500), 1000),
    }
    if find_spec("river"):
        rows |= {f"ADWIN {delta:g}, 1000": adwin(delta, 1000) for delta in (0.002, 1e-6)}
    for scene in scenes():
        print(f"\n{scene.title}: {seeds} seeds\n{'detector, reference':20}   delay missed  FA/1e6")
        for title, measure in rows.items():
            print(f"{title:20}{told(measure(scene, seeds))}", flush=True)


def silence(streams: int, steps: int) -> None:
    """Print false alarms on unchanged streams, with the bound on the mean run length that they allow."""
    rows: dict[str, tuple[AbstractDetector[Any], int]] = {
        "e-detector 1e6, 150": (EDetector(), 150),
        "rolling 1e5, 150": (Rolling(allowed=0.0), 150),
        "rolling 1e5, 1000": (Rolling(allowed=0.0), 1000),
    }
    print(
        f"\nno change: {streams} streams of {steps} values\n{'detector, reference':20} alarms  mean run length at least"
    )
    for mean, draw, title in ((0.02, errors(0.02), "errors .02"), (0.2, losses(0.2), "losses .20")):
        scene = Scene(f"no change, {title}", draw, draw, mean, healthy=steps, past=0)
        for name, (detector, size) in rows.items():
            state = detector.init(list(references(scene, size, streams)))
            found, ids = 0, np.tile(np.arange(streams), CUT)
            for piece in chunks(scene, streams, steps):
                state, said = detector.update(state, piece.ravel(), ids[: piece.size])
                found += int((said.level == Level.ALARM).sum())
            bound = run_length(streams * steps, found)[1]
            print(f"{name:20}{found:7d}  {bound:.3g} (95 %)   {title}", flush=True)


def speed(values: int) -> None:
    """Print values per second and bytes per stream."""
    print(f"\nspeed: million values a CPU second, {values:.0e} values, 1 or 1,000 streams")
    print(f"{'':20}{'one stream':>12}{'dense':>8}{'ragged':>8}  bytes/stream")
    detectors: tuple[AbstractDetector[Any], ...] = (EDetector(), Rolling())
    for detector in detectors:
        line = f"{detector.name:20}"
        for streams in (1, 1000, -1000):
            g = rng(3, "speed", streams)
            state = detector.init(list(references(scenes()[-1], 150, abs(streams))))
            batch = (g.random(values) < 0.02).astype(float)
            ids = np.arange(values) % streams if streams > 0 else g.integers(0, -streams, values)
            began = time.process_time()
            detector.update(state, batch, None if streams == 1 else ids)
            line += f"{values / (time.process_time() - began) / 1e6:{12 if streams == 1 else 8}.1f}"
        print(line + f"{sum(array.nbytes for array in arrays(state).values()) / 1000:14.0f}", flush=True)
    if find_spec("river"):
        from river.drift import ADWIN

        peer, batch = ADWIN(), (rng(3, "speed", 1).random(values) < 0.02).astype(float).tolist()
        began = time.process_time()
        for value in batch:
            peer.update(value)
        print(f"{'ADWIN':20}{values / (time.process_time() - began) / 1e6:12.1f}")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitor_detectors", description="Detectors, judged.")
    parser.add_argument("--quick", action="store_true", help="20 seeds, short streams")
    parser.add_argument("--seeds", type=int, default=300, help="streams a row (default 300)")
    given = parser.parse_args(argv)
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} processors")
    delays(20 if given.quick else given.seeds)
    silence(20 if given.quick else given.seeds, 2000 if given.quick else 34_000)
    speed(100_000 if given.quick else 2_000_000)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
