"""How good the configurations are that each strategy finds, over paired seeds, beside Optuna's TPE where installed.

A row is a problem (`benchmarks/tuning_problems.py`), seeds paired: a problem of a seed is the same for all. Score: 0 is
the median of random search with as many trials, 1 the best value that anyone found there, never below -1. The engine's
constants were chosen on the problems marked *; the last lines count those, and then the others, which only report.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from itertools import product
from typing import Any

import numpy as np
from scipy.stats import binomtest, wilcoxon

from benchmarks.tuning_problems import PROBLEMS, Problem
from visutility.tune import STRATEGIES, Choice, Int, Study

BASELINE = 200  # random draws that give the score its zero
LEAST = -1.0


def ours(strategy: str, problem: Problem, seed: int, trials: int) -> list[float]:
    """Values of the trials of one study of ours."""
    study = Study(problem.space, strategy=strategy, seed=seed)
    for _ in range(trials):
        trial = study.ask()
        study.tell(trial, problem.objective(trial.params))
    return [trial.value for trial in study.trials if trial.value is not None]


def optunas(settings: dict[str, Any], problem: Problem, seed: int, trials: int) -> list[float]:
    """Values of the trials of one study with Optuna's TPE."""
    import warnings

    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # says that `multivariate` is experimental
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, **settings))
    found = []
    for _ in range(trials):
        trial = study.ask()
        params: dict[str, Any] = {}
        for name in problem.space.order:
            if problem.space.active(name, params):
                p = problem.space.parameters[name]
                if isinstance(p, Choice):
                    params[name] = trial.suggest_categorical(name, p.options)
                else:
                    kind = trial.suggest_int if isinstance(p, Int) else trial.suggest_float
                    params[name] = kind(name, p.low, p.high, log=p.log, step=p.step)
        found.append(problem.objective(params))
        study.tell(trial, found[-1])
    return found


def runners() -> dict[str, Callable[[Problem, int, int], list[float]]]:
    """The strategies compared, ours first."""
    found: dict[str, Callable[[Problem, int, int], list[float]]] = {
        name: lambda problem, seed, trials, name=name: ours(name, problem, seed, trials)  # type: ignore[misc]
        for name in ("bayesian", "sobol", "random")
    }
    if find_spec("optuna"):
        found["tpe"] = lambda *run: optunas({}, *run)
        found["tpe multi"] = lambda *run: optunas({"multivariate": True, "group": True}, *run)
    return found


def run(case: tuple[str, int, int]) -> dict[str, list[float]]:
    """All strategies' running best on one problem of one seed, and the baseline's values."""
    name, seed, trials = case
    problem = PROBLEMS[name](seed)
    found = {who: list(np.minimum.accumulate(start(problem, seed, trials))) for who, start in runners().items()}
    draw = STRATEGIES["random"]()
    state = draw.init(problem.space, seed + 1_000_000)
    found["baseline"] = [problem.objective(draw.suggest(state, number)) for number in range(max(BASELINE, 2 * trials))]
    return found


def scores(found: dict[str, list[float]], at: int) -> dict[str, float]:
    """Each strategy's score after `at` trials."""
    zero = float(np.quantile(found["baseline"], 1.0 - 0.5 ** (1.0 / at)))  # median of the best of `at` draws
    one = min(min(values) for values in found.values())
    return {
        who: max(LEAST, (zero - values[at - 1]) / max(zero - one, 1e-12))
        for who, values in found.items()
        if who != "baseline"
    }


def duel(cases: list[dict[str, float]], peer: str) -> str:
    """Wins and losses of `bayesian` against a peer over all pairs, and the sign test's p."""
    pairs = [(case["bayesian"], case[peer]) for case in cases]
    won, lost = sum(a > b for a, b in pairs), sum(a < b for a, b in pairs)
    p = binomtest(won, won + lost).pvalue if won + lost else 1.0
    return f"{won}:{lost} (p {p:.1g})"


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tune_quality", description="Quality of the strategies.")
    parser.add_argument("--quick", action="store_true", help="two problems, 15 trials, 2 seeds")
    parser.add_argument("--seeds", type=int, default=10, help="paired seeds (default 10)")
    parser.add_argument("--trials", type=int, default=50, help="trials a run (default 50)")
    parser.add_argument("--problems", nargs="*", choices=list(PROBLEMS), default=list(PROBLEMS), metavar="NAME")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    given = parser.parse_args(argv)
    names = ["branin", "conditional"] if given.quick else given.problems
    seeds, trials = (2, 15) if given.quick else (given.seeds, given.trials)
    with ProcessPoolExecutor(given.jobs) as pool:
        cases = list(product(names, range(seeds)))
        results = dict(zip(cases, pool.map(run, [(*case, trials) for case in cases]), strict=True))
    who = list(runners())
    for at in sorted({min(20, trials), trials}):
        print(f"\nafter {at} trials, {seeds} seeds: median best value, and mean score")
        print(f"{'':16}" + "".join(f"{name:>18}" for name in who))
        scored = {case: scores(found, at) for case, found in results.items()}
        for name in names:
            line = f"{name + '*' * PROBLEMS[name](0).choose:16}"
            for peer in who:
                value = statistics.median(results[name, seed][peer][at - 1] for seed in range(seeds))
                line += f"{value:11.4g}{statistics.fmean(scored[name, s][peer] for s in range(seeds)):7.2f}"
            print(line)
        for words, chosen in (("problems marked *", True), ("the other problems", False)):
            some = [name for name in names if PROBLEMS[name](0).choose is chosen]
            if some:
                report(words, some, seeds, scored, who)
    return 0


def report(
    words: str, names: list[str], seeds: int, scored: dict[tuple[str, int], dict[str, float]], who: list[str]
) -> None:
    """Print mean scores over problems, duels over pairs, and the test with the problem as the unit."""
    cases = [scored[name, seed] for name in names for seed in range(seeds)]
    print(f"{words}: mean score " + ", ".join(f"{w} {statistics.fmean(c[w] for c in cases):.2f}" for w in who))
    for peer in who[1:]:
        means = [[statistics.fmean(scored[n, s][w] for s in range(seeds)) for n in names] for w in ("bayesian", peer)]
        unit = f"; by problem p {wilcoxon(*means).pvalue:.1g}" if len(names) > 5 else ""
        print(f"  bayesian against {peer}: won:lost {duel(cases, peer)}{unit}")


if __name__ == "__main__":
    raise SystemExit(main())
