"""Tuning: typed search spaces, studies, and the strategies that make suggestions. NumPy and SciPy only."""

from visutility.tune.constraints import AtLeast, AtMost
from visutility.tune.drive import Study
from visutility.tune.factory import Chosen, find_strategy, make_strategy
from visutility.tune.fidelity import (
    STOPPING,
    AbstractStopping,
    Asha,
    CurveStopping,
    Hyperband,
    MedianStopping,
    make_stopping,
)
from visutility.tune.options import Options, options_of
from visutility.tune.outlook import Enough, Outlook
from visutility.tune.priors import Likely, Near
from visutility.tune.problem import Problem
from visutility.tune.space import Choice, Equals, Float, Int, Parameter, Params, Space, Value
from visutility.tune.strategies import STRATEGIES
from visutility.tune.strategy import AbstractStrategy, Observation, Past, State
from visutility.tune.trial import Failure, Outcome, Result, Trial

__all__ = [
    "STOPPING",
    "STRATEGIES",
    "AbstractStopping",
    "AbstractStrategy",
    "Asha",
    "AtLeast",
    "AtMost",
    "Choice",
    "Chosen",
    "CurveStopping",
    "Enough",
    "Equals",
    "Failure",
    "Float",
    "Hyperband",
    "Int",
    "Likely",
    "MedianStopping",
    "Near",
    "Observation",
    "Options",
    "Outcome",
    "Outlook",
    "Parameter",
    "Params",
    "Past",
    "Problem",
    "Result",
    "Space",
    "State",
    "Study",
    "Trial",
    "Value",
    "find_strategy",
    "make_stopping",
    "make_strategy",
    "options_of",
]
