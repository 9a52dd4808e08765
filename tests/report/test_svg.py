import math
import re
import unicodedata
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visutility.core.errors import InvalidSetting
from visutility.core.rng import rng
from visutility.report import (
    Band,
    Html,
    Lane,
    Mark,
    Series,
    Span,
    bar,
    best_so_far,
    line_chart,
    sparkline,
    trials_chart,
)

NAMES = {"title": "A title", "x_label": "time (s)", "y_label": "height (m)"}


def chart(*series: Series, **options) -> ET.Element:
    return ET.fromstring(line_chart(list(series), **{**NAMES, **options}))


def of_class(root: ET.Element, *names: str) -> list[ET.Element]:
    return [one for one in root.iter() if set(names) <= set(one.get("class", "").split())]


def data(root: ET.Element) -> list[str]:
    """Return the path of each series, without those of the legend."""
    inside = next(one for one in root.iter("svg") if one.get("viewBox"))
    return [one.get("d") for one in of_class(inside, "data")]


def values_by_ticks(root: ET.Element, path: str) -> np.ndarray:
    """Return the data values that a path's places stand for, read off the labelled ticks as a reader would."""
    inside = next(one for one in root.iter("svg") if one.get("viewBox"))
    top, height = float(inside.get("y")), float(inside.get("height"))
    x_ticks, y_ticks = [], []
    for tick in of_class(root, "tick"):
        try:
            value = float(tick.text.replace("−", "-").replace(",", ""))
        except ValueError:
            continue  # an axis label
        if tick.get("x").endswith("%"):
            x_ticks.append((float(tick.get("x")[:-1]) * 10, value))
        else:
            y_ticks.append(((float(tick.get("y")) - 4 - top) / height * 1000, value))
    (x0, u0), (x1, u1) = x_ticks[0], x_ticks[-1]
    (y0, v0), (y1, v1) = y_ticks[0], y_ticks[-1]
    places = np.array([[float(n) for n in re.findall(r"-?[\d.]+", point)[:2]] for point in re.split("[ML]", path)[1:]])
    x = u0 + (places[:, 0] - x0) / (x1 - x0) * (u1 - u0)
    y = v0 + (places[:, 1] - y0) / (y1 - y0) * (v1 - v0)
    return np.stack([x, y], axis=1)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(-500, 500), st.floats(-1e4, 1e4, allow_subnormal=False)),
        min_size=2,
        max_size=20,
        unique_by=(lambda p: p[0], lambda p: round(p[1], 1)),
    ),
    st.sampled_from(["line", "points"]),
)
def test_values_lie_where_the_ticks_say(points, kind):
    x, y = (np.array(values, float) for values in zip(*sorted(points), strict=True))
    root = chart(Series("s", x, y, kind))
    found = values_by_ticks(root, data(root)[0])
    # two decimals on a grid of 1,000, and tick labels exact: well under a thousandth of the range
    assert found[:, 0] == pytest.approx(x, abs=1e-3 * (np.ptp(x) + 1))
    assert found[:, 1] == pytest.approx(y, abs=2e-3 * np.ptp(y) + 1e-9)


def test_axes_carry_their_labels_and_units():
    root = chart(Series("s", [0, 1], [2, 3]))
    texts = [one.text for one in root.iter("text")]
    assert "time (s)" in texts
    assert "height (m)" in texts


def test_a_gap_is_a_gap_and_said():
    root = chart(Series("s", [0, 1, 2, 3, 4, 5], [1, 2, math.nan, 4, math.inf, 6]))
    assert data(root) == ["M0 1000L200 800M600 400h0M1000 0h0"]
    assert "s (2 without a value)" in "".join(root.find("ul").itertext())
    assert "s: 4 of 6 values, 1 to 6." in root.find("svg/desc").text


def test_points_without_a_value_are_crosses_not_zeros():
    root = chart(Series("s", [0, 1, 2, 3], [5, math.nan, 7, 6], "points"))
    assert len(values_by_ticks(root, data(root)[0])) == 3
    assert [one.get("x") for one in root.iter("text") if one.text == "×"] == ["33.33%"]
    many = chart(Series("s", range(500), [math.nan] * 499 + [1.0], "points"))
    assert not [one for one in many.iter("text") if one.text == "×"]
    assert "499 without a value" in "".join(many.itertext())


def test_steps_hold_until_the_next():
    root = chart(Series("s", [0, 1, 2], [0, 2, 4], "step"))
    assert data(root) == ["M0 1000H500V500H1000V0"]


@pytest.mark.parametrize("kind", ["line", "points", "step"])
@pytest.mark.parametrize("y", [[], [math.nan, math.nan]])
def test_no_data_says_so(kind, y):
    root = chart(Series("s", range(len(y)), y, kind))
    assert "no data" in [one.text for one in root.iter("text")]
    assert data(root) == [""]
    assert "no data" in [one.text for one in chart().iter("text")]


@pytest.mark.parametrize("value", [0.0, 5.0, -3e-7, 1e12])
def test_a_constant_is_a_level_line_in_the_middle(value):
    root = chart(Series("s", [0, 1, 2], [value] * 3))
    ys = {float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", data(root)[0])}
    assert len(ys) == 1
    assert 300 < ys.pop() < 700
    assert len({one.text for one in of_class(root, "tick")}) > 3  # the axis still tells values apart


def test_one_value_is_a_dot():
    assert data(chart(Series("s", [7], [1]))) == ["M500 500h0"]


def test_bands_cover_their_range_and_say_their_promise():
    band = Band(1, math.inf, "at least 1 in 99 of 100 days", start=2)
    root = chart(Series("s", [0, 4], [0, 2]), bands=[band])
    inside = next(one for one in root.iter("svg") if one.get("viewBox"))
    assert of_class(inside, "band")[0].attrib == {
        "class": "band", "x": "500", "y": "0", "width": "500", "height": "500"
    }  # fmt: skip
    assert "at least 1 in 99 of 100 days" in "".join(root.find("ul").itertext())


def test_a_band_outside_the_values_is_still_in_view():
    root = chart(Series("s", [0, 1], [5, 6]), bands=[Band(8, 9, "wanted")])
    assert (
        max(float(t.text) for t in of_class(root, "tick") if not t.get("x").endswith("%") and t.text[0].isdigit()) >= 9
    )


def test_the_y_axis_is_widened_but_never_cuts_a_value():
    root = chart(Series("s", [0, 1], [0.2, 3.0]), y_range=(0, 1))
    assert values_by_ticks(root, data(root)[0])[:, 1] == pytest.approx([0.2, 3.0], abs=0.01)
    ticks = [float(t.text) for t in of_class(root, "tick") if not t.get("x").endswith("%") and t.text[0].isdigit()]
    assert min(ticks) == 0


def test_a_long_line_is_reduced_without_changing_its_outline():
    y = rng(0, "walk").standard_normal(100_000).cumsum()
    y[70_000:70_100] = math.nan
    y[33_333] = y[:70_000].max() + 50  # one spike that thinning out would lose
    made = line_chart([Series("s", np.arange(100_000), y)], **NAMES)
    assert len(made) < 60_000
    root = ET.fromstring(made)
    found = values_by_ticks(root, data(root)[0])
    tolerance = 2e-3 * np.ptp(y[np.isfinite(y)])
    assert found[:, 1].max() == pytest.approx(np.nanmax(y), abs=tolerance)
    assert found[:, 1].min() == pytest.approx(np.nanmin(y), abs=tolerance)
    assert data(root)[0].count("M") == 2


def test_many_points_at_one_place_are_drawn_once():
    root = chart(Series("s", [0, 1, 1, 1, 2], [0, 1, 1, 1, 2], "points"))
    assert data(root)[0].count("M") == 3


def test_series_of_one_kind_look_different_and_a_study_looks_alike():
    root = ET.fromstring(trials_chart([("a", [3, 1, 2]), ("b", [2, math.nan, 1])], title="t", y_label="loss"))
    inside = next(one for one in root.iter("svg") if one.get("viewBox"))
    assert [one.get("class") for one in of_class(inside, "data")] == [
        "data points look0", "data points look1", "data step look0", "data step look1"
    ]  # fmt: skip
    assert len(of_class(inside, "hole")) == 1
    legend = ["".join(item.itertext()).strip() for item in root.iter("li")]
    assert legend == ["a: trials", "b: trials (1 without a value)", "a: best so far", "b: best so far"]


@pytest.mark.parametrize(
    ("direction", "expected"), [("minimize", [math.nan, 3, 3, 1, 1]), ("maximize", [math.nan, 3, 4, 4, 4])]
)
def test_best_so_far(direction, expected):
    assert best_so_far([math.nan, 3, 4, 1, math.nan], direction) == pytest.approx(expected, nan_ok=True)


# -- events ----------------------------------------------------------------------------------------------------------

LABELS = st.text("abcdefgh 表", min_size=1, max_size=45).filter(str.strip)
STATES = st.sampled_from([None, "ok", "watch", "alarm", "working", "person"])


@settings(max_examples=60)
@given(st.lists(st.builds(Mark, st.floats(0, 100), LABELS, STATES), max_size=7))
def test_no_label_covers_another_or_leaves_the_page(marks):
    root = chart(Series("s", [0, 100], [0, 1]), marks=marks)
    for layout, width in (("narrow", 222), ("wide", 560)):
        spans: dict[str, list[tuple[float, float]]] = {}
        for label in of_class(root, "label"):
            classes = label.get("class").split()
            if {"narrow", "wide"} & set(classes) and layout not in classes:
                continue
            at, pixels = (
                float(label.get("x")[:-1]) / 100 * width,
                sum(12 if unicodedata.east_asian_width(one) == "W" else 6.9 for one in label.text),
            )
            left, right = (at - pixels, at) if "end" in classes else (at, at + pixels)
            assert left >= -44.01
            assert right <= width + 0.01
            spans.setdefault(label.get("y"), []).append((left, right))
        for row in spans.values():
            row.sort()
            assert all(before[1] < after[0] for before, after in pairwise(row))
    assert len(of_class(root, "event")) == len(marks)


def test_a_mark_stands_at_its_place_with_its_sign_and_its_whole_words():
    long = "the e-detector says that accuracy has dropped by far"
    root = chart(Series("s", [0, 200], [0, 1]), marks=[Mark(50, long, "alarm"), Mark(100, "drift starts")])
    alarm, _ = of_class(root, "event")
    assert (alarm.get("x1"), alarm.get("x2")) == ("25%", "25%")
    labels = [one.text for one in of_class(root, "label")]
    assert all(one.startswith("▲ the e-detector") for one in labels[:2])
    assert labels[2] == "drift starts"
    assert f"{long} at 50" in [one.text for one in root.iter("title")]
    assert f"{long} at 50." in root.find("svg/desc").text
    assert len(of_class(root, "alarm")) == 2


def test_no_line_runs_through_a_label_that_it_can_avoid():
    marks = [Mark(10, "a"), Mark(10, "a rather long one"), Mark(30, "next")]
    root = chart(Series("s", [0, 100], [0, 1]), marks=marks)
    rows = [float(label.get("y")) for label in of_class(root, "label")]
    assert rows == sorted(set(rows))  # "next" has room in the first row, but its line would cross the long label


def test_lanes_share_the_axis():
    lanes = [
        Lane("serves", [Span(0, "v1", "ok", 30), Span(30, "v2", "ok", math.inf)]),
        Lane("a very long name", [Span(30, "passed", "ok"), Span(30, "again", "ok")]),
    ]
    root = chart(Series("s", [0, 40], [0, 1]), lanes=lanes)
    spans = [(one.get("x1"), one.get("x2")) for one in of_class(root, "span")]
    assert spans == [("0%", "75%"), ("75%", "100%"), ("75%", "75%"), ("75%", "75%")]
    texts = [one.text or "" for one in root.iter("text")] + [one.tail or "" for one in root.iter("title")]
    assert "● v2" in texts
    assert "● again" not in texts  # it would cover "passed"; its title and the description say it
    assert "again, 30" in [one.text for one in root.iter("title")]
    assert "v2, 30 and on" in [one.text for one in root.iter("title")]
    assert "a very long name: again at 30." in root.find("svg/desc").text


def test_events_widen_the_axis():
    root = chart(Series("s", [10, 20], [0, 1]), marks=[Mark(0, "start"), Mark(40, "end")])
    assert [one.get("x1") for one in of_class(root, "event")] == ["0%", "100%"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"marks": [Mark(math.nan, "lost")]}, "event 'lost' is at nan"),
        ({"lanes": [Lane("l", [Span(0, "lost", "ok", math.nan)])]}, "event 'lost' is at nan"),
        ({"marks": [Mark(0, "odd", "purple")]}, "state 'purple' is unknown"),
        ({"lanes": [Lane("l", [Span(0, "odd", "purple")])]}, "state 'purple' is unknown"),
    ],
)
def test_events_that_cannot_be_drawn_are_refused(options, message):
    with pytest.raises(InvalidSetting, match=message):
        chart(Series("s", [0, 1], [0, 1]), **options)


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (Series("s", [0, 1], [0]), r"series 's' has x \(2,\) and y \(1,\)"),
        (Series("s", [[0]], [[1]]), "pass one y per x"),
        (Series("s", [0], [0], "pie"), "kind 'pie'"),
    ],
)
def test_series_that_do_not_fit_are_refused(series, message):
    with pytest.raises(InvalidSetting, match=message):
        chart(series)


def test_directions_and_shares_are_checked():
    with pytest.raises(InvalidSetting, match="direction is 'up'"):
        best_so_far([1], "up")
    with pytest.raises(InvalidSetting, match=r"share is 1\.5"):
        bar(1.5, title="t")


# -- small ones, safety, access --------------------------------------------------------------------------------------


def test_a_sparkline_is_a_line_with_gaps():
    root = ET.fromstring(sparkline([1, 2, math.nan, 3], title="accuracy", band=Band(1, 2, "usual")))
    assert of_class(root, "data")[0].get("d") == "M0 1000L333.33 500M1000 0h0"
    assert len(of_class(root, "band")) == 1
    assert root.get("aria-label") == root.find("title").text == "accuracy, last 3"
    assert "no data" in ET.fromstring(sparkline([], title="accuracy")).find("title").text


def test_a_bar_has_its_share():
    root = ET.fromstring(bar(0.25, title="share", state="watch"))
    assert of_class(root, "fill")[0].get("width") == "25%"
    assert root.find("title").text == "share: 0.250"
    assert not of_class(ET.fromstring(bar(math.nan, title="share")), "fill")


HOSTILE = "</title></svg><script>alert(1)</script>\"'&<>\x00\x08\ud800 \u202eend"
SEEN = HOSTILE.replace("\x00", "�").replace("\x08", "�").replace("\ud800", "�").replace("\u202e", "�")


def test_hostile_words_stay_words():
    made = [
        line_chart(
            [Series(HOSTILE, [0, 1], [0, 1])],
            title=HOSTILE,
            x_label=HOSTILE,
            y_label=HOSTILE,
            bands=[Band(0, 1, HOSTILE)],
            marks=[Mark(0, HOSTILE, "alarm")],
            lanes=[Lane(HOSTILE, [Span(0, HOSTILE, "ok", 1)])],
        ),
        trials_chart([(HOSTILE, [1, 2])], title=HOSTILE, y_label=HOSTILE),
        sparkline([1], title=HOSTILE),
        bar(1, title=HOSTILE),
    ]
    for one in made:
        assert isinstance(one, Html)
        root = ET.fromstring(one)
        assert not list(root.iter("script"))
        assert all(not name.startswith("on") for element in root.iter() for name in element.attrib)
        assert any(SEEN in (element.text or "") for element in root.iter())
        one.encode("utf-8")


def test_every_picture_has_a_name_and_its_words():
    root = chart(Series("s", [0, 1], [0, 1]))
    svg = root.find("svg")
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == svg.find("title").text == root.find("figcaption").text == "A title"
    assert svg.find("desc").text == "height (m) over time (s). s: 2 of 2 values, 0 to 1."
    assert all(one.get("aria-hidden") == "true" for one in root.find("ul").iter("svg"))


def test_the_same_chart_is_the_same_text():
    assert line_chart([Series("s", [0, 1], [0, 1])], **NAMES) == line_chart([Series("s", [0, 1], [0, 1])], **NAMES)
