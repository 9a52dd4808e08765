"""Page-Hinkley: the recursion, what an excursion does to the baseline, its measured promise, and River beside it."""

import math

import numpy as np
import pytest
from runs import ARL, assert_keeps_its_promise
from scipy import optimize

from visutility.core.errors import InvalidSetting
from visutility.core.rng import rng
from visutility.monitor import Level, PageHinkley
from visutility.monitor.excursions import exponent, exponent_of_errors, wald_limit


def errors(rates, *names):
    return (rng(1, "page_hinkley", *names).random(len(rates)) < rates).astype(float)


def alarms(detector, values):
    _, said = detector.update(detector.init(1), values)
    return said.position[said.level == Level.ALARM].tolist()


def test_the_score_is_the_sum_of_deviations_above_its_least_value():
    """Hinkley's form, by brute force: m_n - min m, with the mean of all values so far."""
    values = 50 + 3 * rng(1, "form").standard_normal(400) + np.repeat([0.0, 2.0], [370, 30])
    detector = PageHinkley(slack=0.5, limit=1e6, reference=20, warning=1.0)
    state, _ = detector.update(detector.init(1), values)
    means = np.cumsum(values) / np.arange(1, 401)
    sums = np.cumsum((values - means - 0.5)[19:])
    least = np.minimum.accumulate(np.concatenate([[0.0], sums]))[1:]
    assert detector.scores(state)[0] == pytest.approx((sums - least)[-1], abs=1e-9)
    evidence = detector.evidence(state)
    assert evidence["since"] == 19 + np.argmin(np.concatenate([[0.0], sums]))
    assert evidence["mean_since"] == pytest.approx(values[int(evidence["since"]) :].mean())


def test_units_do_not_matter_when_everything_is_learnt():
    values = rng(1, "units").standard_normal(3000) + np.repeat([0.0, 1.0], [2500, 500])
    found = [alarms(PageHinkley(), a + b * values) for a, b in ((0, 1), (1e6, 1), (-3, 1e-4), (7, 1e5))]
    assert found[0]
    assert found[0][0] >= 2500
    assert found[1:] == found[:1] * 3


def test_what_raised_an_alarm_does_not_become_normal():
    """A stream that stays bad alarms again and again, and its baseline stays what it was before the change."""
    values = errors(np.repeat([0.05, 0.4], [2000, 3000]), "stays")
    detector = PageHinkley()
    state, said = detector.update(detector.init(1), values)
    assert (said.level == Level.ALARM).sum() > 20
    learnt = detector.learnt(state)
    assert learnt["reference_mean"] < 0.07
    assert learnt["reference_size"] < 2100


def test_since_is_near_the_change():
    _, said = (detector := PageHinkley()).update(detector.init(1), errors(np.repeat([0.1, 0.4], [3000, 200]), "since"))
    first = next(verdict for verdict in said if verdict.level is Level.ALARM)
    assert abs(first.evidence["since"] - 3000) <= 15
    assert first.evidence["mean_since"] > 0.25 > 0.13 > first.evidence["reference_mean"]


def test_it_says_nothing_while_it_learns():
    detector = PageHinkley(reference=100)
    state, said = detector.update(detector.init(1), np.repeat([0.0, 1.0], [50, 49]))
    assert len(said) == 0
    assert math.isnan(detector.scores(state)[0])
    assert detector.learnt(state) == {
        "reference_size": 99.0,
        "reference_mean": pytest.approx(49 / 99),
        "reference_sd": pytest.approx(np.repeat([0.0, 1.0], [50, 49]).std(ddof=1)),
    }
    state, _ = detector.update(state, [1.0])
    assert detector.scores(state)[0] >= 0.0


def test_constant_values_are_no_ground_for_an_alarm():
    """Without any spread there is no unit to measure a rise in; once values vary, there is."""
    detector = PageHinkley()
    state, said = detector.update(detector.init(1), np.full(1000, 3.5))
    assert len(said) == 0
    assert "limit" not in detector.learnt(state)
    state, _ = detector.update(state, 3.5 + rng(1, "varies").random(2000))
    assert "limit" in detector.learnt(state)


def test_values_too_large_to_cube_are_refused():
    detector = PageHinkley()
    with pytest.raises(ValueError, match="1e\\+91"):
        detector.update(detector.init(1), [1e91])
    state, _ = detector.update(detector.init(1), 1e89 * rng(1, "large").standard_normal(500))
    assert np.isfinite(detector.scores(state)).all()


def test_the_exponent_solves_its_equation():
    """E exp(R (d z - d^2 / 2)) = 1: by root finding for 0/1 values, and 1 for normal ones."""
    for rate in (1e-8, 0.001, 0.02, 0.1, 0.3, 0.499):
        for size in (0.1, 0.25, 1.0):
            z = np.array([1 - rate, -rate]) / math.sqrt(rate * (1 - rate))
            weights = np.array([rate, 1 - rate])
            top = min(1.5, 600 / (size * z[0]))
            root = optimize.brentq(lambda r, z=z, w=weights, d=size: w @ np.exp(r * (d * z - d * d / 2)) - 1, 1e-4, top)
            assert exponent_of_errors(size, np.array([rate]))[0] == pytest.approx(min(root, 1.0), rel=1e-9)
            skew = (1 - 2 * rate) / math.sqrt(rate * (1 - rate))
            if size < 0.5 and skew * size < 0.7:
                assert exponent(size, np.array([skew]))[0] == pytest.approx(min(root, 1.0), rel=0.03)
    assert exponent(0.3, np.array([0.0, -2.0])).tolist() == [1.0, 1.0]
    assert exponent_of_errors(0.3, np.array([0.7]))[0] == pytest.approx(1.0)
    y = np.array([1e-4, 0.01, 1.0, 1e5, 1e90])
    assert np.expm1(wald_limit(y)) - wald_limit(y) == pytest.approx(y, rel=1e-6)


def test_the_exponent_is_found_for_every_size_and_rate():
    """Where an error lowers the score there is none: no score ever rises there."""
    rates = np.array([1e-9, 1e-6, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.49, 0.5, 0.7, 0.999])
    for size in (0.01, 0.1, 0.5, 1.0, 1.5, 1.9, 1.99, 2.0, 2.01, 3.0, 5.0, 10.0):
        found = exponent_of_errors(size, rates)
        assert np.all((found > 0.0) & (found <= 1.0))
        rare = np.minimum(rates, 0.5)
        sd = np.sqrt(rare * (1.0 - rare))
        up, down = size * (1.0 - rare) / sd - size * size / 2.0, -size * rare / sd - size * size / 2.0
        mean = np.log(rare) + found * up, np.log1p(-rare) + found * down
        assert np.all(np.logaddexp(*mean) < 1e-9)  # E exp(R step) is at most 1


@pytest.mark.parametrize("size", [3.0, 10.0])
def test_a_rise_that_errors_cannot_make_raises_nothing(size):
    detector = PageHinkley(size=size)
    state, found = detector.update(detector.init(2), (rng(0, "large").random((2, 500)) < 0.3).astype(float))
    assert not found.alarm.any()
    assert np.isfinite(state.limits).all()


@pytest.mark.parametrize("rise", [0.2, 0.4])
def test_first_alarms_are_those_of_rivers_detector(rise):
    """The same slack and limit on the same stream: first alarms of River's come within 2 values of ours.

    River's subtracts nothing before its first value and tests from the 30th one on, ours from the `reference`-th: sums
    may begin apart, so the excursions are the same only once both came back to 0.
    """
    drift = pytest.importorskip("river.drift")
    for seed in range(6):
        values = errors(np.repeat([0.1, 0.1 + rise], [2000, 2000]), "river", seed)
        theirs = drift.PageHinkley(delta=0.05, threshold=20.0, alpha=1.0, mode="up")
        first = None
        for at, value in enumerate(values.tolist()):
            theirs.update(value)
            if theirs.drift_detected:
                first = at
                break
        assert first is not None
        ours = alarms(PageHinkley(slack=0.05, limit=20.0, reference=30), values)
        assert abs(ours[0] - first) <= 2


@pytest.mark.parametrize(
    "settings",
    [
        {"size": 0.0},
        {"size": 11.0},
        {"arl": 50.0},
        {"arl": 1e101},
        {"warning": 0.0},
        {"warning": 2.0},
        {"reference": 10},
        {"slack": 1.0},
        {"limit": 1.0},
        {"slack": -1.0, "limit": 1.0},
        {"slack": 1.0, "limit": 0.0},
        {"slack": math.nan, "limit": 1.0},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InvalidSetting):
        PageHinkley(**settings)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["rare errors", "errors", "losses", "normal"])
def test_the_measured_promise(law):
    assert_keeps_its_promise(PageHinkley(arl=ARL, warning=1.0), law)


def test_one_value_far_on_the_better_side_does_not_make_every_later_one_an_alarm():
    values = 1e6 + rng(5, "dropout").standard_normal(6000)
    values[2500] = 0.0
    detector = PageHinkley()
    _, said = detector.update(detector.init(1), values)
    assert np.count_nonzero(said.level == Level.ALARM) <= 1


def test_after_an_alarm_the_classical_form_keeps_its_limit():
    detector = PageHinkley(slack=0.1, limit=20.0)
    state, said = detector.update(
        detector.init(1), rng(6, "classical").standard_normal(3000) + np.repeat([0.0, 3.0], 1500)
    )
    alarms = said.level == Level.ALARM
    assert np.count_nonzero(alarms) > 10
    assert (said.limit[alarms] == 20.0).all()
    assert state.centre.tolist() == [0.1]
