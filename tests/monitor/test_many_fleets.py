"""`StreamFDR.follow`: the evidence of whole fleets, its promise simulated for each detector that has some."""

import math
from dataclasses import fields

import numpy as np
import pytest
from scipy.stats import binom

from visutility.core import codec
from visutility.core.errors import Invalid, InvalidObservation, InvalidSetting, StreamNotFound
from visutility.core.rng import rng
from visutility.monitor import DETECTORS, Fleet, StreamFDR, make_detector
from visutility.monitor.detectors._rules import MORE

EVIDENCE = ("e-detector", "eprocess", "ranks", "dependent", "auto")
LARGEST = 1.0 + MORE  # what is staked on a value at most by `dependent`: `settled` divides by it


def errors(g, rate, shape):
    return (g.random(shape) < rate).astype(np.float32)


def fleet_of(kind, n=3, **settings):
    given = [errors(rng(0, "given"), 0.1, 1000).astype(float)] * n if kind == "e-detector" else n
    return Fleet(make_detector(kind, **({"arl": 1e12} | settings)), given)


def followed(fleet, batches, fdr=None):
    """Return the evidence after these batches, and the last report."""
    fdr = fdr or StreamFDR()
    state, found = fdr.init(len(fleet)), None
    for values in batches:
        state, found = fdr.follow(state, fleet, fleet.update(*values if isinstance(values, tuple) else (values,)))
    return state, found


# -- what is evidence ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(DETECTORS))
def test_a_detector_has_evidence_or_says_who_has(kind):
    given = [rng(1, "given").random(300)] * 2
    fleet = Fleet(kind, given if kind == "e-detector" else 2)
    if kind in EVIDENCE:
        np.testing.assert_array_equal(fleet.settled(), [0.0, 0.0])
        return
    with pytest.raises(InvalidSetting, match=f"scores of {kind} are no evidence") as found:
        fleet.settled()
    assert all(name in found.value.hint for name in EVIDENCE)
    fdr, verdicts = StreamFDR(), fleet.update(np.zeros((2, 1)))
    state = fdr.init(2)
    with pytest.raises(InvalidSetting):
        fdr.follow(state, fleet, verdicts)


@pytest.mark.slow
@pytest.mark.parametrize("kind", EVIDENCE)
def test_evidence_is_the_score_before_an_alarm_the_first_score_at_one_and_what_the_proof_covers_after(kind):
    """Two streams break; two alarms in one batch count as the first, and a third one in the next batch."""
    detector = make_detector(kind, arl=1e3, **({} if kind in ("eprocess", "e-detector") else {"learning": 512}))
    fleet, g = Fleet(detector, [errors(rng(0, "given"), 0.1, 1000).astype(float)] * 2), rng(2, "alarms")
    stakes = LARGEST if kind in ("dependent", "auto") else 1.0
    calm = fleet.update(errors(g, 0.1, (2, 3200)) if kind != "ranks" else g.random((2, 3200)))
    if kind != "eprocess":  # its scores are less the regret of a while ago
        np.testing.assert_allclose(fleet.settled(calm), calm.at_alarms(fleet.scores()) / stakes)
    broken = np.ones((2, 1600)) if kind != "ranks" else 1.0 + g.random((2, 1600))
    broken[1] = 0.0
    verdicts = fleet.update(broken)
    at = np.flatnonzero((verdicts.stream == 0) & (verdicts.level == 2))
    assert len(at)
    assert fleet.settled(verdicts)[0] == verdicts.score[at[0]] / stakes
    assert fleet.settled(verdicts)[1] <= fleet.scores()[1] / stakes
    spent = np.array([True, True])
    renewed = kind in ("e-detector", "dependent", "auto")
    assert (fleet.settled(verdicts, spent) > 0).tolist()[0] == renewed
    if not renewed:
        assert (fleet.settled(None, spent) == 0).all()


def test_the_evidence_of_auto_is_that_of_each_streams_own_detector():
    g = rng(3, "auto")
    values = np.stack([errors(g, 0.1, 2000), g.random(2000).astype(np.float32)])
    both, first, second = fleet_of("auto", 2), fleet_of("dependent", 1, arl=1.25e12), fleet_of("ranks", 1)
    both.update(values)
    first.update(values[:1])
    second.update(values[1:])
    np.testing.assert_array_equal(both.settled(), [first.settled()[0], second.settled()[0]])
    assert (both.settled() > 0).all()
    assert both.settled(None, np.array([True, True])).tolist() == [both.settled()[0], 0.0]


@pytest.mark.parametrize("kind", ["ranks", "dependent", "auto"])
def test_a_stream_that_is_still_learnt_has_no_evidence(kind):
    fleet = fleet_of(kind)
    state, found = followed(fleet, [errors(rng(4, kind), 0.1, (3, 512))])
    assert (state.log_e == -math.inf).all()
    assert not found.reported.any()


# -- following a fleet -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ragged", [False, True])
def test_following_is_updating_with_the_settled_scores_and_the_counts(ragged):
    g, fdr = rng(5, "same"), StreamFDR()
    fleet = fleet_of("eprocess", 4)
    followed_, by_hand = fdr.init(4), fdr.init(4)
    for at in range(60):
        rate = np.array([0.1, 0.1, 0.1, 0.1 if at < 40 else 0.8])
        if ragged:
            ids = g.integers(0, 4, 200)
            verdicts, count = fleet.update(errors(g, rate[ids], 200), ids), np.bincount(ids, minlength=4)
        else:
            verdicts, count = fleet.update(errors(g, rate[:, None], (4, 50))), 50
        score = fleet.settled(verdicts, np.isfinite(by_hand.bank))
        by_hand, one = fdr.update(by_hand, score, count, verdicts.alarm & (score > 0))
        followed_, other = fdr.follow(followed_, fleet, verdicts)
        np.testing.assert_array_equal(one.log_evidence, other.log_evidence)
    assert fdr.save(followed_) == fdr.save(by_hand)
    assert other.reported.tolist() == [False, False, False, True]
    np.testing.assert_array_equal(followed_.seen, fleet.seen)


def test_evidence_stays_after_the_alarm_of_a_detector_whose_proof_ends_there():
    """The stream goes on as bad, alarm follows alarm: each further one would halve evidence that is taken for spent."""
    g, fdr = rng(6, "stays"), StreamFDR()
    fleet = fleet_of("eprocess", 2)
    state, _ = followed(fleet, [errors(g, 0.1, (2, 6400))], fdr)
    alarms, seen = 0, []
    for _ in range(40):
        verdicts = fleet.update(np.stack([errors(g, 0.1, 64), np.ones(64, np.float32)]))
        state, found = fdr.follow(state, fleet, verdicts)
        alarms += int(verdicts.alarm[1])
        seen.append(found.log_evidence[1])
        assert found.reported.tolist() == [False, alarms > 0]
    assert alarms > 3
    first = int(np.argmax(seen))
    np.testing.assert_allclose(seen[first + 1 :], seen[first] - math.log(2))
    assert seen[first] > math.log(2 / 0.05)


@pytest.mark.parametrize("kind", ["e-detector", "dependent", "auto"])
def test_evidence_grows_on_after_the_alarm_of_a_detector_whose_proof_goes_on(kind):
    g, fdr = rng(7, kind), StreamFDR()
    fleet = fleet_of(kind, 1)
    state, _ = followed(fleet, [errors(g, 0.1, (1, 6000))], fdr)
    while not (verdicts := fleet.update(errors(g, 0.6, (1, 32)))).alarm.any():
        state, _ = fdr.follow(state, fleet, verdicts)
    state, found = fdr.follow(state, fleet, verdicts)
    at_alarm = found.log_evidence[0]
    for rate in (0.2, 0.8):  # what was learnt anew gets worse again
        for _ in range(60):
            state, found = fdr.follow(state, fleet, fleet.update(errors(g, rate, (1, 50))))
    assert found.log_evidence[0] > at_alarm


@pytest.mark.slow
@pytest.mark.parametrize("kind", EVIDENCE)
def test_a_stream_that_got_worse_is_reported_and_no_other(kind):
    g, n = rng(8, kind), 50
    fleet = fleet_of(kind, n)
    draw = (lambda rate, k: g.beta(2 * rate, 2 - 2 * rate, (n, k))) if kind == "ranks" else None
    worse = np.where(np.arange(n) < 2, 0.5, 0.1)[:, None]
    batches = [draw(0.1, 4000) if draw else errors(g, 0.1, (n, 4000))]
    batches += [draw(worse, 50) if draw else errors(g, worse, (n, 50)) for _ in range(12)]
    _, found = followed(fleet, batches)
    assert np.flatnonzero(found.reported).tolist() == [0, 1]


def test_a_mended_stream_starts_anew_and_its_age_goes_on():
    g, fdr = rng(9, "mended"), StreamFDR()
    fleet = fleet_of("eprocess", 3)
    state, found = followed(fleet, [errors(g, 0.1, (3, 3200))], fdr)
    rate = np.array([[0.1], [0.9], [0.1]])
    state, found = fdr.follow(state, fleet, fleet.update(errors(g, rate, (3, 320))))
    assert found.reported.tolist() == [False, True, False]
    fleet.remove([1])
    fleet.add(2)  # the mended one, and a new one
    with pytest.raises(InvalidObservation, match="for a fleet of 4"):
        fdr.follow(state, fleet, fleet.update(np.zeros((4, 0))))
    state = fdr.restart(fdr.moved(state, [0, 2, 1, -1]), [2])
    assert state.seen.tolist() == [3520, 3520, 3520, 0]
    for _ in range(20):
        state, found = fdr.follow(state, fleet, fleet.update(errors(g, 0.1, (4, 32))))
    assert state.seen.tolist() == [4160, 4160, 4160, 640]
    assert not found.reported.any()
    assert fdr.save(fdr.load(fdr.save(state))) == fdr.save(state)
    young, old = fleet.settled()[3], fleet.settled()[2]
    np.testing.assert_allclose(found.log_evidence[2] - math.log(old), fdr._density(np.array([4160]))[0])
    np.testing.assert_allclose(found.log_evidence[3] - math.log(young), fdr._density(np.array([640]))[0])


def test_moved_refuses_rows_that_there_are_not_or_twice():
    fdr = StreamFDR()
    state = fdr.init(3)
    for wrong, error in (
        ([0, 3], StreamNotFound),
        ([-2], StreamNotFound),
        ([0, 0], Invalid),
        ([0.5], InvalidObservation),
    ):
        with pytest.raises(error):
            fdr.moved(state, wrong)
    assert fdr.moved(state, [-1, -1, 2]).seen.tolist() == [0, 0, 0]


def test_verdicts_of_another_update_and_another_fleet_are_refused():
    g, fdr = rng(10, "wrong"), StreamFDR()
    fleet = fleet_of("eprocess", 2)
    state, _ = followed(fleet, [errors(g, 0.1, (2, 3200))], fdr)
    verdicts = fleet.update(np.ones((2, 320), np.float32))
    assert verdicts.alarm.all()
    state, _ = fdr.follow(state, fleet, verdicts)
    with pytest.raises(InvalidObservation, match="another update"):
        fdr.follow(state, fleet, verdicts)
    with pytest.raises(InvalidObservation, match="fleet of 3"):
        fdr.follow(state, fleet_of("eprocess", 3), verdicts)
    other = fleet_of("eprocess", 2)
    fewer = other.update(np.zeros((2, 1)))
    with pytest.raises(InvalidObservation, match="from its start"):
        fdr.follow(state, other, fewer)
    late, _ = fdr.follow(fdr.init(2), fleet, fleet.update(np.zeros((2, 1))))  # starts late, and counts all values
    assert late.seen.tolist() == fleet.seen.tolist() == [3521, 3521]


@pytest.mark.parametrize(("kind", "times"), [("eprocess", 1.0), ("dependent", LARGEST), ("auto", LARGEST / 1.25)])
def test_an_arl_is_enough_where_an_alarm_is_worth_enough(kind, times):
    """Of `dependent` an alarm is worth a seventh of `arl`, of `auto` on errors 1.25 sevenths."""
    n, fdr = 20, StreamFDR(horizon=10_000)
    enough = n / 0.05 / math.exp(fdr._density(np.array([10_000]))[0])
    for by, right in ((0.99, False), (1.01, True)):
        arl = by * enough * times
        fleet = fleet_of(kind, n, arl=arl)
        assert fleet.detector.worth() == pytest.approx(by * enough)
        verdicts = fleet.update(np.zeros((n, 1)))
        if right:
            fdr.follow(fdr.init(n), fleet, verdicts)
        else:
            with pytest.raises(InvalidSetting, match="is too low"):
                fdr.follow(fdr.init(n), fleet, verdicts)


def test_an_alarm_on_errors_and_the_first_other_value_in_one_update_are_the_evidence_of_errors():
    g = rng(13, "turns")
    learnt, broken = errors(g, 0.1, (1, 6000)), errors(g, 0.9, (1, 40))
    found = []
    for last in (1.0, 0.5):  # with .5 the stream is one of scores when the update ends
        fleet = fleet_of("auto", 1, arl=1e3)
        fleet.update(learnt)
        verdicts = fleet.update(np.concatenate((broken, [[last]]), axis=1))
        assert verdicts.alarm.all()
        found.append((fleet.settled(verdicts), fleet.settled(verdicts, np.array([True])), fleet.settled()))
    assert fleet.explain(0).startswith("not all values are 0 or 1")
    at = int(np.argmax(verdicts.level == 2))
    assert found[0][0] == found[1][0] == verdicts.score[at] / LARGEST
    assert found[0][1] == found[1][1] == found[0][0]
    assert found[1][2] == 0.0  # what comes after the update is of scores, which are learnt first


def test_what_is_no_fleet_and_no_verdicts_is_refused():
    fdr, fleet = StreamFDR(), fleet_of("eprocess", 2)
    verdicts, state = fleet.update(np.zeros((2, 1))), fdr.init(2)
    for wrong in (2.5, True, "2", None, [2], 0, -1):
        with pytest.raises(InvalidSetting, match="streams"):
            fdr.init(wrong)
    assert fdr.init(np.int64(3)).seen.tolist() == [0, 0, 0]
    for given in ((fleet.detector, verdicts), (fleet, None), (fleet, verdicts.alarm)):
        with pytest.raises(InvalidObservation, match="no fleet and its verdicts"):
            fdr.follow(state, *given)
    for spent in (True, np.array([True]), np.array([[True, False]]), np.array([0, 1])):
        with pytest.raises(InvalidObservation, match="for 2 streams"):
            fleet.settled(verdicts, spent)
    with pytest.raises(InvalidObservation, match="no verdicts"):
        fleet.settled(verdicts.alarm)


def test_quiet_verdicts_of_another_update_or_fleet_are_refused():
    """Nothing stands in them but the scores after the update, which tell them apart once something is staked."""
    g, fdr = rng(14, "quiet"), StreamFDR()
    fleet, other = fleet_of("eprocess", 2), fleet_of("eprocess", 2)
    state, _ = followed(fleet, [errors(g, 0.1, (2, 6400))], fdr)
    old = fleet.update(errors(g, 0.1, (2, 320)))
    new = fleet.update(errors(g, 0.1, (2, 320)))
    others = other.update(errors(g, 0.1, (2, 7040)))
    assert (len(old), len(others)) == (0, 0)
    for wrong in (old, others):
        with pytest.raises(InvalidObservation, match="of another update"):
            fdr.follow(state, fleet, wrong)
    gone = fleet_of("eprocess", 3)
    gone.remove([0])
    gone.update(np.zeros((2, 1)))
    with pytest.raises(InvalidObservation, match="of another"):
        fleet_of("eprocess", 2).settled(gone.update(np.zeros((2, 0))))
    assert fdr.follow(state, fleet, new)[0].seen.tolist() == [7040, 7040]


def test_an_arl_whose_alarms_are_never_enough_is_refused():
    fleet = fleet_of("eprocess", 20, arl=1e6)
    with pytest.raises(InvalidSetting, match=r"arl 1e\+06 is too low") as found:
        StreamFDR().follow(StreamFDR().init(20), fleet, fleet.update(np.zeros((20, 1))))
    assert "make_detector('eprocess', arl=1e+12)" in found.value.hint


def test_removed_streams_move_alarms_to_their_rows():
    g, fdr = rng(11, "rows"), StreamFDR()
    fleet = fleet_of("eprocess", 4)
    fleet.remove([1])
    state, _ = followed(fleet, [errors(g, 0.1, (3, 3200))], fdr)
    verdicts = fleet.update(np.ones(320), np.full(320, 3))
    assert set(verdicts.rows.tolist()) == {2}
    assert verdicts.alarm.tolist() == [False, False, True]
    _, found = fdr.follow(state, fleet, verdicts)
    assert found.reported.tolist() == [False, False, True]


def test_evidence_saved_before_there_were_restarts_is_read():
    fdr = StreamFDR()
    state, _ = fdr.update(fdr.init(2), [1.0, 2.0], 5)
    version, packed = codec.unpack_arrays(fdr.save(state))
    assert version == 2
    assert fdr.save(fdr.load(codec.pack_arrays(packed | {"before": state.before}, version=1))) == fdr.save(state)
    del packed["before"]
    assert fdr.save(fdr.load(codec.pack_arrays(packed, version=1))) == fdr.save(state)
    with pytest.raises(Invalid):
        fdr.load(codec.pack_arrays(packed, version=2))
    assert {field.name for field in fields(state)} == {"seen", "since", "bank", "log_e", "before"}


def test_a_fleet_says_what_it_is():
    fleet = fleet_of("eprocess", 1200)
    fleet.update(np.zeros((1200, 3)))
    assert repr(fleet) == "<Fleet of 1,200 streams by eprocess, 3,600 values seen>"
    assert fleet.seen.tolist() == [3] * 1200
    fleet.seen[0] = 9  # a copy
    assert fleet.seen[0] == 3
    assert repr(Fleet("auto")) == "<Fleet of 0 streams by auto, 0 values seen>"


# -- the promise, simulated ------------------------------------------------------------------------------------------


def chain(g, rate, keep):
    """Return a function that draws k values more of n two-state chains."""
    last = {}

    def draw(n, k):
        out = np.empty((n, k), np.float32)
        x = last.get("x", errors(g, rate, n))
        for at in range(k):
            x = np.where(g.random(n) < keep, x, errors(g, rate, n))
            out[:, at] = x
        last["x"] = x
        return out

    return draw


def losses_and_errors(g):
    def draw(n, k):
        values = errors(g, 0.1, (n, k))
        values[: n // 2] = g.gamma(2.0, 0.1, (n // 2, k))
        return values

    return draw


NULLS = {
    "eprocess": ("eprocess", lambda g: lambda n, k: errors(g, 0.1, (n, k)), 3200),
    "ranks": ("ranks", lambda g: lambda n, k: g.lognormal(sigma=1.5, size=(n, k)), 1600),
    "dependent": ("dependent", lambda g: lambda n, k: errors(g, 0.1, (n, k)), 4800),
    "dependent-chain": ("dependent", lambda g: chain(g, 0.1, 0.5), 6400),
    "auto": ("auto", losses_and_errors, 3200),
}
FLEETS, EACH = 100, 10


@pytest.mark.parametrize(
    "null", [pytest.param(null, marks=pytest.mark.slow if null not in ("eprocess", "ranks") else ()) for null in NULLS]
)
def test_of_fleets_where_nothing_changed_no_more_than_the_level_ever_report_anything(null):
    """100 fleets of 10: P(any report, ever) <= .2, looked at every 32 values, and P(e >= 5, ever) <= .2 of each stream.

    A right one fails with probability at most 1e-6 each. Reporting by the scores themselves fails both; on the chain
    the scores over the ages fail, too, which are evidence at one time only.
    """
    kind, drawn, length = NULLS[null]
    fdr, n = StreamFDR(level=0.2, horizon=1000), FLEETS * EACH
    fleet, draw = fleet_of(kind, n), drawn(rng(12, "null", null))
    state, ever, plain, aged = fdr.init(n), np.zeros(FLEETS, bool), np.zeros(FLEETS, bool), np.zeros(n)
    most, top = np.full(n, -math.inf), np.zeros(n)
    for _ in range(length // 32):
        verdicts = fleet.update(draw(n, 32))
        state, found = fdr.follow(state, fleet, verdicts)
        with np.errstate(divide="ignore"):
            ever |= reports(found.log_evidence)
            plain |= reports(np.log(verdicts.evidence))
        most, top = np.maximum(most, found.log_evidence), np.maximum(top, verdicts.evidence)
        aged = np.maximum(aged, verdicts.evidence / fleet.seen)
    few, one = binom.isf(1e-6, FLEETS, 0.2), binom.isf(1e-6, n, 0.2)
    assert ever.sum() <= few < plain.sum()
    assert (most >= math.log(5)).sum() <= one < (top >= 5).sum()
    if null == "dependent-chain":
        assert (aged >= 5).sum() > one
    assert (most > math.log(0.05)).any()  # it does look at something


def reports(log_evidence, level=0.2):
    """Whether e-BH reports any stream of each fleet."""
    rows = np.sort(log_evidence.reshape(FLEETS, EACH))[:, ::-1]
    return (rows >= np.log(EACH / (level * np.arange(1, EACH + 1)))).any(axis=1)


def test_a_fleet_that_lost_all_its_streams_can_be_followed():
    fdr, fleet = StreamFDR(), Fleet(make_detector("eprocess", arl=1e12), 2)
    fleet.remove([0, 1])
    state, found = fdr.follow(fdr.moved(fdr.init(2), []), fleet, fleet.update(np.zeros((0, 0))))
    assert found.reported.shape == (0,)
    fleet.add(1)
    state, _ = fdr.follow(fdr.moved(state, [-1]), fleet, fleet.update(np.zeros((1, 64))))
    assert state.seen.tolist() == [64]


def test_a_detector_without_evidence_is_refused_as_such_whatever_its_arl():
    fdr, fleet = StreamFDR(), Fleet(make_detector("glr", arl=1e6), 2000)
    with pytest.raises(InvalidSetting, match="the scores of glr are no evidence"):
        fdr.follow(fdr.init(2000), fleet, fleet.update(np.zeros((2000, 4))))
