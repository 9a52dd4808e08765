"""Charts over two axes of any kind, bars, parallel coordinates: valid, whole, escaped, and true to their values."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from visutility.core.errors import InvalidSetting
from visutility.report import (
    Axis,
    Dots,
    Lines,
    Shades,
    Spans,
    bar_chart,
    folded,
    number_axis,
    parallel,
    percentage,
    plane,
    table,
)

HOSTILE = "</svg></title><script>alert(1)</script>\"'&{{ 7*7 }}\x00\ud800"
UNIT = Axis("x", ((0.0, "0"), (1.0, "1")))
NAMES = Axis("kind", tuple(((at + 0.5) / 3, name) for at, name in enumerate(("a", "b", "c"))), named=True)


def parsed(figure):
    """The figure as XML; no number in it is NaN or infinite."""
    assert "nan" not in re.sub(r"<(title|desc|text|p|li|figcaption)\b.*?</\1>", "", figure, flags=re.DOTALL).lower()
    assert "inf" not in " ".join(re.findall(r' d="([^"]*)"', figure))
    return ET.fromstring(figure)


def paths(figure, kind):
    return [one.get("d") for one in parsed(figure).iter("path") if kind in (one.get("class") or "").split()]


def test_dots_lie_where_their_values_are():
    made = plane([Dots("one", [0.0, 0.5, 1.0], [0.0, 0.25, 1.0])], x=UNIT, y=UNIT, title="t")
    assert paths(made, "dots")[0] == "M0 1000h0M500 750h0M1000 0h0"
    assert "one: 3" in made


def test_what_has_no_value_is_not_drawn():
    nothing = [np.nan, np.inf, 0.5]
    made = plane(
        [Dots("d", nothing, [0.1, 0.2, 0.3]), Lines("l", [([0, 0.5, 1, 0.2], [0, np.nan, 1, 1])])],
        x=UNIT,
        y=UNIT,
        title="t",
    )
    assert paths(made, "dots")[0] == "M500 700h0"
    assert paths(made, "line")[0] == "M0 1000h0M1000 0L200 0"
    empty = plane([Dots("d", [], []), Spans("s", [], [], [])], x=UNIT, y=UNIT, title="t")
    assert "no data" in empty
    assert parsed(empty).find(".//path[@class='data points dots']").get("d") == "M14 7h0"  # the legend's sample alone


def test_equal_dots_are_drawn_once():
    made = plane([Dots("d", np.full(1000, 0.3), np.full(1000, 0.3))], x=UNIT, y=UNIT, title="t")
    assert paths(made, "dots")[0] == "M300 700h0"
    assert "d: 1,000" in made


def test_spans_reach_from_start_to_end():
    made = plane([Spans("s", [0.0], [0.5], [1.0], "failed")], x=UNIT, y=UNIT, title="t")
    assert paths(made, "failed")[0] == "M0 0H500"


@pytest.mark.parametrize("low", [True, False])
def test_the_strongest_shade_is_the_best(low):
    values = np.array([[1.0, 2.0, 3.0]])
    made = plane([Shades("v", [1 / 6, 1 / 2, 5 / 6], [0.5], values, low)], x=NAMES, y=UNIT, title="t")
    strongest = next(one for one in parsed(made).iter("path") if "shade6" in (one.get("class") or ""))
    assert strongest.get("d").startswith("M0 " if low else "M667 ")


def test_shades_leave_open_what_has_no_value_and_fill_the_rest():
    values = np.full((5, 4), 2.0)
    values[2, 1] = np.nan
    xs, ys = (np.arange(4) + 0.5) / 4, (np.arange(5) + 0.5) / 5
    made = plane([Shades("v", xs, ys, values)], x=Axis("x", (), named=True), y=Axis("y", (), named=True), title="t")
    area = 0
    for d in paths(made, "shade"):
        for left, lower, right, upper in re.findall(r"M(\d+) (\d+)H(\d+)V(\d+)H\d+Z", d):
            area += (int(right) - int(left)) * (int(lower) - int(upper))
    assert area == 1000 * 1000 * 19 // 20
    assert "2 everywhere" in made
    nothing = plane([Shades("v", xs, ys, np.full((5, 4), np.nan))], x=UNIT, y=UNIT, title="t")
    assert paths(nothing, "shade") == []
    assert "no data" in nothing


def test_shades_take_given_edges():
    values = np.linspace(0.0, 1.0, 12).reshape(3, 4)
    shades = Shades("v", (np.arange(4) + 0.5) / 4, (np.arange(3) + 0.5) / 3, values, edges=[0.0, 0.5, 1.0])
    assert shades.bands == [0.0, 0.5, 1.0]
    made = plane([shades], x=UNIT, y=UNIT, title="t")
    assert {"0 to 0.500", "0.500 to 1"} <= set(re.findall(r"</svg> (?:v: )?([^<]*)</li>", made))


def test_names_that_do_not_fit_are_cut_and_stay_whole_in_the_title():
    many = Axis("k", tuple(((at + 0.5) / 30, f"option number {at}") for at in range(30)), named=True)
    made = plane([Dots("d", [0.5], [0.5])], x=many, y=UNIT, title="t")
    labels = [one for one in parsed(made).iter("text") if "middle" in one.get("class")]
    assert all(len("".join(one.itertext())) > 0 for one in labels)
    for layout, width in (("narrow", 222), ("wide", 560)):
        shown = [one for one in labels if layout in one.get("class").split()]
        written = [one.find("title").tail for one in shown]
        assert sum(len(name) for name in written) * 6.9 <= width + 60
        assert all(one.find("title").text.startswith("option number") for one in shown)


def test_hostile_words_stay_words_in_every_figure():
    axis = Axis(HOSTILE, ((0.5, HOSTILE),), named=True)
    made = [
        plane(
            [Dots(HOSTILE, [0.5], [0.5]), Lines(HOSTILE, []), Spans(HOSTILE, [0], [1], [0])],
            x=axis,
            y=axis,
            title=HOSTILE,
        ),
        plane([Shades(HOSTILE, [0.5], [0.5], np.ones((1, 1)))], x=axis, y=axis, title=HOSTILE, note=HOSTILE),
        parallel([axis, UNIT], [(HOSTILE, [[0.5, 0.5]], "line")], title=HOSTILE, note=HOSTILE),
        bar_chart([(HOSTILE, [0.5])], [HOSTILE], title=HOSTILE, note=HOSTILE),
        folded(HOSTILE, HOSTILE, table(HOSTILE, [HOSTILE], [[HOSTILE]])),
    ]
    for figure in made:
        assert not list(parsed(figure).iter("script"))
        assert "alert(1)" in "".join(parsed(figure).itertext())
        figure.encode("utf-8")


def test_every_figure_is_said_in_words():
    made = [
        plane([Dots("trials", [0.5], [0.5])], x=NAMES, y=UNIT, title="A"),
        parallel([NAMES, UNIT], [("best", [[0.5, 0.5]], "line")], title="A"),
        bar_chart([("lr", [0.25, np.nan])], ["one", "other"], title="A"),
    ]
    for figure in made:
        chart = parsed(figure).find("svg")
        assert chart.get("role") == "img"
        assert chart.get("aria-label") == "A"
        assert chart.find("title").text == "A"
        assert chart.find("desc").text
    assert "lr: 25 %, –." in made[2]


def test_parallel_lines_break_where_a_parameter_is_not_active():
    rows = [[0.0, np.nan, 1.0], [0.5, 0.5, 0.5]]
    made = parallel([UNIT, UNIT, UNIT], [("rows", rows, "line")], title="t")
    assert paths(made, "line")[0] == "M0 0h0M1000 112h0M500 0h0L500 56L500 112"
    assert "rows: 2" in made
    parsed(parallel([], [("rows", np.zeros((0, 0)), "line")], title="t"))
    parsed(parallel([UNIT], [("rows", np.zeros((0, 1)), "faint")], title="t"))


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "0 %"), (0.0004, "0 %"), (0.004, "0.4 %"), (0.0997, "10 %"), (0.412, "41 %"), (1.0, "100 %")],
)
def test_percentages(share, words):
    assert percentage(share) == words


def test_a_bar_is_as_long_as_its_share():
    made = bar_chart([("lr", [0.25]), ("depth", [1.0])], ["share"], title="t")
    assert [one.get("width") for one in parsed(made).iter("rect") if one.get("class") == "share0"][:2] == [
        "25%",
        "100%",
    ]


def test_number_axes_show_every_value():
    axis = number_axis([1.0, 9.0, np.nan], "loss")
    assert axis.low <= 1.0 <= 9.0 <= axis.high
    assert axis.place([axis.low, axis.high]).tolist() == [0.0, 1000.0]
    assert number_axis([], "loss").ticks == ()


@pytest.mark.parametrize(
    "broken",
    [
        lambda: plane([Dots("d", [1], [1], "pink")], x=UNIT, y=UNIT, title="t"),
        lambda: plane([Dots("d", [1, 2], [1])], x=UNIT, y=UNIT, title="t"),
        lambda: plane([Lines("l", [([1, 2], [1])])], x=UNIT, y=UNIT, title="t"),
        lambda: plane([Lines("l", [], "dots")], x=UNIT, y=UNIT, title="t"),
        lambda: plane([Spans("s", [1], [1], [1], "line")], x=UNIT, y=UNIT, title="t"),
        lambda: plane([Shades("s", [1], [1], np.ones((2, 2)))], x=UNIT, y=UNIT, title="t"),
        lambda: parallel([UNIT], [("g", [[1.0]], "dots")], title="t"),
        lambda: bar_chart([("a", [0.1])], [], title="t"),
        lambda: bar_chart([("a", [0.1, 0.2])], ["one"], title="t"),
        lambda: bar_chart([("a", [1.1])], ["one"], title="t"),
    ],
)
def test_what_cannot_be_drawn_is_refused(broken):
    with pytest.raises(InvalidSetting):
        broken()
