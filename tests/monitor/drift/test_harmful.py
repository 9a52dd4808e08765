import numpy as np
import pytest
from scipy import stats

from visutility.core.errors import EmptyWindow, InvalidData
from visutility.core.rng import rng
from visutility.monitor import compare
from visutility.monitor.drift import DriftReport
from visutility.monitor.drift.harmful import confidence_drop, label_shift
from visutility.monitor.drift.ranks import location_and_spread


def softmax(g, n, sharpness=3.0, weights=(1, 1, 1, 1, 1)):
    """Vectors (n, 5) of a model that is surer the larger `sharpness`; labels in proportion to `weights`."""
    label = g.choice(5, n, p=np.array(weights) / sum(weights))
    logits = g.standard_normal((n, 5)) + sharpness * np.eye(5)[label]
    odds = np.exp(logits)
    return odds / odds.sum(1, keepdims=True)


def test_confidence_that_falls_is_drift_and_that_rises_is_not():
    g = rng(1, "softmax")
    reference = softmax(g, 1000)
    report = compare(reference, softmax(g, 100, 1.5), "softmax")
    assert report.drifted
    assert "confidence fell" in report.verdict
    assert report.columns[0].effect < -0.1
    report = compare(reference, softmax(g, 100, 6.0), "softmax")
    assert not report.drifted
    assert {row.name: row for row in report.columns}["confidence"].p_value > 0.9


def test_other_labels_are_seen():
    g = rng(2, "labels")
    report = compare(softmax(g, 1000), softmax(g, 100, weights=(5, 1, 1, 1, 1)), "softmax")
    assert report.drifted
    assert "labels" in report.verdict
    assert report.columns[0].effect > 0.2
    assert sum(report.columns[0].current.shares) == pytest.approx(1.0)


@pytest.mark.slow
def test_the_level_holds():
    """A test at .05 fails with probability 1e-3; one whose true rate is .1 passes with .1."""
    drifted = 0
    for number in range(500):
        g = rng(3, "null", number)
        drifted += compare(softmax(g, 200), softmax(g, 60), "softmax", seed=number).drifted
    assert drifted <= stats.binom.isf(1e-3, 500, 0.05)


def test_the_rank_sum_is_scipys():
    g = rng(4, "ranks")
    before, after = g.integers(0, 8, 300) / 8.0, g.integers(1, 9, 40) / 8.0
    p, _ = confidence_drop(before, after)
    assert p == pytest.approx(
        stats.mannwhitneyu(after, before, alternative="greater", method="asymptotic", use_continuity=False).pvalue
    )
    assert confidence_drop(np.zeros(50), np.zeros(20)) == (1.0, 0.0)


def test_the_histogram_test_is_exact_for_rare_labels():
    """Against scipy's exact test of a 2 x 2 table; the Monte Carlo error of p near .1 is .004."""
    p, square = label_shift(np.array([480, 20]), np.array([90, 10]))
    assert square == pytest.approx(stats.chi2_contingency([[480, 20], [90, 10]], correction=False).statistic)
    assert p == pytest.approx(stats.fisher_exact([[480, 20], [90, 10]]).pvalue, abs=0.02)
    assert label_shift(np.array([500, 0, 0]), np.array([100, 0, 0]))[0] == 1.0


def test_location_and_spread_keeps_its_level_with_ties_and_sees_both():
    p_values = []
    for number in range(2000):
        g = rng(5, "lepage", number)
        p_values.append(location_and_spread(g.poisson(2.0, 200).astype(float), g.poisson(2.0, 50).astype(float))[0])
    assert np.mean(np.array(p_values) <= 0.05) <= stats.binom.isf(1e-4, 2000, 0.05) / 2000
    assert np.mean(np.array(p_values) <= 0.05) >= stats.binom.ppf(1e-4, 2000, 0.05) / 2000
    g = rng(6, "spread")
    assert location_and_spread(g.standard_normal(500), 2.0 * g.standard_normal(100))[0] < 1e-4
    assert location_and_spread(g.standard_normal(500), g.standard_normal(100) + 0.7)[0] < 1e-4
    assert location_and_spread(np.zeros(50), np.zeros(20)) == (1.0, 0.0)


def test_a_report_without_drift_has_no_drifted_rows():
    g = rng(14, "agree")
    windows = softmax(g, 200), softmax(g, 100, weights=(1, 1, 1.4, 1, 1), sharpness=2.7)
    report = compare(*windows, "softmax", level=0.015)
    assert not report.drifted
    assert min(row.q_value for row in report.columns) < 0.015
    assert not any(row.drifted for row in report.columns)
    assert any(row.drifted for row in compare(*windows, "softmax", level=0.05).columns)


@pytest.mark.parametrize(("bad", "tested"), [(1, True), (95, False), (100, False)])
def test_vectors_that_are_not_finite_are_broken_data_and_left_out(bad, tested):
    g = rng(5, "nan")
    current = softmax(g, 100)
    current[:bad] = np.nan
    report = compare(softmax(g, 500), current, "softmax")
    assert (report.status, report.drifted) == ("data broken", False)
    assert report.quality[0].share == pytest.approx(bad / 100)
    assert len(report.columns) == (2 if tested else 0)
    assert DriftReport.from_json(report.to_json()) == report


@pytest.mark.parametrize(
    ("reference", "current", "error"),
    [
        (np.zeros((60, 3)), np.full((20, 3), 1 / 3), InvalidData),  # sums of 0
        (np.full((60, 3), 1 / 3), np.full((20, 2), 1 / 2), InvalidData),  # another model
        (np.full((60, 3), 1 / 3), np.array([[2.0, -1.0, 0.0]] * 20), InvalidData),  # logits
        (np.ones((60, 1)), np.ones((20, 1)), InvalidData),
        (np.full((40, 3), 1 / 3), np.full((20, 3), 1 / 3), EmptyWindow),
    ],
)
def test_what_is_no_softmax_is_refused(reference, current, error):
    with pytest.raises(error):
        compare(reference, current, "softmax")
