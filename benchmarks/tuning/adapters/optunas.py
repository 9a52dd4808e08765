"""Optuna's samplers. Conditions are its own: a parameter is asked for when it is active."""

import math
import warnings
from collections.abc import Callable
from typing import Any

from benchmarks.tuning.adapters.common import Ask, Start, Tell, active
from visutility.tune import Choice, Int, Params, Space


def suggest(trial: Any, name: str, p: Any) -> Any:
    """Ask an Optuna trial for one parameter."""
    if isinstance(p, Choice):
        return trial.suggest_categorical(name, p.options)
    kind = trial.suggest_int if isinstance(p, Int) else trial.suggest_float
    return kind(name, p.low, p.high, log=p.log, step=p.step)


def optunas(make: Callable[[Any, int], Any], *, flat: bool = False) -> Start:
    """A sampler; `flat`: every parameter is asked for always, and the inactive ones are ignored."""

    def start(space: Space, seed: int, _budget: int) -> tuple[Ask, Tell]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", module="optuna")
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=make(optuna, seed))

        def ask() -> tuple[Any, Params]:
            trial = study.ask()
            if flat:
                return trial, active(space, {n: suggest(trial, n, space.parameters[n]) for n in space.order})
            found: Params = {}
            for name in space.order:
                if space.active(name, found):
                    found[name] = suggest(trial, name, space.parameters[name])
            return trial, found

        def tell(trial: Any, loss: float) -> None:
            if math.isfinite(loss):
                study.tell(trial, loss)
            else:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)

        return ask, tell

    return start


def tpe(optuna: Any, seed: int) -> Any:
    """TPE as it comes."""
    return optuna.samplers.TPESampler(seed=seed)


def tpe_multivariate(optuna: Any, seed: int) -> Any:
    """TPE as its documentation advises for conditional spaces."""
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def gp(optuna: Any, seed: int) -> Any:
    """GPSampler, told that values are exact; parameters outside the common space are left to TPE, not to chance."""
    rest = optuna.samplers.TPESampler(seed=seed)
    return optuna.samplers.GPSampler(
        seed=seed, deterministic_objective=True, independent_sampler=rest, warn_independent_sampling=False
    )


def cmaes(optuna: Any, seed: int) -> Any:
    """CMA-ES; what is no number or conditional is left to TPE. (`with_margin` raises when the common space changes.)"""
    rest = optuna.samplers.TPESampler(seed=seed)
    return optuna.samplers.CmaEsSampler(seed=seed, independent_sampler=rest, warn_independent_sampling=False)


def auto(_optuna: Any, seed: int) -> Any:
    """AutoSampler, which OptunaHub loads from its registry over the network."""
    import optunahub

    return optunahub.load_module("samplers/auto_sampler").AutoSampler(seed=seed)
