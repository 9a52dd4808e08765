import base64
import errno
import hashlib
import html.parser
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from visutility.core.errors import DiskFull, Invalid, InvalidSetting
from visutility.report import (
    STATES,
    Html,
    ImageRow,
    Mark,
    Page,
    Section,
    Series,
    bar,
    chip,
    columns,
    image_grid,
    line_chart,
    sparkline,
    table,
)

STYLE = Path(__file__).parents[2] / "src/visutility/report/style.css"
HOSTILE = "</style></title><script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}\x00\ud800"


class Reader(html.parser.HTMLParser):
    """Collects what is in a page, and that every element that needs it is closed."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.texts.append(text)

    def all(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]


def page(**options) -> Page:
    chart = line_chart(
        [Series("accuracy", np.arange(100), np.linspace(1, 0.5, 100))],
        title="Accuracy over the stream",
        x_label="stream position (images)",
        y_label="accuracy (share right)",
        marks=[Mark(40, "alarm", "alarm")],
    )
    pictures = image_grid(
        [ImageRow("clean", np.zeros((4, 8, 8), np.uint8), list("0123"))], title="What the camera sees"
    )
    numbers = table("Versions", ["version", "accuracy", "trend"], [["v1", 0.98123, sparkline([1, 2], title="trend")]])
    return Page(
        **{
            "title": "A story",
            "verdict": "All is well.",
            "state": "ok",
            "chart": chart,
            "sections": [
                Section("Pictures", "Eight by eight.", [pictures, "Some words."]),
                Section("Numbers", parts=[columns(numbers, bar(0.5, title="share"))]),
            ],
            "made": "made in a test",
            **options,
        }
    )


def test_a_page_stands_alone():
    text = page().html()
    reader = Reader(text)
    assert text.startswith("<!doctype html>\n")
    assert len(reader.all("h1")) == 1
    assert [attrs.get("lang") for attrs in reader.all("html")] == ["en"]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in reader.all("meta")
    assert len(reader.all("style")) == 1
    for tag in ("script", "link", "iframe", "base", "form", "a"):
        assert reader.all(tag) == []
    for _, attrs in reader.tags:
        assert not any(name == "style" or name.startswith("on") for name in attrs)
        assert attrs.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
    assert re.findall("https?://", text) == []
    assert "url(" not in text
    assert "@import" not in text


def test_its_policy_allows_its_own_style_and_nothing_else():
    reader = Reader(page().html())
    policy = next(attrs["content"] for attrs in reader.all("meta") if "http-equiv" in attrs)
    style = re.search("<style>(.*?)</style>", page().html(), re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'none'"


def test_the_verdict_comes_first_then_the_chart_then_the_sections():
    text = page().html()
    order = [
        "<h1>A story</h1>",
        'class="verdict"',
        'class="chart"',
        "<h2>Pictures</h2>",
        "<h2>Numbers</h2>",
        "made in a test",
    ]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    assert "<title>● A story</title>" in text
    assert '<span class="state ok"><span aria-hidden="true">●</span> in its band</span> All is well.' in text
    assert "needs a person</span>" in page(state="person").html()
    assert "promoted</span>" in page(word="promoted").html()


def test_equal_pages_have_equal_text():
    assert page().html() == page().html()


def test_every_picture_has_words():
    reader = Reader(page().html())
    assert all(attrs["alt"] for attrs in reader.all("img"))
    assert all(
        attrs.get("role") == "img" or attrs.get("aria-hidden") or attrs.get("viewbox") for attrs in reader.all("svg")
    )


def test_hostile_words_stay_words():
    made = Page(
        title=HOSTILE,
        verdict=HOSTILE,
        state="alarm",
        word=HOSTILE,
        made=HOSTILE,
        chart=HOSTILE,
        sections=[
            Section(
                HOSTILE,
                HOSTILE,
                [
                    HOSTILE,
                    columns(HOSTILE),
                    table(HOSTILE, [HOSTILE], [[HOSTILE], [chip("ok", HOSTILE)]]),
                    image_grid([ImageRow(HOSTILE, np.zeros((1, 2, 2)), [HOSTILE], ["ok"])], title=HOSTILE),
                ],
            )
        ],
    ).html()
    reader = Reader(made)
    assert reader.all("script") == []
    assert len(reader.all("style")) == 1
    assert not any(name.startswith("on") for _, attrs in reader.tags for name in attrs)
    assert "{{ 7*7 }}" in made
    assert "49" not in "".join(reader.texts).replace("&#49", "")
    seen = HOSTILE.replace("\x00", "�").replace("\ud800", "�")
    assert sum(seen in text for text in reader.texts) >= 10
    made.encode("utf-8")


def test_only_markup_of_this_package_is_let_through():
    assert "<b>" not in Page("t", "v", "ok", [Section("h", parts=["<b>", table("c", ["x"], [["<b>"]])])]).html()
    assert "<b>" in Page("t", "v", "ok", [Section("h", parts=[Html("<b>mine</b>")])]).html()
    with pytest.raises(InvalidSetting, match="state 'fine' is unknown"):
        Page("t", "v", "fine").html()


def test_tables_have_scopes_and_numbers_that_line_up():
    made = table(
        "Versions", ["version", "accuracy", "rows", "note"], [["v1", 0.98123, 1200, None], ["v2", None, 7, "new"]]
    )
    reader = Reader(made)
    assert [attrs["scope"] for attrs in reader.all("th")] == ["col"] * 4 + ["row"] * 2
    assert '<td class="number" title="0.98123">0.981</td>' in made
    assert '<td class="number">1,200</td>' in made
    assert '<td class="number">–</td>' in made
    assert "<td>–</td>" in made
    assert '<th scope="col">note</th>' in made
    assert "<td>yes</td>" in table("t", ["a", "b"], [["x", True]])
    assert 'colspan="2">none</td>' in table("t", ["a", "b"], [])
    with pytest.raises(InvalidSetting, match=r"has 1 cells\. there are 2 columns"):
        table("t", ["a", "b"], [["x"]])


def test_a_grid_keeps_a_samples_pictures_together():
    before, after = np.zeros((3, 4, 8), np.uint8), np.ones((3, 4, 8, 3), np.float32)
    made = image_grid(
        [ImageRow("before", before), ImageRow("after", after, ["a", "b", "c"], ["ok", "alarm", "ok"])],
        title="t",
        size=64,
    )
    reader = Reader(made)
    assert len(reader.all("li")) == 3
    assert [attrs["alt"] for attrs in reader.all("img")][:3] == ["before 1", "after 1: a", "before 2"]
    assert {(attrs["width"], attrs["height"]) for attrs in reader.all("img")} == {("64", "32")}
    assert "from the top: before, after." in made
    assert '<span class="state alarm"><span aria-hidden="true">▲</span> b</span>' in made
    for rows in ([ImageRow("a", before), ImageRow("b", after[:2])], [ImageRow("a", before, ["one"])], []):
        with pytest.raises(InvalidSetting, match="one per sample"):
            image_grid(rows, title="t")


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_colour_of_text_can_be_read_in_light_and_dark():
    """WCAG 2.2, 1.4.3: a contrast of 4.5."""
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w{6})\b", block)) for block in STYLE.read_text().split("@media screen")[:2]
    )
    for theme in (light, dark):
        assert {*STATES, "text", "muted", "data", "bg", "raised"} <= set(theme)
        for ink in (*STATES, "text", "muted", "data"):
            for ground in ("bg", "raised"):
                high, low = sorted((luminance(theme[ink]), luminance(theme[ground])), reverse=True)
                assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)


def test_every_class_that_is_used_has_a_style():
    text = page(word="x").html()
    used = {name for value in re.findall(r'class="([^"]*)"', text) for name in value.split()}
    styled = set(re.findall(r"\.([a-z][a-z0-9]*)", STYLE.read_text()))
    assert used - styled - {"plain", "look0", "verdict"} == set()


def test_a_page_is_written_whole(tmp_path):
    path = tmp_path / "report.html"
    assert page().write(path) == path
    assert path.read_text("utf-8") == page().html()
    page(verdict="Another day.").write(str(path))
    assert "Another day." in path.read_text("utf-8")
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


def test_a_full_disk_keeps_the_old_page(tmp_path, monkeypatch):
    path = page().write(tmp_path / "report.html")
    old = path.read_text("utf-8")
    original = Path.write_text

    def full(self, text, encoding):
        original(self, text[:100], encoding)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DiskFull, match=r"no space for .*report\.html"):
        page(verdict="New.").write(path)
    assert path.read_text("utf-8") == old
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


def test_a_path_that_is_none_is_refused(tmp_path):
    with pytest.raises(Invalid, match="cannot be written"):
        page().write(tmp_path / "nowhere" / "report.html")


CHILD = """
import os, sys
from visutility.core.errors import ReadOnly
from visutility.report import Page
page = Page("t", "v", "ok")
page.html()
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    page.write(sys.argv[1])
except ReadOnly as error:
    print(error)
"""


def test_a_read_only_folder_says_so():
    """As an ordinary user: root may write anywhere."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(folder / "r.html")], check=True, capture_output=True, text=True
        )
        folder.chmod(0o755)
    assert "r.html cannot be written. choose a folder" in child.stdout
