"""Events on a chart: upright marks with labels above, lanes with spans below. No label covers another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from unicodedata import east_asian_width

from visutility.report._draw import percent
from visutility.report.html import STATES, Html, number, text
from visutility.report.parts import Lane, Mark, Span
from visutility.report.scale import GRID, Scale

LINE = 18  # pixels from one line of text to the next
LANE = 40  # pixels of a lane: a label, a bar
_CHARACTER = 6.9  # pixels, the mean width at 12 pixels; letters that Unicode calls wide fill all 12
_LAYOUTS = {"narrow": 222, "wide": 560}  # the class of a label, and the least width of the inside where it shows
_MARGIN = 44  # pixels left of the inside that a label may use


@dataclass(frozen=True, slots=True)
class _Label:
    """One layout of a label: its words, which side of `x` it stands on, and the pixels that it covers."""

    words: str
    side: str
    left: float
    right: float

    @property
    def x(self) -> float:
        """Where the event is: the end of the label that stands on it."""
        return self.right if self.side else self.left


_Labels = dict[str, _Label]  # layout -> the label in it


def mark_rows(marks: Sequence[Mark], x_scale: Scale) -> list[int]:
    """Return the line above the chart, 0 the uppermost, that each mark's label stands on."""
    return _rows([_labels(_words(mark), x_scale.place(mark.x)) for mark in marks])


def draw_marks(marks: Sequence[Mark], rows: Sequence[int], x_scale: Scale, y: int, bottom: int) -> Html:
    """Return upright lines down to `bottom` from labels whose first row stands at `y`; no line runs over a label."""
    lines, labels = [], []
    for mark, row in zip(marks, rows, strict=True):
        place, base = x_scale.place(mark.x), y + LINE * row
        x, kind = percent(place), mark.state or "note"
        group = f'<g class="{kind}"><title>{text(mark.label)} at {number(mark.x)}</title>'
        lines.append(f'{group}<line class="event" x1="{x}" x2="{x}" y1="{base - 11}" y2="{bottom}"/></g>')
        labels.append(f"{group}{_text(_words(mark), place, base)}</g>")
    return Html("".join(lines + labels))


def draw_lane(lane: Lane, x_scale: Scale, top: int) -> Html:
    """Return a lane whose bars lie 26 pixels below `top`."""
    middle = top + 26
    labels = [_labels(_words(span), x_scale.place(span.start)) for span in lane.spans]
    spans = [
        _span(span, x_scale, middle, shown=row == 0)  # a second label at one place would cover the first
        for span, row in zip(lane.spans, _rows(labels), strict=True)
    ]
    name = lane.name if len(lane.name) <= 7 else lane.name[:6] + "…"
    return Html(
        f'<g><title>{text(lane.name)}</title><text x="-6" y="{middle + 4}" class="tick end">{text(name)}</text></g>'
        f'<line class="rail" x1="0" x2="100%" y1="{middle}" y2="{middle}"/>{"".join(spans)}'
    )


def _span(span: Span, x_scale: Scale, middle: int, *, shown: bool) -> str:
    left = x_scale.place(span.start)
    right = left if span.end is None else min(x_scale.place(span.end), GRID)
    until = "" if span.end is None else " and on" if span.end == math.inf else f" to {number(span.end)}"
    x1, x2 = percent(left), percent(right)
    return (
        f'<g class="{span.state}"><title>{text(span.label)}, {number(span.start)}{until}</title>'
        f'<line class="span" x1="{x1}" x2="{x2}" y1="{middle}" y2="{middle}"/>'
        f'<line class="event" x1="{x1}" x2="{x1}" y1="{middle - 7}" y2="{middle + 7}"/>'
        f"{_text(_words(span), left, middle - 9) if shown else ''}</g>"
    )


def _words(event: Mark | Span) -> str:
    return f"{STATES[event.state][0]} {event.label}" if event.state else event.label


def _text(words: str, place: float, y: int) -> str:
    labels = _labels(words, place)
    alike = len({(label.words, label.side) for label in labels.values()}) == 1
    shown = {"": labels["narrow"]} if alike else labels
    return "".join(
        f'<text x="{percent(place)}" dx="{-4 if label.side else 4}" y="{y}" class="label {label.side} {layout}">'
        f"{text(label.words)}</text>"
        for layout, label in shown.items()
    )


def _labels(words: str, place: float) -> _Labels:
    return {layout: _label(words, place / GRID * width, width) for layout, width in _LAYOUTS.items()}


def _label(words: str, x: float, width: int) -> _Label:
    """Return the label right of `x` where it fits, else on the side with more room, cut to that room."""
    room = {"": width - x, "end": x + _MARGIN}
    side = "" if _pixels(words) <= room[""] or room[""] >= room["end"] else "end"
    if _pixels(words) > room[side]:
        while _pixels(words + "…") > room[side]:
            words = words[:-1].rstrip()
        words += "…"
    pixels = _pixels(words)
    return _Label(words, side, x - pixels if side else x, x if side else x + pixels)


def _pixels(words: str) -> float:
    return sum(12.0 if east_asian_width(one) in "WF" else _CHARACTER for one in words) + 4


def _rows(labels: Sequence[_Labels]) -> list[int]:
    """Return a line for each label: the first where it is in nobody's way, in any layout, nor anybody in its own."""
    rows: list[int] = []
    for label in labels:
        placed = list(zip(labels, rows, strict=False))
        free = (
            row for row in range(max(rows, default=-1) + 1) if not any(_clash(label, row, *other) for other in placed)
        )
        rows.append(next(free, max(rows, default=-1) + 1))
    return rows


def _clash(one: _Labels, row: int, other: _Labels, other_row: int) -> bool:
    """Say whether two labels touch on one row, or the upright line of the upper one runs through the lower one."""
    for layout in _LAYOUTS:
        a, b = one[layout], other[layout]
        if row == other_row and a.left < b.right + 8 and b.left < a.right + 8:
            return True
        upper, lower = (a, b) if row < other_row else (b, a)
        if row != other_row and lower.left < upper.x < lower.right:
            return True
    return False
