"""The contract of detectors: how streams start, what batches may look like, what verdicts hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from visutility.core.errors import EmptyWindow, InvalidObservation, InvalidSetting, StreamNotFound
from visutility.core.rng import rng
from visutility.monitor import (
    Adwin,
    EDetector,
    EProcess,
    Level,
    StepDetector,
    StreamState,
    Verdict,
    Verdicts,
    make_detector,
)
from visutility.monitor.state import Floats, arrays


@dataclass(frozen=True, slots=True)
class SumState(StreamState):
    learnt: Floats
    total: Floats


@dataclass(frozen=True, slots=True)
class Sum(StepDetector[SumState]):
    """Alarm when the sum since the last alarm reaches 10; `learnt` sums all values ever, so that it grows."""

    name: ClassVar[str] = "sum"
    state_type: ClassVar[type[SumState]] = SumState

    def promise(self, reference_size: int) -> str:
        return "none"

    def oriented(self, values: Floats) -> Floats:
        return values if self.direction == "rise" else -values

    def fresh(self, n: int) -> SumState:
        return SumState(np.zeros(n, np.int64), np.zeros(n), np.zeros(n))

    def learn(self, references: Sequence[Floats]) -> SumState:
        return self.primed(references)

    def step(self, work: SumState, values: Floats):
        a = len(values)
        work.learnt[:a] += values
        work.total[:a] += values
        levels = np.where(work.total[:a] >= 10.0, Level.ALARM, Level.OK).astype(np.int8)
        return levels, work.total[:a].copy(), np.full(a, 10.0)

    def run(self, work: SumState, values: Floats):
        for at, value in enumerate(values):
            levels, scores, _ = self.step(work, np.array([value]))
            if levels[0]:
                return at + 1, Level.ALARM, float(scores[0]), 10.0
        return len(values), Level.OK, float(work.total[0]), 10.0

    def restart(self, work: SumState, row: int) -> None:
        work.total[row] = 0.0

    def scores(self, state: SumState) -> Floats:
        return state.total.copy()

    def evidence(self, state: SumState, stream: int = 0) -> dict[str, float]:
        return {"position": float(state.seen[stream] - 1), "total": float(state.total[stream])}

    def learnt(self, state: SumState, stream: int = 0) -> dict[str, float]:
        return {"learnt": float(state.learnt[stream])}


def equal(one, other):
    return all(np.array_equal(array, arrays(other)[name]) for name, array in arrays(one).items())


def test_streams_start_by_number_or_by_reference_window():
    detector = Sum()
    assert detector.init(3).seen.tolist() == [0, 0, 0]
    assert detector.init(np.int64(2)).seen.tolist() == [0, 0]
    for none in (0, -1, []):
        with pytest.raises(EmptyWindow):
            detector.init(none)
    with pytest.raises(EmptyWindow, match="use eprocess"):
        EDetector().init(2)
    with pytest.raises(InvalidObservation, match="reference window 0 has shape"):
        detector.init([np.zeros((3, 20))])


def test_a_primed_stream_has_learnt_its_reference_and_holds_no_evidence_of_it():
    references = [np.full(30, 1.0), np.full(12, 2.0)]  # alarms on the way
    state = Sum().init(references)
    assert state.learnt.tolist() == [30.0, 24.0]
    assert state.total.tolist() == [0.0, 0.0]
    assert state.seen.tolist() == [0, 0]
    _, said = Sum().update(state, [[5.0, 5.0], [0.0, 0.0]])
    assert [(v.stream, v.position) for v in said] == [(0, 1)]


@pytest.mark.parametrize("detector", [Sum(), EProcess(arl=50.0)], ids=lambda d: d.name)
@pytest.mark.parametrize("streams", [1, 2, 7])
def test_dense_batches_are_ragged_ones_in_order_of_position(detector, streams):
    values = (rng(0, "dense", streams).random((streams, 200)) < np.repeat([0.1, 0.9], [100, 100])).astype(float)
    state = detector.init(streams)
    one, dense = detector.update(state, values)
    ids = np.tile(np.arange(streams), 200)
    other, said = detector.update(state, values.T.ravel(), ids)
    assert equal(one, other)
    assert list(dense) == list(said)
    assert len(list(dense)) > 0
    np.testing.assert_array_equal(dense.evidence, said.evidence)


@pytest.mark.parametrize("detector", [Sum(), EProcess()], ids=lambda d: d.name)
def test_update_leaves_its_state_alone_and_advance_changes_it(detector):
    state, values = detector.init(2), np.ones((2, 40))
    before = detector.save(state)
    after, _ = detector.update(state, values)
    assert detector.save(state) == before
    detector.advance(state, values)
    assert equal(state, after)
    for bad, kind in (([[np.nan, 1.0], [1.0, 1.0]], InvalidObservation), (np.ones((3, 1)), InvalidObservation)):
        with pytest.raises(kind):
            detector.advance(state, bad)
    with pytest.raises(StreamNotFound):
        detector.advance(state, [1.0, 1.0], [0, 2])
    assert equal(state, after)


@pytest.mark.parametrize(
    "values", [["a"], [None], [1j], [b"x"], np.array(["2020"], "M8[D]"), [[1.0], [1.0, 2.0]], [object()]]
)
def test_what_is_not_a_number_is_refused(values):
    with pytest.raises(InvalidObservation):
        Sum().update(Sum().init(1), values)


def test_masked_values_are_refused_and_never_taken_for_what_the_mask_hides():
    detector = Sum()
    state = detector.init(2)
    masked = np.ma.array([1.0, 1.0], mask=[False, True])
    rows = np.ma.array(np.ones((2, 3)), mask=np.eye(2, 3))
    for values, ids in (
        (rows, None),
        ([*rows], None),
        (masked, [0, 1]),
        ([1.0, np.ma.masked], [0, 1]),
        ([1, 1], masked),
    ):
        with pytest.raises(InvalidObservation, match="masked"):
            detector.advance(state, values, ids)
    with pytest.raises(InvalidObservation, match="reference window 1 has masked values"):
        detector.init([np.ones(20), np.ma.array(np.ones(20), mask=np.arange(20) == 7)])
    assert state.learnt.tolist() == [0.0, 0.0]
    detector.advance(state, np.ma.array(np.ones((2, 3))))  # nothing is masked
    assert state.learnt.tolist() == [3.0, 3.0]


@pytest.mark.parametrize("kind", [np.float16, np.float32, ">f4"])
@pytest.mark.parametrize("detector", [Adwin, EDetector, EProcess, Sum], ids=lambda kind: kind.name)
@pytest.mark.parametrize(("low", "high"), [(0.1, 0.3), (0.7, 1.1)])
def test_an_end_of_the_range_is_itself_as_a_shorter_type_writes_it(detector, kind, low, high):
    typed = np.tile([low, high, (low + high) / 2.0], 32).astype(kind)
    wide = typed.astype(float)
    assert wide.min() < low or wide.max() > high or kind == np.float16
    for direction in ("rise", "fall"):
        strict = detector(direction=direction, low=low, high=high)
        within = wide.clip(low, high)
        np.testing.assert_array_equal(strict.checked(typed), within)
        wanted, _ = strict.update(strict.init([within]), within)
        assert strict.save(strict.update(strict.init([typed]), typed)[0]) == strict.save(wanted)
        for wrong in (np.nextafter(typed[:1], kind_of(kind, -9.0)), np.nextafter(typed[1:2], kind_of(kind, 9.0))):
            with pytest.raises(InvalidObservation, match="position 1"):
                strict.checked(np.append(typed[2:3], wrong))


def kind_of(kind, value):
    return np.dtype(kind).type(value)


def test_only_what_a_type_writes_for_an_end_is_taken_for_it():
    detector = Sum(low=-1e90, high=1e90)
    for wrong in (np.inf, -np.inf, np.nan):
        with pytest.raises(InvalidObservation):
            detector.checked(np.array([1.0, wrong], np.float32))
    with pytest.raises(InvalidObservation, match="position 1"):  # of float64, this is beyond the end
        Sum(low=0.1, high=0.3).checked(np.float32([0.2, 0.3]).astype(float))


@pytest.mark.parametrize("kind", [EProcess, EDetector, Adwin], ids=lambda kind: kind.name)
def test_a_range_is_one_that_can_be_divided_by(kind):
    for low, high in ((-1.5e308, 1.5e308), (1.0, 1.0), (1.0, 0.0)):
        with pytest.raises(InvalidSetting):
            kind(low=low, high=high)
    detector = kind(low=-8e307, high=8e307)
    state, _ = detector.update(detector.init([np.linspace(-8e307, 7e307, 64)]), np.linspace(-8e307, 8e307, 64))
    assert np.isfinite(list(detector.learnt(state).values())).all()


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.int32, np.float16, np.float32, ">f4", ">f8", object])
@pytest.mark.parametrize("detector", [Sum(), EProcess()], ids=lambda d: d.name)
def test_numbers_of_any_type_will_do(detector, kind):
    values = np.array([[0, 1, 1, 0] * 20, [1, 1, 1, 0] * 20])
    wanted, _ = detector.update(detector.init(2), values.astype(float))
    typed = values.astype(kind)
    for given in (typed, np.asfortranarray(typed), typed.repeat(2, axis=1)[:, ::2]):
        state, _ = detector.update(detector.init(2), given)
        assert equal(state, wanted)
    assert len(detector.update(detector.init(2), typed[:, :0])[1]) == 0


def test_verdicts_have_columns_and_rows():
    found = [
        Verdict(4, 9, Level.WARNING, 3.0, 10.0, {"total": 3.0}),
        Verdict(7, 11, Level.ALARM, 12.0, 10.0, {"total": 12.0}),
    ]
    said = Verdicts.of(found, np.arange(8.0))
    assert list(said) == found
    assert said.reasons == ({"total": 3.0}, {"total": 12.0})
    assert said.streams == 8
    assert said.alarm.tolist() == [False] * 7 + [True]
    assert said.evidence.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 12.0]  # at the alarm where there was one


def test_auto_is_what_there_is_without_a_name():
    assert make_detector() == make_detector("auto")
