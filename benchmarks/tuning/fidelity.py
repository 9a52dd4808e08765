"""Epochs until a trial is within 1 % of the best: stopping rules on learning curves of real networks and made ones.

Every trial may take 50 epochs, each costs one, and a run ends when any epoch of any trial reaches the target. Runs that
do not reach it in `CAP` times what full-budget random search needs on average count as that cap. Random search draws
without repeats where the space is finite. A rule that pauses trials takes them up where they stopped.

python -m benchmarks.tuning.fidelity                  the reported half, 10 seeds
python -m benchmarks.tuning.fidelity --chosen         the half that constants were chosen on
python -m benchmarks.tuning.fidelity --quick          two families, 2 seeds
python -m benchmarks.tuning.fidelity --complete       until a trial that ran to its end is within 1 %
"""

import argparse
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import util
from typing import Any, Final

import numpy as np

from benchmarks.tuning.fidelity_curves import CHOSEN_ON, EPOCHS, REPORTED, Family, available, configurations, family
from visutility.core.errors import StudyClosed
from visutility.core.rng import rng
from visutility.tune import Asha, Choice, CurveStopping, Float, Int, MedianStopping, Study
from visutility.tune.fidelity import AbstractStopping

CAP: Final = 2.0
RANDOM_RUNS: Final = 100
MOST_TRIALS: Final = 400  # of one run: a run that starts more has failed


@dataclass
class Meter:
    """Counts epochs until the target is reached, at any epoch or at the end of a trial."""

    family: Family
    cap: float
    complete: bool
    spent: int = 0
    reached: bool = False

    def epoch(self, value: float, *, last: bool) -> None:
        flip = 1.0 if self.family.direction == "minimize" else -1.0
        self.spent += 1
        self.reached |= flip * value <= flip * self.family.target and (last or not self.complete)

    @property
    def done(self) -> bool:
        return self.reached or self.spent >= self.cap


Method = Callable[[Meter, int], None]


def ours(strategy: str, rule: AbstractStopping | None, then: str) -> Method:
    """A study of ours; `then` is what the driver does with a trial that should not go on: pause or prune."""

    def run(meter: Meter, seed: int) -> None:
        study = Study(meter.family.space, meter.family.direction, strategy, seed, stopping=rule)
        while not meter.done and len(study.trials) < MOST_TRIALS:
            try:
                trial = study.ask()
            except StudyClosed:
                return
            values, going = meter.family.curve(trial.params), True
            for epoch in range((trial.resume_from or 0) + 1, EPOCHS + 1):
                meter.epoch(float(values[epoch - 1]), last=epoch == EPOCHS)
                going = study.report(trial, epoch, float(values[epoch - 1]))
                if meter.done or not going:
                    break
            if going:
                study.tell(trial, float(values[-1]))
            else:
                getattr(study, then)(trial)

    return run


def optuna(pruner: str) -> Method:
    """Optuna's TPE with one of its pruners, at the settings it documents."""

    def run(meter: Meter, seed: int) -> None:
        import optuna as peer

        peer.logging.set_verbosity(peer.logging.ERROR)
        made = {
            "median": lambda: peer.pruners.MedianPruner(),
            "hyperband": lambda: peer.pruners.HyperbandPruner(min_resource=1, max_resource=EPOCHS),
        }[pruner]()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", peer.exceptions.ExperimentalWarning)
            sampler = peer.samplers.TPESampler(seed=seed, multivariate=True, group=True)
        study = peer.create_study(direction=meter.family.direction, sampler=sampler, pruner=made)
        while not meter.done and len(study.trials) < MOST_TRIALS:
            trial = study.ask()
            values, pruned = meter.family.curve(suggested(trial, meter.family)), False
            for epoch in range(1, EPOCHS + 1):
                meter.epoch(float(values[epoch - 1]), last=epoch == EPOCHS)
                trial.report(float(values[epoch - 1]), epoch)
                pruned = trial.should_prune()
                if meter.done or pruned:
                    break
            state = peer.trial.TrialState.PRUNED if pruned else peer.trial.TrialState.COMPLETE
            study.tell(trial, None if pruned else float(values[-1]), state=state)

    return run


def suggested(trial: Any, of: Family) -> dict[str, Any]:
    """A configuration of the space by Optuna's own calls, in order of declaration."""
    params: dict[str, Any] = {}
    for name, one in of.space.parameters.items():
        if one.when is not None and params.get(one.when.name) not in one.when.values:
            continue
        if isinstance(one, Float):
            params[name] = trial.suggest_float(name, one.low, one.high, log=one.log)
        elif isinstance(one, Int):
            params[name] = trial.suggest_int(name, one.low, one.high, log=one.log)
        elif isinstance(one, Choice):
            params[name] = trial.suggest_categorical(name, list(one.options))
    return params


METHODS: Final[dict[str, Method | None]] = {
    "ours, paused trials come back": ours("auto", CurveStopping(pauses=True), "pause"),
    "ours, plain Study, it pauses": ours("auto", CurveStopping(), "pause"),
    "ours, plain Study, it prunes": ours("auto", CurveStopping(), "prune"),
    "our engine, full budget": ours("auto", None, "prune"),
    "our engine, median rule": ours("auto", MedianStopping(), "prune"),
    "random, ASHA with promotion": ours("random", Asha(promote=True), "pause"),
    "Optuna TPE, median": optuna("median") if util.find_spec("optuna") else None,
    "Optuna TPE, Hyperband": optuna("hyperband") if util.find_spec("optuna") else None,
}


def random_epochs(of: Family, *, complete: bool) -> float:
    """Mean epochs of full-budget random search over `RANDOM_RUNS` runs."""
    table = [of.curve(params) for params in configurations(of.space)] if of.space.size else None
    spent = []
    for seed in range(RANDOM_RUNS):
        meter = Meter(of, math.inf, complete)
        for values in drawn(of, table, seed):
            for epoch, value in enumerate(values, start=1):
                meter.epoch(float(value), last=epoch == EPOCHS)
                if meter.done:
                    break
            if meter.done:
                break
        spent.append(meter.spent)
    return float(np.mean(spent))


def drawn(of: Family, table: Sequence[Any] | None, seed: int) -> Iterator[Any]:
    draw = rng(seed, "random search", of.name)
    if table is not None:
        yield from (table[at] for at in draw.permutation(len(table)))
    while True:
        yield of.curve(of.space.decode(draw.random(of.space.dim)))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two families, 2 seeds, to see that it runs")
    parser.add_argument("--chosen", action="store_true", help="the half that constants were chosen on")
    parser.add_argument("--complete", action="store_true", help="only the end of a whole trial counts")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", help="run the methods whose name holds this")
    given = parser.parse_args(argv)
    names = [name for name in (CHOSEN_ON if given.chosen else REPORTED) if name in available()]
    names = [name for name in names if not name.endswith("/loss")]
    names, seeds = (names[-2:], 2) if given.quick else (names, given.seeds)
    methods = {name: run for name, run in METHODS.items() if not given.only or given.only in name}
    ratios: dict[str, list[float]] = {}
    for name in names:
        of = family(name)
        whole = random_epochs(of, complete=given.complete)
        print(f"{name}: {of.share:.1%} of configurations get within 1 % of {of.best:.4g}")
        print(f"  {'random, full budget':32} mean {whole:6.0f}", flush=True)
        for method, run in methods.items():
            if run is None:
                print(f"  {method:32} not installed")
                continue
            meters = [Meter(of, CAP * whole, given.complete) for _ in range(seeds)]
            for seed, meter in enumerate(meters):
                run(meter, seed)
            spent = np.array([meter.spent if meter.reached else meter.cap for meter in meters])
            ratios.setdefault(method, []).append(whole / spent.mean())
            reached = sum(meter.reached for meter in meters)
            print(
                f"  {method:32} mean {spent.mean():6.0f}  median {np.median(spent):6.0f}  reached {reached}/{seeds}"
                f"  random/this {whole / spent.mean():5.1f}",
                flush=True,
            )
    for method, found in ratios.items():
        kinds = {"fast": "/fast", "slow": "/slow", "made": "lcbench", "tables": "table/"}
        by = {k: [r for n, r in zip(names, found, strict=True) if part in n] for k, part in kinds.items()}
        words = "  ".join(f"{k} {np.exp(np.mean(np.log(v))):5.1f}" for k, v in by.items() if v)
        print(f"{method:34} random/this, geometric mean: {words}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
