"""Page-Hinkley: how far the sum of deviations from the running mean has risen above its least value so far.

Page (1954), "Continuous inspection schemes", Biometrika 41, section 2; Hinkley (1971), "Inference about the
change-point from cumulative sum tests", Biometrika 58. `docs/detector-page-hinkley.md` says why an unknown mean costs
no promise.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidSetting
from visutility.monitor.detector import Level
from visutility.monitor.excursions import (
    ExcursionDetector,
    ExcursionState,
    drop,
    exponent,
    exponent_of_errors,
    gather,
    rate_of,
    run_lane,
    set_limits,
    settle,
    wald_limit,
)
from visutility.monitor.moments import moments
from visutility.monitor.state import Floats, Ints

_STALE = 1.5  # times the standard deviation that a scale was learnt from


@final
@dataclass(frozen=True, slots=True)
class PageHinkley(ExcursionDetector):
    """Alarm when values have gone on deviating upwards from the mean of all values so far.

    m_t = m_{t-1} + (x_t - mean_t) / sd - `size` / 2, and the score is m_t less its least value so far. `size` is the
    rise, in standard deviations, that it is quickest for; the limit is the one that makes the mean run length to a
    false alarm `arl`. Mean, standard deviation and skewness are those of the stream so far, from its first `reference`
    values on. With `slack` and `limit`, both in the units of the stream, nothing but the mean is learnt: the classical
    form. A warning comes where the limit for `warning` times `arl` is passed (or that share of `limit`). Values of any
    range up to 1e90. 129 bytes a stream.
    """

    slack: float | None = None
    limit: float | None = None

    name: ClassVar[str] = "page_hinkley"

    def __post_init__(self) -> None:
        ExcursionDetector.__post_init__(self)
        if (self.slack is None) != (self.limit is None):
            raise InvalidSetting(
                f"slack {self.slack!r} came with limit {self.limit!r}", hint="give both, or leave both to be learnt"
            )
        if self.slack is not None and not 0.0 <= self.slack < math.inf:
            raise InvalidSetting(f"slack {self.slack!r} is not 0 or more", hint="give it in the units of the stream")
        if self.limit is not None and not 0.0 < self.limit < math.inf:
            raise InvalidSetting(f"limit {self.limit!r} is not above 0", hint="give it in the units of the stream")

    def promise(self, reference_size: int) -> str:
        """Return what was measured, under which assumptions."""
        if self.limit is not None:
            return f"None: the limit of {self.limit:g} is yours, and how often it is passed depends on the stream."
        return ExcursionDetector.promise(self, reference_size)

    def step(self, work: ExcursionState, values: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
        """Advance the first rows by one value each."""
        a = len(values)
        d = gather(work, values, self.sign)
        count = work.base[0, :a] + work.open[0, :a]
        due = np.flatnonzero(count >= work.due[:a])
        if len(due):
            self.relearn(work, due)
        mean = (work.base[1, :a] + work.open[1, :a]) / count
        score = (work.score[:a] + (d - mean) * work.scale[:a]) - work.centre[:a]
        levels = settle(work, score)
        return levels, score, work.limits[1, :a].copy()

    def run(self, work: ExcursionState, values: Floats) -> tuple[int, Level, float, float]:
        """Advance row 0 through the values until something is to be said."""

        def renew(rest: Floats) -> tuple[int, int]:
            return 1, int(self.step(work, rest[:1])[0][0])

        used, level = run_lane(work, values, self.sign, renew, moving=True)
        return used, level, float(work.score[0]), float(work.limits[1, 0])

    def restart(self, work: ExcursionState, row: int) -> None:
        """Forget the excursion; the baseline is what it was before it.

        Where that varies much more than its scale says, the next value has it learnt anew: one value far on the better
        side moves the mean at once, every later value is an alarm then, and what alarms is dropped and never counts.
        """
        drop(work, row)
        scale = float(work.scale[row])
        if scale > 0.0 and not work.binary[row]:
            _, _, sd, _ = moments(work.base[:, [row]])
            if sd[0] * scale > _STALE:
                work.due[row] = 0.0

    def relearn(self, work: ExcursionState, rows: Ints) -> None:
        """Learn scale and limits of these rows from all of their values."""
        if self.slack is not None and self.limit is not None:
            work.scale[rows], work.centre[rows] = 1.0, self.slack
            set_limits(work, rows, np.array([[self.warning * self.limit], [self.limit]]))
            return
        sums = work.base[:, rows] + work.open[:, rows]
        _, _, sd, skew = moments(sums)
        rate = rate_of(sums, work.first[rows], self.sign)
        binary = work.binary[rows]
        sd = np.where(binary, np.sqrt(rate * (1.0 - rate)), sd)
        power = np.where(binary, exponent_of_errors(self.size, rate), exponent(self.size, skew))
        varies = sd > 0.0
        runs = np.array([self.warning * self.arl, self.arl]) * (self.size * self.size / 2.0)
        limits = wald_limit(runs)[:, None] / (power * self.size)
        work.scale[rows] = np.divide(1.0, sd, out=np.zeros_like(sd), where=varies)
        work.centre[rows] = np.where(varies, self.size / 2.0, 0.0)
        set_limits(work, rows, np.where(varies, limits, math.inf))
