"""Every detector that ships passes the public suite; one that is wrong in a known way does not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from visutility.core.errors import EmptyWindow
from visutility.monitor import (
    DETECTORS,
    Adwin,
    Cusum,
    EDetector,
    Level,
    PageHinkley,
    Ranks,
    Rolling,
    StepDetector,
    StreamState,
)
from visutility.monitor.state import Floats
from visutility.testing.detectors import (
    DETECTOR_CHECKS,
    DetectorCase,
    check_alarm_starts_afresh,
    check_cuts_do_not_matter,
    check_promise,
    check_sees_a_change,
    check_streams_are_alone,
    errors,
    losses,
)


def normal(mean):
    return lambda draw, n: mean + draw.standard_normal(n)


CASES = [
    DetectorCase("adwin", Adwin(delta=0.01), errors(0.05), errors(0.5), growing=True, adapts=True),
    DetectorCase("adwin, losses", Adwin(block=10), losses(0.2), losses(0.4), growing=True, adapts=True),
    DetectorCase(
        "cusum", Cusum(arl=2000, warning=0.1, low=0, high=1), errors(0.05), errors(0.4), arl=2000, growing=True
    ),
    DetectorCase("cusum, losses", Cusum(arl=2000, warning=0.1), losses(0.2), losses(0.4), arl=2000, growing=True),
    DetectorCase(
        "cusum, falling", Cusum(arl=2000, warning=0.1, direction="fall"), normal(50), normal(48), arl=2000, growing=True
    ),
    DetectorCase("e-detector", EDetector(arl=2000), errors(0.05), errors(0.5), arl=2000, delta=0.01, alone=False),
    DetectorCase(
        "page_hinkley",
        PageHinkley(arl=2000, warning=0.1, low=0, high=1),
        errors(0.05),
        errors(0.4),
        arl=2000,
        growing=True,
    ),
    DetectorCase(
        "page_hinkley, losses", PageHinkley(arl=2000, warning=0.1), losses(0.2), losses(0.4), arl=2000, growing=True
    ),
    DetectorCase(
        "page_hinkley, in units",
        PageHinkley(slack=0.5, limit=20.0, direction="fall"),
        normal(5),
        normal(3),
        growing=True,
    ),
    DetectorCase(
        "e-detector, losses", EDetector(arl=2000), losses(0.2), losses(0.5), arl=2000, delta=0.01, alone=False
    ),
    DetectorCase(
        "e-detector, falling",
        EDetector(arl=2000, direction="fall", low=-1.0, high=3.0),
        lambda draw, n: 3.0 - 4.0 * errors(0.1)(draw, n),
        lambda draw, n: 3.0 - 4.0 * losses(0.6)(draw, n),
        arl=2000,
        delta=0.01,
        alone=False,
    ),
    DetectorCase("ranks", Ranks(arl=2000), losses(0.2), losses(0.4), arl=2000, growing=True),
    DetectorCase(
        "ranks, falling",
        Ranks(arl=2000, direction="fall"),
        lambda draw, n: draw.standard_t(3, n),
        lambda draw, n: draw.standard_t(3, n) - 3.0,
        arl=2000,
        growing=True,
    ),
    DetectorCase(
        "ranks, ties",
        Ranks(arl=2000, learning=96),
        lambda draw, n: draw.poisson(1.0, n).astype(np.float64),
        lambda draw, n: draw.poisson(3.0, n).astype(np.float64),
        arl=2000,
        growing=True,
    ),
    DetectorCase("rolling", Rolling(arl=2000, allowed=0.0, low=0.0, high=1.0), errors(0.05), errors(0.4), arl=2000),
    DetectorCase("rolling, losses", Rolling(arl=2000, allowed=0.0, window=50), losses(0.2), losses(0.5), arl=2000),
    DetectorCase(
        "rolling, normal",
        Rolling(arl=2000, allowed=0.0, direction="fall", window=30, parts=3),
        lambda draw, n: 5.0 + draw.standard_normal(n),
        lambda draw, n: 3.0 + draw.standard_normal(n),
        arl=2000,
    ),
    DetectorCase(
        "rolling, exponential",
        Rolling(arl=2000, allowed=0.0),
        lambda draw, n: draw.standard_exponential(n),
        lambda draw, n: 3.0 * draw.standard_exponential(n),
        arl=2000,
    ),
]


def test_every_detector_has_a_case():
    assert {case.detector.name for case in CASES} == set(DETECTORS)


@pytest.mark.parametrize("check", DETECTOR_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_conformance(case, check):
    check(case)


@dataclass(frozen=True, slots=True)
class PeakState(StreamState):
    limit: Floats
    score: Floats


@dataclass(frozen=True, slots=True)
class Peak(StepDetector[PeakState]):
    """Alarm when an exponential average passes a limit; `wrong` names what is broken."""

    limit: float = 5.0
    wrong: str = ""

    name: ClassVar[str] = "peak"
    state_type: ClassVar[type[PeakState]] = PeakState

    def promise(self, reference_size: int) -> str:
        return "none"

    def oriented(self, values: Floats) -> Floats:
        return values if self.direction == "rise" else -values

    def fresh(self, n: int) -> PeakState:
        raise EmptyWindow(f"{n} streams have no reference")

    def learn(self, references: Sequence[Floats]) -> PeakState:
        n = len(references)
        spread = np.array([window.std() for window in references])
        limit = np.array([window.mean() for window in references]) + self.limit * spread / np.sqrt(19)
        return PeakState(np.zeros(n, np.int64), limit, np.full(n, np.nan))

    def step(self, work: PeakState, values: Floats):
        a = len(values)
        old = np.where(np.isnan(work.score[:a]), work.limit[:a] / 2, work.score[:a])
        work.score[:a] = old + (values - old) / 10
        if self.wrong == "streams":
            work.score[:a] = work.score[:a].mean()
        levels = np.where(work.score[:a] >= work.limit[:a], Level.ALARM, Level.OK).astype(np.int8)
        return levels, work.score[:a].copy(), work.limit[:a]

    def run(self, work: PeakState, values: Floats):
        for at, value in enumerate(values):
            levels, scores, limits = self.step(work, np.array([value]))
            if levels[0] and (self.wrong != "run" or at == len(values) - 1):
                return at + 1, Level(levels[0]), scores[0], limits[0]
        return len(values), Level.OK, float(work.score[0]), float(work.limit[0])

    def restart(self, work: PeakState, row: int) -> None:
        if self.wrong != "restart":
            work.score[row] = np.nan

    def scores(self, state: PeakState) -> Floats:
        return state.score.copy()

    def evidence(self, state: PeakState, stream: int = 0) -> dict[str, float]:
        return {"position": float(state.seen[stream] - (self.wrong != "evidence"))}

    def learnt(self, state: PeakState, stream: int = 0) -> dict[str, float]:
        return {"limit": float(state.limit[stream])}


PEAK = DetectorCase("peak", Peak(), errors(0.1), errors(0.7), arl=2000)


def test_a_broken_promise_is_caught():
    with pytest.raises(AssertionError, match="of 2000 streams alarmed within 400 values"):
        check_promise(replace(PEAK, detector=Peak(limit=3.0)))


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        ("run", check_cuts_do_not_matter),
        ("streams", check_streams_are_alone),
        ("restart", check_alarm_starts_afresh),
        ("evidence", check_sees_a_change),
    ],
)
def test_a_wrong_detector_is_caught(wrong, check):
    check(PEAK)
    with pytest.raises(AssertionError):
        check(replace(PEAK, detector=Peak(wrong=wrong)))
