"""e-BH over streams: exact on small cases, its promise simulated where it is tight, broken variants found out."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom

from visutility.core.errors import Invalid, InvalidObservation, InvalidSetting, StreamNotFound
from visutility.core.rng import rng
from visutility.monitor import make_detector
from visutility.monitor.many import StreamFDR, e_bh
from visutility.monitor.state import join, take


def by_hand(e, level):
    """The largest set such that each member has at least n / (level |set|)."""
    best = ()
    for k in range(1, len(e) + 1):
        for chosen in combinations(range(len(e)), k):
            if min(e[at] for at in chosen) >= len(e) / (level * k):
                best = chosen if len(chosen) > len(best) else best
    return np.isin(np.arange(len(e)), best)


def test_e_bh_is_the_largest_set_that_supports_itself():
    g = rng(0, "e_bh")
    for _ in range(200):
        e = np.exp(g.normal(1.0, 3.0, 6)) * (g.random(6) < 0.8)
        level = float(g.uniform(0.05, 0.9))
        np.testing.assert_array_equal(e_bh(e, level), by_hand(e, level))
        with np.errstate(divide="ignore"):
            np.testing.assert_array_equal(e_bh(np.log(e), level, logs=True), e_bh(e, level))
    assert e_bh([40.0, 19.0, 0.0, 0.0], 0.1).tolist() == [True, False, False, False]
    assert e_bh([20.0, 20.0, 0.0, 0.0], 0.1).tolist() == [True, True, False, False]
    assert e_bh([], 0.1).tolist() == []
    assert e_bh([math.inf, 0.0], 0.1).tolist() == [True, False]


def false_share(level, used, *, runs=40_000, n=10):
    """The false discovery rate under the worst dependence: at most one null e-value at a time is just large enough.

    Stream 0 is changed, its e-value huge; exactly one of n nulls, drawn at random, has the value that two rejections
    need, with the probability that makes its mean 1 / n of the budget: the bound is attained.
    """
    g = rng(1, "worst case")
    need = (n + 1) / (level * 2)
    hit = g.random(runs) < n / need  # each of n nulls has mean e-value need * P(hit) / n = 1
    e = np.zeros((runs, n + 1))
    e[:, 0] = 1e9
    e[hit, g.integers(1, n + 1, runs)[hit]] = need
    reported = np.array([e_bh(row, used) for row in e[:2000]])
    alike = np.array([e_bh(row, used) for row in (e[hit][0], e[~hit][0])])  # rows are of two kinds
    np.testing.assert_array_equal(reported.sum(axis=1), np.where(hit[:2000], alike[0].sum(), alike[1].sum()))
    return float(np.mean(np.where(hit, (alike[0].sum() - 1) / max(alike[0].sum(), 1), 0.0))), n / (n + 1)


def test_the_level_holds_where_the_bound_is_attained_and_a_level_a_tenth_higher_would_not():
    """Of 40,000 runs each has a share of 0 or 1/2: a right one passes with probability 1 - 1e-6 (binomial).

    Truth: level n / (n + 1) = .0909 for .1. The variant that promises .1 and works at .11 reports .1 of falsely: found
    out against its own bound .0909 with probability above 1 - 1e-6 (7 standard errors).
    """
    share, nulls = false_share(0.1, 0.1)
    most = binom.isf(1e-6, 40_000, 2 * 0.1 * nulls) / 80_000
    assert 0.9 * 0.1 * nulls < share <= most
    broken, _ = false_share(0.11, 0.11)
    assert broken > most


# -- e-processes from scores -----------------------------------------------------------------------------------------


def sr(g, runs, ticks, *, mean=0.2, bound=0.2, share=0.5, uniform=None, arl=np.inf):
    """Scores (ticks, runs) of a one-bet e-SR on 0/1 values, two a tick, that alarms and starts afresh at `arl`."""
    score, found, alarms = np.zeros(runs), [], []
    for at in range(ticks):
        raised, shown = np.zeros(runs, bool), np.zeros(runs)
        for value in range(2):
            drawn = g.random(runs) if uniform is None else uniform[at, value]
            x = drawn < (mean[at] if np.ndim(mean) else mean)
            score = (score + 1.0) * (1.0 + share / bound * (x - bound))
            now = score >= arl
            shown = np.where(now, score, shown)
            score, raised = np.where(now, 0.0, score), raised | now
        found.append(np.where(raised, shown, score))
        alarms.append(raised)
    return np.array(found), np.array(alarms)


def walk(settings, scores, alarms, values=2):
    """Yield the report after each tick, all runs being streams of one state."""
    state = settings.init(scores.shape[1])
    for score, raised in zip(scores, alarms, strict=True):
        state, found = settings.update(state, score, values, raised)
        yield found


def test_one_e_process_is_valid_at_all_times_and_the_plain_score_is_not():
    """P(an unchanged stream ever has e >= 1/.1) <= .1, alarms and fresh starts of the detector included.

    4,000 streams of 400 values at exactly the bound; a right one fails with probability at most 1e-6. Two broken
    variants fail: the score itself, and the score over its age, right at one time and wrong at all times together.
    """
    most = binom.isf(1e-6, 4000, 0.1)
    for arl in (np.inf, 300.0):
        scores, alarms = sr(rng(2, "null"), 4000, 200, arl=arl)
        ever = np.max([found.log_evidence for found in walk(StreamFDR(horizon=100), scores, alarms)], axis=0)
        assert (ever >= math.log(10)).sum() <= most
    scores, alarms = sr(rng(2, "null"), 4000, 200)
    ever = np.max([found.log_evidence for found in walk(StreamFDR(horizon=100), scores, alarms)], axis=0)
    assert (ever >= math.log(10)).sum() > most / 10  # it does see something
    assert (np.max(scores, axis=0) >= 10).sum() > most
    assert (np.max(scores / np.arange(2, 402, 2)[:, None], axis=0) >= 10).sum() > most


def test_the_e_process_holds_for_scores_that_are_less_than_an_e_sr():
    """`eprocess` learns its mean: its settled score is below the e-SR process of the true mean, and its increments are
    not those of one. 3,000 unchanged streams of 1,600 values: P(e >= 1/.2 ever) <= .2, fails with probability 1e-6.
    """
    detector, settings = make_detector("eprocess", arl=1e12), StreamFDR(horizon=1000)
    g = rng(3, "learnt")
    state, kept, ever = detector.init(3000), settings.init(3000), np.full(3000, -math.inf)
    for _ in range(50):
        state, verdicts = detector.update(state, (g.random((3000, 32)) < 0.1).astype(np.float32))
        score = np.where(verdicts.alarm, verdicts.evidence, detector.settled(state))
        kept, found = settings.update(kept, score, 32, verdicts.alarm)
        ever = np.maximum(ever, found.log_evidence)
    assert 0 < (ever >= math.log(5)).sum() <= binom.isf(1e-6, 3000, 0.2)


def test_evidence_is_the_score_times_a_density_of_the_age():
    ages = np.arange(0, 4_000_000)
    density = np.exp(StreamFDR(horizon=100)._density(ages))
    assert (np.diff(density) < 0).all()
    assert density[:100].sum() == pytest.approx(0.5, abs=0.02)
    assert 0.85 < density.sum() < 1.0
    settings = StreamFDR(horizon=100)
    state, found = settings.update(settings.init(2), [0.0, 50.0], 7)
    np.testing.assert_allclose(np.exp(found.log_evidence), [0.0, 50.0 * density[7]])
    state, found = settings.update(state, [9.0, 80.0], 3, [False, True])
    np.testing.assert_allclose(np.exp(found.log_evidence), [9.0 * density[10], 80.0 * density[10]])
    _, found = settings.update(state, [9.0, 6.0], 5)  # after the alarm half is put on what comes
    banked = 80.0 * density[10]
    np.testing.assert_allclose(np.exp(found.log_evidence[1]), banked / 2 * (1 + 6.0 * density[8]))


@pytest.mark.parametrize("tie", ["independent", "equal", "opposed"])
def test_nothing_changed_so_nothing_is_ever_reported_but_for_the_level(tie):
    """400 fleets of 10 streams: P(any report, ever) <= .2, whatever ties the streams; fails with p <= 1e-6."""
    g = rng(4, tie)
    fleets, n, ticks = 400, 10, 120
    uniform = g.random((ticks, 2, fleets, n))
    if tie != "independent":
        uniform[..., 1:] = uniform[..., :1]
    if tie == "opposed":
        uniform[..., ::2] = 1.0 - uniform[..., ::2]
    scores, alarms = sr(g, fleets * n, ticks, uniform=uniform.reshape(ticks, 2, -1), arl=200.0)
    evidence = np.array([one.log_evidence for one in walk(StreamFDR(horizon=100), scores, alarms)])
    evidence = evidence.reshape(ticks, fleets, n)
    assert reports(evidence).any(axis=0).sum() <= binom.isf(1e-6, fleets, 0.2)
    plain = np.log(scores.reshape(ticks, fleets, n) + 1e-300)  # what nobody may do
    assert reports(plain).any(axis=0).sum() > binom.isf(1e-6, fleets, 0.2)
    for row in np.concatenate([evidence[-1, :50], plain[-1, :50]]):
        assert e_bh(row, 0.2, logs=True).any() == reports(row)


def reports(log_evidence, level=0.2):
    """Whether e-BH reports any stream, for each row of the last axis."""
    n = log_evidence.shape[-1]
    return (np.sort(log_evidence)[..., ::-1] >= np.log(n / (level * np.arange(1, n + 1)))).any(axis=-1)


def test_of_what_is_reported_at_most_the_level_is_false_and_most_changes_are_found():
    """60 fleets of 100 streams, 30 of them changed half-way, the unchanged ones equal in pairs; looked at when most
    is false. The mean false share is at most .2; each is in [0, 1]: a right one fails with probability < 1e-6
    (Hoeffding, 60 fleets, .2 + .34), in fact far less: the bound is not attained here.
    """
    g = rng(5, "half changed")
    fleets, n, ticks = 60, 100, 150
    uniform = g.random((ticks, 2, fleets, n))
    uniform[..., 31::2] = uniform[..., 30::2]
    mean = np.full((ticks, fleets, n), 0.2)
    mean[50:, :, :30] = 0.6
    scores, alarms = sr(
        g, fleets * n, ticks, mean=mean.reshape(ticks, -1), uniform=uniform.reshape(ticks, 2, -1), arl=1e4
    )
    worst, found = np.zeros(fleets), 0.0
    settings = StreamFDR(level=0.2, horizon=100)
    for one in walk(settings, scores, alarms):
        for fleet, row in enumerate(one.log_evidence.reshape(fleets, n)):
            reported = e_bh(row, 0.2, logs=True)
            worst[fleet] = max(worst[fleet], reported[30:].sum() / max(reported.sum(), 1))
            found = reported[:30].mean()
    assert worst.mean() <= 0.2
    assert found > 0.9


def test_a_restart_forgets_the_evidence_and_not_the_age():
    scores, alarms = sr(rng(6, "restart"), 3, 30, mean=0.9)
    settings = StreamFDR()
    state = settings.init(3)
    for score, raised in zip(scores, alarms, strict=True):
        state, found = settings.update(state, score, 2, raised)
    assert found.reported.all()
    assert (found.log_evidence >= found.needed).all()
    mended = settings.restart(state, [1])
    assert settings.report(mended).reported.tolist() == [True, False, True]
    assert mended.seen.tolist() == [60, 60, 60]
    _, again = settings.update(mended, np.full(3, 2.0), 2)
    _, young = settings.update(settings.init(3), np.full(3, 2.0), 2)
    assert -math.inf < again.log_evidence[1] < young.log_evidence[1]
    assert state.log_e[1] > mended.log_e[1]  # the argument was left as it was


def test_a_mask_is_not_taken_for_row_numbers():
    settings = StreamFDR()
    state, _ = settings.update(settings.init(4), np.full(4, 10.0), 10)
    for wrong in ([False, False, True, True], [2.9], np.array([2.0]), ["2"]):
        with pytest.raises(InvalidObservation, match="no row numbers"):
            settings.restart(state, wrong)
    mended = settings.restart(state, np.flatnonzero([False, False, True, True]))
    assert np.isinf(mended.log_e).tolist() == [False, False, True, True]
    np.testing.assert_array_equal(settings.restart(state, []).log_e, state.log_e)
    np.testing.assert_array_equal(settings.restart(state, np.uint8(3)).log_e[3], -math.inf)


def test_what_is_reported_comes_from_a_detector_and_streams_may_come_and_go():
    detector = make_detector("e-detector", arl=1e4)
    g = rng(7, "fleet")
    learnt = detector.init([g.random(1000) < 0.1 for _ in range(4)])
    settings = StreamFDR()
    state = settings.init(4)
    for _ in range(40):
        values = np.concatenate([g.random((3, 10)) < 0.1, g.random((1, 10)) < 0.7]).astype(float)
        learnt, verdicts = detector.update(learnt, values.ravel(), np.repeat(np.arange(4), 10))
        state, found = settings.update(state, verdicts.evidence, 10, verdicts.alarm)
    assert found.reported.tolist() == [False, False, False, True]
    grown = join([take(state, np.array([3, 0])), settings.init(2)])
    assert settings.report(grown).reported.tolist() == [True, False, False, False]


def test_saved_anywhere_it_goes_on_the_same():
    scores, alarms = sr(rng(9, "save"), 6, 40, mean=0.5, arl=50.0)
    settings = StreamFDR(level=0.1)
    straight = broken = settings.init(6)
    for score, raised in zip(scores, alarms, strict=True):
        straight, one = settings.update(straight, score, 2, raised)
        broken, other = settings.update(settings.load(settings.save(broken)), score, 2, raised)
        np.testing.assert_array_equal(one.log_evidence, other.log_evidence)
        np.testing.assert_array_equal(one.reported, other.reported)
    assert settings.save(straight) == settings.save(broken)
    with pytest.raises(Invalid, match="level"):
        replace(settings, level=0.05).load(settings.save(straight))
    with pytest.raises(Invalid):
        settings.load(b"nothing")


@pytest.mark.parametrize("kind", ["u1", "i4", "i8", "u8"])
@pytest.mark.parametrize("each", [False, True])
def test_counts_of_any_whole_kind_are_counts(kind, each):
    settings = StreamFDR()
    count = np.array([5, 5], kind) if each else np.dtype(kind).type(5)
    state, wanted = settings.init(2), settings.init(2)
    for raised in ([True, False], [False, False]):
        state, _ = settings.update(state, [1.0, 2.0], count, raised)
        wanted, _ = settings.update(wanted, [1.0, 2.0], 5, raised)
    assert settings.save(state) == settings.save(wanted)
    assert settings.save(settings.load(settings.save(state))) == settings.save(state)


def test_evidence_saved_with_counts_as_floats_is_read():
    settings = StreamFDR()
    state, _ = settings.update(settings.init(2), [1.0, 2.0], 5, [True, False])
    floats = replace(state, seen=state.seen.astype(float), since=state.since.astype(float))
    assert settings.save(settings.load(settings.save(floats))) == settings.save(state)
    for wrong in (5.5, np.nan, np.inf, 1e300):
        with pytest.raises(Invalid, match="no evidence: seen"):
            settings.load(settings.save(replace(floats, seen=np.array([wrong, 5.0]))))


def test_what_cannot_be_evidence_is_refused_and_changes_nothing():
    settings = StreamFDR()
    state = settings.init(2)
    before = settings.save(state)
    for scores, values, alarm in (
        ([1.0], 1, None),
        ([1.0, -1.0], 1, None),
        ([1.0, np.nan], 1, None),
        ([1.0, np.inf], 1, None),
        ([1.0, 1.0], -1, None),
        ([1.0, 1.0], 1.5, None),
        ([1.0, 1.0], np.uint64(2**63), None),
        ([1.0, 1.0], [1, 1, 1], None),
        ([1.0, 1.0], 1, [True]),
    ):
        with pytest.raises(InvalidObservation):
            settings.update(state, scores, values, alarm)
    assert settings.save(state) == before
    with pytest.raises(StreamNotFound):
        settings.restart(state, [2])
    for wrong in (0.0, 1.0):
        with pytest.raises(InvalidSetting):
            StreamFDR(level=wrong)
        with pytest.raises(InvalidSetting):
            e_bh([1.0], wrong)
    for call in (lambda: StreamFDR(horizon=0.5), lambda: settings.init(0)):
        with pytest.raises(InvalidSetting):
            call()
    with pytest.raises(InvalidObservation):
        e_bh([1.0, -1.0], 0.05)
