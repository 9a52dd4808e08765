"""The page and the picture of a drift verdict: true to the report, safe, and whole with hundreds of columns."""

import base64
import io
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from visutility.monitor.drift.report import ColumnDrift, DriftReport, Finding, Histogram
from visutility.report.drift_page import LISTED, ROWS, SIDE, Examples, chance, drift_page
from visutility.report.drift_png import WIDTH, drift_png

OLD, NEW = (
    Histogram((0.2, 0.5, 0.3), edges=(0.0, 1.0, 2.0, 3.0)),
    Histogram((0.1, 0.3, 0.6), edges=(0.0, 1.0, 2.0, 3.0)),
)


def column(name="gain", kind="numeric", *, drifted=True, old=OLD, new=NEW, effect_name="standardised mean difference"):
    p = 1e-9 if drifted else 0.4
    details = {"mean_reference": 1.5, "mean_current": 2.25} if kind == "numeric" else {}
    return ColumnDrift(name, kind, "location", 3.0, p, p, 0.5, effect_name, drifted, old, new, details)


def report(*columns, kind="table", quality=(), **rest):
    drifted = any(one.drifted for one in columns)
    broken = any(one.severity == "broken" for one in quality)
    return DriftReport(
        kind=kind,
        drifted=drifted,
        p_value=1e-9 if drifted else 0.4,
        level=0.05,
        rows=(5000, 1200),
        verdict="Drift in gain." if drifted else "No drift.",
        columns=columns,
        quality=quality,
        status="data broken" if broken else "drift" if drifted else "ok",
        **rest,
    )


def html(one, **rest):
    return drift_page(one, reference="january.csv", current="february.csv", **rest).html()


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs


def parsed(page):
    found = Tags()
    found.feed(page)
    return found


def test_one_heading_the_verdict_first_and_nothing_but_the_page():
    page = html(report(column(), column("lens", drifted=False)), made="Made from two files.")
    found = parsed(page)
    assert found.tags.count("h1") == 1
    assert page.index("<h1>") < page.index("Drift in gain.") < page.index("<svg") < page.index("<h2>")
    assert not {"script", "link", "iframe", "form", "base"} & set(found.tags)
    assert not [one for one in found.attributes if one[0].startswith("on") or one[0] == "style"]
    assert not [value for name, value in found.attributes if name in ("src", "href", "action")]
    assert "default-src 'none'" in unescape(page)
    for word in ("february.csv against january.csv", "5,000 rows", "1,200 rows", "Made from two files."):
        assert word in page
    assert page == html(report(column(), column("lens", drifted=False)), made="Made from two files.")


@pytest.mark.parametrize(
    ("made", "mark", "word"),
    [
        (report(column()), "▲", "drift"),
        (report(column(drifted=False)), "●", "no drift"),
        (
            report(column(), quality=(Finding("schema", "old", "broken", 1.0, "the column is gone"),)),
            "▲",
            "data broken",
        ),
    ],
)
def test_the_state_is_a_mark_and_a_word(made, mark, word):
    assert re.search(rf'class="verdict"><span[^>]*><span aria-hidden="true">{mark}</span> {word}</span>', html(made))


def test_every_kind_of_row_says_what_changed_and_how_far():
    labels = [Histogram((0.7, 0.3, 0.0), labels=("north", "south", "(others)")), Histogram((1.0,), labels=("east",))]
    page = html(
        report(
            column(),
            column("camera", "categorical", old=labels[0], new=labels[1], effect_name="total variation"),
            column("gain", "missing", effect_name="change of the missing share"),
            column("old", "schema", old=Histogram(), new=Histogram(), effect_name="removed"),
            column("all", "joint", drifted=False, effect_name="shift"),
            quality=(Finding("nulls", "gain", "warning", 0.045, "4.5% are missing"),),
        )
    )
    for word in (
        "gain, missing values",
        "removed",
        "0.500 (total variation)",
        "Mean 1.50, now 2.25",
        "4.5 %",
        "warning",
    ):
        assert word in page
    assert re.search(r"east</text>", page)
    assert "(others)" not in page  # nobody has any
    assert "4 of 5 drifted" in page


def test_hundreds_of_columns_make_a_page_that_says_what_it_leaves_out():
    many = [
        column(f"column {at}", new=replace(NEW, shares=(0.1, 0.3 - at * 1e-4, 0.6 + at * 1e-4))) for at in range(900)
    ]
    page = html(report(*many))
    assert f"The first {LISTED} of 900." in page
    assert page.count('class="spark"') == ROWS
    assert len(page) < 1_000_000
    small = html(report(*many[:150]))
    assert len(parsed(small).tags) < 5000


def test_images_are_shown_small_and_with_their_names():
    g = np.linspace(0, 1, 3 * 300 * 500).reshape(3, 300, 500)
    images = Examples((g * 255).astype(np.uint8), g[:2], ["a/0001.png", "a/" + "x" * 60 + ".png"])
    page = html(report(column(kind="joint"), kind="images", named="blur", shifted=(4, 7)), examples=images)
    assert page.count("<img") == 5
    assert "The kind of change that fits: blur." in page
    assert "a/0001.png" in page
    assert "…" in page
    assert "images" in page
    first = re.search(r'src="data:image/png;base64,([^"]+)"', page)[1]
    with Image.open(io.BytesIO(base64.b64decode(first))) as shown:
        assert max(shown.size) <= SIDE
        assert shown.size[0] > shown.size[1]


def test_words_from_outside_are_escaped():
    page = drift_page(
        report(column("<script>alert(1)</script>"), quality=(Finding("<b>", '"><i>', "warning", 0.1, "<u>"),)),
        reference="<script>",
        current='"><img src=x>',
    ).html()
    assert not {"script", "b", "i", "u", "img"} & set(parsed(page).tags)


def test_probabilities_are_said_as_people_read_them():
    assert chance(1e-70) == "<\N{NO-BREAK SPACE}1e−6"
    assert chance(0.0) == chance(1e-7)
    assert (chance(0.05), chance(1.0)) == ("0.0500", "1")


def test_the_picture_is_a_png_with_a_card_for_each_column_that_moved():
    labels = [Histogram((0.7, 0.3), labels=("north", "south")), Histogram((0.2, 0.8), labels=("north", "south"))]
    many = [column(f"column {at}") for at in range(5)]
    heights = {}
    for name, made in {
        "one": report(column()),
        "five": report(*many, column("camera", "categorical", old=labels[0], new=labels[1])),
        "none": report(column(drifted=False)),
        "empty": report(column(old=Histogram((0.0,), edges=(0.0, 1.0)), new=Histogram((0.0,), edges=(0.0, 1.0)))),
    }.items():
        data = drift_png(made, reference="january.csv", current="february.csv")
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.width) == ("PNG", 2 * WIDTH)
            assert len(image.getcolors(1 << 24)) > 3
            heights[name] = image.height
    shown = Examples(np.zeros((3, 20, 30, 3), np.uint8), np.linspace(0, 1, 13 * 300 * 200).reshape(13, 300, 200, 1))
    data = drift_png(report(column(kind="joint"), kind="images"), reference="a", current="b", examples=shown)
    with Image.open(io.BytesIO(data)) as image:
        assert image.height > heights["one"]
    assert heights["five"] > heights["one"] == heights["none"]
