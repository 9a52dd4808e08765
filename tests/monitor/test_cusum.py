"""CUSUM: the log-likelihood ratio, the baseline it is measured against, and its measured promise."""

import math

import numpy as np
import pytest
from runs import ARL, LAWS, MOST, RUNS, STEPS, alarmed, assert_keeps_its_promise
from scipy import stats

from visutility.core.errors import InvalidSetting
from visutility.core.rng import rng
from visutility.monitor import Cusum, Level
from visutility.monitor.excursions import wald_limit


def errors(rates, *names):
    return (rng(1, "cusum", *names).random(len(rates)) < rates).astype(float)


def pages_cusum(ratios):
    """Page's S_t = max(0, S_(t-1) + l(x_t)), by the book."""
    score = 0.0
    for ratio in ratios.tolist():
        score = max(0.0, score + ratio)
    return score


def test_errors_are_judged_by_the_ratio_of_bernoulli_likelihoods():
    reference, values = errors(np.full(400, 0.1), "reference"), errors(np.full(25, 0.4), "values")
    detector = Cusum(size=0.5, margin=1.0, arl=1e12)
    state, _ = detector.update(detector.init([reference]), values)
    rate = (reference.sum() + 1) / 402
    q0 = rate + math.sqrt(rate * (1 - rate) / 400)
    q1 = q0 + 0.5 * math.sqrt(q0 * (1 - q0))
    ratios = stats.bernoulli.logpmf(values, q1) - stats.bernoulli.logpmf(values, q0)
    assert detector.scores(state)[0] == pytest.approx(pages_cusum(ratios))
    loss = -(q0 * math.log(q1 / q0) + (1 - q0) * math.log((1 - q1) / (1 - q0)))
    assert detector.learnt(state)["limit"] == pytest.approx(wald_limit(np.array([1e12 * loss]))[0])


def test_other_values_are_judged_by_the_ratio_of_normal_likelihoods():
    reference, values = rng(1, "normal").normal(7, 3, 400), rng(1, "more").normal(8.5, 3, 30)
    detector = Cusum(size=0.5, margin=0.0, arl=1e12)
    state, _ = detector.update(detector.init([reference]), values)
    mean, sd = reference.mean(), reference.std(ddof=1)
    ratios = stats.norm.logpdf(values, mean + sd / 2, sd) - stats.norm.logpdf(values, mean, sd)
    assert detector.scores(state)[0] == pytest.approx(pages_cusum(ratios))


def test_a_larger_margin_is_slower_and_calmer():
    values = errors(np.repeat([0.1, 0.2], [1000, 2000]), "margin")
    first = []
    for margin in (0.0, 3.0, 6.0):
        detector = Cusum(margin=margin)
        _, said = detector.update(detector.init([values[:300]]), values)
        first.append(said.position[(said.level == Level.ALARM) & (said.position >= 1000)][0])
    assert first == sorted(first)
    assert first[0] < first[2]


def test_what_raised_an_alarm_does_not_become_normal():
    """Counts of the baseline stay within what came before the change and what fell back to 0 by chance."""
    detector = Cusum()
    state, said = detector.update(detector.init(1), errors(np.repeat([0.05, 0.4], [2000, 3000]), "stays"))
    assert (said.level == Level.ALARM).sum() > 20
    assert detector.learnt(state)["reference_mean"] < 0.07
    first = next(verdict for verdict in said if verdict.level is Level.ALARM)
    assert abs(first.evidence["since"] - 2000) <= 15
    assert first.evidence["mean_since"] > 0.2 > 0.1 > first.evidence["reference_mean"]


def test_a_stream_that_is_no_longer_of_errors_is_judged_as_what_it_is():
    detector = Cusum()
    state, _ = detector.update(detector.init(1), errors(np.full(500, 0.1), "first"))
    assert state.binary.all()
    state, _ = detector.update(state, rng(1, "then").beta(2, 8, 3000))
    assert not state.binary.any()
    _, said = detector.update(state, rng(1, "worse").beta(5, 5, 200))
    assert (said.level == Level.ALARM).any()


def test_falling_accuracy_is_told_in_its_own_units():
    detector = Cusum(direction="fall")
    state, said = detector.update(detector.init(1), 1 - errors(np.repeat([0.05, 0.5], [1000, 100]), "falls"))
    first = next(verdict for verdict in said if verdict.level is Level.ALARM)
    assert first.evidence["mean_since"] < 0.7 < 0.9 < first.evidence["reference_mean"] < 1.0
    assert state.binary.all()


@pytest.mark.parametrize(
    "settings",
    [{"size": 0.0}, {"arl": 50.0}, {"warning": 2.0}, {"reference": 10}, {"margin": -1.0}, {"margin": math.nan}],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InvalidSetting):
        Cusum(**settings)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["rare errors", "errors", "losses", "exponential"])
def test_the_measured_promise(law):
    assert_keeps_its_promise(Cusum(arl=ARL, warning=1.0), law)


@pytest.mark.slow
def test_a_baseline_taken_as_it_looks_breaks_the_promise():
    """Without the margin, baselines that look too good by chance alarm over and over: the margin is needed."""
    assert alarmed(Cusum(arl=ARL, warning=1.0, margin=0.0), LAWS["losses"], RUNS, STEPS, "none") > MOST
