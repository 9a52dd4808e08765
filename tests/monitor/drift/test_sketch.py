"""Sketches: counts are right, whatever the cut; merged is whole; saved is the same."""

from contextlib import suppress

import numpy as np
import pytest
from mutants import mutants

from visutility.core import codec
from visutility.core.errors import EmptyWindow, Invalid, InvalidData, VisuTilityError
from visutility.monitor.drift import TableSketch, compare, sketch
from visutility.monitor.drift.columns import LABELS, LabelSketch, NumberSketch, edges_of
from visutility.monitor.drift.sketch import SAMPLE, sketch_like


def table(seed, rows):
    draw = np.random.default_rng(seed)
    numbers = draw.normal(size=rows)
    numbers[draw.random(rows) < 0.05] = np.nan
    words = np.array([None, "a", "b", "c"], object)[draw.integers(0, 4, rows)]
    return {
        "x": numbers,
        "count": draw.poisson(2.0, rows),
        "word": words,
        "flag": draw.random(rows) < 0.3,
        "at": np.datetime64("2026-01-01") + np.arange(rows).astype("timedelta64[s]"),
    }


def cut(rows, sizes):
    start = 0
    for size in sizes:
        yield {name: column[start : start + size] for name, column in rows.items()}
        start += size


def same_counts(one, other):
    assert one.rows == other.rows
    assert one.types == other.types
    assert one.duplicates == other.duplicates
    assert one.joint.sums.tolist() == other.joint.sums.tolist()
    for name, column in one.columns.items():
        twin = other.columns[name]
        assert column.nulls == twin.nulls
        assert column.least.tolist() == twin.least.tolist()
        if isinstance(column, NumberSketch):
            assert column.edges.tolist() == twin.edges.tolist()
            assert column.counts.tolist() == twin.counts.tolist()
            assert column.beyond.tolist() == twin.beyond.tolist()
            assert (column.low, column.high, column.n) == (twin.low, twin.high, twin.n)
            assert (column.mean, column.sd) == pytest.approx((twin.mean, twin.sd), rel=1e-12)
        else:
            assert column.counts == twin.counts


def test_a_sketch_counts_what_is_there():
    rows = table(1, 3000)
    found = sketch(rows)
    assert found.rows == 3000
    assert found.types == {"x": "number", "count": "number", "word": "text", "flag": "boolean", "at": "time"}
    x = rows["x"][~np.isnan(rows["x"])]
    column = found.columns["x"]
    assert (column.n, column.nulls) == (len(x), 3000 - len(x))
    assert (column.low, column.high) == (x.min(), x.max())
    assert (column.mean, column.sd) == pytest.approx((x.mean(), x.std(ddof=1)), rel=1e-12)
    assert column.counts.tolist() == np.histogram(x, [-np.inf, *column.edges, np.inf])[0].tolist()
    words = {word: int((rows["word"] == word).sum()) for word in "abc"}
    assert dict(sorted(found.columns["word"].counts.items())) == words
    assert found.columns["word"].nulls == 3000 - sum(words.values())
    assert found.columns["flag"].counts["true"] == rows["flag"].sum()
    assert found.columns["count"].distinct == len(np.unique(rows["count"]))
    assert found.columns["x"].distinct == pytest.approx(len(x), rel=0.3)  # 5 standard errors


@pytest.mark.parametrize("sizes", [(1, 2, 0, 997, 2000), (2999, 1), (100,) * 30])
def test_the_cut_into_batches_does_not_matter(sizes):
    rows = table(2, 3000)
    streamed = TableSketch()
    for batch in cut(rows, sizes):
        streamed.update(batch)
    same_counts(streamed, sketch(rows))
    again = sketch(rows).fresh()
    for batch in cut(rows, sizes):
        again.update(batch)
    same_counts(again, sketch_like(sketch(rows), rows))


@pytest.mark.parametrize("first", [SAMPLE - 1, SAMPLE, SAMPLE + 5])
def test_edges_of_a_stream_come_from_its_first_rows_alone(first):
    values = np.sort(np.random.default_rng(3).normal(size=SAMPLE + 4000))
    one, other = TableSketch(joint=False), TableSketch(joint=False)
    one.update({"x": values})
    for batch in cut({"x": values}, (first, len(values) - first)):
        other.update(batch)
    assert one.columns["x"].edges.tolist() == other.columns["x"].edges.tolist()
    assert one.columns["x"].edges.max() <= values[SAMPLE - 1]


def test_edges_of_a_table_come_from_all_of_it():
    values = np.sort(np.random.default_rng(3).normal(size=3 * SAMPLE))
    counts = sketch({"x": values}).columns["x"].counts
    assert counts.sum() == len(values)
    assert counts.max() < 4 * len(values) / 256


def test_batches_may_be_changed_after_they_were_taken():
    values = np.arange(10.0)
    streamed = TableSketch()
    streamed.update({"x": values})
    values[:] = -1.0
    assert streamed.columns["x"].high == 9.0
    assert values.tolist() == [-1.0] * 10  # and are not changed themselves
    unsorted = np.array([3.0, 1.0, 2.0])
    sketch({"x": unsorted})
    assert unsorted.tolist() == [3.0, 1.0, 2.0]


def test_merged_is_whole():
    reference, rows = sketch(table(4, 5000)), table(5, 3000)
    parts = [reference.fresh() for _ in range(3)]
    for part, batch in zip(parts, cut(rows, (10, 0, 2990)), strict=True):
        part.update(batch)
    same_counts(parts[0].merge(parts[1]).merge(parts[2]), sketch_like(reference, rows))
    same_counts(parts[2].merge(parts[0]), sketch_like(reference, rows))
    assert parts[0].rows == 10


@pytest.mark.parametrize("at", [0, 1, 1500, 3000])
def test_saved_anywhere_it_goes_on_the_same(at):
    rows = table(6, 3000)
    first, second = cut(rows, (at, 3000 - at))
    whole = sketch(table(7, 2000)).fresh()
    whole.update(first)
    loaded = TableSketch.load(whole.save())
    assert loaded.save() == whole.save()
    whole.update(second)
    loaded.update(second)
    assert loaded.save() == whole.save()
    same_counts(loaded, whole)
    same_counts(TableSketch.load(sketch(rows).save()), sketch(rows))


CONSTANT = {
    "one value": np.ones(100),
    "one row": np.array([3.0]),
    "zeros": np.zeros(8),
    "widths lost": np.full(9, -1e300),
}


@pytest.mark.parametrize("kind", CONSTANT)
def test_a_window_compared_with_a_constant_column_is_saved_and_goes_on(kind):
    values = CONSTANT[kind]
    reference = sketch({"x": values, "y": np.arange(len(values))})
    parts = [reference.fresh(), TableSketch.load(reference.fresh().save())]
    above = np.abs(values) + 1.0
    for part in parts:
        part.update({"x": values, "y": np.arange(len(values))})
    assert parts[0].columns["x"].outside() == (0, 0)
    parts[1].update({"x": above, "y": np.arange(len(values))})
    both = TableSketch.load(parts[0].save()).merge(TableSketch.load(parts[1].save()))
    assert TableSketch.load(both.save()).save() == both.save()
    assert both.columns["x"].outside() == (len(values), len(values))
    compare(reference, both)


def test_windows_saved_with_the_guards_of_a_constant_out_of_order_are_read():
    reference = sketch({"x": np.ones(20)})
    today = reference.fresh()
    today.update({"x": [1.0, 1.0, 2.0]})
    version, packed = codec.unpack_arrays(today.save())
    packed["0.guards"][3], packed["0.beyond"][3] = 1.0, 0  # as they were: the upper end, not the number after it
    old = TableSketch.load(codec.pack_arrays(packed, version=version))
    assert old.save() == today.save()
    assert old.merge(reference.fresh()).columns["x"].outside() == (1, 1)
    packed["0.guards"][3] = 0.5
    with pytest.raises(Invalid, match="guards"):
        TableSketch.load(codec.pack_arrays(packed, version=version))


def test_bytes_that_are_no_sketch_are_refused():
    with pytest.raises(Invalid):
        TableSketch.load(b"nothing")
    with pytest.raises(Invalid):
        TableSketch.load(sketch({"x": [1.0, 2.0]}).save()[:-9])


def test_parts_of_a_window_merge_in_columns_that_the_reference_has_no_bins_for():
    g = np.random.default_rng(11)
    like = sketch({"x": g.normal(size=500), "gone": np.full(500, np.nan), "text": ["a", "b"] * 250})
    now = {"x": g.normal(size=500), "gone": g.normal(size=500), "text": g.normal(size=500), "new": g.normal(size=500)}
    now["text"][:250] = np.nan
    whole, parts = like.fresh(), [like.fresh(), TableSketch.load(like.fresh().save())]
    whole.update(now)
    for at, part in enumerate(parts):
        rows = slice(250 * at, 250 * (at + 1))
        part.update({name: [None] * 250 if name == "text" and not at else v[rows] for name, v in now.items()})
    merged = parts[0].merge(TableSketch.load(parts[1].save()))
    assert merged.types == whole.types
    for name, column in whole.columns.items():
        found = merged.columns[name]
        assert (found.n, found.nulls, found.low, found.high) == (column.n, column.nulls, column.low, column.high)
    assert [row.p_value for row in compare(like, merged).columns] == [
        row.p_value for row in compare(like, whole).columns
    ]


def test_sketches_with_other_edges_do_not_merge():
    one, other = sketch({"x": [1.0, 2.0, 3.0]}), sketch({"x": [5.0, 6.0]})
    with pytest.raises(Invalid, match="do not merge"):
        one.merge(other)
    with pytest.raises(InvalidData, match="labels"):
        one.merge(sketch({"x": ["a", "b"]}))
    with pytest.raises(InvalidData, match="differ in columns"):
        sketch({"x": ["a"]}).merge(sketch({"y": ["a"]}))


def test_a_value_that_repeats_has_its_own_bin():
    values = np.sort(np.concatenate((np.zeros(900), np.random.default_rng(8).normal(size=900))))
    edges = edges_of(values)
    assert {0.0, np.nextafter(0.0, 1.0)} <= set(edges.tolist())
    assert len(edges) < 260
    few = edges_of(np.array([1.0, 1.0, 2.0]))
    assert few.tolist() == [1.0, np.nextafter(1.0, 2.0), 2.0, np.nextafter(2.0, 3.0)]


def test_infinities_are_counted_apart():
    column = sketch({"x": [np.inf, 1.0, -np.inf, np.nan, 2.0, np.inf]}).columns["x"]
    assert (column.n, column.nulls, column.infinite) == (2, 1, 3)
    assert (column.low, column.high, column.mean) == (1.0, 2.0, 1.5)


def test_repeated_rows_are_found_whatever_their_order_and_types():
    rows = {"x": [1.0, 2.0, 1.0, 0.0, -0.0], "word": ["a", "b", "a", "c", "c"]}
    assert sketch(rows).duplicates == pytest.approx(2 / 5)
    assert sketch({"x": [1.0, 1.0], "word": ["a", "b"]}).duplicates == 0.0
    assert sketch({"x": [1.0, np.nan, np.nan]}).duplicates == pytest.approx(1 / 3)


def test_the_share_of_repeated_rows_is_estimated_from_a_bounded_sample():
    draw = np.random.default_rng(9)
    rows = draw.normal(size=(30_000, 2))
    assert sketch(rows).duplicates == 0.0
    doubled = draw.permutation(np.concatenate((rows, rows[:10_000])))
    found = sketch(doubled)
    assert found.duplicates == pytest.approx(0.25, abs=0.04)  # 6 standard errors
    assert len(found.save()) < 150_000


def test_labels_beyond_the_bound_are_counted_in_buckets():
    draw = np.random.default_rng(10)
    names = np.array([f"id{at}" for at in range(3 * LABELS)])
    rows = {"id": draw.permutation(np.concatenate((names, np.repeat("often", 5000))))}
    column = sketch(rows).columns["id"]
    assert len(column.counts) == LABELS
    assert column.n == len(rows["id"])
    assert not column.whole
    assert column.counts["often"] == 5000
    assert column.distinct == pytest.approx(len(names), rel=0.35)


def test_merging_labels_counted_apart_keeps_every_value():
    one, other = LabelSketch({"a": 3, "b": 2}), LabelSketch({"a": 1, "c": 4})
    other.buckets[7] = 5
    both = one.merge(other)
    assert both.counts == {"a": 4, "c": 4}  # b may be among the other's buckets
    assert both.n == 15


def test_types_that_change_within_a_window_are_refused():
    streamed = TableSketch()
    streamed.update({"x": [1.0, 2.0]})
    streamed.update({"x": ["a", "b"]})
    with pytest.raises(InvalidData, match="'x' holds number, then text"):
        _ = streamed.columns
    with pytest.raises(InvalidData, match="differ in columns"):
        sketch(iter([{"x": [1.0]}, {"y": [1.0]}]))


def test_a_column_may_begin_without_values():
    found = sketch(iter([{"x": [None, None]}, {"x": ["a", None]}]))
    assert found.types == {"x": "text"}
    assert (found.columns["x"].n, found.columns["x"].nulls) == (1, 3)
    numbers = sketch(iter([{"x": [np.nan] * SAMPLE}, {"x": [1.0, 2.0, 3.0]}]))
    assert (numbers.columns["x"].n, numbers.columns["x"].nulls) == (3, SAMPLE)
    assert numbers.columns["x"].counts.sum() == 3


def test_no_rows_are_refused():
    for empty in ({"x": []}, np.zeros((0, 3)), iter([]), []):
        with pytest.raises(EmptyWindow):
            sketch(empty)
    with pytest.raises(EmptyWindow):
        sketch_like(sketch({"x": [1.0]}), {"x": []})


def edited_parts():
    """A sketch of a numeric, a text and an empty column, as saved: version, arrays and label."""
    g = np.random.default_rng(12)
    rows = {"x": g.normal(size=200), "y": g.normal(size=200), "t": ["a", "b"] * 100, "gone": np.full(200, np.nan)}
    version, packed = codec.unpack_arrays(sketch(rows).save())
    return version, packed, codec.loads(packed["label"].tobytes())


@pytest.mark.parametrize(
    "label",
    [
        {}, [], None, 3, "label",
        {"rows": "200"}, {"rows": -1}, {"rows": 199}, {"types": {"x": "number"}}, {"types": [["x"]]},
        {"types": [["x", "colour"]]}, {"types": [["x", "text"]]}, {"types": [["z", "number"]]}, {"columns": [["x", 3]]},
        {"columns": []}, {"names": 5}, {"names": [1]}, {"categorical": "x"}, {"joint": "xy"}, {"joint": ["x"]},
        {"joint": None}, {"likened": "yes"}, {"more": 1},
    ],
)  # fmt: skip
def test_a_sketch_with_another_label_is_refused(label):
    version, packed, kept = edited_parts()
    wrong = kept | label if isinstance(label, dict) and label else label
    packed["label"] = np.frombuffer(codec.dumps(wrong).encode(), np.uint8)
    with pytest.raises(Invalid, match=r"^not a table sketch: .+ pass what save returned$"):
        TableSketch.load(codec.pack_arrays(packed, version=version))


@pytest.mark.parametrize("seed", range(10))
def test_a_sketch_that_was_edited_is_refused_or_is_one(seed):
    version, packed, _ = edited_parts()
    data, refused = codec.pack_arrays(packed, version=version), 0
    texts = tuple(name for name in packed if name == "label" or name.endswith(".names"))
    assert TableSketch.load(data).save() == data
    for wrong in mutants(data, texts, seed, 40):
        try:
            made = TableSketch.load(wrong)
        except VisuTilityError:
            refused += 1
        else:
            assert TableSketch.load(made.save()).save() == made.save()
            with suppress(VisuTilityError):  # it may have other columns
                compare(made, {"x": [0.5] * 50, "y": [0.5] * 50, "t": ["a"] * 50, "gone": [np.nan] * 50})
    assert 20 < refused < 40
