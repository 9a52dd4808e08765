"""CPU time of ask + tell at 20 to 10,000 trials, on six floats and on a mixed conditional space, beside peers.

`at n` is the mean over the ten trials that end with the n-th, `mean to n` the mean over all trials so far; both are the
median over seeds, in CPU milliseconds of this process, of asking for a configuration and telling its value. Computing
the value is not counted, what a first ask imports is. Optuna's samplers are measured to 300 trials where it is
installed, on the same spaces and values; x ours is their mean to n over that of `bayesian`. Run with one BLAS thread,
as `python -m benchmarks tune_overhead` does.
"""

import argparse
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from visutility.core.rng import rng
from visutility.tune import Choice, Equals, Float, Int, Space, Study

SPACES = {
    "6 floats": Space({f"x{at}": Float(0, 1) for at in range(6)}),
    "mixed, conditional": Space(
        {
            "model": Choice(["svm", "forest", "mlp"]),
            "c": Float(1e-3, 1e3, log=True, when=Equals("model", "svm")),
            "gamma": Float(1e-4, 1e1, log=True, when=Equals("model", "svm")),
            "depth": Int(1, 20, when=Equals("model", "forest")),
            "trees": Int(10, 500, log=True, when=Equals("model", "forest")),
            "rate": Float(1e-4, 1e-1, log=True, when=Equals("model", "mlp")),
            "width": Choice([16, 32, 64, 128], ordered=True, when=Equals("model", "mlp")),
            "scale": Choice([True, False]),
            "noise": Float(0, 0.5, step=0.05),
        }
    ),
}
WINDOW = 10
SIZES = (20, 100, 300, 1000, 10_000)
PEERS_TO = 300
Round = Callable[[], tuple[Any, dict[str, Any]]]  # asks: what to tell, and the configuration
Tell = Callable[[Any, float], object]


def value(space: Space, params: dict[str, Any]) -> float:
    """A bowl off the middle of the cube, with a ripple."""
    unit, mask = space.encode(params)
    far = float((((unit - 0.35) * mask) ** 2).sum())
    return far + 0.01 * math.sin(20 * far)


def ours(strategy: str) -> Callable[[Space, int], tuple[Round, Tell]]:
    """Ask and tell of one of our strategies."""

    def start(space: Space, seed: int) -> tuple[Round, Tell]:
        study = Study(space, strategy=strategy, seed=seed)

        def ask() -> tuple[Any, dict[str, Any]]:
            trial = study.ask()
            return trial, trial.params

        return ask, study.tell

    return start


def optunas(sampler: str) -> Callable[[Space, int], tuple[Round, Tell]]:
    """Ask and tell of one of Optuna's samplers, parameters asked for one by one as its users do."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def start(space: Space, seed: int) -> tuple[Round, Tell]:
        study = optuna.create_study(sampler=getattr(optuna.samplers, sampler)(seed=seed))

        def ask() -> tuple[Any, dict[str, Any]]:
            trial = study.ask()
            found: dict[str, Any] = {}
            for name in space.order:
                if space.active(name, found):
                    found[name] = suggest(trial, name, space.parameters[name])
            return trial, found

        return ask, study.tell

    def suggest(trial: Any, name: str, p: Any) -> Any:
        if isinstance(p, Choice):
            return trial.suggest_categorical(name, p.options)
        kind = trial.suggest_int if isinstance(p, Int) else trial.suggest_float
        return kind(name, p.low, p.high, log=p.log, step=p.step)

    return start


def measure(
    started: tuple[Round, Tell], space: Space, trials: int, cap: float = math.inf, failed: frozenset[int] = frozenset()
) -> list[float]:
    """CPU milliseconds of ask + tell, a trial each; fewer trials when they have taken `cap` seconds.

    The trials numbered `failed` are told not a number.
    """
    ask, tell = started
    took: list[float] = []
    spent = 0.0
    while len(took) < trials and spent < cap:
        began = time.process_time()
        told, params = ask()
        asked = time.process_time()
        answer = math.nan if len(took) in failed else value(space, params)
        telling = time.process_time()
        tell(told, answer)
        one = asked - began + time.process_time() - telling
        took.append(1000.0 * one)
        spent += one
    return took


def summary(runs: Iterable[list[float]], n: int) -> tuple[float, float]:
    """(at n, mean to n): medians over the runs."""
    runs = list(runs)
    at = statistics.median(statistics.fmean(run[max(0, n - WINDOW) : n]) for run in runs)
    return at, statistics.median(statistics.fmean(run[:n]) for run in runs)


def failures(share: float, seed: int) -> frozenset[int]:
    """The numbers of the trials that fail, by chance."""
    return frozenset(np.flatnonzero(rng(seed, "failed").random(SIZES[-1]) < share).tolist())


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tune_overhead", description="CPU time of ask + tell.")
    parser.add_argument("--quick", action="store_true", help="20 and 40 trials, one seed")
    parser.add_argument("--seeds", type=int, default=5, help="runs a row (default 5)")
    parser.add_argument("--to", type=int, default=300, choices=SIZES[1:], help="trials of a run of ours (default 300)")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these strategies alone, such as bayesian")
    parser.add_argument("--failed", type=float, default=0.0, help="share of the trials that fail, by chance")
    given = parser.parse_args(argv)
    sizes = (20, 40) if given.quick else tuple(n for n in SIZES if n <= given.to)
    seeds = range(1 if given.quick else given.seeds)
    rows = {name: ours(name) for name in ("bayesian", "tpe", "cmaes", "local", "random", "sobol")}
    if find_spec("optuna"):
        peers = ("TPESampler", "GPSampler") if find_spec("torch") else ("TPESampler",)
        rows |= {f"optuna {name}": optunas(name) for name in peers}
    if given.only:
        rows = {name: start for name, start in rows.items() if name == "bayesian" or name in given.only}

    def upto(name: str) -> int:
        return min(sizes[-1], PEERS_TO) if name.startswith("optuna") else sizes[-1]

    threads = os.environ.get("OPENBLAS_NUM_THREADS", "default")
    print(
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} processors, {threads} BLAS threads"
    )
    for title, space in SPACES.items():
        runs = {
            name: [
                measure(start(space, seed), space, upto(name), failed=failures(given.failed, seed)) for seed in seeds
            ]
            for name, start in rows.items()
        }
        print(f"\n{title}: CPU ms of ask + tell, median of {len(seeds)} seeds")
        print(f"{'':18}" + "".join(f"{f'at {n}':>10}{f'mean to {n}':>14}{'x ours':>8}" for n in sizes))
        for name in rows:
            line = f"{name:18}"
            for n in (size for size in sizes if size <= upto(name)):
                at, mean = summary(runs[name], n)
                line += f"{at:10.2f}{mean:14.2f}{mean / summary(runs['bayesian'], n)[1]:8.2f}"
            print(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
