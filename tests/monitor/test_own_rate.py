"""The monitor's own false-alarm rate: exact bounds, verdicts that are right at any time, broken promises found out."""

import math

import numpy as np
import pytest
from scipy import integrate
from scipy.stats import binom, chi2

from visutility.core import codec
from visutility.core.errors import AlreadyExists, Invalid, InvalidSetting, NotFound
from visutility.core.rng import rng
from visutility.monitor.own_rate import OwnRate, _log_markov, log_mixture


def rate(arl, values, false=0, true=0, open_=0):
    own = OwnRate(arl)
    own.watched(values)
    for kind, count in (("false", false), ("true", true), ("", open_)):
        for at in range(count):
            own.alarm(f"{kind}{at}", "s")
            if kind:
                own.judge(f"{kind}{at}", kind)
    return own


def test_the_bounds_are_the_exact_ones_of_a_poisson_count():
    report = rate(1e6, 4_000_000, false=3, true=2, open_=1).report()
    assert report.measured == pytest.approx(3 / 4)
    assert report.low == pytest.approx(chi2.ppf(0.05, 6) / 2 / 4)
    assert report.high == pytest.approx(chi2.ppf(0.95, 10) / 2 / 4)  # what nobody judged counts as false
    assert (report.false, report.true, report.open, report.promised) == (3, 2, 1, 1.0)
    nothing = rate(1e6, 0).report()
    assert math.isnan(nothing.measured)
    assert nothing.low == 0.0
    assert nothing.high == math.inf
    assert "nothing measured" in nothing.summary


def test_the_mixtures_are_the_integrals_they_stand_for():
    for count, expected in ((0, 0.5), (3, 2.0), (12, 4.0), (1, 9.0)):
        above, _ = integrate.quad(lambda r, c=count, e=expected: r**c * math.exp((1 - r) * e - (r - 1)), 1, np.inf)
        below, _ = integrate.quad(lambda r, c=count, e=expected: r**c * math.exp((1 - r) * e), 0, 1)
        assert log_mixture(count, expected, above=True) == pytest.approx(math.log(above), rel=1e-6)
        assert log_mixture(count, expected, above=False) == pytest.approx(math.log(below), rel=1e-6)
    assert log_mixture(0, 0.0, above=False) == log_mixture(0, 0.0, above=True) == 0.0
    assert log_mixture(0, 1e9, above=True) == -math.inf


@pytest.mark.parametrize(("factor", "broken", "holds"), [(1.0, False, False), (3.0, True, False), (0.3, False, True)])
def test_a_verdict_is_wrong_with_at_most_its_probability_however_often_one_looks(factor, broken, holds):
    """300 monitors whose false alarms are a Poisson process of `factor` times the promised rate, looked at 200 times.

    At the promised rate itself each verdict is ever given with probability at most .01 (binomial, fails with p = 1e-6
    for a right one). At three times and at .3 times the rate 60 expected alarms suffice for nearly all.
    """
    g = rng(0, "verdicts", str(factor))
    counts = np.cumsum(g.poisson(0.3 * factor, (300, 200)), axis=1)
    expected = 0.3 * np.arange(1, 201)
    said = {}
    for above in (True, False):
        logs = [
            max(log_mixture(int(c), float(e), above=above) for c, e in zip(row, expected, strict=True))
            for row in counts
        ]
        said[above] = int((np.array(logs) >= math.log(100)).sum())
    most = binom.isf(1e-6, 300, 0.01)
    assert (said[True] > 280) if broken else (said[True] <= most)
    assert (said[False] > 280) if holds else (said[False] <= most)


def test_alarms_that_come_in_bursts_break_the_promise_only_by_the_verdict_that_allows_for_them():
    """Bursts of 20 at a twentieth of the promised rate: the promise, a mean, is kept. 400 monitors of 20 promised
    alarms. The verdict for any dependence errs with probability at most .01; the Poisson one errs often.
    """
    g = rng(1, "bursts")
    arl, steps = 1000.0, 200
    tied, poisson = 0, 0
    for _ in range(400):
        bursts = np.flatnonzero(g.random(steps) < 0.1 / 20)
        seen = [int(100 * (at + 1)) for at in bursts for _ in range(20)]
        tied += _log_markov(seen, arl) >= math.log(100)
        poisson += any(
            log_mixture(20 * (at + 1), 0.1 * (step + 1), above=True) >= math.log(100) for at, step in enumerate(bursts)
        )
    assert tied <= binom.isf(1e-6, 400, 0.01)
    assert poisson > binom.isf(1e-6, 400, 0.01)
    assert _log_markov(list(range(0, 2_000_000, 2)), 1e6) >= math.log(100)  # but half a million times the promise
    report = rate(1e6, 100_000, false=1000).report()
    assert report.verdict == "broken"
    assert report.whatever_ties
    assert "whatever ties" in report.summary


def test_a_detector_is_found_to_keep_its_promise_and_a_broken_one_not_to():
    """400 streams of an e-SR detector at the mean that its theorem allows, 500 values each, promised one in 400.

    A right one is ever called broken with probability .01, and its rate is well below the promised one. With a quarter
    of the limit that its theory asks for it is found out.
    """

    def watched(limit):
        g, score, own = rng(2, "detector"), np.zeros(400), OwnRate(400.0)
        verdicts = set()
        for at in range(500):
            score = (score + 1.0) * np.where(g.random(400) < 0.2, 1.8, 0.8)  # of mean 1
            own.watched(400)
            for row in np.flatnonzero(score >= limit).tolist():
                own.alarm(f"{row} at {at}", f"stream {row}")
                own.unchanged(f"stream {row}")
            score[score >= limit] = 0.0
            if at % 50 == 49:
                verdicts.add(own.report().verdict)
        return verdicts

    right = watched(400.0)
    assert "broken" not in right
    assert "holds" in right
    assert "broken" in watched(100.0)


def test_the_verdicts_in_words():
    assert rate(1e6, 1_000_000).report().verdict == "not enough yet"
    assert rate(1e6, 20_000_000).report().verdict == "holds"
    assert rate(1e6, 20_000_000, open_=20).report().verdict == "not enough yet"  # as long as nobody judged them
    assert rate(1e6, 20_000_000, true=20).report().verdict == "holds"
    worse = rate(1e6, 2_000_000, false=14).report()
    assert worse.verdict == "broken"
    assert not worse.whatever_ties
    assert "14 false" in worse.summary
    assert "2,000,000 values" in worse.summary


def test_judgements_come_late_twice_and_against_each_other():
    own = OwnRate(1e3)
    own.watched(500)
    own.alarm("a", "north")
    own.alarm("b", "north")
    own.alarm("c", "south")
    own.judge("a", "true")
    own.judge("a", "true")
    assert own.report().true == 1
    own.judge("a", "false")  # the later one counts
    assert (own.report().true, own.report().false, own.report().open) == (0, 1, 2)
    own.judge("b", "true")
    assert own.unchanged("north") == 0  # both are judged
    assert own.unchanged("south") == 1
    assert own.unchanged("south") == 0
    assert (own.report().false, own.report().true) == (2, 1)
    own.excuse(100)
    assert own.report().values == 400
    assert OwnRate.load(own.save()).report() == own.report()
    assert OwnRate.load(own.save()).save() == own.save()


def test_what_comes_to_light_about_a_stream_is_known_after_a_restart():
    own = OwnRate(1e3)
    own.watched(10)
    for name, stream in (("a", "s"), ("b", "t"), ("c", "s")):
        own.alarm(name, stream)
    own.judge("c", "true")
    for one in (OwnRate.load(own.save()), own):
        assert one.unchanged("s") == 1  # c was judged
        assert one.unchanged("s") == one.unchanged("u") == 0
        assert (one.report().false, one.report().open) == (1, 1)


def test_what_does_not_fit_is_refused():
    own = OwnRate(1e3)
    own.watched(10)
    own.alarm("a", "s")
    before = own.save()
    with pytest.raises(AlreadyExists):
        own.alarm("a", "s")
    with pytest.raises(NotFound):
        own.judge("b", "false")
    for call in (
        lambda: own.judge("a", "maybe"),
        lambda: own.watched(-1),
        lambda: own.watched(0.5),
        lambda: own.watched(math.nan),
        lambda: own.watched("5"),
        lambda: own.excuse(math.inf),
        lambda: OwnRate.load('{"format":1}'),
        lambda: own.excuse(11),
        lambda: OwnRate.load("[]"),
        lambda: OwnRate.load("{"),
    ):
        with pytest.raises(Invalid):
            call()
    assert own.save() == before
    for wrong in ({"arl": 0.5}, {"arl": 10, "delta": 0.0}, {"arl": 10, "confidence": 1.0}):
        with pytest.raises(InvalidSetting):
            OwnRate(**wrong)


def saved(**changes):
    """What `save` writes, changed."""
    said = {
        "format": 1,
        "settings": {"arl": 1000.0, "delta": 0.01, "confidence": 0.95},
        "values": 10,
        "changed": 2,
        "alarms": [["a", {"stream": "s", "seen": 4, "judgement": "false"}]],
    }
    return codec.dumps(said | changes)


def test_a_saved_rate_comes_back_and_one_that_nobody_saved_is_refused():
    assert OwnRate.load(saved()).save() == saved()
    settings, alarm = {"arl": 1000.0, "delta": 0.01, "confidence": 0.95}, {"stream": "s", "seen": 4, "judgement": ""}
    for wrong in (
        {"format": 2},
        {"format": None},
        {"extra": 1},
        {"settings": {}},
        {"settings": {"arl": 1e6}},
        {"settings": settings | {"arl": 0.5}},
        {"settings": settings | {"arl": "x"}},
        {"settings": settings | {"size": 1.0}},
        {"settings": []},
        {"values": "x"},
        {"values": 10.5},
        {"values": -1},
        {"changed": 11},
        {"alarms": [[1]]},
        {"alarms": {"a": alarm}},
        {"alarms": [["a", {}]]},
        {"alarms": [["a", alarm | {"judgement": "maybe"}]]},
        {"alarms": [["a", alarm | {"seen": 11}]]},
        {"alarms": [["a", alarm | {"stream": 7}]]},
        {"alarms": [["a", alarm], ["a", alarm]]},
    ):
        with pytest.raises(Invalid):
            OwnRate.load(saved(**wrong))
