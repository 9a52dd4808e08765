"""What every detector promises, as checks: give each of `DETECTOR_CHECKS` a case of your detector.

    CASE = DetectorCase("mine", MyDetector(arl=2000), healthy=errors(0.05), worse=errors(0.6), arl=2000)

    @pytest.mark.parametrize("check", DETECTOR_CHECKS)
    def test_conformance(check):
        check(CASE)

A check fails by AssertionError. Draws come from fixed seeds, so that a check that passed passes again; only
`check_promise` could fail a detector that is right, under other seeds with probability at most 1e-6.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from visutility.core.errors import EmptyWindow, Invalid, InvalidObservation, InvalidSetting, StreamNotFound
from visutility.core.rng import rng
from visutility.monitor import AbstractDetector, Level, Verdict
from visutility.monitor.state import Floats, arrays, streams
from visutility.testing._expect import bytes_of, expect, expect_equal, refuses

Draw = Callable[[np.random.Generator, int], Floats]


@dataclass(frozen=True, slots=True)
class DetectorCase:
    """A detector, set to a small promise, and the streams it is judged on.

    `healthy` and `worse` draw n values; a reference window is `size` healthy ones. `arl` and `delta` are what is
    promised: over references and streams, an alarm within any T healthy values has probability at most
    T / arl + delta. None: there is no promise about run lengths to check. `growing` says that the detector goes on
    learning as it watches, `adapts` that an alarm makes what is worse the new normal, `alone` that it can learn from a
    stream's own first values. Streams stay as they are for `stretch` values at least.
    """

    name: str
    detector: AbstractDetector[Any]
    healthy: Draw
    worse: Draw
    size: int = 150
    arl: float | None = None
    delta: float = 0.0
    growing: bool = False
    adapts: bool = False
    alone: bool = True
    stretch: int = 600

    def __str__(self) -> str:
        return self.name

    def stream(self, *names: str | int, n: int = 0) -> Floats:
        """Return n (else `stretch`) healthy values, as many worse ones, then healthy ones: alarms and their ends."""
        draw, n = rng(0, self.name, *names), n or self.stretch
        return np.concatenate([self.healthy(draw, n), self.worse(draw, n), self.healthy(draw, n)])

    def mirrored(self) -> tuple[AbstractDetector[Any], Callable[[Floats], Floats]]:
        """Return the same detector for values that fall where these rise, and what turns these into those."""
        low, high = self.detector.low, self.detector.high
        turned = replace(self.detector, direction="fall" if self.detector.direction == "rise" else "rise")
        if low is None or high is None:
            return replace(turned, low=None, high=None), lambda values: -values
        return turned, lambda values: low + high - values

    def reference(self, *names: str | int) -> Floats:
        """Return a reference window."""
        return self.healthy(rng(0, self.name, "reference", *names), self.size)


def errors(rate: float) -> Draw:
    """Return draws of independent errors: 1 with that probability, else 0."""
    return lambda draw, n: (draw.random(n) < rate).astype(np.float64)


def losses(mean: float, spread: float = 20.0) -> Draw:
    """Return draws of independent Beta losses in [0, 1] with that mean; the larger `spread`, the less they vary."""
    return lambda draw, n: draw.beta(mean * spread, (1.0 - mean) * spread, n)


def _feed(case: DetectorCase, state: Any, values: Floats, cuts: Sequence[int] = ()) -> tuple[Any, list[Verdict]]:
    """Update with the values in pieces; the state and all verdicts."""
    said: list[Verdict] = []
    for piece in np.split(values, cuts):
        state, found = case.detector.update(state, piece)
        said += found
    return state, said


def check_sees_a_change(case: DetectorCase) -> None:
    """A stream that gets worse raises an alarm soon; scores reach limits exactly at alarms; numbers are finite."""
    state = case.detector.init([case.reference()])
    _, said = _feed(case, state, case.stream())
    _changes_seen(said, case, case.stretch)
    for verdict in said:
        expect((verdict.score >= verdict.limit) == (verdict.level is Level.ALARM), verdict)
        expect(verdict.level is not Level.OK, verdict)
        expect(all(map(math.isfinite, verdict.evidence.values())), verdict)
        expect_equal(verdict.evidence["position"], verdict.position, "the position in the evidence")
    learnt = case.detector.learnt(state, 0)
    expect(learnt and all(map(math.isfinite, learnt.values())), learnt)
    expect(case.detector.promise(case.size), "there is no promise")


def check_starts_without_a_reference(case: DetectorCase) -> None:
    """`init(n)` starts n streams that learn silently and then see a change; or it is refused, and says so."""
    for none in (0, -1):
        refuses(EmptyWindow, (), case.detector.init, none)
    if not case.alone:
        refuses(EmptyWindow, (), case.detector.init, 2)
        return
    state = case.detector.init(2)
    expect_equal(streams(state), 2, "streams of init(2)")
    scores = case.detector.scores(state)
    expect(not (scores > 0.0).any(), f"scores before the first value: {scores}")
    case.detector.learnt(state, 1)
    values = np.concatenate([case.reference(), case.stream()])
    _, said = case.detector.update(case.detector.init(1), values)
    _changes_seen(list(said), case, case.stretch + case.size)
    expect(case.detector.promise(0), "there is no promise without a reference window")


def check_dense_is_ragged(case: DetectorCase) -> None:
    """Values (streams, k) give each stream what it gets as (n,) with ids, whatever k; the same state, to the bit."""
    values = np.stack([case.stream("dense", at, n=300) for at in range(3)])
    state = case.detector.init([case.reference(at) for at in range(3)])
    ids = np.tile(np.arange(3), values.shape[1])
    ragged, wanted = case.detector.update(state, values.T.ravel(), ids)
    by_stream = sorted(wanted, key=lambda verdict: (verdict.stream, verdict.position))
    for width in (1, 7, 64, values.shape[1]):
        after, said = state, []
        for first in range(0, values.shape[1], width):
            after, found = case.detector.update(after, values[:, first : first + width])
            said += list(found)
        said.sort(key=lambda verdict: (verdict.stream, verdict.position))
        expect_equal(said, by_stream, f"the verdicts of dense batches of {width}")
        expect(case.detector.save(after) == case.detector.save(ragged), f"the state with dense batches of {width}")


def check_evidence_is_by_stream(case: DetectorCase) -> None:
    """`alarm` and `evidence` have an entry per stream: the score now, or the one at the last alarm in the batch."""
    values = np.stack([case.stream("evidence", at, n=300) for at in range(3)])
    values[1] = case.healthy(rng(0, case.name, "quiet"), values.shape[1])
    state = case.detector.init([case.reference(at) for at in range(3)])
    for first in range(0, values.shape[1], 100):
        state, found = case.detector.update(state, values[:, first : first + 100])
        alarms = {verdict.stream: verdict.score for verdict in found if verdict.level is Level.ALARM}
        expect_equal(np.flatnonzero(found.alarm).tolist(), sorted(alarms), "the streams with an alarm")
        expect_equal((found.evidence.shape, found.evidence.dtype), ((3,), np.dtype(np.float64)), "the evidence")
        wanted = case.detector.scores(state)
        for stream, score in alarms.items():
            wanted[stream] = score
        expect(np.array_equal(found.evidence, wanted, equal_nan=True), f"evidence {found.evidence}, not {wanted}")
        expect_equal([v.evidence for v in found], list(found.reasons), "the reasons")


def check_inputs_are_left_alone(case: DetectorCase) -> None:
    """Reference, values, ids and the state given are as before; the arrays of old and new state are not shared."""
    references, values = [case.reference(0), case.reference(1)], case.stream()
    ids = np.arange(len(values)) % 2
    kept = [array.copy() for array in (*references, values, ids)]
    state = case.detector.init(references)
    before = case.detector.save(state)
    after, _ = case.detector.update(state, values, ids)
    saved = case.detector.save(after)
    case.detector.update(after, values, ids)
    for array, copy in zip((*references, values, ids), kept, strict=True):
        expect(np.array_equal(array, copy), "an argument was changed")
    expect(case.detector.save(state) == before, "the state that was given was changed")
    expect(case.detector.save(after) == saved, "the state that was given back was changed later")


def check_cuts_do_not_matter(case: DetectorCase) -> None:
    """Any cut of a stream into batches gives the same verdicts and the same state as one by one, to the bit."""
    values, state = case.stream(), case.detector.init([case.reference()])
    last, wanted = _feed(case, state, values, range(1, len(values)))
    saved = case.detector.save(last)
    draw = rng(0, case.name, "cuts")
    for cuts in ([], [7], *(np.sort(draw.integers(0, len(values) + 1, k)).tolist() for k in (1, 5, 50, 400))):
        after, said = _feed(case, state, values, cuts)
        expect_equal(said, wanted, f"the verdicts with cuts at {cuts}")
        expect(case.detector.save(after) == saved, f"the state differs with cuts at {cuts}")


def check_streams_are_alone(case: DetectorCase) -> None:
    """Streams that travel together, dense or ragged, get what each gets alone, to the bit, in arrival order."""
    draw = rng(0, case.name, "order")
    each = [case.stream("alone", at, n=40 + 130 * at) for at in range(5)]
    references = [case.reference(at) for at in range(len(each))]
    ids = draw.permutation(np.repeat(np.arange(len(each)), [len(values) for values in each]))
    batch, taken = np.empty(len(ids)), [0] * len(each)
    for at, stream in enumerate(ids.tolist()):
        batch[at] = each[stream][taken[stream]]
        taken[stream] += 1
    state = case.detector.init(references)
    said: list[Verdict] = []
    for first in range(0, len(ids), 1000):
        state, found = case.detector.update(state, batch[first : first + 1000], ids[first : first + 1000])
        expect_equal(found.streams, len(each), "streams")
        said += found
    arrivals = {(s, p): at for s in range(len(each)) for p, at in enumerate(np.flatnonzero(ids == s).tolist())}
    order = [arrivals[verdict.stream, verdict.position] for verdict in said]
    expect_equal(order, sorted(order), "arrival order")
    for at, (values, reference) in enumerate(zip(each, references, strict=True)):
        alone, wanted = _feed(case, case.detector.init([reference]), values)
        own = [verdict._replace(stream=0) for verdict in said if verdict.stream == at]
        expect_equal(own, wanted, f"the verdicts of stream {at}")
        for name, array in arrays(alone).items():
            found_rows = arrays(state)[name][..., at]
            expect(np.array_equal(found_rows, array[..., 0], equal_nan=True), f"{name} of stream {at}")


def check_saving_does_not_matter(case: DetectorCase) -> None:
    """Saved and loaded at any point, a stream goes on as if nothing had happened; other settings refuse the bytes."""
    values, state = case.stream(), case.detector.init([case.reference()])
    last, wanted = _feed(case, state, values)
    for cut in (0, 1, 97, case.stretch, case.stretch + 33, 3 * case.stretch // 2, len(values)):
        middle, first = _feed(case, state, values[:cut])
        data = case.detector.save(middle)
        loaded = case.detector.load(data)
        expect(case.detector.save(loaded) == data, "saving what was loaded gives other bytes")
        after, rest = _feed(case, loaded, values[cut:])
        expect_equal(first + rest, wanted, f"the verdicts when saved at {cut}")
        expect(case.detector.save(after) == case.detector.save(last), f"the state differs when saved at {cut}")
    other, mirror = case.mirrored()
    for wrong in (data[:50], b"", b"no state", other.save(other.init([mirror(case.reference())]))):
        refuses(Invalid, (), case.detector.load, wrong)


def check_alarm_starts_afresh(case: DetectorCase) -> None:
    """After an alarm a stream is as after `init`, but for its positions and what a growing baseline has learnt."""
    state = case.detector.init([case.reference()])
    values = case.stream()
    _, said = _feed(case, state, values)
    alarm = next(verdict.position for verdict in said if verdict.level is Level.ALARM)
    after, _ = _feed(case, state, values[: alarm + 1])
    scores = case.detector.scores(after), case.detector.scores(state)
    expect(np.array_equal(*scores, equal_nan=True), f"the score is {scores[0]} after an alarm, {scores[1]} after init")
    if case.growing:
        return
    for name, array in arrays(after).items():
        if name != "seen":
            expect(np.array_equal(array, arrays(state)[name], equal_nan=True), f"{name} is not afresh after an alarm")
    more = case.stream("more")
    _, again = _feed(case, after, more)
    _, fresh = _feed(case, state, more)
    where = [(verdict.position - alarm - 1, verdict.level, verdict.score, verdict.limit) for verdict in again]
    expect_equal(where, [(v.position, v.level, v.score, v.limit) for v in fresh], "what is said after an alarm")


def check_alarms_again(case: DetectorCase) -> None:
    """A second change has its alarm too; so has a stream that stays worse, unless the detector adapts."""
    values = np.concatenate([case.stream("first"), case.stream("second")])
    _, said = _feed(case, case.detector.init([case.reference()]), values)
    _changes_seen(said, case, case.stretch, 4 * case.stretch)
    if not case.adapts:
        draw = rng(0, case.name, "stays worse")
        values = np.concatenate([case.healthy(draw, case.stretch), case.worse(draw, 4 * case.stretch)])
        _, said = _feed(case, case.detector.init([case.reference()]), values)
        _changes_seen(said, case, case.stretch, 3 * case.stretch)


def check_state_stays_small(case: DetectorCase) -> None:
    """A state is as large after many values as after none, and grows by the row."""
    state = case.detector.init([case.reference()])
    after, _ = _feed(case, state, case.healthy(rng(0, case.name, "long"), 20_000))
    size = bytes_of(arrays(state))
    expect_equal(bytes_of(arrays(after)), size, "bytes of state after 20,000 values")
    if case.alone:
        expect_equal(bytes_of(arrays(case.detector.init(3))), 3 * size, "bytes of three streams without references")
    three = case.detector.init([case.reference(at) for at in range(3)])
    expect_equal((bytes_of(arrays(three)), streams(three)), (3 * size, 3), "bytes and rows of three streams")


def check_bad_values_are_refused(case: DetectorCase) -> None:
    """What is not finite or not in range is refused with its position; so are wrong shapes, ids and small windows."""
    detector, reference = case.detector, case.reference()
    state = detector.init([reference])
    before = detector.save(state)
    bad = [math.nan, math.inf, -math.inf]
    bad += [detector.low - 0.5 - abs(detector.low)] if detector.low is not None else []
    bad += [detector.high + 0.5 + abs(detector.high)] if detector.high is not None else []
    for value in bad:
        values = case.healthy(rng(0, case.name, "bad"), 20)
        values[13] = value
        refuses(InvalidObservation, ("position 13", repr(value)), detector.update, state, values)
        refuses(InvalidObservation, ("window 1", "position 13"), detector.init, [reference, values])
    fine = case.healthy(rng(0, case.name, "fine"), 4)
    refuses(InvalidObservation, ("(2, 2)",), detector.update, state, fine.reshape(2, 2))
    refuses(InvalidObservation, ("(2, 2)",), detector.update, state, fine.reshape(2, 2), [0, 0])
    refuses(InvalidObservation, (), detector.update, state, ["?"])
    refuses(InvalidObservation, (), detector.update, state, fine, [0, 0])
    refuses(InvalidObservation, (), detector.update, state, fine, [0.0, 0.0, 0.0, 0.0])
    refuses(StreamNotFound, ("position 2",), detector.update, state, fine, [0, 0, 1, 0])
    refuses(StreamNotFound, ("position 1",), detector.update, state, fine, [0, -1, 0, 0])
    refuses(EmptyWindow, (), detector.init, [])
    few = reference[: detector.smallest_reference - 1]
    refuses(EmptyWindow, ("window 1", str(len(few))), detector.init, [reference, few])
    refuses(InvalidSetting, ("sideways",), replace, detector, direction="sideways")
    two, dense = detector.init([reference, reference]), np.stack([case.healthy(rng(0, at), 20) for at in range(2)])
    dense[1, 13] = math.nan
    refuses(InvalidObservation, ("position 13 of stream 1",), detector.update, two, dense)
    refuses(InvalidObservation, (), detector.update, two, dense[0])
    nothing: list[tuple[Any, ...]] = [([],), (np.zeros((1, 0)),), ([], np.zeros(0, np.int64))]
    for empty in nothing:
        same, said = detector.update(state, *empty)
        expect(detector.save(same) == before and len(said) == 0, "an empty batch said or changed something")
    expect(detector.save(state) == before, "a refused batch changed the state")


def check_falling_mirrors_rising(case: DetectorCase) -> None:
    """The mirrored stream with the other `direction` gets the same verdicts at the same positions."""
    other, mirror = case.mirrored()
    values = case.stream()
    _, wanted = _feed(case, case.detector.init([case.reference()]), values)
    _, said = other.update(other.init([mirror(case.reference())]), mirror(values))
    found, right = ([(v.position, v.level) for v in some] for some in (said, wanted))
    expect_equal(found, right, "the mirrored verdicts")


def check_settled_scores_are_evidence(case: DetectorCase) -> None:
    """`settled` raises `InvalidSetting`, or is 1,000 after 200 healthy values on a fifth of streams at most.

    A setting `arl` is 1e12 for that, so that no alarm ends the sums. At an alarm `settled` is `worth` or more.
    """
    ample: dict[str, Any] = {"arl": 1e12} if hasattr(case.detector, "arl") else {}
    detector, draw, runs = replace(case.detector, **ample), rng(0, case.name, "evidence"), 1_000
    state = detector.init([case.healthy(draw, case.size) for _ in range(runs)])
    try:
        expect(not detector.settled(state).any(), "there is evidence before there are values")
    except InvalidSetting:
        return
    state, said = detector.update(state, case.healthy(draw, runs * 200).reshape(runs, 200))
    before, settled = detector.save(state), detector.settled(state, said)
    spent = detector.settled(state, said, np.ones(runs, np.bool_))
    expect((settled >= 0.0).all() and np.isfinite(settled).all(), "evidence is negative, or not finite")
    expect(((spent == 0.0) | (spent == settled)).all(), "evidence of streams that alarmed before is another one")
    large = int((settled >= 1_000).sum())  # with `delta` up to .01 a right one has more than 280 with p < 1e-6
    expect(large <= 280, f"{large} of {runs} streams have evidence of 1,000 after 200 values, at most 280 may")
    expect(detector.save(state) == before, "asking for the evidence changed the state")
    state, said = case.detector.update(case.detector.init([case.reference()]), case.stream())
    least, found = case.detector.worth(), float(case.detector.settled(state, said)[0])
    expect(said.alarm.all() and found >= least, f"an alarm is evidence of {found:g}, and worth {least:g} by its word")


def check_promise(case: DetectorCase) -> None:
    """First alarms within T healthy values on 2,000 streams: T = arl / 5, each after its own reference window.

    Where a detector can do without, also T = arl / 5 + `size` from a start without one. One that keeps its promise
    fails with probability at most 2e-6; one that alarms once in arl / 2 values (probability 1 - exp(-0.4) = .33 within
    arl / 5, where at most .2 is promised) passes with less than 1e-6.
    """
    if case.arl is None:
        return
    from scipy import stats

    runs, steps = 2_000, int(case.arl / 5)
    for alone in (False, True) if case.alone else (False,):
        draw = rng(0, case.name, "promise", "alone" if alone else "learnt")
        steps += case.size if alone else 0
        state = case.detector.init(runs if alone else [case.healthy(draw, case.size) for _ in range(runs)])
        alarmed = np.zeros(runs, np.bool_)
        for done in range(0, steps, 50):
            width = min(50, steps - done)
            state, said = case.detector.update(state, case.healthy(draw, runs * width).reshape(runs, width))
            alarmed |= said.alarm
        most = int(stats.binom.isf(1e-6, runs, min(steps / case.arl + case.delta, 1.0)))
        expect(
            alarmed.sum() <= most,
            f"{alarmed.sum()} of {runs} streams alarmed within {steps} values, at most {most} may",
        )


def _changes_seen(said: Sequence[Verdict], case: DetectorCase, *starts: int) -> None:
    """Each stretch of worse values that starts there has an alarm."""
    alarms = [verdict.position for verdict in said if verdict.level is Level.ALARM]
    for start in starts:
        end = start + case.stretch
        expect(any(start <= at < end for at in alarms), f"no alarm in [{start}, {end}), where it is worse: {alarms}")


DETECTOR_CHECKS: tuple[Callable[[DetectorCase], None], ...] = (
    check_sees_a_change,
    check_starts_without_a_reference,
    check_inputs_are_left_alone,
    check_cuts_do_not_matter,
    check_streams_are_alone,
    check_dense_is_ragged,
    check_evidence_is_by_stream,
    check_saving_does_not_matter,
    check_alarm_starts_afresh,
    check_alarms_again,
    check_state_stays_small,
    check_bad_values_are_refused,
    check_falling_mirrors_rising,
    check_settled_scores_are_evidence,
    check_promise,
)
