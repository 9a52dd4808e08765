"""Tuners with a surrogate: SMAC3, HEBO, Ax and Syne Tune."""

import logging
import math
import tempfile
import warnings
import weakref
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from shutil import rmtree
from typing import Any

from benchmarks.tuning.adapters.common import Ask, Tell, Worst, active, children, grid, is_parent, numbers
from visutility.tune import Choice, Float, Params, Space


def smac(space: Space, seed: int, budget: int) -> tuple[Ask, Tell]:
    """SMAC3's facade for hyper-parameters: random forest, Sobol start; conditions are ConfigSpace's."""
    from smac import HyperparameterOptimizationFacade, Scenario
    from smac.runhistory.dataclasses import TrialValue
    from smac.runhistory.enumerations import StatusType

    logging.getLogger("smac").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="smac")
    folder = tempfile.mkdtemp(prefix="smac-")
    scenario = Scenario(
        config_space(space, seed), deterministic=True, n_trials=budget, seed=seed, output_directory=Path(folder)
    )
    facade = HyperparameterOptimizationFacade(
        scenario,
        _nothing,
        overwrite=True,
        logging_level=False,
        intensifier=HyperparameterOptimizationFacade.get_intensifier(scenario, max_config_calls=1),
    )
    weakref.finalize(facade, rmtree, folder, ignore_errors=True)
    worst = Worst()

    def ask() -> tuple[Any, Params]:
        info = facade.ask()
        return info, space.validate({name: _item(value) for name, value in dict(info.config).items()})

    def tell(info: Any, loss: float) -> None:
        told = worst.of(loss)  # its forest takes no infinite cost
        status = StatusType.SUCCESS if math.isfinite(loss) else StatusType.CRASHED
        if told is not None:
            facade.tell(info, TrialValue(cost=told, status=status), save=False)

    return ask, tell


def config_space(space: Space, seed: int) -> Any:
    """The space in ConfigSpace's words, conditions included."""
    import ConfigSpace

    made = ConfigSpace.ConfigurationSpace(seed=seed)
    parts: dict[str, Any] = {}
    for name in space.order:
        p: Any = space.parameters[name]
        if isinstance(p, Choice):
            parts[name] = (
                ConfigSpace.OrdinalHyperparameter(name, list(p.options))
                if p.ordered
                else ConfigSpace.CategoricalHyperparameter(name, list(p.options))
            )
        else:
            kind = (
                ConfigSpace.UniformFloatHyperparameter
                if isinstance(p, Float)
                else ConfigSpace.UniformIntegerHyperparameter
            )
            parts[name] = kind(name, p.low, p.high, log=p.log)
    made.add(*parts.values())
    for name in space.order:
        when = space.parameters[name].when
        if when is not None:
            values = [v for v in grid(space.parameters[when.name]) if v in space.allowed(name)]
            made.add(ConfigSpace.InCondition(parts[name], parts[when.name], values))
    return made


def hebo(space: Space, seed: int, _budget: int) -> tuple[Ask, Tell]:
    """HEBO: it knows no conditions, so every parameter is always there and the inactive ones are ignored."""
    import numpy as np
    import torch
    from hebo.design_space.design_space import DesignSpace
    from hebo.optimizers.hebo import HEBO

    np.random.seed(seed)  # noqa: NPY002 (HEBO draws from the global generators)
    torch.manual_seed(seed)
    parts = []
    for name, p in space.parameters.items():
        one: dict[str, Any] = {"name": name}
        if isinstance(p, Choice):
            last = len(p.options) - 1
            one |= (
                {"type": "int", "lb": 0, "ub": last}
                if p.ordered
                else {"type": "cat", "categories": list(range(last + 1))}
            )
        else:
            kind = {(True, True): "pow", (True, False): "num", (False, True): "pow_int", (False, False): "int"}
            one |= {"type": kind[isinstance(p, Float), p.log], "lb": p.low, "ub": p.high}
            if p.log and isinstance(p, Float):
                one["base"] = 10
        parts.append(one)
    optimizer = HEBO(DesignSpace().parse(parts), scramble_seed=seed)
    worst = Worst()

    def ask() -> tuple[Any, Params]:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            row = optimizer.suggest(n_suggestions=1)
        values = {name: _item(row.iloc[0][name]) for name in space.names}
        for name, p in space.parameters.items():
            if isinstance(p, Choice):
                values[name] = p.options[int(values[name])]
        return row, active(space, values)

    def tell(row: Any, loss: float) -> None:
        told = worst.of(loss)
        if told is not None:
            optimizer.observe(row, np.array([[told]]))

    return ask, tell


def ax(space: Space, seed: int, _budget: int) -> tuple[Ask, Tell]:
    """Ax's client with its own choice of method; conditions are its dependent parameters.

    Ax refuses a parameter that depends on several values of another: such ones are always there, ignored when inactive.
    """
    from ax import Client
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    logging.disable(logging.WARNING)  # its loggers set their own levels, and say every trial
    warnings.filterwarnings("ignore", module="ax|botorch|gpytorch|linear_operator")
    parts: list[Any] = []
    for name, p in space.parameters.items():
        if isinstance(p, Choice) or is_parent(space, name):
            values = grid(p)
            below = {
                v: found
                for v in values
                if (found := [c for c in children(space, name, v) if len(space.allowed(c)) == 1])
            }
            kind = {bool: "bool", int: "int", float: "float", str: "str"}[type(values[0])]
            ordered = not isinstance(p, Choice) or p.ordered
            parts.append(
                ChoiceParameterConfig(
                    name=name,
                    values=values,
                    parameter_type=kind,
                    is_ordered=ordered,
                    dependent_parameters=below or None,
                )
            )
        else:
            kind = "float" if isinstance(p, Float) else "int"
            scaling = "log" if p.log else "linear"
            parts.append(RangeParameterConfig(name=name, bounds=(p.low, p.high), parameter_type=kind, scaling=scaling))
    client = Client(random_seed=seed)
    client.configure_experiment(parameters=parts)
    client.configure_optimization(objective="-loss")
    client.configure_generation_strategy(initialization_random_seed=seed)

    def ask() -> tuple[Any, Params]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ((index, values),) = client.get_next_trials(max_trials=1).items()
        return index, active(space, values)

    def tell(index: Any, loss: float) -> None:
        if math.isfinite(loss):
            client.complete_trial(index, raw_data={"loss": loss})
        else:
            client.mark_trial_failed(index)

    return ask, tell


def syne_tune(space: Space, seed: int, _budget: int) -> tuple[Ask, Tell]:
    """Syne Tune's CQR, which its authors' benchmarks rank first without fidelities; it knows no conditions."""
    logging.getLogger("syne_tune").setLevel(logging.ERROR)
    from syne_tune import config_space as kinds
    from syne_tune.optimizer.baselines import CQR
    from syne_tune.optimizer.schedulers.ask_tell_scheduler import AskTellScheduler

    parts: dict[str, Any] = {}
    for name, p in space.parameters.items():
        if isinstance(p, Choice):
            parts[name] = kinds.ordinal(list(p.options)) if numbers(p) else kinds.choice(list(p.options))
        elif isinstance(p, Float):
            parts[name] = (kinds.loguniform if p.log else kinds.uniform)(p.low, p.high)
        else:
            parts[name] = (kinds.lograndint if p.log else kinds.randint)(p.low, p.high)
    scheduler = AskTellScheduler(CQR(parts, metric="loss", do_minimize=True, random_seed=seed))
    worst = Worst()

    def ask() -> tuple[Any, Params]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial = scheduler.ask()
        return trial, active(space, {name: _item(value) for name, value in trial.config.items()})

    def tell(trial: Any, loss: float) -> None:
        told = worst.of(loss)
        if told is not None:
            scheduler.tell(trial, {"loss": told})

    return ask, tell


def _item(value: Any) -> Any:
    """A plain Python value for one of NumPy's."""
    return value.item() if hasattr(value, "item") else value


def _nothing(config: Any, seed: int = 0) -> float:  # noqa: ARG001 (SMAC looks at the names)
    """Stands where SMAC wants a function; it is asked and told instead."""
    return 0.0
