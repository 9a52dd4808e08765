"""What a chart is made of: series, bands, events, lanes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visutility.core.errors import InvalidSetting
from visutility.report.html import State


@final
@dataclass(frozen=True, slots=True)
class Series:
    """Values over an axis, drawn as a line in the order given, as points, or as steps that hold until the next x."""

    name: str
    x: ArrayLike
    y: ArrayLike
    kind: Literal["line", "points", "step"] = "line"


@final
@dataclass(frozen=True, slots=True)
class Band:
    """A range of y that something promises, and what: `label` says it under the chart. Ends may be infinite."""

    low: float
    high: float
    label: str
    start: float = -math.inf  # of x
    end: float = math.inf


@final
@dataclass(frozen=True, slots=True)
class Mark:
    """An event at `x`: an upright line with a label above, in the colour and with the mark of its state if any."""

    x: float
    label: str
    state: State | None = None


@final
@dataclass(frozen=True, slots=True)
class Span:
    """Something on a lane, from `start` to `end` (infinity: it goes on), or at `start` alone."""

    start: float
    label: str
    state: State
    end: float | None = None


@final
@dataclass(frozen=True, slots=True)
class Lane:
    """A strip below the chart, on the same x axis: runs, gates, versions. A short name, up to 7 characters."""

    name: str
    spans: Sequence[Span]


@final
@dataclass(frozen=True, slots=True)
class Drawn:
    """A series whose values were checked: x and y of shape (n,), `good` where both are finite.

    `look` counts the series of one kind, so that the trials and the best of a study look alike.
    """

    name: str
    kind: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    good: NDArray[np.bool_]
    look: int


def checked(series: Sequence[Series]) -> list[Drawn]:
    """Return the series as arrays. Raises `InvalidSetting` for an unknown kind or x and y that differ in length."""
    kinds = [one.kind for one in series]
    return [_checked(one, kinds[:at].count(one.kind) % 3) for at, one in enumerate(series)]


def _checked(series: Series, look: int) -> Drawn:
    if series.kind not in ("line", "points", "step"):
        raise InvalidSetting(f"series {series.name!r} has kind {series.kind!r}", hint="choose line, points or step")
    x, y = (np.asarray(values, np.float64) for values in (series.x, series.y))
    if x.ndim != 1 or x.shape != y.shape:
        raise InvalidSetting(f"series {series.name!r} has x {x.shape} and y {y.shape}", hint="pass one y per x")
    return Drawn(series.name, series.kind, x, y, np.isfinite(x) & np.isfinite(y), look)
