"""Tables of every make are read as the same columns; what cannot be read is refused by name."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from visutility.core.errors import Invalid, InvalidData, InvalidSetting
from visutility.monitor.drift import compare, sketch
from visutility.monitor.drift.sketch import sketch_like

N = 3000
DRAW = np.random.default_rng(1)
X = DRAW.normal(size=N)
COUNT = DRAW.poisson(3.0, N)
WORD = np.array(["a", "b", "c"], object)[DRAW.integers(0, 3, N)]
FLAG = DRAW.random(N) < 0.4
GONE = DRAW.random(N) < 0.1
AT = np.datetime64("2026-01-01T00:00:00", "us") + np.arange(N).astype("timedelta64[s]")


def mapping():
    return {
        "x": np.where(GONE, np.nan, X),
        "count": COUNT,
        "word": np.where(GONE, None, WORD),
        "flag": FLAG,
        "at": AT,
    }


def lists():
    return {
        "x": [None if gone else value for value, gone in zip(X.tolist(), GONE, strict=True)],
        "count": COUNT.tolist(),
        "word": [None if gone else word for word, gone in zip(WORD, GONE, strict=True)],
        "flag": FLAG.tolist(),
        "at": AT.tolist(),
    }


def arrow():
    return pa.table({**mapping(), "x": pa.array(X, mask=GONE), "word": pa.array(WORD, mask=GONE)})


def chunked():
    return pa.concat_tables([arrow().slice(0, 7), arrow().slice(7, 0), arrow().slice(7)])


def dictionary():
    return arrow().set_column(2, "word", arrow()["word"].dictionary_encode())


NO_TEXT = pa.Array.from_buffers(
    pa.string(), 2, [None, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"\xff\xfe")]
)


class OnlyTheStream:
    """As a lazy source looks from outside: nothing but the Arrow interface."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


class Frame(OnlyTheStream):
    """As a polars frame looks from outside: it has a height, and its text is made of views."""

    def __len__(self):
        return self.height

    @property
    def height(self):
        return self._table.num_rows


def views(table):
    at = table.schema.get_field_index("word")
    return Frame(table.cast(table.schema.set(at, pa.field("word", pa.string_view()))))


SAME = {
    "polars": lambda: views(arrow()),
    "mapping": mapping,
    "lists": lists,
    "mapping of Arrow arrays": lambda: {name: arrow()[name] for name in arrow().column_names},
    "mapping of series": lambda: {name: pd.Series(column) for name, column in mapping().items()},
    "masked": lambda: mapping() | {"x": np.ma.masked_array(X, GONE)},
    "pandas": lambda: pd.DataFrame(mapping()),
    "pandas categorical": lambda: pd.DataFrame(mapping()).astype({"word": "category"}),
    "pandas nullable": lambda: pd.DataFrame(mapping()).astype({"x": "Float64", "count": "Int32", "flag": "boolean"}),
    "pandas Arrow": lambda: arrow().to_pandas(types_mapper=pd.ArrowDtype),
    "Arrow": arrow,
    "Arrow in chunks": chunked,
    "Arrow dictionary": dictionary,
    "Arrow large string": lambda: arrow().cast(arrow().schema.set(2, pa.field("word", pa.large_string()))),
    "record batch": lambda: arrow().combine_chunks().to_batches()[0],
    "reader": lambda: chunked().to_reader(max_chunksize=100),
    "Arrow interface alone": lambda: OnlyTheStream(chunked()),
    "batches": lambda: iter(chunked().to_batches()),
    "list of tables": lambda: [arrow().slice(0, 100), pd.DataFrame(mapping()).iloc[100:]],
}


@pytest.mark.parametrize("make", SAME.values(), ids=SAME.keys())
def test_every_make_gives_the_same_sketch(make):
    wanted, found = sketch(mapping()), sketch(make())
    assert found.types == {"x": "number", "count": "number", "word": "text", "flag": "boolean", "at": "time"}
    assert found.types == wanted.types
    assert found.duplicates == wanted.duplicates
    for name, column in wanted.columns.items():
        twin = found.columns[name].arrays()
        loose = ("numbers", "names", "counts")  # rounded, or in the order in which labels came
        exact = {part: array.tolist() for part, array in column.arrays().items() if part not in loose}
        assert {part: twin[part].tolist() for part in exact} == exact, name
    assert found.columns["word"].counts == wanted.columns["word"].counts


@pytest.mark.parametrize("make", SAME.values(), ids=SAME.keys())
def test_every_make_is_taken_as_the_current_window(make):
    report = compare(mapping(), make())
    assert not report.drifted
    assert report.status == "ok"
    assert [row.p_value for row in report.columns] == [1.0] * len(report.columns)


def test_a_long_frame_of_views_is_read_as_its_plain_columns_are():
    """So long that the bins come from some of its rows, which Arrow cannot take of views."""
    times = 7
    plain = pa.concat_tables([arrow()] * times)
    rows = plain.num_rows
    codes = pa.DictionaryArray.from_arrays(pa.array(COUNT, pa.uint32()), pa.array(list("abcdefghijklmnop"), "string"))
    category = codes.cast(pa.dictionary(pa.uint32(), pa.large_string()))
    kept = {"category": pa.concat_arrays([category] * times), "zone": plain["at"].cast(pa.timestamp("us", "UTC"))}
    other = {
        "bytes": pa.array([b"x"] * rows, pa.binary_view()),
        "list": pa.array([["x"]] * rows, pa.list_(pa.string_view())),
        "struct": pa.array([{"x": "y"}] * rows, pa.struct({"x": pa.string_view()})),
    }
    wide = plain
    for name, column in (kept | other).items():
        wide = wide.append_column(name, column)
    found, wanted = sketch(views(wide)), sketch({name: wide[name] for name in wide.column_names if name not in other})
    assert found.types == wanted.types | dict.fromkeys(other, "other")
    for name, column in wanted.columns.items():
        assert found.columns[name].size == column.size == rows
        assert {part: array.tolist() for part, array in found.columns[name].arrays().items()} == {
            part: array.tolist() for part, array in column.arrays().items()
        }
    assert not compare(views(wide), views(wide.slice(0, 5000))).drifted


class Lazy:
    """As a lazy frame looks from outside."""

    def collect(self):
        return arrow()


def test_what_is_no_table_yet_is_refused_with_the_call_that_makes_it_one():
    with pytest.raises(InvalidData, match=r"a Lazy is not a table\. pass what its collect\(\) returns"):
        compare(Lazy(), arrow())


def test_arrays_of_two_dimensions_have_names():
    rows = np.column_stack([X, COUNT])
    assert list(sketch(rows).types) == ["0", "1"]
    named = sketch(rows, names=["x", "count"])
    assert named.columns["count"].counts.tolist() == sketch(mapping()).columns["count"].counts.tolist()
    assert sketch_like(named, np.asfortranarray(rows)).columns["x"].n == N
    assert list(sketch(rows.tolist()).types) == ["0", "1"]
    assert list(sketch(X).types) == ["0"]
    fields = np.zeros(3, [("a", float), ("b", int)])
    assert list(sketch(fields).types) == ["a", "b"]


def test_rows_keep_numbers_beside_text():
    rows = [["north", x, 1, None, True] for x in X.tolist()]
    found = sketch(rows)
    assert list(found.types.values()) == ["text", "number", "number", "null", "boolean"]
    moved = [[camera, x + 1.0, *rest] for camera, x, *rest in rows]
    assert next(row for row in compare(rows, moved).columns if row.drifted).name == "1"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint64, np.int64])
def test_numbers_of_every_width(dtype):
    values = COUNT.astype(dtype)
    column = sketch({"count": values}).columns["count"]
    assert column.mean == pytest.approx(COUNT.mean())
    assert column.counts.tolist() == sketch(mapping()).columns["count"].counts.tolist()


def test_less_usual_types():
    day = datetime(2026, 1, 2, tzinfo=UTC)
    table = {
        "money": [Decimal("1.50"), None, Decimal("2.50")],
        "date": [day.date(), None, day.date()],
        "when": [day, None, day + timedelta(hours=1)],
        "span": pa.array([timedelta(seconds=90), None, timedelta(seconds=30)]),
        "view": pa.array(["x", None, "y"], pa.string_view()),
        "nothing": [None, None, None],
        "picture": [b"1", None, b"2"],
        "list": pa.array([[1], None, [2, 3]]),
        "complex": np.array([1j, 2j, 3j]),
        "numpy text": np.array(["x", "y", "x"]),
        "spans": np.array([90, "NaT", 30], "timedelta64[s]"),
    }
    found = sketch(table)
    assert found.types == {
        "money": "number",
        "date": "time",
        "when": "time",
        "span": "number",
        "view": "text",
        "nothing": "null",
        "picture": "other",
        "list": "other",
        "complex": "other",
        "numpy text": "text",
        "spans": "number",
    }
    assert found.columns["money"].mean == 2.0
    assert found.columns["span"].mean == found.columns["spans"].mean == 60.0
    assert found.columns["when"].high - found.columns["when"].low == 3600.0
    assert found.columns["nothing"].nulls == 3
    assert "picture" not in found.columns
    assert [found.columns[name].nulls for name in ("money", "date", "when", "span", "view", "spans")] == [1] * 6


def test_pandas_intervals_are_labels_and_sparse_columns_numbers():
    frame = pd.DataFrame({"cut": pd.cut(X, [-1.0, 0.0, 9.0]), "sparse": pd.arrays.SparseArray(COUNT * GONE)})
    found = sketch(frame)
    assert found.types == {"cut": "text", "sparse": "number"}
    assert found.columns["cut"].counts == {"(-1.0, 0.0]": ((X > -1) & (X <= 0)).sum(), "(0.0, 9.0]": (X > 0).sum()}
    assert found.columns["cut"].nulls == (X <= -1).sum()
    assert found.columns["sparse"].mean == pytest.approx((COUNT * GONE).mean())


def test_declared_labels_are_labels_whatever_they_hold():
    rows = {"class": [3, 1, 3], "code": [3.0, np.nan, 1.0], "flag": [True, False, True]}
    found = sketch(rows, categorical=("class", "code", "flag"))
    assert set(found.types.values()) == {"text"}
    assert found.columns["class"].counts == {"1": 1, "3": 2}
    assert found.columns["code"].counts == {"1": 1, "3": 1}
    assert found.columns["code"].nulls == 1
    assert found.columns["flag"].counts == {"false": 1, "true": 2}


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (3.0, "is not a table"),
        (None, "is not a table"),
        ([[1.0, 2.0], [3.0]], "is not a table"),
        ([{"x": 1.0}, {"x": 2.0}], "column 'x' has shape"),
        (pd.Series([1.0, 2.0]), "is not a table"),
        (pa.chunked_array([[1.0, 2.0]]), "is not a table"),
        (np.array([{}, {}]), r"shape \(2,\) is not a table"),
        ("text", "is not a table"),
        ({"x": [1.0, 2.0], "y": [1.0]}, "unequal length"),
        ({"x": np.zeros((2, 2))}, "column 'x' has shape"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        ({"x": ["a", 1.0]}, "column 'x' mixes types"),
        ({"x": np.array([1, "b", None], object)}, "column 'x' mixes types"),
        (pd.DataFrame({"x": [1.0, "b"]}), "column 'x' mixes types"),
        (pd.DataFrame(np.zeros((2, 2)), columns=["a", "a"]), "two columns are named 'a'"),
        (pa.Table.from_arrays([pa.array([1]), pa.array([1])], ["a", "a"]), "two columns are named 'a'"),
        (iter([{"x": [1.0]}, 5.0]), "is not a table"),
        ({"x": [2**70, 1]}, "column 'x' has numbers of more than 64 bits"),
        ({"x": [[1], [1, 2]]}, "column 'x' is no column"),
        ({"x": None}, "column 'x' is no column"),
        ({"x": [Decimal("Infinity"), Decimal(1)]}, "column 'x' cannot be read"),
        (pd.DataFrame({"x": [1j, 2j]}), "column 'x' cannot be read"),
        (np.zeros(5, [("x", float, (2,))]), "column 'x' has shape"),
        (np.zeros((), [("x", float)]), r"shape \(\) is not a table"),
        ({"x": NO_TEXT}, "column 'x' has text that is not Unicode"),
        ({"x": pa.DictionaryArray.from_arrays(pa.array([0, 0]), pa.array([[1]]))}, "column 'x' cannot be read"),
    ],
)
def test_what_is_no_table_is_refused(wrong, match):
    with pytest.raises(InvalidData, match=match):
        sketch(wrong)


def test_names_must_fit():
    with pytest.raises(InvalidData, match="1 names for 2 columns"):
        sketch(np.zeros((3, 2)), names=["x"])
    with pytest.raises(InvalidData, match="two columns are named 'x'"):
        sketch(np.zeros((3, 2)), names=["x", "x"])


def test_names_that_read_the_same_are_refused():
    with pytest.raises(InvalidData, match="two columns are named '1'"):
        compare({1: X, "1": COUNT}, {1: X, "1": COUNT})


def test_text_that_is_not_unicode_is_refused_by_column():
    table = {"x": X[:50], "path": ["\udcff"] * 50}
    with pytest.raises(InvalidData, match="'path' has text that is not Unicode"):
        compare(table, table)


def test_a_number_is_no_table():
    with pytest.raises(InvalidData, match="shape"):
        compare(np.array(1.0), np.array(2.0))


@pytest.mark.parametrize("categorical", ["count", ["count", "magic"], None, 5])
def test_categorical_names_columns(categorical):
    with pytest.raises(InvalidSetting, match="categorical"):
        compare(mapping(), mapping(), categorical=categorical)


def test_categorical_takes_the_names_of_a_frame_as_they_are():
    frame = pd.DataFrame({0: X, 1: COUNT})
    kinds = {row.name: row.kind for row in compare(frame, frame, categorical=[1]).columns}
    assert kinds["1"] == "categorical"


@pytest.mark.parametrize("level", ["0.05", None, 1j])
def test_a_level_is_a_number(level):
    with pytest.raises(Invalid, match="level"):
        compare(mapping(), mapping(), level=level)


@pytest.mark.parametrize("kind", [["table"], None])
def test_a_kind_is_a_name(kind):
    with pytest.raises(InvalidSetting, match="unknown kind"):
        compare(mapping(), mapping(), kind)
