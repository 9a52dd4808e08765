"""CUSUM: the largest log-likelihood ratio of a worse stream against the baseline, over all starting points.

Page (1954), "Continuous inspection schemes", Biometrika 41, section 2; Lorden (1971), "Procedures for reacting to a
change in distribution", Annals of Mathematical Statistics 42. `docs/detector-cusum.md` has the promise and the delays.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidSetting
from visutility.monitor.detector import Level
from visutility.monitor.excursions import (
    LARGEST,
    ROW,
    ExcursionState,
    baseline,
    check_settings,
    current,
    drop,
    excursion,
    exponent,
    gather,
    learn_from,
    nothing_known,
    rate_of,
    run_lane,
    set_limits,
    settle,
    wald_limit,
)
from visutility.monitor.moments import moments
from visutility.monitor.state import Floats, Ints
from visutility.monitor.steps import StepDetector


@final
@dataclass(frozen=True, slots=True)
class Cusum(StepDetector[ExcursionState]):
    """Alarm when values have been likelier under a mean `size` standard deviations worse than under the baseline.

    S_t = max(0, S_{t-1} + l(x_t)) with l the log-likelihood ratio: of Bernoulli's distribution while all values are 0
    or 1, else of the normal one. The baseline is what came before the present excursion of S from 0, from the first
    `reference` values on; its mean is taken `margin` standard errors worse than it is, because a baseline that looks
    too good by chance makes every later value look bad. The limit is the one that makes the mean run length to a false
    alarm `arl`. A warning comes where the limit for `warning` times `arl` is passed. Values of any range up to 1e90.
    130 bytes a stream.
    """

    size: float = 0.2
    arl: float = 1e6
    reference: int = 100
    margin: float = 3.0
    warning: float = 0.01
    low: float | None = -LARGEST
    high: float | None = LARGEST

    name: ClassVar[str] = "cusum"
    state_type: ClassVar[type[ExcursionState]] = ExcursionState
    smallest_reference: ClassVar[int] = 20

    def __post_init__(self) -> None:
        StepDetector.__post_init__(self)
        check_settings(self.size, self.arl, self.reference, self.warning)
        if not 0.0 <= self.margin <= 100.0:
            raise InvalidSetting(f"margin {self.margin!r} is not in [0, 100]", hint="it is in standard errors")

    def promise(self, reference_size: int) -> str:
        """Return what was measured, under which assumptions."""
        return (
            f"Measured, not proven: on independent values, with a baseline that starts with {reference_size} values "
            f"and grows with the stream, the mean time to a false alarm is about {self.arl:g} values or more. It does "
            f"not hold for dependent values."
        )

    def oriented(self, values: Floats) -> Floats:
        """Return the values, negated where smaller is worse."""
        return values if self.direction == "rise" else -values

    def fresh(self, n: int) -> ExcursionState:
        """Return the state of n streams of which nothing is known."""
        return nothing_known(n, self.reference)

    def learn(self, references: Sequence[Floats]) -> ExcursionState:
        """Return the state of streams whose baselines are these windows."""
        work = self.fresh(len(references))
        for row, window in enumerate(references):
            learn_from(work, row, window, self._sign)
        self._learn(work, np.arange(len(references)))
        return work

    def step(self, work: ExcursionState, values: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
        """Advance the first rows by one value each."""
        a = len(values)
        d = gather(work, values, self._sign)
        score = work.score[:a] + (d - work.centre[:a]) * work.scale[:a]
        limit = work.limits[1, :a].copy()
        levels = settle(work, score)
        due = np.flatnonzero((score == 0.0) & (work.base[0, :a] >= work.due[:a]))
        if len(due):
            self._learn(work, due)
        return levels, score, limit

    def run(self, work: ExcursionState, values: Floats) -> tuple[int, Level, float, float]:
        """Advance row 0 through the values until something is to be said."""

        def renew(_: Floats) -> tuple[int, int]:
            self._learn(work, ROW)
            return 0, 0

        used, level = run_lane(work, values, self._sign, renew, moving=False)
        return used, level, float(work.score[0]), float(work.limits[1, 0])

    def restart(self, work: ExcursionState, row: int) -> None:
        """Forget the excursion; the baseline is what it was before it."""
        drop(work, row)

    def scores(self, state: ExcursionState) -> Floats:
        """Return the log-likelihood ratio of a change, at its best starting point; NaN while learning."""
        return current(state)

    def evidence(self, state: ExcursionState, stream: int = 0) -> dict[str, float]:
        """Return the score and the excursion that carries it; `since` is where it began."""
        return excursion(state, stream, self._sign)

    def learnt(self, state: ExcursionState, stream: int = 0) -> dict[str, float]:
        """Return what the baseline holds: its size, mean and spread, and the limit of the score once there is one."""
        return baseline(state, stream, self._sign)

    @property
    def _sign(self) -> float:
        return 1.0 if self.direction == "rise" else -1.0

    def _learn(self, work: ExcursionState, rows: Ints) -> None:
        """Learn the log-likelihood ratio scale (d - centre) of these rows, and its limits, from their baselines."""
        sums, binary = work.base[:, rows], work.binary[rows]
        count, mean, sd, skew = moments(sums)
        varies = (sd > 0.0) | binary
        sd = np.where(sd > 0.0, sd, 1.0)
        worse = mean + self.margin * sd / np.sqrt(count)
        scale, centre = self.size / sd, worse + self.size * sd / 2.0
        loss, power = np.full(len(rows), self.size * self.size / 2.0), exponent(self.size, skew)
        # Bernoulli: with q0 the baseline's rate and q1 the worse one, l(x) = x log(q1/q0) + (1 - x) log((1-q1)/(1-q0)).
        rate = rate_of(sums, work.first[rows], self._sign)
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
