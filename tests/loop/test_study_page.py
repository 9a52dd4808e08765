"""The page and the export of a study: right in the usual case, clear in every odd one, small in a large one."""

import html.parser
import io
import math
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

import visutility.report
from visutility.core.errors import Invalid
from visutility.loop.study_export import export_bytes, kind_of, trials_table
from visutility.loop.study_page import StudyView, study_page, view_of
from visutility.tune import Choice, Equals, Failure, Float, Int, Space, Study
from visutility.tune.constraints import AtMost
from visutility.tune.options import options_of
from visutility.tune.trial import COMPLETE, FAILED, PENDING, PRUNED, Trial

HOSTILE = "</style></title><script>alert(1)</script>\"'&{{ 7*7 }}\x00"
SPACE = Space(
    {
        "lr": Float(1e-5, 1.0, log=True),
        "depth": Int(1, 12),
        "kind": Choice(["a", "b", "c"]),
        "momentum": Float(0.0, 1.0, when=Equals("kind", "b")),
        "fixed": Choice([3]),
    }
)


def loss(params):
    off = (math.log10(params["lr"]) + 2) ** 2
    return off + {"a": 3.0, "b": 0.0, "c": 2.0}[params["kind"]] + 4 * (params.get("momentum", 0.0) - 0.3) ** 2


def made_of(n, space=SPACE, objective=loss, **more):
    """A study of `n` random trials, some failed, some pruned, the last one pending, with times and reports."""
    draw = np.random.default_rng(7)
    start = datetime(2026, 11, 1, tzinfo=UTC)
    trials, times = [], {}
    for number in range(n):
        params = space.decode(draw.random(space.dim))
        state = (
            PENDING
            if number == n - 1
            else [FAILED, PRUNED, COMPLETE, COMPLETE, COMPLETE][min(int(draw.random() * 9), 4)]
        )
        value = objective(params)
        reports = tuple((step, value + 1.0 / step) for step in range(1, 6)) if number < 2000 else ()
        if state == COMPLETE:
            trials.append(Trial(number, params, "random", state, value, {"loss": value, "size": 1.0}, None, reports))
        else:
            why = "out of memory" if state == FAILED else None
            trials.append(Trial(number, params, "random", state, failure=why, reports=reports))
        asked = start + timedelta(seconds=30 * number)
        times[number] = (asked, None if state == PENDING else asked + timedelta(seconds=50))
    given = {"strategy": "random", "reason": "it was asked for", "times": times, **more}
    return StudyView("digits.first", space, options_of(objective="loss"), trials, **given)


class Reader(html.parser.HTMLParser):
    """Collects tags and text, and that every element is closed."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def checked(page):
    """The page's text. Its figures are XML, say what they show, and hold no value that is none; no script anywhere."""
    made = page.html()
    reader = Reader(made)
    assert not [tag for tag, _ in reader.tags if tag in ("script", "img", "link", "iframe")]
    assert not [name for _, attrs in reader.tags for name in attrs if name.startswith("on")]
    for figure in re.findall(r"<figure>.*?</figure>", made, re.DOTALL):
        chart = ET.fromstring(figure).find("svg")
        assert chart.get("role") == "img"
        assert chart.find("desc").text
        for d in re.findall(r' (?:d|x|y|x1|x2|width|height)="([^"]*)"', figure):
            assert "nan" not in d.lower()
            assert "inf" not in d.lower()
    made.encode("utf-8")
    return " ".join("".join(reader.text).split())


def headings(page):
    return [section.heading for section in page.sections]


@pytest.mark.slow
def test_the_page_of_a_study_says_what_matters():
    view = made_of(60)
    page = study_page(view, made="Made by a test.")
    said = checked(page)
    best = min((t for t in view.trials if t.state == COMPLETE), key=lambda t: t.value)
    assert f"The lowest loss is {best.value:.3g}" in page.verdict
    assert f"at trial {best.number} of 60" in page.verdict
    assert page.state == "working"
    assert "The next 10 trials, at 50 s each (the median so far), are expected to gain" in said
    assert headings(page) == [
        "Worth going on?",
        "The best configurations",
        "What matters",
        "Each parameter",
        "Two parameters together",
        "Whole configurations",
        "How it went",
        "Why trials failed",
    ]
    for words in (
        "lr (log scale)",
        "loss expected over lr and kind",
        "Rank of the trials over lr and kind",
        "among the best",
    ):
        assert words in said
    assert "out of memory" in said
    assert "fixed" not in " ".join(re.findall(r"<figcaption>(.*?)</figcaption>", page.html()))
    assert page.html() == study_page(view, made="Made by a test.").html()


def test_every_class_that_is_used_has_a_style():
    style = Path(visutility.report.__file__).with_name("style.css").read_text("utf-8")
    styled = set(re.findall(r"\.([a-z][a-z0-9]*)", style))
    used = {name for value in re.findall(r'class="([^"]*)"', study_page(made_of(60)).html()) for name in value.split()}
    assert used - styled - {"verdict", "line", "dots", "ring"} == set()  # as they come


def test_a_study_in_memory_has_a_page_without_times():
    study = Study(SPACE, objective="loss", strategy="sobol", budget=16)
    study.optimize(loss, 16)
    page = study_page(view_of(study, "mine"))
    assert "Study mine" in checked(page)
    assert page.state == "ok"
    assert page.word == "16 trials, closed"
    assert "When each trial was under way" not in page.html()


def ended(*results, direction="minimize", **options):
    study = Study(SPACE, direction, strategy="random", **options)
    for result in results:
        study.tell(study.ask(), result)
    return view_of(study)


@pytest.mark.parametrize(
    ("view", "state", "verdict"),
    [
        (ended(), "watch", "No trial was asked yet."),
        (ended(*[Failure("no")] * 5), "alarm", "None of 5 trials has a value: 5 failed."),
        (ended(1.0), "ok", "The lowest value is 1, at trial 0 of 1, and it is the last one with a value."),
        (ended(1.0, 2.0), "ok", "and the one after it was no better."),
        (ended(*[2.0] * 20), "ok", "The lowest value is 2, at trial 0 of 20, and none of the 19 after it was better."),
        (ended(1.0, *[Failure("no")] * 3), "watch", "3 of 4 trials failed."),
        (ended(*np.linspace(0, 1e-300, 9), direction="maximize"), "ok", "The highest value is 1.00e−300"),
        (ended(*[-1e300, *np.linspace(0, 1e-12, 19)]), "ok", "The lowest value is −1.00e300"),
        (ended(*[10.0**at for at in range(-9, 9)]), "ok", "The lowest value is 1.00e−9"),
    ],
    ids=["empty", "all failed", "one", "two", "constant", "mostly failed", "tiny", "extreme", "decades"],
)
def test_odd_studies_have_a_clear_page(view, state, verdict):
    page = study_page(view)
    checked(page)
    assert page.state == state
    assert verdict in page.verdict


def test_pending_alone_is_said():
    study = Study(SPACE, strategy="random")
    study.ask()
    page = study_page(view_of(study))
    checked(page)
    assert (page.state, page.verdict) == ("working", "None of 1 trials has a value: 1 pending.")


def test_values_over_many_decades_lie_on_a_log_scale():
    assert "value, log scale" in checked(study_page(ended(*[10.0**at for at in range(-9, 9)])))
    assert "value, log scale" not in checked(study_page(ended(*range(1, 20))))


def test_constraints_are_seen_and_the_best_holds_them():
    study = Study(SPACE, strategy="random", objective="loss", constraints={"size": AtMost(1.0)})
    for number in range(12):
        study.tell(study.ask(), {"loss": float(number), "size": 2.0 if number < 4 else 0.5})
    page = study_page(view_of(study))
    assert "break a constraint" in checked(page)
    assert "The lowest loss is 4, at trial 4 of 12" in page.verdict
    broken = Study(SPACE, strategy="random", objective="loss", constraints={"size": AtMost(1.0)})
    broken.tell(broken.ask(), {"loss": 1.0, "size": 2.0})
    page = study_page(view_of(broken))
    checked(page)
    assert (page.state, page.verdict) == ("watch", "None of 1 complete trials holds the constraints.")


@pytest.mark.parametrize("count", [2, 3])
def test_several_objectives_have_a_front(count):
    names = ["loss", "latency", "gain"][:count]
    study = Study(SPACE, dict(zip(names, ("minimize", "minimize", "maximize"), strict=False)), strategy="random")
    for _ in range(30):
        trial = study.ask()
        rest = {"latency": float(trial.params["depth"]), "gain": trial.params["lr"]}
        study.tell(trial, {"loss": loss(trial.params), **{name: rest[name] for name in names[1:]}})
    page = study_page(view_of(study))
    said = checked(page)
    assert f"{len(study.front)} of 30 trials with values are unbeaten in loss" in page.verdict
    for name in names:
        assert f"What matters for {name}" in headings(page)
        assert f"{name} of each trial" in said
    assert "no other trial is better in all" in said


def test_hostile_names_and_values_stay_words():
    space = Space({HOSTILE: Float(0.0, 1.0), "b": Choice([HOSTILE, None, True, 1.5])})
    study = Study(space, strategy="random", objective=HOSTILE)
    for number in range(24):
        trial = study.ask()
        study.tell(trial, Failure(HOSTILE) if number % 4 == 0 else {HOSTILE: trial.params[HOSTILE], "m" + HOSTILE: 1.0})
    page = study_page(view_of(study, HOSTILE), made=HOSTILE)
    said = checked(page)
    assert said.count("alert(1)") > 10
    assert "49" not in said.replace("&#49", "").split("{{ 7*7 }}")[0]


@pytest.mark.slow
def test_a_large_study_has_a_small_page_that_says_what_it_left_out():
    view = made_of(10_000)
    page = study_page(view)
    made = page.html()
    assert len(made.encode()) < 2_000_000
    complete = sum(trial.state == COMPLETE for trial in view.trials)
    said = checked(page)
    assert f"800 of {complete:,} trials are drawn: the best, and others evenly over the study." in said
    assert f"300 of {complete:,} trials" in said
    assert "1,500 of 10,000 trials are drawn." in said
    assert len(Reader(made).tags) < 2000


@pytest.mark.slow
def test_many_parameters_are_cut_to_those_that_matter():
    space = Space({f"p{at}": Float(0.0, 1.0) for at in range(40)})
    page = study_page(made_of(60, space, lambda params: params["p7"]))
    said = checked(page)
    assert "The 24 of 40 that matter most." in said
    assert "The 12 of 40 that matter most." in said
    assert "The 12 parameters that matter most are shown." in said
    assert "p39" in said  # in the tables


@pytest.mark.parametrize("kind", [".arrow", ".parquet", ".csv"])
def test_an_export_reads_back(kind):
    view = made_of(40)
    data = export_bytes(view, kind)
    if kind == ".arrow":
        table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
    elif kind == ".parquet":
        table = parquet.read_table(io.BytesIO(data))
    else:
        table = csv.read_csv(io.BytesIO(data), convert_options=csv.ConvertOptions(strings_can_be_null=True))
    rows = table.to_pylist()
    assert [row["number"] for row in rows] == list(range(40))
    for row, trial in zip(rows, view.trials, strict=True):
        assert row["state"] == trial.state
        assert row["value"] == trial.value
        assert row["feasible"] == trial.feasible
        assert {n: row[f"params.{n}"] for n in SPACE.names if row[f"params.{n}"] is not None} == trial.params
        assert row["metrics.size"] == trial.metrics.get("size")
        assert (row["failure"] or None) == trial.failure
        if kind != ".csv":
            assert (row["asked_at"], row["told_at"]) == view.times[trial.number]
            assert [(one["step"], one["value"]) for one in row["reports"]] == list(trial.reports)
    if kind != ".csv":
        assert b'"objectives":[["loss","minimize"]]' in table.schema.metadata[b"visutility.study"]


def test_columns_have_the_types_of_their_parameters():
    space = Space(
        {
            "float": Float(0, 1),
            "int": Int(0, 10**12),
            "flag": Choice([True, False]),
            "number": Choice([1, 2.5]),
            "name": Choice(["x", "y"]),
            "mixed": Choice([None, 1, "1"]),
            "huge": Choice([2**80, 1]),
        }
    )
    study = Study(space, strategy="grid") if space.size else Study(space, strategy="random")
    for _ in range(30):
        study.tell(study.ask(), 1.0)
    table = trials_table(view_of(study))
    types = {name: str(table.schema.field(f"params.{name}").type) for name in space.names}
    assert types == {
        "float": "double",
        "int": "int64",
        "flag": "bool",
        "number": "double",
        "name": "string",
        "mixed": "string",
        "huge": "string",
    }
    assert set(table["params.mixed"].to_pylist()) == {"null", "1", '"1"'}
    assert table["asked_at"].null_count == 30


def test_an_empty_study_exports_no_rows():
    view = view_of(Study(SPACE, strategy="random"))
    for kind in (".arrow", ".parquet", ".csv"):
        assert export_bytes(view, kind)
    assert trials_table(view).num_rows == 0


def test_unknown_kinds_of_file_are_refused():
    assert kind_of(PurePath("a.PARQUET")) == ".parquet"
    with pytest.raises(Invalid, match=r"end it with one of \.arrow, \.parquet, \.csv"):
        kind_of(PurePath("a.xlsx"))
    with pytest.raises(Invalid, match="cannot be exported"):
        export_bytes(made_of(3), ".xlsx")
