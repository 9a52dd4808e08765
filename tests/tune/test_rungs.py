"""The median rule, by hand."""

import math

import numpy as np
import pytest

from visutility.core.errors import InvalidObservation, InvalidSetting
from visutility.tune import MedianStopping
from visutility.tune.fidelity import Curve, Seen
from visutility.tune.rungs import check_report

CURVES = [Curve.of(number, "complete", [(step, 10.0 + number - step) for step in range(5)]) for number in range(5)]


def keep_going(best, step, curves, rule):
    return rule.goes_on(Seen(tuple(curves)), Curve(99, "pending", (step,), (best,)))


def test_a_curve_holds_running_averages():
    assert Curve.of(0, "complete", [(0, 4.0), (2, 2.0), (7, 0.0)]).averages == [4.0, 3.0, 2.0]


@pytest.mark.parametrize(
    ("best", "step", "goes_on"),
    [
        (12.0, 0, True),  # the median of 10 … 14 itself is not worse than it
        (12.1, 0, False),
        (11.0, 2, True),  # running averages up to step 2 are 9 … 13, their median 11
        (11.1, 2, False),
        (10.0, 4, True),
        (10.0, 400, True),  # beyond their last step, all of their averages count
        (10.1, 400, False),
    ],
)
def test_a_trial_worse_than_the_median_stops(best, step, goes_on):
    assert keep_going(best, step, CURVES, MedianStopping()) is goes_on


def test_nothing_stops_before_enough_trials_came_that_far():
    assert keep_going(99.0, 3, CURVES[:4], MedianStopping())
    assert not keep_going(99.0, 3, CURVES[:4], MedianStopping(startup=4))
    late = [Curve.of(0, "complete", [(5, 1.0)])] * 5
    assert keep_going(99.0, 4, late, MedianStopping())
    assert not keep_going(99.0, 5, late, MedianStopping())


def test_only_complete_trials_count():
    others = [Curve(c.number, state, c.steps, c.values) for c in CURVES for state in ("pruned", "paused")]
    assert keep_going(99.0, 3, others, MedianStopping())


def test_nothing_stops_while_warming_up():
    assert keep_going(99.0, 2, CURVES, MedianStopping(warmup=3))
    assert not keep_going(99.0, 3, CURVES, MedianStopping(warmup=3))


@pytest.mark.parametrize("settings", [{"startup": 0}, {"startup": 2.5}, {"warmup": -1}, {"warmup": True}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(InvalidSetting, match="is"):
        MedianStopping(**settings)


def test_reports_are_checked():
    assert check_report(3, 1.0, {1: 0.5})
    assert not check_report(1, 9.0, {1: 0.5})
    assert not check_report(2, math.nan, {1: 0.5})
    for step in (-1, 1.5, True, "1", None):
        with pytest.raises(InvalidObservation, match="step"):
            check_report(step, 1.0, {})
    assert check_report(2**63 - 1, 1.0, {1: 0.5})
    assert check_report(np.int64(3), 1.0, {1: 0.5})
    for step in (2**63, np.uint64(2**63)):  # as in the database
        with pytest.raises(InvalidObservation, match="too large") as refused:
            check_report(step, 1.0, {})
        assert "at most 63 bits" in refused.value.hint
    with pytest.raises(InvalidObservation, match="step"):
        check_report(np.True_, 1.0, {})
    with pytest.raises(InvalidObservation, match="below the last"):
        check_report(2, 1.0, {1: 0.5, 3: 0.5})
    with pytest.raises(InvalidObservation, match="'low' is not a number"):
        check_report(2, "low", {})
