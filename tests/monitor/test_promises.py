"""Each detector's limit is its promise's: the detector passes, and with a limit a tenth lower it fails the same test.

Baselines are estimated throughout: from the first values of a stream, or from a reference window.

For all of them, without chance: alarms come exactly where the statistic of the theory, recomputed in plain Python,
first reaches the limit that follows from the promise, on unchanged streams (`adwin`: also on ones that change). A lower
limit shows as an alarm before that. A right detector passes under any seed that has alarms; under each of 21 seeds
every right one passed and every broken one failed.

For those whose promise is tight enough to be measured, also by simulation: run lengths, alarms or decisions. Each says
how likely a right one is to fail; under each of 21 seeds every right one passed and every broken one failed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
import theories
from runs import LAWS, alarmed
from scipy import stats

from visutility.core.rng import rng
from visutility.monitor import (
    DETECTORS,
    Adwin,
    Auto,
    Cusum,
    Dependent,
    EDetector,
    EProcess,
    Glr,
    Level,
    PageHinkley,
    Ranks,
    Rolling,
    Seasonal,
)
from visutility.monitor.detectors._sums import levels_of
from visutility.monitor.state import take

TENTH = 0.9  # of the limit is what a broken detector alarms at

# -- broken detectors: nothing differs but the limit of an alarm ------------------------------------------------------


class LowRanks(Ranks):
    def _levels(self, score, before):
        return levels_of(score, before, TENTH * self.arl, self.warning * self.arl)


class LowSeasonal(Seasonal):
    def _inner(self):
        return lowered(Seasonal._inner(self))


class LowDependent(Dependent):
    def step(self, work, values):
        levels, score, limit = Dependent.step(self, work, values)
        levels[score >= TENTH * self.arl] = Level.ALARM
        return levels, score, limit


class LowAuto(Auto):
    def _errors(self):
        return lowered(Auto._errors(self))

    def _scores(self):
        return lowered(Auto._scores(self))


class LowAdwin(Adwin):
    """Alarms where means differ by nine tenths of epsilon_cut."""

    def _cuts(self, work, rows):
        cuts = Adwin._cuts(self, work, rows)
        share = 1.0 / np.maximum(cuts.older, 1.0) + 1.0 / np.maximum(cuts.width - cuts.older, 1.0)
        part = 2.0 * share * cuts.spread  # root of l: epsilon_cut = sqrt(part l) + 2 share l / 3 = |rise| / TENTH
        root = (np.sqrt(part + 8.0 / 3.0 * share * np.abs(cuts.rise) / TENTH) - np.sqrt(part)) / (4.0 / 3.0 * share)
        return cuts._replace(evidence=np.where(cuts.rise > 0.0, root * root, cuts.evidence))


class LowGlr(Glr):
    def _limits_of(self, binary):
        return TENTH * Glr._limits_of(self, binary)


class LowRolling(Rolling):
    def _know(self, work, row):
        needed = Rolling._know(self, work, row)
        work.bands[:, row] *= TENTH
        work.limits[:, row] *= TENTH
        return needed


class LowCusum(Cusum):
    def relearn(self, work, rows):
        Cusum.relearn(self, work, rows)
        work.limits[:, rows] *= TENTH


class LowPageHinkley(PageHinkley):
    def relearn(self, work, rows):
        PageHinkley.relearn(self, work, rows)
        work.limits[:, rows] *= TENTH


LOW = {
    low.name: low
    for low in (LowRanks, LowSeasonal, LowDependent, LowAuto, LowAdwin, LowGlr, LowRolling, LowCusum, LowPageHinkley)
}


def lowered(detector):
    """The broken kind of a detector, with the same settings; where `arl` is nothing but the limit, a lower one."""
    if detector.name not in LOW:
        return replace(detector, arl=TENTH * detector.arl)
    return LOW[detector.name](**{one.name: getattr(detector, one.name) for one in fields(detector)})


# -- alarms where the theory has them --------------------------------------------------------------------------------


def errors(rate, streams=60, n=900):
    return lambda g: (g.random((streams, n)) < rate).astype(float)


def chained(rate, streams=60, n=900):
    """Errors that repeat the last with probability one half."""

    def draw(g):
        origin = np.maximum.accumulate(np.where(g.random((streams, n)) < 0.5, 0, np.arange(n)), axis=1)
        return np.take_along_axis(errors(rate, streams, n)(g), origin, axis=1)

    return draw


def normal(streams=60, n=600):
    return lambda g: g.standard_normal((streams, n))


def wandering(streams=60, n=900):
    """A first-order autoregression with coefficient .6."""

    def draw(g):
        values = g.standard_normal((streams, n))
        for at in range(1, n):
            values[:, at] = 0.6 * values[:, at - 1] + 0.8 * values[:, at]
        return values

    return draw


def gamma(streams=60, n=800):
    return lambda g: g.gamma(2.0, size=(streams, n))


def two_parts(g):
    """Normal values, in the second half of each six far from those in the first."""
    return normal()(g) + np.where(np.arange(600) % 6 < 3, 0.0, 5.0)


def rising(g):
    """Errors at .2, then at .4."""
    return np.concatenate([errors(0.2, n=400)(g), errors(0.4, n=400)(g)], axis=1)


@dataclass(frozen=True, slots=True)
class Case:
    """A detector, streams, what the theory says of one, and how near floats come to it."""

    name: str
    detector: Any
    draw: Callable[[np.random.Generator], Any]
    theory: Callable[..., theories.Said]
    reference: int = 0  # the first so many values are given as a reference window
    near: float = 1e-9

    def __str__(self) -> str:
        return self.name


AUTO, DEPENDENT = Auto(arl=50, learning=60), Dependent(arl=60, learning=60)
GLR, ROLLING = Glr(arl=200, learning=40), Rolling(arl=200, allowed=0.0, window=50, parts=5)
CUSUM, PAGE_HINKLEY = Cusum(arl=200, margin=1, warning=0.1), PageHinkley(arl=200, warning=0.1)


def of_auto(values):
    return theories.auto(values, 50, 60)


def of_dependent(values):
    return theories.dependent(values, 60, 60)


def of_glr(values):
    return theories.glr(values, 200, 40)


def of_rolling(values, reference):
    return theories.rolling(values, 200, reference, 50, 5)


def of_cusum(values):
    return theories.cusum(values, 200, 0.2, 1.0, 100)


def of_page_hinkley(values):
    return theories.page_hinkley(values, 200, 0.2, 100)


CASES = [
    Case("eprocess", EProcess(arl=100), errors(0.5, n=3200), lambda v: theories.eprocess(v, 100), near=1e-3),
    Case("e-detector", EDetector(arl=60), errors(0.25), lambda v, r: theories.e_detector(v, 60, r, 0.01), 100),
    Case("ranks", Ranks(arl=60, learning=96), normal(), lambda v: theories.ranks(v, 60, 96)),
    Case("ranks, hanging together", Ranks(arl=60, learning=300), wandering(), lambda v: theories.ranks(v, 60, 300)),
    Case(
        "seasonal",
        Seasonal(period=6, phases=2, arl=60, learning=96),
        two_parts,
        lambda v: theories.ranks(v, 60, 96, period=6, phases=2),
    ),
    Case("dependent", DEPENDENT, errors(0.2, 30), of_dependent),
    Case("dependent, chained", DEPENDENT, chained(0.3, 30), of_dependent),
    Case("auto, independent errors", AUTO, errors(0.2, 30), of_auto),
    Case("auto, chained errors", AUTO, chained(0.3, 30), of_auto),
    Case("auto, independent scores", AUTO, normal(30), of_auto),
    Case("auto, dependent scores", AUTO, wandering(30), of_auto),
    Case("adwin", Adwin(delta=0.9), errors(0.2, n=1600), lambda v: theories.adwin(v, 0.9, 16)),
    Case("adwin, rising", Adwin(delta=0.01), rising, lambda v: theories.adwin(v, 0.01, 16)),
    Case("glr, errors", GLR, errors(0.3, n=600), of_glr),
    Case("glr, scores", GLR, gamma(n=600), of_glr),
    Case("rolling, errors", ROLLING, errors(0.2, n=1000), of_rolling, 200),
    Case("rolling, scores", ROLLING, gamma(n=1000), of_rolling, 200),
    Case("cusum, errors", CUSUM, errors(0.2), of_cusum),
    Case("cusum, scores", CUSUM, gamma(40), of_cusum),
    Case("page_hinkley, errors", PAGE_HINKLEY, errors(0.2), of_page_hinkley),
    Case("page_hinkley, scores", PAGE_HINKLEY, gamma(30), of_page_hinkley),
]


def alarms_are_the_theorys(detector, case, seed=0):
    """The first alarm of each stream is where the theory has it; nothing is compared after a stream's theory ends."""
    values = case.draw(rng(seed, "promises", case.name))
    past, values = values[:, : case.reference], values[:, case.reference :]
    _, said = detector.update(detector.init(past if case.reference else len(values)), values)
    alarms = said.level == Level.ALARM
    first = dict(zip(said.stream[alarms][::-1].tolist(), said.position[alarms][::-1].tolist(), strict=True))
    found = 0
    for stream, row in enumerate(values.tolist()):
        theory = case.theory(row, past[stream].tolist()) if case.reference else case.theory(row)
        for position, told in enumerate(theory):
            score, limit = told or (-math.inf, 0.0)
            if first.get(stream) == position:
                assert score >= limit * (1.0 - case.near), f"an alarm at {score}, below the limit of {limit}"
                found += 1
                break
            assert score < limit * (1.0 + case.near), f"no alarm at {score}, the limit is {limit}"
    assert found >= len(values) / 8, f"{found} alarms of {len(values)} streams compare nothing"


def test_every_detector_has_a_theory():
    assert {case.detector.name for case in CASES} == set(DETECTORS)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_alarms_come_exactly_where_the_theory_has_them(case):
    alarms_are_the_theorys(case.detector, case)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_limit_a_tenth_lower_alarms_too_early(case):
    with pytest.raises(AssertionError, match="below the limit"):
        alarms_are_the_theorys(lowered(case.detector), case)


# -- promises that can be measured -----------------------------------------------------------------------------------

# Each returns what was measured, and the most that a detector which keeps its promise comes to.


def run_lengths_at_the_edge(detector, seed=0):
    """How far a mean run length is below `arl`, in standard errors, of values around the bound from 100 errors.

    They are .01 to either side of it: the edge of the theorem, where run lengths are `arl` but for an overshoot of a
    few per cent, and differ little. A right one is above 5 with probability 3e-7.
    """
    runs, g = 300, rng(seed, "promises", "edge")
    state = detector.init((g.random((runs, 100)) < 0.2).astype(float))
    bound, when, arl = state.bound[:, None], np.full(runs, 2000), 500
    for _ in range(10):
        state, said = detector.update(state, bound + g.choice([-0.01, 0.01], (runs, 200)))
        alarms = said.level == Level.ALARM
        np.minimum.at(when, said.stream[alarms], said.position[alarms] + 1)
    return (arl - when.mean()) / (when.std() / math.sqrt(runs)), 5.0


def alarms_of_the_scan(detector, seed=0):
    """Alarms in 600,000 errors at rate .3, `arl` 1e3. At a rate of just that a right one is above with 1e-4."""
    g, state, count = rng(seed, "promises", "glr"), detector.init(200), 0
    for _ in range(6):
        state, said = detector.update(state, g.random((200, 500)) < 0.3)
        count += int((said.level == Level.ALARM).sum())
    return count, stats.poisson.isf(1e-4, 600)


def windows_that_pass(detector, seed=0):
    """First windows of 20,000 normal streams that are alarms, each after a reference window of 400.

    Each decision is one with probability at most r = block / (2 arl), from which the promise follows: 10 values between
    decisions and `arl` 1e3 make .005. A right one is above with probability 1e-4.
    """
    runs, g = 20_000, rng(seed, "promises", "rolling")
    state = detector.init(g.standard_normal((runs, 400)))
    _, said = detector.update(state, g.standard_normal((runs, 100)))
    return int(said.alarm.sum()), stats.binom.isf(1e-4, runs, 0.005)


def streams_that_alarm(detector, seed=0):
    """Of 3,000 normal streams of 6,000 values at `arl` 3e4, from their first on: a right one is above with 1e-6."""
    return alarmed(detector, LAWS["normal"], 3000, 6000, "long", seed), stats.binom.isf(1e-6, 3000, 1 - math.exp(-0.2))


def streams_that_alarm_after_long(detector, seed=0):
    """The same of 8,000 streams after one baseline of 1e6 values: `margin` standard errors are little then."""
    runs, g = 8000, rng(seed, "promises", "cusum")
    state = take(detector.init([g.standard_normal(1_000_000)]), np.zeros(runs, np.int64))
    found = np.zeros(runs, np.bool_)
    for _ in range(60):
        state, said = detector.update(state, g.standard_normal((runs, 100)))
        found |= said.alarm
    return int(found.sum()), stats.binom.isf(1e-6, runs, 1 - math.exp(-0.2))


MEASURED = [
    pytest.param(EDetector(arl=500, warning=1), run_lengths_at_the_edge, id="e-detector"),
    pytest.param(Glr(arl=1e3), alarms_of_the_scan, id="glr"),
    pytest.param(Rolling(arl=1e3, allowed=0.0), windows_that_pass, id="rolling"),
    pytest.param(PageHinkley(arl=3e4, warning=1), streams_that_alarm, id="page_hinkley"),
    pytest.param(Cusum(arl=3e4, warning=1), streams_that_alarm_after_long, id="cusum"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("detector", "measure"), MEASURED)
def test_the_promise_is_kept_and_a_limit_a_tenth_lower_breaks_it(detector, measure):
    found, most = measure(detector)
    assert found <= most
    broken, most = measure(lowered(detector))
    assert broken > most
