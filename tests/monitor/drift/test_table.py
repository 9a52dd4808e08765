"""Tables compared: power, false discoveries, size, rows of every kind, and the same answer for any cut."""

import numpy as np
import pytest
from scipy import stats

from visutility.core.errors import EmptyWindow, Invalid, InvalidData
from visutility.monitor import compare, sketch
from visutility.monitor.drift import DriftReport, TableSketch

COLUMNS = 20


def draw(*seed):
    return np.random.default_rng(seed)


def by_name(report, kind=None):
    return {row.name: row for row in report.columns if kind in (None, row.kind)}


# -- power and size --------------------------------------------------------------------------------------------------


def shifted(seed, reference_rows):
    """Reference and current of 20 normal columns, ten of them a tenth of a standard deviation higher: names flagged."""
    old, new = draw(seed, 1).normal(size=(reference_rows, COLUMNS)), draw(seed, 2).normal(size=(5000, COLUMNS))
    new[:, :10] += 0.1
    return {row.name for row in compare(old, new).columns if row.drifted}


MOVED = {str(at) for at in range(10)}


@pytest.mark.slow
def test_small_shifts_are_found_in_each_column_and_seldom_elsewhere():
    """9.9 of 10 and 5 % promised; 9.95 and 2 % measured: fails under another seed with probability below 1e-3."""
    flagged = [shifted(seed, 5000) for seed in range(100)]
    assert np.mean([len(names & MOVED) for names in flagged]) >= 9.85  # four standard errors of .025 below 9.95
    assert np.mean([len(names - MOVED) / max(len(names), 1) for names in flagged]) <= 0.05


def test_a_large_reference_window_finds_all_of_them():
    for seed in range(3):
        assert shifted(seed, 50_000) >= MOVED


LAWS = {
    "normal": lambda g, n: g.normal(size=(n, COLUMNS)),
    "dependent": lambda g, n: 0.8 * g.normal(size=(n, 1)) + 0.6 * g.normal(size=(n, COLUMNS)),
    "heavy tails": lambda g, n: g.standard_cauchy((n, COLUMNS)),
    "counts": lambda g, n: g.poisson(np.geomspace(0.01, 50, COLUMNS), (n, COLUMNS)),
    "mostly zero": lambda g, n: g.exponential(size=(n, 20)) * (g.random((n, 20)) < np.geomspace(0.002, 0.5, 20)),
    "labels": lambda g, n: {str(k): np.char.mod("v%d", np.minimum(g.zipf(1.3, n), k)) for k in (2, 3, 9, 99, 9999)},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("rows", [(1000, 1000), (3000, 300)], ids=["even", "uneven"])
@pytest.mark.parametrize("law", LAWS)
def test_a_verdict_has_its_size_whatever_the_law_of_the_columns(law, rows):
    """A verdict that alarms 5 % of the time fails with probability 1e-4; one with 22 % slips through with .05."""
    repetitions, alarms = 100, 0
    for seed in range(repetitions):
        g = draw(seed, 3)
        alarms += compare(LAWS[law](g, rows[0]), LAWS[law](g, rows[1])).drifted
    assert alarms <= stats.binom.isf(1e-4, repetitions, 0.05)


# -- rows of every kind ----------------------------------------------------------------------------------------------


def test_a_tiny_reference_window_does_not_make_a_large_one_drift():
    """Each reference value is an edge, with a bin of its own that no other value can fall into."""
    for seed in range(3):
        assert not compare({"x": draw(seed, 0).normal(size=10)}, {"x": draw(seed, 1).normal(size=100_000)}).drifted


@pytest.mark.slow
def test_the_shape_has_its_size_where_edges_are_values_of_a_small_reference():
    p = [
        row.details["p_shape"]
        for seed in range(40)
        for row in compare(
            draw(seed, 6).normal(size=(100, 10)), draw(seed, 7).normal(size=(5000, 10)), joint=False
        ).columns
    ]
    assert (np.array(p) <= 0.05).mean() < 0.11


def test_a_shift_of_a_small_window_is_found_by_its_location():
    """By one standard deviation in 14 rows against 1,000."""
    rows = [
        compare({"x": draw(seed, 2).normal(size=1000)}, {"x": draw(seed, 3).normal(1.0, size=14)}).columns[0]
        for seed in range(20)
    ]
    assert all("p_location" in row.details for row in rows)
    assert sum(row.drifted for row in rows) >= 13


def test_small_windows_of_counts_have_the_size_of_their_verdict():
    means = np.geomspace(0.05, 5.0, 10)
    found = [
        compare(draw(seed, 4).poisson(means, (1000, 10)), draw(seed, 5).poisson(means, (3, 10)), joint=False).drifted
        for seed in range(40)
    ]
    assert sum(found) <= 6


def table(seed, rows=3000):
    g = draw(seed, 4)
    return {
        "x": np.where(g.random(rows) < 0.05, np.nan, g.normal(size=rows)),
        "n": g.poisson(3.0, rows),
        "word": np.array(["a", "b", "c", "d"])[g.choice(4, rows, p=[0.4, 0.3, 0.2, 0.1])],
        "flag": g.random(rows) < 0.3,
        "at": np.datetime64("2026-01-01") + np.arange(rows).astype("timedelta64[s]"),
    }


def test_the_rows_of_a_table():
    report = compare(table(1), table(2))
    kinds = {(row.name, row.kind, row.test) for row in report.columns if row.kind != "numeric"}
    assert {("x", "missing", "share"), ("flag", "categorical", "share"), ("x, n", "joint", "correlation")} <= kinds
    assert set(by_name(report, "numeric")) == {"x", "n"}
    assert set(by_name(report, "categorical")) == {"word", "flag"}
    assert "at" not in by_name(report)
    assert (report.drifted, report.status, report.rows) == (False, "ok", (3000, 3000))
    assert report.verdict.startswith("No drift")
    assert report == DriftReport.from_json(report.to_json())
    for row in report.columns:
        for histogram in (row.reference, row.current):
            assert sum(histogram.shares) == pytest.approx(1.0 if row.kind != "joint" else 0.0)
        assert row.reference.edges == row.current.edges
        assert row.reference.labels == row.current.labels


@pytest.mark.parametrize(
    ("name", "kind", "change"),
    [
        ("x", "numeric", lambda c: c + 0.2),
        ("n", "numeric", lambda c: c + (np.arange(len(c)) % 5 == 0)),
        ("word", "categorical", lambda c: np.where(np.arange(len(c)) % 9 == 0, "d", c)),
        ("word", "categorical", lambda c: np.where(np.arange(len(c)) % 50 == 0, "new", c)),
        ("flag", "categorical", lambda c: c | (np.arange(len(c)) % 9 == 0)),
        ("x", "missing", lambda c: np.where(np.arange(len(c)) % 20 == 0, np.nan, c)),
    ],
)
def test_each_kind_of_row_drifts(name, kind, change):
    rows = table(12)
    report = compare(table(11), rows | {name: change(rows[name])})
    assert {(row.name, row.kind) for row in report.columns if row.drifted} == {(name, kind)}
    assert (report.drifted, report.status) == (True, "drift")
    assert f"'{name}'" in report.verdict
    row = report.columns[0]
    assert row.q_value <= 0.05
    assert row.effect != 0.0


def test_effects_are_those_of_the_windows():
    old, new = draw(5).normal(2.0, 3.0, 4000), draw(6).normal(3.5, 3.0, 4000)
    row = by_name(compare({"x": old}, {"x": new}))["x"]
    assert (row.test, row.effect_name) == ("location", "standardised mean difference")
    assert row.effect == pytest.approx((new.mean() - old.mean()) / old.std(ddof=1))
    assert row.details["cliffs_delta"] == pytest.approx(
        2 * stats.mannwhitneyu(new, old).statistic / 16e6 - 1, abs=0.003
    )
    assert row.details["ks_distance"] == pytest.approx(stats.ks_2samp(old, new).statistic, abs=0.005)
    wide = by_name(compare({"x": old}, {"x": (old - 2.0) * 1.3 + 2.0}))["x"]
    assert (wide.test, wide.effect_name) == ("spread", "log ratio of standard deviations")
    assert wide.effect == pytest.approx(np.log(1.3))


def test_histograms_show_the_shares():
    old = draw(7).normal(size=5000)
    row = by_name(compare({"x": old}, {"x": old[:2500]}))["x"]
    wanted = np.histogram(old, row.reference.edges)[0] / 5000
    assert row.reference.shares == pytest.approx(wanted, abs=0.004)
    labels = by_name(compare({"x": ["a"] * 3 + ["b"]}, {"x": ["b", "b"]}))["x"]
    assert labels.reference.labels == ("b", "a", "(others)")
    assert labels.reference.shares == (0.25, 0.75, 0.0)
    assert labels.current.shares == (1.0, 0.0, 0.0)


def test_histograms_show_an_atom_at_the_maximum_where_it_is():
    g = draw(71)
    flags = (g.random(2000) < 0.5).astype(float)
    row = by_name(compare({"x": flags}, {"x": np.ones(2000)}))["x"]
    assert row.current.shares[-1] == pytest.approx(1.0)
    assert row.reference.shares[0] == pytest.approx(1 - flags.mean())
    assert row.reference.shares[-1] == pytest.approx(flags.mean())
    assert row.current.edges[-2] > 0.9
    most = (g.random(2000) > 0.002).astype(float)
    row = by_name(compare({"x": most}, {"x": np.ones(2000)}))["x"]
    assert row.current.shares[-1] == pytest.approx(1.0)
    assert row.current.edges[-2] > 0.9
    clipped = np.minimum(g.normal(size=(2, 5000)), 0.5)
    row = by_name(compare({"x": clipped[0]}, {"x": clipped[1]}))["x"]
    for histogram, values in ((row.reference, clipped[0]), (row.current, clipped[1])):
        wanted = np.histogram(values, histogram.edges)[0] / 5000
        assert histogram.shares == pytest.approx(wanted, abs=0.01)


def test_histograms_of_a_column_that_seldom_varies_have_bars_that_can_be_seen():
    seldom = (np.arange(2000) % 500 == 0).astype(float)
    row = by_name(compare({"x": seldom}, {"x": seldom}))["x"]
    assert min(np.diff(row.reference.edges)) > 0.01
    assert row.reference.shares[0] == pytest.approx(0.998)
    assert row.reference.shares[-1] == pytest.approx(0.002)


@pytest.mark.parametrize(("scale", "high"), [(1e-310, 0.0), (1e-310, 1.0), (1e307, 0.0)])
def test_histograms_of_the_smallest_and_the_largest_numbers(scale, high):
    g = draw(72)
    old, new = (np.append(scale * g.random(600), high) for _ in range(2))
    row = by_name(compare({"x": old}, {"x": new}))["x"]
    for histogram in (row.reference, row.current):
        assert sum(histogram.shares) == pytest.approx(1.0)


def test_a_label_may_be_named_as_the_rest_is():
    (row,) = compare({"x": ["(others)", "b", "c"] * 50}, {"x": ["(others)", "b", "b"] * 50}).columns
    assert row.current.labels == ("b", "(others)", "c", "((others))")
    assert row.current.shares == pytest.approx((2 / 3, 1 / 3, 0.0, 0.0))


def test_schema_changes_are_rows():
    rows = table(2)
    rows["n"] = rows["n"].astype(str)
    rows["new"] = rows.pop("word")
    report = compare(table(1), rows)
    schema = {name: (row.effect_name, row.drifted) for name, row in by_name(report, "schema").items()}
    assert schema == {"n": ("number to text", True), "word": ("removed", True), "new": ("added", False)}
    assert (report.p_value, report.drifted, report.status) == (0.0, True, "data broken")
    seconds = table(2)["at"].astype("int64") / 1e6
    timed = compare(table(1), table(2) | {"at": seconds, "flag": table(2)["flag"].astype(str)})
    assert {row.name: row.effect_name for row in timed.columns if row.kind == "schema"} == {
        "at": "time to number",
        "flag": "boolean to text",
    }
    assert not {"at", "flag"} & {row.name for row in timed.columns if row.kind != "schema"}
    assert [one.check for one in timed.quality] == ["schema", "schema"]
    added = compare(table(1), table(2) | {"new": np.arange(3000)})
    assert (added.drifted, added.status) == (False, "ok")


def test_integers_may_become_floats():
    rows = table(2)
    assert not compare(table(1), rows | {"n": rows["n"].astype(float)}).drifted


def test_columns_without_any_value():
    empty = {"x": [None] * 50, "y": np.arange(50.0)}
    full = {"x": np.arange(50.0), "y": np.arange(50.0)}
    assert set(by_name(compare(empty, empty), "missing")) == {"x"}
    assert not compare(empty, empty).drifted
    gone, come = compare(full, empty), compare(empty, full)
    assert by_name(gone)["x"].kind == by_name(come)["x"].kind == "missing"
    assert (gone.status, gone.quality[0].check) == ("data broken", "nulls")
    assert come.drifted
    text = compare({"x": ["a"] * 50}, {"x": [None] * 50})
    assert [(row.name, row.kind) for row in text.columns] == [("x", "missing")]


def test_columns_of_infinities():
    plain, endless = {"x": [1.0, np.nan, 2.0] * 20}, {"x": [np.inf] * 60}
    broken = compare(plain, endless)
    assert [(one.check, one.severity, one.share) for one in broken.quality] == [("impossible", "broken", 1.0)]
    assert [row.kind for row in broken.columns] == ["missing"]
    assert compare(endless, endless).status == "ok"
    assert compare(endless, plain).drifted


def test_constant_columns_and_extreme_numbers():
    same = compare({"x": np.ones(50)}, {"x": np.ones(50)})
    assert [(row.test, row.p_value, row.effect) for row in same.columns] == [("none", 1.0, 0.0)]
    other = compare({"x": np.ones(50)}, {"x": np.full(50, 2.0)})
    assert other.drifted
    huge = np.array([1.7e308, -1.7e308, 1e300, 0.0] * 30)
    report = compare({"x": huge}, {"x": huge})
    assert not report.drifted
    assert report == DriftReport.from_json(report.to_json())
    assert compare({"x": [0.0, 5e-324] * 50}, {"x": [0.0, 0.0] * 50}).drifted


# -- the same answer, whatever the way -------------------------------------------------------------------------------


def numbers(report):
    return [(row.name, row.test, row.statistic, row.p_value, row.q_value) for row in report.columns]


def test_streams_tables_and_sketches_give_the_same_verdict():
    old, new = table(1), table(3)
    new["x"] = new["x"] + 0.15
    reference = sketch(old)
    wanted = compare(old, new)
    assert wanted.drifted
    pieces = [{name: column[a:b] for name, column in new.items()} for a, b in ((0, 1), (1, 1), (1, 2900), (2900, 3000))]
    parts = [reference.fresh() for _ in pieces]
    for part, piece in zip(parts, pieces, strict=True):
        part.update(piece)
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    again = TableSketch.load(reference.save())
    for report in (
        compare(reference, new),
        compare(reference, iter(pieces)),
        compare(reference, merged),
        compare(again, new),
        compare(again, TableSketch.load(merged.save())),
    ):
        assert numbers(report) == numbers(wanted)
        assert report.quality == wanted.quality
    assert numbers(compare(old, new)) == numbers(wanted)


def test_the_order_of_columns_and_rows_does_not_matter():
    old, new = table(1), table(3)
    order = draw(8).permutation(3000)
    turned = {name: new[name][order] for name in reversed(new)}
    assert numbers(compare(old, turned)) == numbers(compare(old, new))


def test_numbers_may_be_labels():
    g = draw(9)
    old, new = g.integers(0, 5, (2000, 2)), g.integers(0, 5, (2000, 2))
    new[new[:, 0] == 1, 0] = 3
    report = compare(old, new, names=["class", "n"], categorical=["class"])
    assert [(row.name, row.kind) for row in report.columns if row.drifted] == [("class", "categorical")]
    assert by_name(report)["class"].details["labels_current"] == 4.0


def test_the_level_is_the_level():
    new = draw(2).normal(size=(2000, 3)) + 0.08
    p = compare(draw(1).normal(size=(2000, 3)), new).p_value
    assert 1e-4 < p < 0.5
    for level, drifted in ((p * 0.99, False), (p * 1.01, True)):
        report = compare(draw(1).normal(size=(2000, 3)), new, level=level)
        assert (report.drifted, any(row.drifted for row in report.columns)) == (drifted, drifted)


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "windows", [({"x": []}, {"x": [1.0]}), ({"x": [1.0]}, {"x": []}), (np.zeros((0, 2)), np.ones((1, 2)))]
)
def test_windows_without_rows_are_refused(windows):
    with pytest.raises(EmptyWindow, match="no rows"):
        compare(*windows)


@pytest.mark.parametrize(
    ("windows", "match"),
    [
        (({"x": [1.0]}, {"y": [1.0]}), "no column in common"),
        (({"x": [1.0]}, {"x": ["a", 1.0]}), "mixes types"),
        (({"x": [1.0]}, 5.0), "is not a table"),
        (({"x": [1.0]}, {"x": [1.0], "y": [1.0, 2.0]}), "unequal length"),
    ],
)
def test_windows_that_cannot_be_compared_are_refused(windows, match):
    with pytest.raises(InvalidData, match=match):
        compare(*windows)


def test_a_sketch_in_other_bins_is_refused():
    with pytest.raises(Invalid, match="other bins"):
        compare(sketch({"x": [1.0, 2.0]}), sketch({"x": [1.0, 5.0]}))
    with pytest.raises(InvalidData, match="no column in common"):
        compare(sketch({"x": [1.0, 2.0]}), sketch({"y": [1.0, 5.0]}))


def test_a_sketch_with_other_scores_is_refused():
    """Bins may be the same though quantiles differ: of columns of few values."""
    tables = []
    for seed, share in ((0, 0.5), (1, 0.05)):
        g = draw(seed)
        rare = np.concatenate([np.arange(4), (g.random(4996) < share) * 1.0])
        tables.append({"a": g.integers(0, 4, 5000), "b": g.integers(0, 4, 5000), "c": rare})
    with pytest.raises(Invalid, match="other scores"):
        compare(*map(sketch, tables))


def test_one_row_is_enough_to_answer():
    report = compare({"x": [1.0]}, {"x": [2.0]})
    assert (report.drifted, report.rows) == (False, (1, 1))


def test_one_list_of_labels_is_refused_or_read_as_it_was():
    assert not compare(["a", "b"] * 50, ["a", "b"] * 50, kind="table").drifted
    assert compare(["a", "b"] * 50, ["a", "a", "a", "b"] * 25, kind="table").drifted


LARGEST = np.finfo(float).max


@pytest.mark.parametrize("pattern", [(LARGEST, 1.0, 2.0), (1.7e308, -1.7e308), (LARGEST,), (-LARGEST, LARGEST, 0.0)])
@pytest.mark.parametrize("rows", [2, 400])
def test_the_largest_numbers_are_compared_and_saved(pattern, rows):
    """Also as one of many values, where edges are quantiles, and beside a column of common size."""
    whole = np.resize(pattern, rows)
    mixed = np.where(np.arange(rows) % 3 == 0, whole, np.arange(rows))
    for values in (whole, mixed):
        table, common = {"x": values, "y": np.arange(rows)}, {"x": np.arange(rows) + 0.5, "y": np.arange(rows)}
        for old, new in ((table, table), (table, common), (common, table)):
            reference = sketch(old)
            assert np.isfinite(reference.columns["x"].edges).all()
            today = reference.fresh()
            today.update(new)
            report = compare(TableSketch.load(reference.save()), TableSketch.load(today.merge(today).save()))
            assert all(0.0 <= row.p_value <= 1.0 for row in report.columns)


@pytest.mark.parametrize("size", [1e154, 1e-160])
def test_spreads_whose_ratio_is_no_number_have_none(size):
    """The variance of the larger ones is infinite, that of the smaller ones next to nothing."""
    small = np.random.default_rng(21).normal(size=300)
    for old, new in ((small * size, small), (small, small * size)):
        report = compare({"x": old}, {"x": new})
        (row,) = (one for one in report.columns if one.kind == "numeric")
        assert all(np.isfinite(number) for number in row.details.values())
        assert report.status != "ok"
