"""Tuning: typed search spaces, studies, and the strategies that make suggestions. NumPy and SciPy only."""

from visutility.tune.drive import Study
from visutility.tune.factory import Chosen, find_strategy, make_strategy
from visutility.tune.rungs import MedianStopping
from visutility.tune.space import Choice, Equals, Float, Int, Parameter, Params, Space, Value
from visutility.tune.strategies import STRATEGIES
from visutility.tune.strategy import AbstractStrategy, Observation, Past, State
from visutility.tune.trial import Failure, Outcome, Result, Trial

__all__ = [
    "STRATEGIES",
    "AbstractStrategy",
    "Choice",
    "Chosen",
    "Equals",
    "Failure",
    "Float",
    "Int",
    "MedianStopping",
    "Observation",
    "Outcome",
    "Parameter",
    "Params",
    "Past",
    "Result",
    "Space",
    "State",
    "Study",
    "Trial",
    "Value",
    "find_strategy",
    "make_strategy",
]
