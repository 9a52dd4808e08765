"""Tuning: typed search spaces, studies, and the strategies that make suggestions. NumPy and SciPy only."""

from visutility.tune.space import Choice, Equals, Float, Int, Parameter, Params, Space, Value
from visutility.tune.strategies import STRATEGIES
from visutility.tune.strategy import AbstractStrategy, Observation, Past, State

__all__ = [
    "STRATEGIES",
    "AbstractStrategy",
    "Choice",
    "Equals",
    "Float",
    "Int",
    "Observation",
    "Parameter",
    "Params",
    "Past",
    "Space",
    "State",
    "Value",
]
