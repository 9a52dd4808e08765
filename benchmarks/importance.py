"""How well importance is told from 25, 50 and 100 trials: our methods, and Optuna's evaluators where installed.

Five functions, each with parameters that do nothing, on trials of `random` and of `bayesian` (the same for every
method). The truth is each parameter's total Sobol' index of the function's ranks, by 3,000 evaluations a parameter:
ranks, so that it favours neither a method that bends the values nor one that looks at the best. A method's answer is
shares that add up to 1. `order`: Spearman's correlation with the truth. `off`: half the sum of absolute differences,
0 to 1. `fooled`: how often a parameter that does nothing is above one with more than a tenth of the truth. `ms`: CPU
time of one answer. Means over functions and seeds. Parameters that Optuna's evaluators leave out (conditional ones)
count as 0.

A second table gives size and CPU time of a study's page, for random trials of six and of a hundred parameters.
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from visutility.core.rng import rng
from visutility.loop.study_page import StudyView, study_page
from visutility.tune import Choice, Equals, Float, Int, Space, Study
from visutility.tune.insight import importance
from visutility.tune.options import options_of
from visutility.tune.trial import COMPLETE, Trial

Objective = Callable[[dict[str, Any]], float]
Method = Callable[[Study], Callable[[], dict[str, float]]]  # takes a study in, then answers


def branches(p: dict[str, Any]) -> float:
    """Squared distances with a choice and a parameter below it."""
    kind = {"a": 3.0, "b": 0.0, "c": 2.0}[p["kind"]]
    return (math.log10(p["lr"]) + 2) ** 2 + kind + 4 * (p.get("momentum", 0.0) - 0.3) ** 2 + 0.05 * p["depth"]


def sphere(p: dict[str, Any]) -> float:
    """Squared distances of falling weight."""
    return sum(weight * (p[f"x{at}"] - 0.3) ** 2 for at, weight in enumerate((4.0, 2.0, 1.0, 0.5)))


def ishigami(p: dict[str, Any]) -> float:
    """Ishigami and Homma (1990)."""
    return math.sin(p["x0"]) + 7 * math.sin(p["x1"]) ** 2 + 0.1 * p["x2"] ** 4 * math.sin(p["x0"])


def branin(p: dict[str, Any]) -> float:
    """Three equal minima in two parameters."""
    x, y = p["x"], p["y"]
    return (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x)


def valley(p: dict[str, Any]) -> float:
    """A ridge in two log scales, as support vector machines have it."""
    off = abs(math.log10(p["C"]) - 1 - 0.5 * math.log10(p["gamma"]))
    return off + 0.3 * (p["kernel"] == "poly") + 0.02 * p["degree"]


FUNCTIONS: dict[str, tuple[Space, Objective]] = {
    "branches": (
        Space(
            {
                "lr": Float(1e-5, 1, log=True),
                "depth": Int(1, 12),
                "kind": Choice(["a", "b", "c"]),
                "momentum": Float(0, 1, when=Equals("kind", "b")),
                "nothing": Float(0, 1),
            }
        ),
        branches,
    ),
    "sphere": (Space({f"x{at}": Float(0, 1) for at in range(6)}), sphere),
    "ishigami": (Space({f"x{at}": Float(-math.pi, math.pi) for at in range(4)}), ishigami),
    "branin": (Space({"x": Float(-5, 10), "y": Float(0, 15), "a": Float(0, 1), "b": Int(1, 5)}), branin),
    "valley": (
        Space(
            {
                "C": Float(1e-3, 1e3, log=True),
                "gamma": Float(1e-4, 10, log=True),
                "kernel": Choice(["rbf", "poly"]),
                "degree": Int(1, 8),
                "nothing": Choice(["a", "b", "c", "d"]),
            }
        ),
        valley,
    ),
}


def truth(space: Space, objective: Objective, rows: int) -> np.ndarray:
    """Return the total Sobol' indices of the function's ranks, as shares (d,)."""
    draw = rng(0, "benchmark", "importance")
    a, b = draw.random((rows, space.dim)), draw.random((rows, space.dim))

    def values(units: np.ndarray) -> np.ndarray:
        return np.array([objective(space.decode(unit)) for unit in units])

    known = np.sort(at_a := values(a))
    ranks = np.searchsorted(known, at_a) / rows
    found = []
    for column in range(space.dim):
        mixed = a.copy()
        mixed[:, column] = b[:, column]
        found.append(float(np.mean((ranks - np.searchsorted(known, values(mixed)) / rows) ** 2)))
    return np.array(found) / sum(found)


def ours(method: str, **options: Any) -> Method:
    """Return one of our methods."""
    return lambda study: lambda: importance(study, method, **options).shares  # type: ignore[arg-type]


def optunas() -> dict[str, Method]:
    """Return Optuna's evaluators, each at its defaults."""
    if find_spec("optuna") is None:
        return {}
    import warnings

    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    kinds = optuna.distributions

    def distribution(parameter: Any) -> Any:
        if isinstance(parameter, Choice):
            return kinds.CategoricalDistribution(parameter.options)
        kind = kinds.FloatDistribution if isinstance(parameter, Float) else kinds.IntDistribution
        return kind(parameter.low, parameter.high, log=parameter.log)

    def by(evaluator: Any) -> Method:
        def prepare(study: Study) -> Callable[[], dict[str, float]]:
            other = optuna.create_study()
            space = study.space.parameters
            for trial in study.trials:
                listed = {name: distribution(space[name]) for name in trial.params}
                made = optuna.trial.create_trial(params=trial.params, distributions=listed, value=trial.value)
                other.add_trial(made)
            return lambda: dict(optuna.importance.get_param_importances(other, evaluator=evaluator))

        return prepare

    module = optuna.importance
    return {
        "Optuna fANOVA": by(module.FanovaImportanceEvaluator(seed=0)),
        "Optuna MDI": by(module.MeanDecreaseImpurityImportanceEvaluator(seed=0)),
        "Optuna PED-ANOVA": by(module.PedAnovaImportanceEvaluator()),
    }


def score(shares: np.ndarray, true: np.ndarray) -> tuple[float, float, float]:
    """Return order, off and fooled of an answer (d,)."""
    order = float(spearmanr(shares, true)[0]) if np.ptp(shares) > 0 else 0.0
    idle = true < 1e-9
    fooled = float(idle.any() and shares[idle].max() >= shares[true > 0.1].min())
    return order, float(np.abs(shares - true).sum()) / 2, fooled


def pages(sizes: Sequence[int]) -> None:
    """Print size and CPU time of pages."""
    print(f"\n{'trials':>6} {'parameters':>10} {'page, kB':>9} {'CPU s':>6}")
    for count in (6, 100):
        space = Space({f"p{at}": Choice(list("abcdef")) if at % 3 else Float(0, 1) for at in range(count)})
        draw = rng(0, "benchmark", "pages", count)
        for size in sizes:
            found = [space.decode(draw.random(space.dim)) for _ in range(size)]
            values = [float(p["p0"]) ** 2 + (p["p1"] == "c") for p in found]  # type: ignore[arg-type]
            trials = [
                Trial(at, params, "random", COMPLETE, value)
                for at, (params, value) in enumerate(zip(found, values, strict=True))
            ]
            view = StudyView("pages", space, options_of(), trials, "random", "it was asked for")
            begun = time.process_time()
            made = study_page(view).html()
            spent = time.process_time() - begun
            print(f"{size:6,} {count:10} {len(made.encode()) / 1000:9.0f} {spent:6.1f}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed, and 25 trials")
    parser.add_argument("--seeds", type=int, default=6)
    given = parser.parse_args(argv)
    seeds, sizes, rows = (1, (25,), 300) if given.quick else (given.seeds, (25, 50, 100), 3000)
    methods = {
        "gp": ours("gp"),
        "ped-anova": ours("ped-anova"),
        "ped-anova, best tenth": ours("ped-anova", top=0.1),
        **optunas(),
    }
    true = {name: truth(space, objective, rows) for name, (space, objective) in FUNCTIONS.items()}
    print(f"{'strategy':9} {'trials':>6} {'method':22} {'order':>6} {'off':>6} {'fooled':>7} {'ms':>8}")
    for strategy in ("random", "bayesian"):
        for size in sizes:
            found: dict[str, list[tuple[float, ...]]] = {method: [] for method in methods}
            for name, (space, objective) in FUNCTIONS.items():
                for seed in range(seeds):
                    study = Study(space, strategy=strategy, seed=seed)
                    study.optimize(objective, size)
                    for method, prepare in methods.items():
                        answer = prepare(study)
                        begun = time.process_time()
                        shares = answer()
                        spent = time.process_time() - begun
                        row = np.array([shares.get(parameter, 0.0) for parameter in space.names])
                        found[method].append((*score(row, true[name]), 1e3 * spent))
            for method, scores in found.items():
                order, off, fooled, spent = np.mean(scores, axis=0)
                print(
                    f"{strategy:9} {size:6} {method:22} {order:6.2f} {off:6.2f} {fooled:7.0%} {spent:8.1f}", flush=True
                )
    pages((50,) if given.quick else (100, 1000, 10_000))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
