"""The dependence-aware detector on one stream in plain floats: many times faster than arrays of one number.

Does what `blend` and `Dependent.step` do, in the same order, so that every number is the same to the bit.
"""

from math import sqrt
from operator import add, mul
from typing import Any, NamedTuple

from visutility.monitor.detectors._blend import AFTER, CHAINS, DOUBT, FEW, HAZARDS, LEAST, RATES, BlendState
from visutility.monitor.detectors._rules import (
    BOTTOM,
    DROP_SHARE,
    DROPS,
    DUE,
    MEMORY,
    MORE,
    SHARES,
    SHIFT,
    SPANS,
    STRONG,
    TILTS,
    TOP,
    Rules,
    halved,
    inflation_class,
)
from visutility.monitor.state import Floats
from visutility.monitor.verdicts import Level

_FLOORS = [[r * (1.0 - chain) for r in RATES] for chain in CHAINS]


class _Known(NamedTuple):
    """What was known before the value."""

    rate: float
    mean: float
    chance: float
    chain: float
    few: bool
    autocorrelation: float


class Lane:
    """Row 0 of a `DependentState` in plain floats. `put` writes it back."""

    __slots__ = ("best", "blend", "down", "drift", "half", "inflation", "rules", "score", "since", "total", "up")

    def __init__(self, work: Any, rules: Rules) -> None:
        self.rules, self.blend = rules, _BlendLane(work)
        wealth = work.wealth[:, 0].tolist()
        self.up, self.down = wealth[: len(TILTS)], wealth[len(TILTS) :]
        self.drift: list[float] = work.drift[:, 0].tolist()
        self.inflation, self.score = int(work.inflation[0]), float(work.score[0])
        self.best, self.since, self.total = float(work.best[0]), int(work.since[0]), float(work.total[0])
        self.half = float(work.half[0])

    def put(self, work: Any) -> None:
        """Write back what changed."""
        self.blend.put(work)
        work.wealth[:, 0] = self.up + self.down
        work.drift[:, 0] = self.drift
        work.inflation[0], work.score[0] = self.inflation, self.score
        work.best[0], work.since[0], work.total[0] = self.best, self.since, self.total
        work.half[0] = self.half

    def run(self, values: Floats, first: int, seen: int) -> tuple[int, Level, bool]:
        """Go through values[first:] until a verdict or a fall; value i has position `seen` + i.

        Returns how many of all values are used, the level, and whether the stream has to be learnt anew after a fall.
        """
        arl, warn = self.rules.arl, self.rules.warn
        for at, x in enumerate(values[first:].tolist(), start=first):
            before, age = self.score, self.blend.age
            known = self.blend.take(x)
            fell = self._bet(x, age, known, seen + at)
            self._watch(x - known.rate)
            over, self.half = halved(self.blend.age, self.blend.ones, self.half)
            if self.score >= arl:
                return at + 1, Level.ALARM, False
            if self.score >= warn > before:
                return at + 1, Level.WARNING, False
            if over or fell >= self.rules.fall:
                return at + 1, Level.OK, True
        return len(values), Level.OK, False

    def _bet(self, x: float, age: float, known: _Known, position: int) -> float:
        """Multiply the winnings; what the bets on a fall have won."""
        rate, mean, chance, chain, few, autocorrelation = known
        told = self.rules
        stake = ready = 0.0
        if age >= told.learning:
            ready = 1.0
            youth, later = min(age / told.grown, 1.0), min(age / told.later, 1.0)
            stake = youth * youth + (later * later) * (MORE * chain if autocorrelation >= STRONG else 0.0)
            stake *= told.calm[0 if few else self.inflation]
        sd = sqrt(mean * (1.0 - mean))
        top, bottom = max(rate, TOP), rate * BOTTOM
        others = [max(min(rate + tilt * sd, top), bottom) for tilt in TILTS]
        gains = [other / chance if x == 1.0 else (1.0 - other) / chance for other in others]
        self.up = list(map(mul, map(add, self.up, [share * stake for share in SHARES]), gains))
        self.score = _sum(self.up)
        if self.best <= 1.0:
            self.best, self.since, self.total = 1.0, position, 0.0
        self.best *= gains[SHIFT]
        self.total += x
        others = [max(min(rate - drop * sd, top), bottom) for drop in DROPS]
        gains = [other / chance if x == 1.0 else (1.0 - other) / chance for other in others]
        self.down = list(map(mul, [m + DROP_SHARE * ready for m in self.down], gains))
        return _sum(self.down)

    def _watch(self, error: float) -> None:
        """Measure what is left of dependence."""
        near, far, with_near, with_far, power, count = self.drift
        with_near, with_far = with_near * MEMORY + error * near, with_far * MEMORY + error * far
        power, count = power * MEMORY + error * error, count * MEMORY + 1.0
        near, far = near + (error - near) / SPANS[0], far + (error - far) / SPANS[1]
        self.drift = [near, far, with_near, with_far, power, count]
        if self.blend.age % DUE == 0.0:
            self.inflation = inflation_class((with_near, with_far), power, count)


class _BlendLane:
    """Row 0 of a `BlendState` in plain floats. `put` writes it back."""

    __slots__ = ("age", "filters", "last", "n0", "n1", "ones", "s0", "s1", "weights")

    def __init__(self, work: BlendState) -> None:
        self.age, self.ones, self.last = float(work.age[0]), float(work.ones[0]), float(work.last[0])
        self.s0, self.n0, self.s1, self.n1 = work.pairs[:, 0].tolist()
        self.weights: list[float] = work.weights[:, 0].tolist()
        rates, jumps = work.rates[:, :, 0].T.tolist(), work.jumps[:, :, 0].T.tolist()
        self.filters = [_Filter(*parts) for parts in zip(HAZARDS, CHAINS, _FLOORS, rates, jumps, strict=True)]

    def put(self, work: BlendState) -> None:
        """Write back what was learnt."""
        work.age[0], work.ones[0], work.last[0] = self.age, self.ones, self.last
        work.pairs[:, 0] = self.s0, self.n0, self.s1, self.n1
        work.weights[:, 0] = self.weights
        for at, one in enumerate(self.filters):
            work.rates[:, at, 0], work.jumps[:, at, 0] = one.rates, one.jumps

    def take(self, x: float) -> _Known:
        """Predict, then learn: see `blend`."""
        miss, last = 1.0 - x, self.last
        rest = 1.0 - last
        mean = (self.ones + 0.5) / (self.age + 1.0)
        after_0, after_1 = (self.s0 + 0.5) / (self.n0 + 1.0), (self.s1 + 0.5) / (self.n1 + 1.0)
        each = [mean, last * after_1 + rest * after_0]
        each += [one.take(x, last) for one in self.filters]
        weights = self.weights
        whole, top = weights[0], weights[0] * mean
        for weight, p in zip(weights[1:], each[1:], strict=True):
            whole += weight
            top += weight * p
        rate = top / whole
        chance = x * rate + miss * (1.0 - rate)
        chain = weights[1] / whole
        gave = each if x == 1.0 else [1.0 - p for p in each]
        fresh = [weight / chance for weight in map(mul, weights, gave)]
        self.weights = [LEAST if weight < LEAST else weight for weight in fresh]
        if few := self.ones < FEW:
            pair = min((self.s1 + AFTER * DOUBT) / (self.n1 + DOUBT), AFTER)
            rate, chain = max(mean, pair) if last == 1.0 else mean, 0.0
            chance = x * rate + miss * (1.0 - rate)
        self.s0 += rest * x
        self.n0 += rest
        self.s1 += last * x
        self.n1 += last
        self.age += 1.0
        self.ones += x
        self.last = x
        return _Known(rate, mean, chance, chain, few, after_1 - after_0)


class _Filter:
    """One jumping-rate model of one stream."""

    __slots__ = ("emits", "hazard", "jumps", "misses", "rates", "stays")

    def __init__(
        self, hazard: float, chain: float, floors: list[float], rates: list[float], jumps: list[float]
    ) -> None:
        self.hazard, self.stays, self.rates, self.jumps = hazard, 1.0 - hazard, rates, jumps
        self.emits = [[floor + chain * last for floor in floors] for last in (0.0, 1.0)]  # of a 1, after 0 and 1
        self.misses = [[1.0 - e for e in emit] for emit in self.emits]

    def take(self, x: float, last: float) -> float:
        """Return the probability of a 1; learn from the value."""
        share, stays, jumps = self.hazard / _halves(self.jumps), self.stays, self.jumps
        emit, miss = self.emits[last == 1.0], self.misses[last == 1.0]
        jump = [j * share for j in jumps]
        now = list(map(add, [r * stays for r in self.rates], jump))
        rate = _halves(list(map(mul, now, emit)))
        if x == 1.0:
            gave = [e / rate for e in emit]
        else:
            total = _halves(list(map(mul, now, miss)))
            gave = [m / total for m in miss]
        self.rates = list(map(mul, now, gave))
        self.jumps = list(map(add, jumps, map(mul, jump, gave)))
        return rate


def _halves(p: list[float]) -> float:
    """Add eight numbers in halves, as `halves` does."""
    return ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]))


def _sum(p: list[float]) -> float:
    """Add in order, as `sum_rows` does; the built-in `sum` corrects its rounding in newer Pythons."""
    total = p[0]
    for one in p[1:]:
        total += one
    return total
