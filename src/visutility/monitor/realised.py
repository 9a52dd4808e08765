"""The metric that labels realised, with an interval and a note on which rows got a label."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidSetting
from visutility.monitor.risk import RiskState, advance, latest, mean_interval

_ODD = 3.0  # standard deviations beyond which labels are called selected


@final
@dataclass(frozen=True, slots=True)
class Realised:
    """The metric on labelled rows, [`low`, `high`] around it, and whether these rows are like all rows.

    The interval holds for a model whose performance does not change while they come: however often one looks as long
    as no prediction has left; of a window that moves on, at a look chosen in advance.
    `expected_labelled` and `expected_all` are means of what the scores let expect; where they differ by more than
    chance, labels are `selected` (say, only doubtful images are looked at), the realised value is not that of all rows,
    and `adjusted`, which adds the difference, is nearer to it as far as the scores are right. NaN where not known.
    """

    value: float
    low: float
    high: float
    metric: str
    level: float
    labelled: int
    rows: int
    expected_labelled: float
    expected_all: float
    adjusted: float
    selected: bool

    @property
    def share(self) -> float:
        """Which share of the rows has a label; NaN without rows."""
        return self.labelled / self.rows if self.rows else math.nan

    @property
    def words(self) -> str:
        """What is known, in one sentence."""
        if not self.labelled:
            return f"None of {self.rows} predictions has a label yet."
        said = f"{self.metric} {self.value:.3f} [{self.low:.3f}, {self.high:.3f}] on {self.labelled} labels"
        said = f"{said} of {self.rows} predictions ({100.0 * self.share:.0f} %)"
        if not self.selected:
            return f"{said}."
        return (
            f"{said}, which are not like the others: scores let expect {self.expected_labelled:.3f} of them and "
            f"{self.expected_all:.3f} of all. Adjusted: {self.adjusted:.3f}."
        )


def realised(
    table: Mapping[str, NDArray[Any]], metric: Literal["accuracy", "mae"], scale: float, level: float
) -> Realised:
    """Return what the labels of a `LabelJoin.table` say. Raises `InvalidSetting` for a level outside (0, 1)."""
    given: object = level  # of callers without types
    if not isinstance(given, Real) or not 0.0 < level < 1.0:
        raise InvalidSetting(f"level {level!r} is not in (0, 1)", hint="0.95 is usual")
    with_label = table["order"] >= 0
    losses = table["loss"][with_label][np.argsort(table["order"][with_label])]
    n, rows = len(losses), len(with_label)
    if n == 0:
        return Realised(math.nan, math.nan, math.nan, metric, level, 0, rows, math.nan, math.nan, math.nan, False)
    delta = (1.0 - level) / 2.0
    start = RiskState.start(fractions=int(metric == "mae"))
    state = latest(start, advance(start, losses, math.log(1.0 / delta)))
    low, high = mean_interval(state, delta)
    mean = float(losses.mean())
    value, low, high = (1.0 - mean, 1.0 - high, 1.0 - low) if metric == "accuracy" else (mean, low, high)
    value, low, high = (number * (1.0 if metric == "accuracy" else scale) for number in (value, low, high))
    labelled, every, odd = _selection(table["expected"], with_label)
    return Realised(value, low, high, metric, level, n, rows, labelled, every, value + every - labelled, odd)


def _selection(expected: NDArray[np.float64], labelled: NDArray[np.bool_]) -> tuple[float, float, bool]:
    """Mean of what is expected of labelled rows, of all rows, and whether they differ by more than chance."""
    known = np.isfinite(expected)
    some, every = expected[known & labelled], expected[known]
    if len(some) < 2:
        return math.nan, math.nan, False
    variance = float(every.var()) / len(some) * (1.0 - len(some) / len(every))
    apart = abs(float(some.mean()) - float(every.mean()))
    return float(some.mean()), float(every.mean()), bool(apart > _ODD * math.sqrt(variance) + 1e-12)
