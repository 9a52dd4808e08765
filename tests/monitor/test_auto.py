"""The default detector: which detector each stream gets, what is said about it, and what it sees and lets pass."""

import numpy as np
import pytest

from visutility.core.errors import InvalidSetting
from visutility.core.rng import rng
from visutility.monitor import Dependent, Fleet, Level, Ranks, make_detector
from visutility.monitor.detectors.auto import SCORES

AUTO = make_detector()


def errors(draw, shape, rate):
    return (draw.random(shape) < rate).astype(np.float64)


def chains(draw, rate, streams, same):
    """Errors (streams, n) that repeat the last with probability `same`, else are drawn anew at `rate` (n,)."""
    fresh = draw.random((streams, len(rate))) < rate
    keep = draw.random(fresh.shape) < same
    keep[:, 0] = False
    origin = np.maximum.accumulate(np.where(keep, 0, np.arange(len(rate))), axis=1)
    return np.take_along_axis(fresh, origin, axis=1).astype(np.float64)


def watched(values, **settings):
    """The state after these values, (streams, n), and each stream's alarms."""
    detector = make_detector("auto", **settings)
    state, said = detector.update(detector.init(len(values)), values)
    alarmed = said.level == Level.ALARM
    return state, [said.position[alarmed & (said.stream == at)] for at in range(len(values))]


def median_delay(alarms, change):
    first = [found[found >= change] for found in alarms]
    return float(np.median([found[0] - change + 1 if len(found) else np.inf for found in first]))


def test_it_is_the_default():
    assert make_detector("auto") == AUTO
    assert Fleet("auto", 2).detector == AUTO


def test_each_stream_gets_what_its_own_detector_would_say():
    draw = rng(0, "kinds")
    values = np.stack(
        [
            np.concatenate([errors(draw, 1500, 0.1), errors(draw, 300, 0.6)]),
            np.concatenate([draw.normal(5, 1, 1500), draw.normal(7, 1, 300)]),
            np.concatenate([errors(draw, 1500, 0.2), errors(draw, 300, 0.8)]),
        ]
    )
    _, said = AUTO.update(AUTO.init(3), values)
    dependent, ranks = Dependent(arl=1.25 * AUTO.arl), Ranks(arl=AUTO.arl, learning=AUTO.learning)
    _, of_errors = dependent.update(dependent.init(2), values[[0, 2]])
    _, of_scores = ranks.update(ranks.init(1), values[[1]])
    wanted = [verdict._replace(stream=2 * verdict.stream) for verdict in of_errors]
    wanted += [verdict._replace(stream=1) for verdict in of_scores]
    assert {verdict.stream for verdict in said if verdict.level is Level.ALARM} == {0, 1, 2}
    assert sorted(said, key=lambda v: (v.stream, v.position)) == sorted(wanted, key=lambda v: (v.stream, v.position))


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["rise", "fall"])
def test_kinds_mixed_in_a_batch_get_the_same_as_one_by_one(direction):
    draw = rng(0, "mixed")
    values = np.stack([errors(draw, 700, 0.1), draw.normal(0, 1, 700), errors(draw, 700, 0.3), errors(draw, 700, 0.5)])
    values[:, 600:] = np.stack([np.ones(100), np.full(100, 4.0), np.zeros(100), draw.random(100)])
    detector = make_detector("auto", direction=direction, arl=1000.0, learning=100)
    together, said = detector.update(detector.init(4), values)
    state, one_by_one = detector.init(4), []
    for column in values.T:
        state, found = detector.update(state, column[:, None])
        one_by_one += list(found)
    assert len(one_by_one) > 3
    assert list(said) == one_by_one
    assert detector.save(state) == detector.save(together)


@pytest.mark.parametrize("direction", ["rise", "fall"])
def test_a_stream_counts_as_errors_until_its_first_other_value(direction):
    detector = make_detector("auto", direction=direction)
    state = detector.init(2)
    state, _ = detector.update(state, [[0.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    assert state.kind.tolist() == [0, 0]
    state, _ = detector.update(state, [[1.0, 0.5, 0.0], [0.0, 0.0, 1.0]])
    assert state.kind.tolist() == [1, 0]
    assert detector.learnt(state, 0)["baseline_size"] == 2.0  # from the 0.5 on
    assert detector.learnt(state, 1)["baseline_size"] == 6.0
    alone, _ = detector.update(detector.init(1), [0.0, 1.0, 0.0, 1.0, 0.5, 0.0])
    assert alone.kind.tolist() == [1]
    assert detector.save(alone) == detector.save(type(alone)(**{n: a[..., :1] for n, a in columns(state)}))


BREAKS = {
    "scores of another size": (0.0, lambda draw, n: 5.0 + draw.standard_normal(n), "rise"),
    "losses": (0.0, lambda draw, n: draw.beta(3, 7, n), "rise"),
    "accuracies of windows": (1.0, lambda draw, n: draw.beta(30, 70, n), "fall"),
    "counts": (0.001, lambda draw, n: draw.poisson(3.0, n), "rise"),
    "large losses half of the time": (0.05, lambda draw, n: 0.9 * errors(draw, n, 0.5), "rise"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BREAKS)
def test_a_breakdown_that_brings_the_first_value_other_than_0_and_1_is_seen(name):
    """One alarm each: what comes after it is the new normal, of whatever kind."""
    rate, worse, direction = BREAKS[name]
    draw = rng(0, "break", name)
    values = np.concatenate([errors(draw, (10, 2000), rate), worse(draw, (10, 900))], 1)
    state, alarms = watched(values, direction=direction)
    assert median_delay(alarms, 2000) <= 30
    assert [len(found) for found in alarms] == [1] * 10
    assert (state.kind == SCORES).all()


def test_one_stray_value_does_not_hide_a_rise_of_errors():
    draw = rng(0, "stray")
    values = np.concatenate([errors(draw, (10, 2000), 0.05), np.full((10, 1), 0.5), errors(draw, (10, 200), 0.05)], 1)
    state, alarms = watched(np.concatenate([values, errors(draw, (10, 100), 0.6)], 1))
    assert median_delay(alarms, 2201) <= 40
    assert not any((found < 2201).any() for found in alarms)
    told = AUTO.explain(state, 0)
    assert told.startswith("0/1 values until lately: bets on more errors than predicted for 211 more values, then on r")


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["rise", "fall"])
@pytest.mark.parametrize("learning", [60, 200])
def test_a_stream_that_stops_being_0_and_1_gives_the_same_however_it_is_cut(direction, learning):
    """Whole, value by value, beside others, interleaved, and saved half-way: the same verdicts and bits."""
    draw = rng(0, "turns", direction, learning)
    later = np.concatenate([draw.random((3, 150)), errors(draw, (3, 100), 0.5), draw.random((3, 300)) + 0.4], 1)
    values = np.concatenate([errors(draw, (3, 400), [[0.1], [0.0], [0.4]]), later], 1)
    values[1:, 400:450] = 0.0
    detector = make_detector("auto", direction=direction, arl=500.0, learning=learning)
    together, said = detector.update(detector.init(3), values)
    assert {verdict.stream for verdict in said} == {0, 1, 2}
    ids = np.tile(np.arange(3), values.shape[1])
    mixed, found = detector.update(detector.init(3), values.T.ravel(), ids)
    assert list(found) == list(said)
    assert detector.save(mixed) == detector.save(together)
    for at in range(3):
        whole, of_whole = detector.update(detector.init(1), values[at])
        assert [verdict._replace(stream=at) for verdict in of_whole] == [v for v in said if v.stream == at]
        for cut in (401, 430, 520, 900):
            part, first = detector.update(detector.init(1), values[at, :cut])
            part, second = detector.update(detector.load(detector.save(part)), values[at, cut:])
            assert [*first, *second] == list(of_whole)
            assert detector.save(part) == detector.save(whole)


def columns(state):
    from visutility.monitor.state import arrays

    return arrays(state).items()


def test_it_says_what_it_takes_a_stream_for():
    draw = rng(0, "explain")
    chained = chains(draw, np.full(3000, 0.15), 1, 0.6)[0]
    jumping = np.where(np.arange(3000) // 100 % 3 == 0, 0.5, 0.02)
    wandering = np.cumsum(draw.standard_normal(3000)) * 0.01 + draw.standard_normal(3000)
    state, _ = watched(np.stack([errors(draw, 3000, 0.1), chained, errors(draw, 3000, jumping), wandering]))
    told = [AUTO.explain(state, at) for at in range(4)]
    assert "taken for independent" in told[0]
    assert "the last value explains it" in told[1]
    assert "lag-1 autocorrelation 0.6" in told[1] or "lag-1 autocorrelation 0.5" in told[1]
    assert "the rate changes now and then by itself" in told[2]
    assert told[3].startswith("not all values are 0 or 1: bets on ranks")
    assert "they hang together" in told[3]
    fleet = Fleet(AUTO, 1)
    fleet.update(chained[None])
    assert fleet.explain(0) == told[1]


def test_a_fall_of_accuracy_is_seen_and_told_in_its_units():
    draw = rng(0, "fall")
    right = np.concatenate([errors(draw, 3000, 0.95), errors(draw, 400, 0.6)])
    detector = make_detector("auto", direction="fall")
    _, said = detector.update(detector.init(1), right)
    alarm = next(verdict for verdict in said if verdict.level is Level.ALARM)
    assert alarm.position >= 3000
    assert alarm.evidence["mean_since"] < 0.9 < alarm.evidence["baseline_mean"]


def test_a_reference_window_is_learnt_by_its_kind():
    draw = rng(0, "reference")
    detector = make_detector("auto")
    state = detector.init([errors(draw, 2000, 0.1), draw.normal(0, 1, 2000)])
    assert state.kind.tolist() == [0, 1]
    assert [detector.learnt(state, at)["baseline_size"] for at in (0, 1)] == [2000.0, 2000.0]
    worse = np.stack([errors(draw, 300, 0.5), draw.normal(2, 1, 300)])
    assert detector.update(state, worse)[1].alarm.all()


def test_settings_are_checked_by_both():
    for wrong in ({"arl": 0.5}, {"learning": 3}, {"warning": 2.0}):
        (name, value), *_ = wrong.items()
        with pytest.raises(InvalidSetting, match=f"{name} {value} "):  # the value that was given
            make_detector("auto", **wrong)


@pytest.mark.slow
@pytest.mark.parametrize(("by", "most"), [(0.05, 850), (0.10, 245), (0.20, 80), (0.30, 42)])
def test_independent_errors_that_rise_by_so_much_are_seen_in_time(by, most):
    """Medians of 300 streams, 5,000 values before the change; published on the page."""
    draw = rng(1, "rise", int(100 * by))
    values = np.concatenate([errors(draw, (300, 5000), 0.1), errors(draw, (300, 12 * most // 10 + 200), 0.1 + by)], 1)
    _, alarms = watched(values)
    assert median_delay(alarms, 5000) <= most
    assert sum((found < 5000).sum() for found in alarms) <= 9  # 1.5e6 values at 1 per 1e6: P(> 9) = 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(("by", "most"), [(0.10, 450), (0.20, 165), (0.30, 95)])
def test_chained_errors_that_rise_by_so_much_are_seen_in_time(by, most):
    """The same with a lag-1 autocorrelation of .5; published on the page."""
    rate = np.concatenate([np.full(5000, 0.1), np.full(2 * most, 0.1 + by)])
    _, alarms = watched(chains(rng(1, "chain", int(100 * by)), rate, 300, 0.5))
    assert median_delay(alarms, 5000) <= most
    assert sum((found < 5000).sum() for found in alarms) <= 20  # 1.5e6 values at 5 per 1e6: P(> 20) = 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("cut", [1, 50, 700])
def test_a_stream_between_two_kinds_is_learnt_as_scores_also_from_batches_of_0_and_1(cut):
    draw = rng(0, "between")
    values = np.concatenate([draw.random(600) < 0.3, [0.5], draw.random(2000) < 0.3]).astype(float)[None]
    whole, parts = Fleet("auto", 1), Fleet("auto", 1)
    whole.update(values)
    for at in range(0, values.shape[1], cut):
        parts.update(values[:, at : at + cut])
    assert parts.explain(0) == whole.explain(0)
    assert parts.learnt(0) == whole.learnt(0)
    assert parts._state.kind[0] == SCORES
