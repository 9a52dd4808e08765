"""Broken data is told apart from drift, and neither is told of data that are well."""

import numpy as np
import pytest

from visutility.monitor.drift import compare, sketch

N = 2000


def table(seed, rows=N):
    draw = np.random.default_rng(seed)
    return {
        "x": draw.normal(10.0, 1.0, rows),
        "rare": (draw.random(rows) < 0.002).astype(float),
        "heavy": draw.standard_cauchy(rows),
        "word": np.array(["a", "b", "c", None], object)[draw.choice(4, rows, p=[0.5, 0.29, 0.2, 0.01])],
        "at": np.datetime64("2026-01-01") + (seed * 10_000 + np.arange(rows)).astype("timedelta64[s]"),
    }


REFERENCE = sketch(table(1))


def judged(**changed):
    report = compare(REFERENCE, table(2) | changed)
    return report, {(one.check, one.column): one for one in report.quality}


def half(values, replaced, share=0.5):
    changed = np.array(values, copy=True)
    changed[: int(share * len(changed))] = replaced
    return changed


def test_good_data_are_well():
    report, found = judged()
    assert found == {}
    assert report.status == "ok"


@pytest.mark.parametrize(
    ("change", "check", "column"),
    [
        (lambda t: {"x": half(t["x"], np.nan)}, "nulls", "x"),
        (lambda t: {"x": [None] * N}, "nulls", "x"),
        (lambda t: {"x": np.full(N, np.nan)}, "nulls", "x"),
        (lambda t: {"word": half(t["word"], None)}, "nulls", "word"),
        (lambda t: {"x": np.zeros(N)}, "constant", "x"),
        (lambda t: {"x": np.full(N, 10.0)}, "constant", "x"),
        (lambda t: {"word": ["b"] * N}, "constant", "word"),
        (lambda t: {"x": half(t["x"], np.inf, 0.05)}, "impossible", "x"),
        (lambda t: {"x": half(t["x"], 1e6, 0.05)}, "range", "x"),
        (lambda t: {"x": t["x"] * 1000.0}, "range", "x"),
        (lambda t: {name: np.resize(column[:200], N) for name, column in t.items()}, "duplicates", ""),
        (lambda t: {"x": t["x"].astype(str)}, "schema", "x"),
    ],
)
def test_broken_data_are_named_and_not_taken_for_drift(change, check, column):
    report, found = judged(**change(table(2)))
    assert found[check, column].severity == "broken"
    assert report.status == "data broken"
    assert report.quality[0].severity == "broken"
    assert "broken" in report.verdict


@pytest.mark.parametrize(
    ("change", "check", "column"),
    [
        (lambda t: {"x": half(t["x"], np.nan, 0.1)}, "nulls", "x"),
        (lambda t: {"x": half(t["x"], np.inf, 0.005)}, "impossible", "x"),
        (lambda t: {"x": t["x"] + 3.0}, "range", "x"),
        (lambda t: {name: np.resize(column[: N - 300], N) for name, column in t.items()}, "duplicates", ""),
        (lambda t: {"extra": t["x"]}, "schema", "extra"),
    ],
)
def test_smaller_faults_are_warnings(change, check, column):
    report, found = judged(**change(table(2)))
    assert found[check, column].severity == "warning"
    assert report.status in ("ok", "drift")


@pytest.mark.parametrize(
    ("now", "severity"), [(0.01, None), (0.004, None), (0.05, "warning"), (0.3, "warning"), (0.5, "broken")]
)
def test_infinities_that_become_more_are_found(now, severity):
    before = sketch(table(1) | {"x": half(table(1)["x"], np.inf, 0.01)})
    report = compare(before, table(2) | {"x": half(table(2)["x"], -np.inf, now)})
    found = {one.check: one for one in report.quality if one.column == "x"}
    assert (found["impossible"].severity if found else None) == severity
    if severity:
        assert found["impossible"].share == pytest.approx(now)
        assert "1.0% in the reference window" in found["impossible"].detail


def test_a_missing_column_is_broken():
    rows = table(2)
    del rows["x"]
    report = compare(REFERENCE, rows)
    assert (report.status, report.drifted, report.p_value) == ("data broken", True, 0.0)
    assert report.columns[0].to_json()["effect_name"] == "removed"


def test_drift_alone_is_not_broken():
    report, found = judged(x=table(3)["x"] + 0.5)
    assert report.status == "drift"
    assert not any(one.severity == "broken" for one in found.values())


def test_chance_explains_what_is_rare():
    """A small window may hold none of a rare value, no null, and one value outside the range: no finding."""
    for seed in range(40):
        report = compare(REFERENCE, table(100 + seed, 60))
        assert report.quality == (), seed


def test_times_go_on_without_a_finding():
    report, found = judged(at=table(2)["at"] + np.timedelta64(365, "D"))
    assert not [one for one in found if one[1] == "at"]
    assert not report.drifted


def test_a_larger_window_repeats_rows_of_few_values_more_often():
    draw = np.random.default_rng(5)
    small, large = draw.integers(0, 3000, (400, 2)), draw.integers(0, 3000, (100_000, 2))
    assert compare(small // 30, large // 30).quality == ()


def test_types_that_are_not_compared_are_said():
    report = compare({"x": [1.0, 2.0], "picture": [b"1", b"2"]}, {"x": [1.0, 2.0], "picture": [b"3", b"2"]})
    assert [(one.check, one.column, one.severity) for one in report.quality] == [("not compared", "picture", "warning")]
