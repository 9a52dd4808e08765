"""A drift verdict on one page: what it is, what moved most, then every column. `visutility drift REF CUR --html`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from visutility.monitor.drift.report import ColumnDrift, DriftReport, Finding
from visutility.report.bars import percentage
from visutility.report.html import Html, State, chip, number
from visutility.report.images import ImageRow, image_grid
from visutility.report.overlay import Overlay, overlay, overlay_small
from visutility.report.page import Page, Section, columns
from visutility.report.table import Cell, table

CHARTS: Final = 3  # columns shown large on top
FURTHER: Final = 20  # drifted columns shown large below
ROWS: Final = 100  # rows of the table with a drawing each
LISTED: Final = 500
SIDE: Final = 128  # pixels that an example image keeps at most

STATES: Final[dict[str, tuple[State, str]]] = {
    "ok": ("ok", "no drift"),
    "drift": ("alarm", "drift"),
    "data broken": ("alarm", "data broken"),
}


@final
@dataclass(frozen=True, slots=True)
class Examples:
    """Images, (k, h, w) or (k, h, w, c): some of the reference, and the most shifted current ones with their names."""

    reference: NDArray[Any]
    current: NDArray[Any]
    names: Sequence[str] = ()


def drift_page(
    report: DriftReport, *, reference: str, current: str, examples: Examples | None = None, made: str = ""
) -> Page:
    """Return the page of a report. `reference` and `current` name the windows for people; `made` is for its foot."""
    state, word = STATES[report.status]
    shown = drawn_rows(report)
    pictures = _examples(examples)
    large = 0 if pictures else CHARTS
    further = _further([row for row in shown if row.drifted][large:], "What else drifted" if large else "What drifted")
    sections = [_quality(report), further if pictures else None, _columns(report, shown)]
    sections += [None if pictures else further, _how(report)]
    return Page(
        title=f"{current} against {reference}",
        verdict=report.verdict,
        state=state,
        word=word,
        chart=pictures or _chart(shown),
        sections=[_windows(report, reference, current), *(one for one in sections if one is not None)],
        made=made,
    )


def name_of(row: ColumnDrift) -> str:
    """Return what a row is about, for people."""
    return f"{row.name}, missing values" if row.kind == "missing" else row.name


def effect_of(row: ColumnDrift) -> str:
    """Return how large the change is, with its unit."""
    if row.kind == "schema":
        return row.effect_name
    return f"{number(row.effect)} ({row.effect_name})"


def chance(probability: float) -> str:
    """Return a probability as people read it: nobody needs to know how far below a millionth it is."""
    return "<\N{NO-BREAK SPACE}1e−6" if probability < 1e-6 else number(probability)


def overlay_of(row: ColumnDrift) -> Overlay | None:
    """Return the two histograms of a row as a chart; None where there is none."""
    old, new = row.reference, row.current
    if not (old.shares or new.shares):
        return None
    if old.labels or new.labels:
        found = [dict(zip(one.labels, one.shares, strict=True)) for one in (old, new)]
        listed = dict.fromkeys([*old.labels, *new.labels])
        names = tuple(name for name in listed if any(one.get(name, 0.0) > 0.0 for one in found))
        shares = [[one.get(name, 0.0) for name in names] for one in found]
        return Overlay(name_of(row), shares[0], shares[1], labels=names)
    return Overlay(name_of(row), old.shares, new.shares, old.edges, new.edges)


def drawn_rows(report: DriftReport) -> list[ColumnDrift]:
    """Return the rows that are drawn; of joint tests that show the same histogram, the first."""
    seen: list[tuple[object, object]] = []
    found = []
    for row in report.columns:
        pair = (row.reference, row.current)
        if overlay_of(row) is not None and (row.kind != "joint" or pair not in seen):
            seen += [pair] * (row.kind == "joint")
            found.append(row)
    return found


def _chart(shown: Sequence[ColumnDrift]) -> Html | str:
    large = [row for row in shown if row.drifted][:CHARTS] or shown[:2]
    return columns(*(_figure(row) for row in large)) if large else ""


def _figure(row: ColumnDrift) -> Html:
    chart = overlay_of(row)
    if chart is None:
        return Html("")
    said = "drifted" if row.drifted else "not drifted"
    note = f"{said[0].upper()}{said[1:]}: {effect_of(row)}, q-value {chance(row.q_value)}."
    return overlay(chart, title=name_of(row), note=note + _means(row))


def _means(row: ColumnDrift) -> str:
    if "mean_reference" not in row.details or "mean_current" not in row.details:
        return ""
    return f" Mean {number(row.details['mean_reference'])}, now {number(row.details['mean_current'])}."


def _windows(report: DriftReport, reference: str, current: str) -> Section:
    what = {"images": "images", "embedding": "vectors", "softmax": "predictions"}.get(report.kind, "rows")
    named = f" The kind of change that fits: {report.named}." if report.named else ""
    lead = (
        f"The current window, {current} ({number(report.rows[1])} {what}), against the reference window, {reference} "
        f"({number(report.rows[0])} {what}).{named}"
    )
    return Section("What was compared", lead)


def _examples(examples: Examples | None) -> Html | str:
    if examples is None or not len(examples.current):
        return ""
    captions = [name if len(name) <= 24 else f"…{name[-23:]}" for name in examples.names]
    title = "Most shifted current images, most of all first"
    shown = image_grid([ImageRow("current", small(examples.current), captions)], title=title)
    if not len(examples.reference):
        return shown
    return Html(shown + image_grid([ImageRow("reference", small(examples.reference))], title="Images of the reference"))


def small(images: NDArray[Any]) -> NDArray[Any]:
    """Return images of at most `SIDE` pixels a side: means of whole blocks of pixels."""
    every = -(-max(images.shape[1:3]) // SIDE)
    if every <= 1:
        return images
    height, width = (side // every * every for side in images.shape[1:3])
    cut = images[:, :height, :width].astype(np.float32)
    blocks = cut.reshape(len(cut), height // every, every, width // every, every, -1).mean(axis=(2, 4))
    small: NDArray[Any] = blocks.reshape(*blocks.shape[:3], *images.shape[3:]).astype(images.dtype)
    return small


def _quality(report: DriftReport) -> Section | None:
    if not report.quality:
        return None
    rows: list[list[Cell]] = [
        [one.check, one.column or "–", _severity(one), percentage(one.share), one.detail] for one in report.quality
    ]
    lead = "What is wrong with the current window as data. Broken data are mended, not learnt from."
    numbers = table("Findings", ["check", "column", "state", "share of rows", "what was found"], rows)
    return Section("Data quality", lead, [numbers])


def _severity(one: Finding) -> Html:
    return chip("alarm", "broken") if one.severity == "broken" else chip("watch", "warning")


def _columns(report: DriftReport, shown: Sequence[ColumnDrift]) -> Section | None:
    if not report.columns:
        return None
    drawn = {id(row) for row in shown[:ROWS]}
    rows: list[list[Cell]] = []
    for row in report.columns[:LISTED]:
        chart = overlay_of(row) if id(row) in drawn else None
        state = chip("alarm", "drifted") if row.drifted else chip("ok", "no drift")
        picture: Cell = None if chart is None else overlay_small(chart)
        tested = f"{row.test}, p {chance(row.p_value)}"
        rows.append([name_of(row), state, picture, effect_of(row), chance(row.q_value), tested])
    first = f"The first {LISTED} of {len(report.columns):,}. " if len(report.columns) > LISTED else ""
    drifted = sum(row.drifted for row in report.columns)
    lead = f"{first}{drifted:,} of {len(report.columns):,} drifted. In the drawings the reference is the grey area."
    heads = ["column" if report.kind == "table" else "test of", "state", "drawing", "effect", "q-value", "test"]
    title = "Every column" if report.kind == "table" else "What was tested"
    return Section(title, lead, [table("Most suspicious first", heads, rows)])


def _further(rows: Sequence[ColumnDrift], heading: str) -> Section | None:
    if not rows:
        return None
    first = f"The next {FURTHER} of {len(rows):,}." if len(rows) > FURTHER else ""
    return Section(heading, first, [columns(*(_figure(row) for row in rows[:FURTHER]))])


def _how(report: DriftReport) -> Section:
    level = f"{report.level:.3g}"
    lead = (
        f"The p-value of the whole comparison is {chance(report.p_value)}; up to {level} it counts as drift. Two "
        f"windows of the same kind are called drifted with probability at most {level}. A column's q-value is the "
        "least share of false ones among those called drifted at which it would be one of them. Its effect says how "
        "large the change is, whatever the number of rows. Drift says that the data changed, not that a model is worse."
    )
    return Section("How to read this", lead)
