"""Which strategy "auto" should take: the candidates side by side, a table for each kind of study.

python -m benchmarks.tuning.choice                            every table
python -m benchmarks.tuning.choice --only wide long --seeds 6 these
python -m benchmarks.tuning.choice --quick                    two small tables, to see that it runs

Each table says, over paired runs (a problem and a seed), a candidate's mean rank by the best value it found (1 is best,
equals share), in how many runs it beat and lost to what "auto" takes there, the sign test's p, and the CPU milliseconds
of a trial. Analytic problems and tasks that constants may be chosen on; none of the tasks that are reported.
"""

import argparse
import functools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, rankdata

from benchmarks.tuning.tasks import DEV
from benchmarks.tuning_problems import Params, Problem, ackley, conditional, hartmann6, levy, mixed, on_cube, rosenbrock
from visutility.core.rng import rng
from visutility.tune import Choice, Float, Int, Space, Study, make_strategy

LEARNERS = ("bayesian", "tpe", "cmaes", "local")


@dataclass(frozen=True)
class Regime:
    """A kind of study: what is tuned, with how many trials, so many of them at a time, by which candidates."""

    title: str
    problems: tuple[Callable[[int], Problem], ...]
    trials: int
    candidates: tuple[str, ...] = ("random", "sobol", *LEARNERS)
    workers: int = 1
    most_seeds: int = 100


def cube(name: str, dim: int, f: Callable[[np.ndarray], float], best: float) -> Callable[[int], Problem]:
    """The function, its minimum moved from (best, …, best) to anywhere but the edge, so that no place is special."""

    def make(seed: int) -> Problem:
        shift = best - rng(seed, "anywhere", name).uniform(0.1, 0.9, dim)
        return on_cube(f"{name}-{dim}", dim, lambda u: f(u + shift), seed, move=False)

    return make


def rastrigin(u: np.ndarray) -> float:
    x = 10.24 * (u - 0.45)
    return float(np.sum(x * x - 10.0 * np.cos(2.0 * np.pi * x) + 10.0))


def few_matter(u: np.ndarray) -> float:
    """Four of the parameters matter much, the others hardly."""
    return float(np.sum((u[:4] - 0.5) ** 2) + 1e-3 * np.sum((u[4:] - 0.5) ** 2))


def turned(dim: int) -> Callable[[int], Problem]:
    """An ellipsoid of axes from 1 to 1000 that no parameter is parallel to."""

    def make(seed: int) -> Problem:
        basis = np.linalg.qr(rng(seed, "turned", dim).standard_normal((dim, dim)))[0]
        axes = 10.0 ** (6.0 * np.arange(dim) / (dim - 1))
        return cube("turned", dim, lambda u: float(axes @ (basis @ (u - 0.5)) ** 2), 0.5)(seed)

    return make


def whole_and_real(seed: int) -> Problem:
    """Eight whole numbers and eight real ones, of different weight."""
    at = rng(seed, "whole and real").integers(-7, 8, 16)
    space = Space({f"k{i}": Int(-10, 10) for i in range(8)} | {f"x{i}": Float(-10.0, 10.0) for i in range(8)})

    def objective(p: Params) -> float:
        return float(sum(10.0 ** (i / 5) * (v - at[i] - 0.3 * (i > 7)) ** 2 for i, v in enumerate(p.values())))

    return Problem("whole-real-16", space, objective, choose=True)


def many_choices(seed: int) -> Problem:
    """Six unordered choices of four options, each with a number whose best value depends on it."""
    order = [rng(seed, "many choices", i).permutation(4) for i in range(6)]
    space = Space({f"c{i}": Choice(list("abcd")) for i in range(6)} | {f"x{i}": Float(0.0, 1.0) for i in range(6)})

    def objective(p: Params) -> float:
        picks = [int(order[i]["abcd".index(p[f"c{i}"])]) for i in range(6)]
        return float(sum(0.1 * k + (p[f"x{i}"] - 0.2 - 0.15 * k) ** 2 for i, k in enumerate(picks)))

    return Problem("choices-12", space, objective, choose=True)


def finite(seed: int) -> Problem:
    """Ninety configurations."""
    table = rng(seed, "finite").standard_normal((6, 5, 3))
    smooth = table.cumsum(axis=0).cumsum(axis=1)
    space = Space({"depth": Int(1, 6), "rate": Choice([1, 2, 3, 4, 5], ordered=True), "kind": Choice(list("xyz"))})
    return Problem(
        "finite-90",
        space,
        lambda p: float(smooth[p["depth"] - 1, p["rate"] - 1, "xyz".index(p["kind"])]),
        choose=True,
    )


def tasks() -> tuple[Callable[[int], Problem], ...]:
    """The tasks that choices may be made on."""
    found = []
    for task in DEV:
        problem = Problem(task.name, task.space, task.evaluate, choose=True)
        found.append(functools.partial(_same, problem))
    return tuple(found)


def _same(problem: Problem, _: int) -> Problem:
    return problem


NUMBERS = (
    cube("rosenbrock", 4, rosenbrock, 0.75),
    cube("ackley", 5, ackley, 0.45),
    cube("levy", 4, levy, 0.55),
    turned(6),
)
HARTMANN = (lambda seed: on_cube("hartmann-6", 6, hartmann6, seed, move=False),)
MIXED = (mixed, conditional, many_choices)
WIDE, WIDER = (
    (
        cube("few matter", dim, few_matter, 0.5),
        cube("levy", dim, levy, 0.55),
        cube("ackley", dim, ackley, 0.45),
    )
    for dim in (40, 120)
)

REGIMES: dict[str, Regime] = {
    "finite": Regime("90 configurations, 30 trials", (finite,), 30, ("random", "sobol", "grid", *LEARNERS)),
    "few": Regime("4 trials", (*NUMBERS, *HARTMANN, *MIXED), 4),
    "eight": Regime("8 trials", (*NUMBERS, *HARTMANN, *MIXED), 8),
    "numbers": Regime("numbers, 50 trials", (*NUMBERS, *HARTMANN), 50),
    "mixed": Regime("mixed and conditional, 50 trials", MIXED, 50),
    "tasks": Regime("real models, 30 trials", tasks(), 30, most_seeds=2),
    "tasks four": Regime("real models, 4 trials", tasks(), 4, most_seeds=4),
    "tasks few": Regime("real models, 8 trials", tasks(), 8, most_seeds=4),
    "medium": Regime("numbers and mixed, 300 trials", (*NUMBERS, *HARTMANN, *MIXED), 300, LEARNERS, most_seeds=4),
    "long": Regime(
        "numbers, 2,000 trials",
        (
            *NUMBERS,
            cube("rastrigin", 8, rastrigin, 0.45),
            turned(12),
            cube("rosenbrock", 10, rosenbrock, 0.75),
            whole_and_real,
        ),
        2000,
        LEARNERS,
        most_seeds=2,
    ),
    "long mixed": Regime("mixed and conditional, 2,000 trials", MIXED, 2000, LEARNERS, most_seeds=2),
    "wide": Regime("40 numbers, 100 trials", WIDE, 100, most_seeds=4),
    "wider": Regime("120 numbers, 100 trials", WIDER, 100, most_seeds=4),
    "wider long": Regime("120 numbers, 500 trials", WIDER, 500, ("random", *LEARNERS), most_seeds=2),
    "parallel": Regime("numbers and mixed, 96 trials, 32 at a time", (*NUMBERS, *HARTMANN, *MIXED), 96, workers=32),
}
QUICK = ("finite", "few")


def run(strategy: str, problem: Problem, seed: int, trials: int, workers: int) -> tuple[float, float]:
    """The best value of one study, and the CPU milliseconds of a trial, those of the objective left out."""
    study = Study(problem.space, strategy=strategy, seed=seed)
    best, spent, done = math.inf, 0.0, 0
    while done < trials:
        start = time.process_time()
        batch = study.ask_batch(min(workers, trials - done))
        spent += time.process_time() - start
        for trial in batch:
            value = problem.objective(trial.params)
            best = min(best, value if math.isfinite(value) else math.inf)
            start = time.process_time()
            study.tell(trial, value)
            spent += time.process_time() - start
        done += len(batch)
    return best, 1000.0 * spent / trials


def taken(regime: Regime) -> str:
    """What "auto" takes for most of the regime's problems."""
    names = [
        make_strategy(space=make(0).space, budget=regime.trials, workers=regime.workers).strategy.name
        for make in regime.problems
    ]
    return statistics.mode(names)


def measure(regime: Regime, seeds: int) -> list[str]:
    """The lines of one table."""
    chosen = taken(regime)
    cases = [(make, seed) for make in regime.problems for seed in range(min(seeds, regime.most_seeds))]
    found = [
        [run(name, make(seed), seed, regime.trials, regime.workers) for name in regime.candidates]
        for make, seed in cases
    ]
    values = np.array([[best for best, _ in row] for row in found])
    ranks = np.array([rankdata(row) for row in values]).mean(axis=0)
    spent = np.array([[cost for _, cost in row] for row in found]).mean(axis=0)
    lines = [
        f"\n{regime.title} ({len(regime.problems)} problems, {len(cases)} runs); auto takes {chosen}",
        f"{'':10}{'mean rank':>10}{'beat:lost to auto':>20}{'p':>9}{'CPU ms':>9}",
    ]
    own = values[:, regime.candidates.index(chosen)] if chosen in regime.candidates else None
    for at in np.argsort(ranks, kind="stable"):
        line = f"{regime.candidates[at]:10}{ranks[at]:10.2f}"
        if own is None or regime.candidates[at] == chosen:
            line += f"{'':29}"
        else:
            won, lost = int((values[:, at] < own).sum()), int((values[:, at] > own).sum())
            p = binomtest(won, won + lost).pvalue if won + lost else 1.0
            line += f"{f'{won}:{lost}':>20}{p:9.1g}"
        lines.append(line + f"{spent[at]:9.2f}")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning.choice", description="What auto should take.")
    parser.add_argument("--quick", action="store_true", help="two small tables, 2 seeds")
    parser.add_argument("--seeds", type=int, default=8, help="seeds a problem (default 8; fewer where runs are long)")
    parser.add_argument("--only", nargs="*", choices=list(REGIMES), default=list(REGIMES), metavar="NAME")
    given = parser.parse_args(argv)
    for name in QUICK if given.quick else given.only:
        print("\n".join(measure(REGIMES[name], 2 if given.quick else given.seeds)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
