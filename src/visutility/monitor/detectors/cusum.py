"""CUSUM: the largest log-likelihood ratio of a worse stream against the baseline, over all starting points.

Page (1954), "Continuous inspection schemes", Biometrika 41, section 2; Lorden (1971), "Procedures for reacting to a
change in distribution", Annals of Mathematical Statistics 42. `docs/detector-cusum.md` has the promise and the delays.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidSetting
from visutility.monitor.detector import Level
from visutility.monitor.excursions import (
    ROW,
    ExcursionDetector,
    ExcursionState,
    exponent,
    gather,
    rate_of,
    run_lane,
    set_limits,
    settle,
    wald_limit,
)
from visutility.monitor.moments import moments
from visutility.monitor.state import Floats, Ints


@final
@dataclass(frozen=True, slots=True)
class Cusum(ExcursionDetector):
    """Alarm when values have been likelier under a mean `size` standard deviations worse than under the baseline.

    S_t = max(0, S_{t-1} + l(x_t)) with l the log-likelihood ratio: of Bernoulli's distribution while all values are 0
    or 1, else of the normal one. The baseline is what came before the present excursion of S from 0, from the first
    `reference` values on; its mean is taken `margin` standard errors worse than it is, because a baseline that looks
    too good by chance makes every later value look bad. The limit is the one that makes the mean run length to a false
    alarm `arl`. A warning comes where the limit for `warning` times `arl` is passed. Values of any range up to 1e90.
    129 bytes a stream.
    """

    margin: float = 3.0

    name: ClassVar[str] = "cusum"

    def __post_init__(self) -> None:
        ExcursionDetector.__post_init__(self)
        if not 0.0 <= self.margin <= 100.0:
            raise InvalidSetting(f"margin {self.margin!r} is not in [0, 100]", hint="it is in standard errors")

    def step(self, work: ExcursionState, values: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
        """Advance the first rows by one value each."""
        a = len(values)
        d = gather(work, values, self.sign)
        score = work.score[:a] + (d - work.centre[:a]) * work.scale[:a]
        limit = work.limits[1, :a].copy()
        levels = settle(work, score)
        due = np.flatnonzero((score == 0.0) & (work.base[0, :a] >= work.due[:a]))
        if len(due):
            self.relearn(work, due)
        return levels, score, limit

    def run(self, work: ExcursionState, values: Floats) -> tuple[int, Level, float, float]:
        """Advance row 0 through the values until something is to be said."""

        def renew(_: Floats) -> tuple[int, int]:
            self.relearn(work, ROW)
            return 0, 0

        used, level = run_lane(work, values, self.sign, renew, moving=False)
        return used, level, float(work.score[0]), float(work.limits[1, 0])

    def relearn(self, work: ExcursionState, rows: Ints) -> None:
        """Learn the log-likelihood ratio scale (d - centre) of these rows, and its limits, from their baselines."""
        sums, binary = work.base[:, rows], work.binary[rows]
        count, mean, sd, skew = moments(sums)
        varies = (sd > 0.0) | binary
        sd = np.where(sd > 0.0, sd, 1.0)
        worse = mean + self.margin * sd / np.sqrt(count)
        scale, centre = self.size / sd, worse + self.size * sd / 2.0
        loss, power = np.full(len(rows), self.size * self.size / 2.0), exponent(self.size, skew)
        # Bernoulli: with q0 the baseline's rate and q1 the worse one, l(x) = x log(q1/q0) + (1 - x) log((1-q1)/(1-q0)).
        rate = rate_of(sums, work.first[rows], self.sign)
        spread = np.sqrt(rate * (1.0 - rate))
        q0 = np.minimum(rate + self.margin * spread / np.sqrt(count), 1.0 - (1.0 - rate) / 2.0)
        q1 = np.minimum(q0 + self.size * np.sqrt(q0 * (1.0 - q0)), 1.0 - (1.0 - q0) / 2.0)
        up, down = np.log(q1 / q0), np.log((1.0 - q1) / (1.0 - q0))
        none = -work.first[rows] if self.direction == "rise" else -work.first[rows] - 1.0  # d of the better outcome
        scale, centre = np.where(binary, up - down, scale), np.where(binary, none - down / (up - down), centre)
        loss = np.where(binary, -(q0 * up + (1.0 - q0) * down), loss)
        power = np.where(binary, 1.0, power)
        limits = wald_limit(np.array([[self.warning * self.arl], [self.arl]]) * loss) / power
        work.scale[rows], work.centre[rows] = np.where(varies, scale, 0.0), centre
        set_limits(work, rows, np.where(varies, limits, math.inf))
