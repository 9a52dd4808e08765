"""Trials that re-tuning needs once the data changed, with each way of using the earlier studies, ours and Optuna's.

Three families: classifiers whose labelled rows arrive, the quality benchmark's tasks as their training sets grow, and
models on images that drift. A case is a model at one step of its changing data (`retune_arrivals`, `retune_tasks`),
with the studies of the steps before as history: 50 cold trials of TPE each, the same for all. What 50 cold trials of
TPE reach at the step itself, the median of five studies, is the target; a figure is the number of trials to reach it,
50 where it is not reached. Then histories that mislead, each against our own engine without any, same seed: the true
ones with their values negated, those of the same model on the other data set, and those of a random function of the
same parameters.

The constants of the engine's memory were chosen on analytic functions and the cases marked `choose`; the others report.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Many
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Final, final

import numpy as np

from benchmarks.tuning.retune_arrivals import Arriving, arriving
from benchmarks.tuning.retune_tasks import FASHION, Growing, Sequence, drifting, growing, have, remembered
from visutility.core.rng import rng
from visutility.tune import STRATEGIES, Choice, Int, Params, Past, Space, Study

CAP: Final = 50
TARGETS: Final = range(5)  # seeds of the cold studies whose median result is the target
RETUNED: Final = {"arriving": (1, 2, 3), "growing": (1, 2, 3), "drifting": (2, 4)}  # steps
MISLEADING: Final = {
    "arriving": ("inverted", "unrelated"),
    "growing": ("inverted", "unrelated"),
    "drifting": ("inverted", "other data", "unrelated"),
}

Moving = Arriving | Sequence | Growing
SEQUENCES: Final[dict[str, Callable[[], Many[Moving]]]] = {
    "arriving": arriving,
    "growing": growing,
    "drifting": drifting,
}
Objective = Callable[[Params], float]
Trials = list[tuple[Params, float]]


@final
@dataclass(frozen=True, slots=True)
class Case:
    """One re-tuning: a sequence, the step it has come to, and the seed of everything random."""

    sequence: Moving
    step: int
    seed: int
    slack: float = 0.0  # so near is near enough, as a share of the way from a random configuration to the target

    @property
    def space(self) -> Space:
        """What is searched."""
        return self.sequence.space

    def objective(self, params: Params) -> float:
        """The value at this step."""
        return self.sequence.value(params, self.step)

    def target(self) -> float:
        """What 50 cold trials reach: the median of five studies; less the slack."""
        best = statistics.median(min(v for _, v in cold_study(self.sequence, self.step, seed)) for seed in TARGETS)
        return best + self.slack * (usual(self.sequence, self.step) - best) if self.slack else best

    def history(self, kind: str = "true") -> list[Trials]:
        """The studies of the steps before, oldest first, or a misleading kind of them."""
        if kind == "unrelated":
            return [unrelated_study(self.sequence, step, self.seed + 100) for step in range(self.step)]
        source = self.sequence
        if kind == "other data" and isinstance(source, Sequence):
            source = other(source)
        studies = [cold_study(source, step, self.seed + 100) for step in range(self.step)]
        return [[(p, -v) for p, v in trials] for trials in studies] if kind == "inverted" else studies


def other(sequence: Sequence) -> Sequence:
    """The same model on the other data set, changing in the way both sets have."""
    data = "fashion" if sequence.data == "digits" else "digits"
    change = sequence.change if sequence.change in ("noise", "growth") else "noise"
    return replace(sequence, data=data, change=change)


def usual(sequence: Moving, step: int) -> float:
    """The median of a hundred random configurations."""
    draw = rng(0, "usual", sequence.name)
    return statistics.median(
        sequence.value(sequence.space.decode(u), step) for u in draw.random((100, sequence.space.dim))
    )


def cold_study(sequence: Moving, step: int, seed: int) -> Trials:
    """A study of 50 trials by TPE, without a history."""
    name = [TPE, sequence.name, step, seed]
    found = remembered(name, lambda: tpe(sequence.space, lambda params: sequence.value(params, step), seed))
    return [(params, value) for params, value in found]


def unrelated_study(sequence: Moving, step: int, seed: int) -> Trials:
    """The same of a random smooth function of the parameters, which moves a little from step to step."""
    space = sequence.space
    draw = rng(seed, "unrelated", sequence.name)
    waves, phases = 4.0 * draw.standard_normal((8, space.dim)), 6.3 * draw.random(8)

    def value(params: Params) -> float:
        unit, _ = space.encode(params)
        return float(np.sin(waves @ unit + phases + 0.1 * step).sum())

    return [
        (p, v) for p, v in remembered([TPE, "unrelated", sequence.name, step, seed], lambda: tpe(space, value, seed))
    ]


# -- who re-tunes ----------------------------------------------------------------------------------------------------


def until(ask: Callable[[], tuple[Any, Params]], tell: Callable[[Any, float], Any], case: Case, target: float) -> int:
    """Return how many trials it takes to reach the target, at most 50."""
    for count in range(1, CAP + 1):
        trial, params = ask()
        value = case.objective(params)
        if value <= target:
            return count
        tell(trial, value)
    return CAP


def ours(case: Case, target: float, history: Many[Trials], strategy: str = "bayesian") -> int:
    """Our engine with this history."""
    pasts = [Past(f"step {at}", case.space, tuple(trials)) for at, trials in enumerate(history)]
    study = Study(case.space, strategy=strategy, seed=case.seed, history=pasts)

    def ask() -> tuple[Any, Params]:
        trial = study.ask()
        return trial, trial.params

    return until(ask, study.tell, case, target)


def informed(case: Case, target: float, _: Many[Trials]) -> int:
    """A yardstick: our cold engine, told beforehand a study of 50 TPE trials at this very step."""
    study = Study(case.space, strategy="bayesian", seed=case.seed)
    for params, value in cold_study(case.sequence, case.step, case.seed + 100):
        study.enqueue(params)
        study.tell(study.ask(), value)

    def ask() -> tuple[Any, Params]:
        trial = study.ask()
        return trial, trial.params

    return until(ask, study.tell, case, target)


def portfolio(case: Case, target: float, history: Many[Trials]) -> int:
    """The best configurations of the earlier studies in turn, the latest study first, then random ones."""
    ranked = [sorted(trials, key=lambda item: item[1]) for trials in reversed(history)]
    queue = [trials[rank][0] for rank in range(10) for trials in ranked]
    listed = list({case.space.key(params): params for params in queue}.values())[:25]
    draw = rng(case.seed, "portfolio")
    source = iter(listed)
    return until(
        lambda: (None, next(source, None) or case.space.decode(draw.random(case.space.dim))), _forget, case, target
    )


def _forget(trial: Any, value: float) -> None:
    """Tell nobody."""


def tpe(space: Space, objective: Objective, seed: int) -> Trials:
    """Return 50 trials of TPE: Optuna's where it is installed, else ours."""
    found: Trials = []
    if OPTUNA:
        study = optuna_study(space, "tpe", seed)
        for _ in range(CAP):
            trial = study.ask()
            params = suggested(trial, space)
            found.append((params, objective(params)))
            study.tell(trial, found[-1][1])
        return found
    own = Study(space, strategy="tpe", seed=seed)
    for _ in range(CAP):
        mine = own.ask()
        found.append((mine.params, objective(mine.params)))
        own.tell(mine, found[-1][1])
    return found


def optuna_study(space: Space, kind: str, seed: int) -> Any:
    import warnings

    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "gp":
            return optuna.create_study(sampler=optuna.samplers.GPSampler(seed=seed))
        conditional = any(p.when is not None for p in space.parameters.values())
        return optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True, group=conditional))


def suggested(trial: Any, space: Space) -> Params:
    """The configuration that an Optuna trial suggests."""
    params: Params = {}
    for name in space.order:
        if space.active(name, params):
            p = space.parameters[name]
            if isinstance(p, Choice):
                params[name] = trial.suggest_categorical(name, p.options)
            else:
                kind = trial.suggest_int if isinstance(p, Int) else trial.suggest_float
                params[name] = kind(name, p.low, p.high, log=p.log, step=p.step)
    return {name: params[name] for name in space.names if name in params}


def optunas(case: Case, target: float, history: Many[Trials], kind: str = "tpe", use: str = "") -> int:
    """One of Optuna's samplers, with all earlier trials added, or the best five of the latest study enqueued."""
    study = optuna_study(case.space, kind, case.seed)
    if use == "add":
        for trials in history:
            for params, value in trials:
                study.add_trial(_frozen(case.space, params, value))
    if use == "enqueue":
        for params, _ in sorted(history[-1], key=lambda item: item[1])[:5]:
            study.enqueue_trial(params)

    def ask() -> tuple[Any, Params]:
        trial = study.ask()
        return trial, suggested(trial, case.space)

    return until(ask, study.tell, case, target)


def _frozen(space: Space, params: Params, value: float) -> Any:
    import optuna

    spread: dict[str, Any] = {}
    for name in params:
        p = space.parameters[name]
        if isinstance(p, Choice):
            spread[name] = optuna.distributions.CategoricalDistribution(p.options)
        elif isinstance(p, Int):
            spread[name] = optuna.distributions.IntDistribution(p.low, p.high, log=p.log, step=p.step)
        else:
            spread[name] = optuna.distributions.FloatDistribution(p.low, p.high, log=p.log, step=p.step)
    return optuna.trial.create_trial(params=dict(params), distributions=spread, value=value)


OPTUNA: Final = find_spec("optuna") is not None
TORCH: Final = find_spec("torch") is not None
TPE: Final = "optuna" if OPTUNA else "own"

Runner = Callable[[Case, float, Many[Trials]], int]


def runners() -> dict[str, Runner]:
    """Who takes part, by name."""
    found: dict[str, Runner] = {
        "visutility": ours,
        "visutility, cold": lambda case, target, _: ours(case, target, ()),
        "visutility, given a study of the changed data": informed,
        "random": lambda case, target, _: ours(case, target, (), "random"),
        "earlier winners, then random": portfolio,
    }
    if OPTUNA:
        found |= {
            "Optuna TPE, cold": optunas,
            "Optuna TPE, all added": lambda case, target, past: optunas(case, target, past, use="add"),
            "Optuna TPE, best five first": lambda case, target, past: optunas(case, target, past, use="enqueue"),
        }
    if OPTUNA and TORCH:
        found["Optuna GP, best five first"] = lambda case, target, past: optunas(case, target, past, "gp", "enqueue")
    return found


# -- what is printed -------------------------------------------------------------------------------------------------


def cases(family: str, seeds: Many[int], *, choose: bool | None, slack: float = 0.0) -> Iterator[Case]:
    """Every case of one half of a family, or of both halves."""
    for sequence in SEQUENCES[family]():
        if choose is None or sequence.choose == choose:
            for step in RETUNED[family]:
                for seed in seeds:
                    yield Case(sequence, step, seed, slack)


def helping(chosen: Many[Case], who: dict[str, Runner]) -> dict[str, list[int]]:
    """Trials to the target with the true history, by who and case."""
    return {name: [run(case, case.target(), case.history()) for case in chosen] for name, run in who.items()}


def misleading(chosen: Many[Case], kinds: Many[str]) -> dict[str, list[tuple[int, int]]]:
    """Trials to the target with a misleading history and without, by kind and case."""
    cold = [ours(case, case.target(), ()) for case in chosen]
    return {
        kind: [(ours(case, case.target(), case.history(kind)), own) for case, own in zip(chosen, cold, strict=True)]
        for kind in kinds
    }


def upper(differences: Many[float], draws: int = 10_000) -> float:
    """Return the bootstrap's upper 95 % bound (one-sided) of a mean."""
    given = np.asarray(differences, dtype=np.float64)
    picks = rng(0, "bootstrap").integers(len(given), size=(draws, len(given)))
    return float(np.quantile(given[picks].mean(axis=1), 0.95))


def main(argv: Many[str] | None = None) -> int:
    """Print both tables of each family."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two cases, to see that it runs")
    parser.add_argument("--family", choices=SEQUENCES, nargs="+", default=list(SEQUENCES), help="which sequences")
    parser.add_argument("--seeds", type=int, default=4, help="seeds of a case (default 4)")
    parser.add_argument("--half", choices=("report", "choose", "both"), default="report", help="which cases")
    parser.add_argument("--slack", type=float, default=0.0, help="count what comes as near as this share of the way")
    parser.add_argument("--ours", action="store_true", help="leave the peers out")
    given = parser.parse_args(argv)
    if not have("fashion"):
        print(f"no Fashion-MNIST at {FASHION} (set FASHION_MNIST): digits alone")
    if not OPTUNA and "tpe" not in STRATEGIES:
        print("Optuna is not installed, and without TPE there is no target: nothing to do")
        return 0
    who = {name: run for name, run in runners().items() if not (given.ours and name.startswith("Optuna"))}
    choose = {"report": False, "choose": True, "both": None}[given.half]
    for family in given.family:
        found = list(cases(family, range(given.seeds), choose=choose, slack=given.slack))
        print_helped(family, found[:2] if given.quick else found, who)
        print_misled(family, found[:1] if given.quick else found)
    return 0


def print_helped(family: str, chosen: Many[Case], who: dict[str, Runner]) -> None:
    """Print how many trials each needs with the true history."""
    near = f", or come within {chosen[0].slack:.0%}" if chosen[0].slack else ""
    print(f"\n{family}, {len(chosen)} cases; TPE: {TPE}; trials to what 50 cold trials of it reach{near}\n")
    print("| | median | mean | within 10 | at once |\n| --- | --: | --: | --: | --: |")
    for name, run in who.items():
        counts = helping(chosen, {name: run})[name]
        print(
            f"| {name} | {statistics.median(counts):g} | {statistics.mean(counts):.1f} "
            f"| {np.mean([c <= 10 for c in counts]):.0%} | {np.mean([c == 1 for c in counts]):.0%} |",
            flush=True,
        )


def print_misled(family: str, chosen: Many[Case]) -> None:
    """Print what each kind of misleading history costs."""
    kinds = [kind for kind in MISLEADING[family] if kind != "other data" or have("fashion")]
    heads = ("history", "pairs", "mean", "cold", "worse by", "upper 95 %", "most")
    print("\n| " + " | ".join(heads) + " |\n| --- " + "| --: " * 6 + "|")
    found = misleading(chosen, kinds)
    found["all"] = [pair for pairs in list(found.values()) for pair in pairs]
    for kind, pairs in found.items():
        off = [warm - cold for warm, cold in pairs]
        means = [statistics.mean(side) for side in zip(*pairs, strict=True)]
        print(
            f"| {kind} | {len(pairs)} | {means[0]:.1f} | {means[1]:.1f} | {statistics.mean(off):+.2f} "
            f"| {upper(off):+.2f} | {max(off):+d} |",
            flush=True,
        )


if __name__ == "__main__":
    raise SystemExit(main())
