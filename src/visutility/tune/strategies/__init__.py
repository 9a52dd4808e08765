"""The strategies that come with the package, by name. One file each, with its paper."""

from visutility.tune.strategies.random import Random
from visutility.tune.strategy import AbstractStrategy

STRATEGIES: dict[str, type[AbstractStrategy]] = {
    "random": Random,
}

__all__ = ["STRATEGIES", "Random"]
