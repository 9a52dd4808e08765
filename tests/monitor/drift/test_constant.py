"""Features that never vary in the reference window: a change of them is seen, and the level holds."""

import numpy as np
import pytest
from scipy import stats

from visutility.core.rng import rng
from visutility.monitor import compare
from visutility.monitor.drift import DriftReport
from visutility.monitor.drift.constant import Constants

M, N = 600, 100


def dead(g, rows):
    """Vectors (rows, 12) of which one is always 0."""
    values = g.standard_normal((rows, 12))
    values[:, 5] = 0.0
    return values


def test_a_dimension_that_wakes_is_drift_and_its_rows_are_named():
    g = rng(1, "wakes")
    reference, current = dead(g, M), dead(g, N)
    assert compare(reference, current, "embedding").status == "ok"
    current[::10, 5] = 5.0 * np.abs(g.standard_normal(10))
    report = compare(reference, current, "embedding")
    assert report.status == "drift"
    assert report.p_value < 1e-5
    row = report.columns[0]
    assert (row.name, row.statistic, row.effect, row.drifted) == ("embedding constants", 10.0, 0.1, True)
    assert row.current.shares == pytest.approx((0.9, 0.1))
    assert set(report.shifted[:10]) == set(range(0, 100, 10))
    assert "never vary" in report.verdict
    assert DriftReport.from_json(report.to_json()) == report


@pytest.mark.parametrize("width", [3, 300])
def test_an_empty_reference_differs_from_what_is_not(width):
    g = rng(2, "empty")
    nothing = np.zeros((M, width))
    assert compare(nothing, nothing[:N], "embedding").p_value == 1.0
    assert compare(nothing, g.standard_normal((N, width)), "embedding").p_value < 1e-9
    assert compare(nothing + 0.1, nothing[:N] + (0.1 + 1e-15), "embedding").p_value == 1.0  # rounding


@pytest.mark.parametrize("colour", [0, 128])
def test_images_of_one_colour_differ_from_others(colour):
    g = rng(3, "colour")
    plain = np.full((M, 8, 8), colour, np.uint8)
    assert not compare(plain, plain[:N], "images").drifted
    report = compare(plain, g.integers(0, 256, (N, 8, 8)).astype(np.uint8), "images")
    assert report.drifted
    assert report.p_value < 1e-9
    assert "pixels constants" in {row.name for row in report.columns}


def test_without_constant_features_there_is_no_such_row():
    g = rng(4, "none")
    report = compare(g.standard_normal((M, 4)), g.standard_normal((N, 4)), "embedding")
    assert [row.test for row in report.columns if "constant" in row.name] == []


def test_the_chance_is_that_of_a_permutation():
    reference = np.zeros((7, 1))
    current = np.array([[0.0], [1.0], [2.0]])
    learnt = Constants.fit(reference, np.array([False]))
    p, differ = learnt.test(learnt.differing(current))
    assert differ == 2
    assert p == pytest.approx(3 * 2 / (10 * 9))


def test_features_that_are_seldom_not_constant_keep_the_level():
    """4,000 windows of 40 features, each in one row of 50: a test whose true rate is .05 fails with probability 1e-4.

    Rows that differ in any constant feature, counted together, would reject nearly always.
    """
    alarms = 0
    for number in range(4000):
        g = rng(5, "seldom", number)
        values = (g.random((75, 40)) < 0.02).astype(float)
        learnt = Constants.fit(values[:50], values[:50].any(0))
        differing = learnt.differing(values[50:])
        alarms += learnt.test(differing)[0] <= 0.05
    assert alarms <= stats.binom.isf(1e-4, 4000, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1e-3, 5e-3])
def test_the_level_of_the_whole_comparison_holds_where_features_are_rare(rate):
    """A test at .05 fails with probability 1e-4 (600 windows)."""
    alarms = 0
    for number in range(600):
        g = rng(6, "rare", number)
        values = np.where(g.random((300, 12)) < rate, g.standard_normal((300, 12)), 0.0)
        values[:, :4] = g.standard_normal((300, 4))
        alarms += compare(values[:200], values[200:], "embedding").drifted
    assert alarms <= stats.binom.isf(1e-4, 600, 0.05)
