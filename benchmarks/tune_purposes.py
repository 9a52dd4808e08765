"""Constraints, several objectives, beliefs and the stop rule, on analytic problems, beside random search and Optuna.

Four tables, each of means over seeds (`constraints`: medians). Constraints: how far the best feasible value is from the
best there is; "unaware" is `bayesian` without being told of the constraint. Objectives: the volume that the front
dominates. Beliefs: the best value with none, with ones that are off by .15 of each range, and with ones at the far end
of it. Stop rule: when `Enough()` closes a study, what it had found, what it held worth, and what the next ten and as
many trials again would have gained.
Optuna's samplers take part where they are installed (GPSampler needs torch).
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from visutility.core.errors import StudyClosed
from visutility.tune import AtMost, Enough, Float, Near, Space, Study

Measure = Callable[[Mapping[str, Any]], dict[str, float]]


def cube(dim: int) -> Space:
    """Columns x0, x1, … over [0, 1]."""
    return Space({f"x{at}": Float(0, 1) for at in range(dim)})


def vector(params: Mapping[str, Any]) -> Any:
    """The configuration as an array."""
    return np.array([params[f"x{at}"] for at in range(len(params))])


# -- problems --------------------------------------------------------------------------------------------------------


def branin(x: float, y: float) -> float:
    """Three equal minima of 0.397887 over [-5, 10] × [0, 15]."""
    hill = (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2
    return hill + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def gardner(params: Mapping[str, Any]) -> dict[str, float]:
    """Gardner et al. (2014), simulation 2: 1.6 % of the square is feasible; the best value there is .2533."""
    x, y = 6 * params["x0"], 6 * params["x1"]
    return {"value": math.sin(x) + y, "c": math.sin(x) * math.sin(y) + 0.95}


def branin_disc(params: Mapping[str, Any]) -> dict[str, float]:
    """Branin inside a disc that holds one of its three minima."""
    x, y = 15 * params["x0"] - 5, 15 * params["x1"]
    return {"value": branin(x, y), "c": (x - 2.5) ** 2 + (y - 7.5) ** 2 - 50}


def zdt(params: Mapping[str, Any], kind: int) -> dict[str, float]:
    """Zitzler, Deb and Thiele (2000), problems 1 (a bulge), 2 (a hollow) and 3 (five pieces)."""
    x = vector(params)
    rise = 1 + 9 * float(x[1:].mean())
    share = float(x[0]) / rise
    shape = {1: 1 - math.sqrt(share), 2: 1 - share**2}
    shape[3] = shape[1] - share * math.sin(10 * math.pi * float(x[0]))
    return {"o0": float(x[0]), "o1": rise * shape[kind]}


def branin_currin(params: Mapping[str, Any]) -> dict[str, float]:
    """Two unlike landscapes over one square."""
    a, b = params["x0"], params["x1"]
    bend = 1 - math.exp(-1 / (2 * b)) if b > 0 else 1.0
    currin = bend * (2300 * a**3 + 1900 * a**2 + 2092 * a + 60) / (100 * a**3 + 500 * a**2 + 4 * a + 20)
    return {"o0": branin(15 * a - 5, 15 * b), "o1": currin}


def dtlz2(params: Mapping[str, Any], count: int) -> dict[str, float]:
    """Deb, Thiele, Laumanns and Zitzler (2005), problem 2: the front is a part of a sphere."""
    x = vector(params)
    out = np.full(count, 1 + float(((x[count - 1 :] - 0.5) ** 2).sum()))
    for at in range(count):
        out[at] *= np.prod(np.cos(x[: count - 1 - at] * math.pi / 2))
        out[at] *= math.sin(x[count - 1 - at] * math.pi / 2) if at else 1.0
    return {f"o{at}": float(value) for at, value in enumerate(out)}


HARTMANN_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
HARTMANN_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(params: Mapping[str, Any]) -> float:
    """Hartmann's function of six parameters, least value -3.32237."""
    far = (HARTMANN_A * (vector(params) - HARTMANN_P) ** 2).sum(1)
    return -float(np.array([1, 1.2, 3, 3.2]) @ np.exp(-far))


def ackley(params: Mapping[str, Any]) -> float:
    """Ackley's function of five parameters, moved off the middle, least value 0."""
    x = vector(params) * 20 - 8
    waves = np.exp(np.cos(2 * np.pi * x).mean())
    return float(-20 * np.exp(-0.2 * np.sqrt((x**2).mean())) - waves + 20 + np.e)


def rosenbrock(params: Mapping[str, Any]) -> float:
    """The logarithm of one more than Rosenbrock's function of four parameters, least value 0."""
    x = vector(params) * 4 - 2
    return float(np.log1p((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()))


CONSTRAINED: dict[str, tuple[Measure, float]] = {"Gardner 2": (gardner, 0.2533), "Branin disc": (branin_disc, 0.397887)}
SEVERAL: dict[str, tuple[int, Measure, list[float]]] = {
    "ZDT1": (4, lambda p: zdt(p, 1), [1.1, 6.0]),
    "ZDT2": (4, lambda p: zdt(p, 2), [1.1, 6.0]),
    "ZDT3": (4, lambda p: zdt(p, 3), [1.1, 6.0]),
    "Branin-Currin": (2, branin_currin, [18.0, 6.0]),
    "DTLZ2, three": (5, lambda p: dtlz2(p, 3), [1.5] * 3),
    "DTLZ2, four": (6, lambda p: dtlz2(p, 4), [1.5] * 4),
}
BELIEVED: dict[str, tuple[Callable[[Mapping[str, Any]], float], list[float]]] = {
    "Hartmann 6": (hartmann, [0.2017, 0.15, 0.4769, 0.2753, 0.3117, 0.6573]),
    "Ackley 5": (ackley, [0.4] * 5),
    "Rosenbrock 4": (rosenbrock, [0.75] * 4),
}


# -- searches --------------------------------------------------------------------------------------------------------


def ours(study: Study, measure: Measure, n: int) -> Iterator[dict[str, float]]:
    """What each trial measured."""
    for _ in range(n):
        trial = study.ask()
        told = measure(trial.params)
        study.tell(trial, told)
        yield told


def optunas(
    sampler: str, dim: int, measure: Measure, names: list[str], seed: int, n: int
) -> Iterator[dict[str, float]]:
    """What each trial of one of Optuna's samplers measured; a metric "c" is its constraint."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    made = getattr(optuna.samplers, sampler)(seed=seed)
    study = optuna.create_study(directions=["minimize"] * len(names), sampler=made)
    for _ in range(n):
        trial = study.ask()
        told = measure({f"x{at}": trial.suggest_float(f"x{at}", 0, 1) for at in range(dim)})
        if "c" in told:
            trial.set_constraint("c", told["c"])
        study.tell(trial, [told[name] for name in names])
        yield told


def peers() -> list[str]:
    """Optuna's samplers that can run here."""
    if not find_spec("optuna"):
        return []
    return ["TPESampler", *(["GPSampler"] if find_spec("torch") else [])]


def feasible_regret(told: Iterator[dict[str, float]], optimum: float) -> list[float]:
    """How far the best feasible value is from the optimum, after each trial."""
    best, found = math.inf, []
    for one in told:
        best = min(best, one["value"]) if one["c"] <= 0 else best
        found.append(best - optimum)
    return found


def constrained(seeds: range, n: int) -> None:
    """The first table."""
    print(f"\nconstraints: median distance of the best feasible value from the optimum, {len(seeds)} seeds")
    bound = {"c": AtMost(0.0)}
    for title, (measure, optimum) in CONSTRAINED.items():
        rows: dict[str, Callable[[int], Iterator[dict[str, float]]]] = {
            "bayesian": lambda s, f=measure: ours(Study(cube(2), strategy="bayesian", seed=s, constraints=bound), f, n),
            "unaware": lambda s, f=measure: ours(Study(cube(2), strategy="bayesian", seed=s), f, n),
            "tpe": lambda s, f=measure: ours(Study(cube(2), strategy="tpe", seed=s, constraints=bound), f, n),
            "random": lambda s, f=measure: ours(Study(cube(2), strategy="random", seed=s), f, n),
        }
        for name in peers():
            rows[f"Optuna {name}"] = lambda s, f=measure, who=name: optunas(who, 2, f, ["value"], s, n)
        table(title, rows, seeds, n, lambda told, best=optimum: feasible_regret(told, best), np.median)


def several(seeds: range, n: int) -> None:
    """The second table."""
    print(f"\nobjectives: mean volume dominated, {len(seeds)} seeds")
    for title, (dim, measure, reference) in SEVERAL.items():
        names = [f"o{at}" for at in range(len(reference))]
        directions = dict.fromkeys(names, "minimize")
        bound = dict(zip(names, reference, strict=True))

        def volumes(told: Iterator[dict[str, float]], directions: Any = directions, bound: Any = bound) -> list[float]:
            kept, found = Study(cube(1), directions, "random"), []
            for one in told:
                kept.tell(kept.ask(), one)
                found.append(kept.hypervolume(bound))
            return found

        rows: dict[str, Callable[[int], Iterator[dict[str, float]]]] = {
            who: lambda s, who=who, f=measure, d=dim, w=directions: ours(Study(cube(d), w, who, s), f, n)
            for who in ("bayesian", "tpe", "random")
        }
        for name in peers():
            rows[f"Optuna {name}"] = lambda s, f=measure, d=dim, who=name, w=names: optunas(who, d, f, w, s, n)
        table(title, rows, seeds, n, volumes, np.mean)


def believed(seeds: range, n: int) -> None:
    """The third table."""
    print(f"\nbeliefs: mean best value, {len(seeds)} seeds")
    for title, (function, best) in BELIEVED.items():
        near = {f"x{at}": Near(min(max(v + (0.15 if at % 2 else -0.15), 0.0), 1.0)) for at, v in enumerate(best)}
        far = {f"x{at}": Near(0.0 if value > 0.5 else 1.0) for at, value in enumerate(best)}
        space = cube(len(best))
        rows: dict[str, Callable[[int], Iterator[dict[str, float]]]] = {
            name: lambda s, p=priors, f=function, over=space: ours(
                Study(over, strategy="bayesian", seed=s, priors=p), lambda q: {"value": f(q)}, n
            )
            for name, priors in (("none", None), ("off by .15", near), ("at the far end", far))
        }
        table(
            title, rows, seeds, n, lambda told: np.minimum.accumulate([one["value"] for one in told]).tolist(), np.mean
        )


def table(
    title: str,
    rows: dict[str, Callable[[int], Iterator[dict[str, float]]]],
    seeds: range,
    n: int,
    read: Callable[[Iterator[dict[str, float]]], list[float]],
    middle: Callable[..., Any],
) -> None:
    """One problem: each search at a quarter, half, three quarters and all of its trials, and its cost."""
    places = [round(n * share) for share in (0.25, 0.5, 0.75, 1.0)]
    print(f"{title:26}" + "".join(f"{f'at {place}':>11}" for place in places) + f"{'ms a trial':>12}")
    for name, search in rows.items():
        began = time.process_time()
        told = [list(search(seed)) for seed in seeds]
        cost = 1000 * (time.process_time() - began) / (len(told) * n)
        found = np.array([read(iter(one)) for one in told])
        line = middle(found, axis=0)[[place - 1 for place in places]]
        print(f"  {name:24}" + "".join(f"{value:11.4f}" for value in line) + f"{cost:12.1f}", flush=True)


def stopped(seeds: range, most: int) -> None:
    """The fourth table."""
    print(f"\nstop rule: Enough(), at most {most} trials, means of {len(seeds)} seeds")
    print(f"{'':26}{'closed at':>11}{'best':>11}{'worth':>11}{'next ten':>11}{'as many':>11}{'closed':>8}")
    for title, (function, best) in BELIEVED.items():
        rows = []
        for seed in seeds:
            study = Study(cube(len(best)), seed=seed, stop_when=Enough())
            try:
                for _ in ours(study, lambda p, f=function: {"value": f(p)}, most):
                    pass
            except StudyClosed:
                pass
            closed, found, worth = len(study.trials), study.best.value or 0.0, study.outlook().worth
            further = Study(cube(len(best)), seed=seed)
            values = [one["value"] for one in ours(further, lambda p, f=function: {"value": f(p)}, 2 * closed)]
            ten, many = found - min(values[: closed + 10]), found - min(values)
            rows.append((closed, found, worth, ten, many, closed < most))
        *line, share = np.mean(rows, axis=0)
        print(
            f"  {title:24}{line[0]:11.1f}" + "".join(f"{one:11.4f}" for one in line[1:]) + f"{share:8.0%}", flush=True
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tune_purposes", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="8 trials, one seed")
    parser.add_argument("--seeds", type=int, default=8, help="runs a row (default 8)")
    parser.add_argument("--only", choices=["constraints", "objectives", "beliefs", "stop"], help="one of the tables")
    given = parser.parse_args(argv)
    seeds, n = range(1 if given.quick else given.seeds), 8 if given.quick else 40
    tables = {"constraints": constrained, "objectives": several, "beliefs": believed, "stop": stopped}
    for name, run in tables.items():
        if given.only in (None, name):
            run(seeds, (12 if given.quick else 80) if name == "stop" else n)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
