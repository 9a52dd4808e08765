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
    StepDetector,
    StreamState,
)
from visutility.monitor.state import Floats
from visutility.testing.detectors import (
    DETECTOR_CHECKS,
    DetectorCase,
    check_promise,
    check_settled_scores_are_evidence,
    check_starts_without_a_reference,
    errors,
    losses,
)


def normal(mean):
    return lambda draw, n: mean + draw.standard_normal(n)


CASES = [
    DetectorCase("eprocess", EProcess(arl=2000), errors(0.05), errors(0.5), arl=2000, growing=True),
    DetectorCase("eprocess, losses", EProcess(arl=2000), losses(0.2, 2.0), losses(0.6, 2.0), arl=2000, growing=True),
    DetectorCase(
        "eprocess, falling",
        EProcess(arl=2000, direction="fall", low=-1.0, high=3.0),
        lambda draw, n: 3.0 - 4.0 * errors(0.1)(draw, n),
        lambda draw, n: 3.0 - 4.0 * errors(0.6)(draw, n),
        arl=2000,
        growing=True,
    ),
    DetectorCase("adwin", Adwin(delta=0.01), errors(0.05), errors(0.5), growing=True, adapts=True),
    DetectorCase("adwin, losses", Adwin(block=10), losses(0.2), losses(0.4), growing=True, adapts=True),
    DetectorCase(
        "cusum", Cusum(arl=2000, warning=0.1, low=0, high=1), errors(0.05), errors(0.4), arl=2000, growing=True
    ),
    DetectorCase("cusum, losses", Cusum(arl=2000, warning=0.1), losses(0.2), losses(0.4), arl=2000, growing=True),
    DetectorCase(
        "cusum, falling", Cusum(arl=2000, warning=0.1, direction="fall"), normal(50), normal(48), arl=2000, growing=True
    ),
    DetectorCase(
        "auto",
        Auto(arl=2000, learning=100, low=0, high=1),
        errors(0.05),
        errors(0.5),
        arl=2000,
        growing=True,
        adapts=True,
    ),
    DetectorCase("auto, losses", Auto(arl=2000, learning=150), losses(0.2), losses(0.5), arl=2000, growing=True),
    DetectorCase(
        "dependent", Dependent(arl=2000, learning=100), errors(0.05), errors(0.5), arl=2000, growing=True, adapts=True
    ),
    DetectorCase(
        "dependent, falling",
        Dependent(arl=2000, learning=100, direction="fall", low=-1.0, high=3.0),
        lambda draw, n: 3.0 - 4.0 * errors(0.1)(draw, n),
        lambda draw, n: 3.0 - 4.0 * errors(0.6)(draw, n),
        arl=2000,
        growing=True,
        adapts=True,
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
    DetectorCase("glr", Glr(arl=2000), losses(0.2), losses(0.4), arl=2000, growing=True),
    DetectorCase("glr, errors", Glr(arl=2000, direction="fall"), errors(0.95), errors(0.6), growing=True),
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
    DetectorCase("seasonal", Seasonal(period=4, phases=2, arl=2000), losses(0.2), losses(0.4), arl=2000, growing=True),
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


def judged():
    """Every case with every check. Slow: promises, the further cases of a detector, and the slow detectors."""
    slow_ones = ("auto", "seasonal", "dependent", "ranks", "glr")
    firsts = {case.detector.name: case for case in reversed(CASES) if case.detector.name not in slow_ones}
    for case in CASES:
        for check in DETECTOR_CHECKS:
            slow = check is check_promise or case is not firsts.get(case.detector.name)
            marks = [pytest.mark.slow] if slow else []
            yield pytest.param(case, check, id=f"{case}-{check.__name__}", marks=marks)


@pytest.mark.parametrize(("case", "check"), list(judged()))
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


PEAK = DetectorCase("peak", Peak(), errors(0.1), errors(0.7), arl=2000, alone=False)


class Careless(Peak):
    """Writes into the state that it was given."""

    def update(self, state, values, ids=None):
        return state, self.advance(state, values, ids)


class Backwards(Peak):
    """Takes dense values in the wrong order."""

    def absorb(self, work, values, ids):
        return super().absorb(work, values if ids is not None else values[:, ::-1], ids)


class Tacit(Peak):
    """Never tells the score of an alarm in its evidence."""

    def absorb(self, work, values, ids):
        return replace(super().absorb(work, values, ids), evidence=self.scores(work))


class Forgetful(Peak):
    """Loses its score on the way to the disk and back."""

    def load(self, data):
        return replace(super().load(data), score=np.full(1, np.nan))


class Deaf(Peak):
    """Has one alarm to give."""

    def restart(self, work, row):
        work.limit[row] = np.inf


@dataclass(frozen=True, slots=True)
class HoardState(PeakState):
    values: Floats


class Hoarder(Peak):
    """Keeps what it sees."""

    state_type = HoardState

    def learn(self, references):
        state = super().learn(references)
        return HoardState(state.seen, state.limit, state.score, np.zeros((1, len(references))))

    def update(self, state, values, ids=None):
        after, said = super().update(state, values, ids)
        return replace(after, values=np.repeat(after.values, 2, axis=0)), said


class Swallowing(Peak):
    """Makes numbers of what is none."""

    def checked(self, values, what="the batch"):
        return np.nan_to_num(values)


class OneSided(Peak):
    """Takes falling values for rising ones."""

    def oriented(self, values):
        return values


class Hopeful(Peak):
    """Starts without a reference window, and never learns."""

    def fresh(self, n):
        return PeakState(np.zeros(n, np.int64), np.full(n, 1e9), np.full(n, np.nan))


class Boastful(Peak):
    """Takes ten times its age for evidence."""

    def settled(self, state, verdicts=None, spent=None):
        return 10.0 * state.seen


class Proud(Boastful):
    """Has no evidence at an alarm, and says that it is worth something."""

    def settled(self, state, verdicts=None, spent=None):
        return np.zeros(state.seen.shape)

    def worth(self):
        return 1.0


def test_an_alarm_that_is_worth_less_than_it_says_is_caught():
    with pytest.raises(AssertionError, match="an alarm is evidence of 0, and worth 1"):
        check_settled_scores_are_evidence(replace(PEAK, detector=Proud()))


def test_a_broken_promise_is_caught():
    with pytest.raises(AssertionError, match="of 2000 streams alarmed within 400 values"):
        check_promise(replace(PEAK, detector=Peak(limit=3.0)))


WRONG = {
    "check_sees_a_change": Peak(wrong="evidence"),
    "check_starts_without_a_reference": Hopeful(),
    "check_inputs_are_left_alone": Careless(),
    "check_cuts_do_not_matter": Peak(wrong="run"),
    "check_streams_are_alone": Peak(wrong="streams"),
    "check_dense_is_ragged": Backwards(),
    "check_evidence_is_by_stream": Tacit(),
    "check_saving_does_not_matter": Forgetful(),
    "check_alarm_starts_afresh": Peak(wrong="restart"),
    "check_alarms_again": Deaf(),
    "check_state_stays_small": Hoarder(),
    "check_bad_values_are_refused": Swallowing(),
    "check_falling_mirrors_rising": OneSided(),
    "check_settled_scores_are_evidence": Boastful(),
    "check_promise": Peak(limit=3.0),
}


@pytest.mark.parametrize("check", DETECTOR_CHECKS, ids=lambda check: check.__name__)
def test_a_wrong_detector_is_caught_by_the_check_for_it(check):
    check(PEAK)
    with pytest.raises(AssertionError):
        check(replace(PEAK, detector=WRONG[check.__name__]))


def test_a_detector_that_says_it_learns_alone_has_to():
    with pytest.raises(AssertionError, match="no alarm"):
        check_starts_without_a_reference(replace(PEAK, detector=Hopeful(), alone=True))
