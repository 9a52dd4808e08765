"""The strategies that come with the package, by name. One file each, with its paper."""

from visutility.tune.strategies.bayesian import Bayesian
from visutility.tune.strategies.cmaes import CMAES
from visutility.tune.strategies.grid import Grid
from visutility.tune.strategies.local import Local
from visutility.tune.strategies.random import Random
from visutility.tune.strategies.sobol import Sobol
from visutility.tune.strategies.tpe import TPE
from visutility.tune.strategy import AbstractStrategy

STRATEGIES: dict[str, type[AbstractStrategy]] = {
    "bayesian": Bayesian,
    "cmaes": CMAES,
    "grid": Grid,
    "local": Local,
    "random": Random,
    "sobol": Sobol,
    "tpe": TPE,
}

__all__ = ["CMAES", "STRATEGIES", "TPE", "Bayesian", "Grid", "Local", "Random", "Sobol"]
