"""Delays, misses and false alarms, on cases small enough to count by hand."""

import math

import pytest
from scipy import stats

from visutility.core.errors import Invalid
from visutility.core.rng import rng
from visutility.monitor import judge, pooled, run_length


def test_alarms_are_sorted_into_delays_repeats_and_false_ones():
    score = judge([5, 99, 100, 130, 210, 399], [(100, 150), (200, 250), (300, 320)], 400)
    assert score.delays[:2] == (1.0, 11.0)
    assert math.isnan(score.delays[2])
    assert (score.false_alarms, score.repeats, score.unchanged) == (3, 1, 280)
    assert score.median_delay == 11.0
    assert score.missed_rate == pytest.approx(1 / 3)
    assert score.false_alarms_per_million == pytest.approx(3e6 / 280)
    assert score.mean_time_between == pytest.approx(280 / 3)


def test_what_is_undefined_is_nan():
    quiet = judge([], [], 100)
    assert (quiet.false_alarms_per_million, quiet.unchanged) == (0.0, 100)
    for value in (quiet.median_delay, quiet.missed_rate, quiet.mean_time_between):
        assert math.isnan(value)
    missed = judge([], [(0, 100)], 100)
    assert missed.missed_rate == 1.0
    assert math.isnan(missed.median_delay)
    assert math.isnan(missed.false_alarms_per_million)


def test_scores_of_many_streams_pool():
    one = pooled([judge([10], [(5, 20)], 50), judge([0, 30], [(20, 50)], 50), judge([], [], 7)])
    assert (one.delays, one.false_alarms, one.repeats, one.unchanged) == ((6.0, 11.0), 1, 0, 62)


@pytest.mark.parametrize(
    ("alarms", "changes"),
    [
        ([100], []),
        ([-1], []),
        ([], [(50, 101)]),
        ([], [(20, 30), (10, 15)]),
        ([], [(10, 30), (20, 40)]),
        ([], [(5, 5)]),
    ],
)
def test_what_does_not_fit_the_stream_is_refused(alarms, changes):
    with pytest.raises(Invalid):
        judge(alarms, changes, 100)


def test_run_length_bound_is_the_chi_square_one():
    estimate, bound = run_length(1e6, 4, confidence=0.95)
    assert estimate == 250_000
    assert bound == pytest.approx(1e6 / (stats.chi2.ppf(0.95, 10) / 2))
    estimate, bound = run_length(1e6, 0, confidence=0.95)
    assert math.isnan(estimate)
    assert bound == pytest.approx(1e6 / -math.log(0.05))


def test_run_length_bound_covers():
    """Poisson alarms at 1 in 100: the bound exceeds it at most 5 % of the time; fails with 1e-6 if right."""
    counts = rng(0, "run length").poisson(5.0, 2000)
    assert sum(run_length(500, int(c))[1] > 100 for c in counts) <= stats.binom.isf(1e-6, 2000, 0.05)


@pytest.mark.parametrize("bad", [(0, 0, 0.9), (10, -1, 0.9), (10, 1, 1.0), (10, 1, 0.0)])
def test_run_length_refuses_nonsense(bad):
    with pytest.raises(Invalid):
        run_length(*bad)
