"""What the figures of a study share: axes of parameters and metrics, and which of many trials are drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visutility.report import Axis, number, number_axis
from visutility.tune.insight import ticks
from visutility.tune.space import Choice, Parameter

WIDE: Final = 100.0  # times the median: values beyond it call for a log scale

FEW: Final = 6  # values of a grid that are named one by one

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class Metric:
    """The axis of a metric, and how its values lie on it: as they are, or as logarithms."""

    axis: Axis
    log: bool

    def __call__(self, values: ArrayLike) -> Array:
        """Return values (n,) as the axis has them."""
        plain = np.asarray(values, np.float64)
        return np.log10(plain) if self.log else plain


def metric_axis(values: ArrayLike, label: str) -> Metric:
    """Return the axis of these values: on a log scale where they are positive and some are far above the median."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not len(known) or known.min() <= 0.0 or known.max() < WIDE * float(np.median(known)):
        return Metric(number_axis(known, label), log=False)
    logs = np.log10(known)
    low, high = math.floor(logs.min()), math.ceil(logs.max())
    powers = range(low, high + 1, max(1, math.ceil((high - low) / 6)))
    named = tuple((float(power), f"1e{power}".replace("-", "−")) for power in powers)
    return Metric(Axis(f"{label}, log scale", named, float(low), float(high)), log=True)


def parameter_axis(parameter: Parameter, label: str) -> Axis:
    """Return the axis of a parameter, whose values are places in the unit cube."""
    named = isinstance(parameter, Choice) or (
        parameter.count is not None and parameter.count <= 6 and not parameter.log
    )
    scale = " (log scale)" if not isinstance(parameter, Choice) and parameter.log else ""
    return Axis(label + scale, ticks(parameter), named=named)


def evenly(count: int, most: int) -> NDArray[np.intp]:
    """Return at most `most` of `count` rows, ascending and evenly spread."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.intp))


def drawn_of(shown: int, count: int, what: str = "trials") -> str:
    """Return what to say of rows that were left out: nothing when all are there."""
    return (
        ""
        if shown >= count
        else f"{shown:,} of {count:,} {what} are drawn: the best, and others evenly over the study."
    )


def configuration(params: object) -> str:
    """Return a configuration on one line, numbers short."""
    if not isinstance(params, dict):
        return str(params)
    return ", ".join(f"{name} = {_short(value)}" for name, value in params.items())


def listed(names: Sequence[str]) -> str:
    """Return names as a list in a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _short(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)
