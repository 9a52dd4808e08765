"""A drift verdict as one picture, for places that show no HTML: the verdict, and the columns that moved most."""

import io
import textwrap
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import MissingExtra
from visutility.monitor.drift.report import ColumnDrift, DriftReport
from visutility.report.axis import cut
from visutility.report.drift_page import STATES, Examples, chance, drawn_rows, effect_of, name_of, overlay_of, small
from visutility.report.overlay import LABELS, Overlay, binned
from visutility.report.scale import scale

WIDTH: Final = 1200
SCALE: Final = 2  # pixels of the file per pixel of the drawing
MOST: Final = 6  # charts
PICTURES: Final = 12
_GAP, _COLUMNS, _TALL, _PICTURE = 16, 3, 240, 80
_COLOURS = {
    "ok": "#1a7f37",
    "alarm": "#c1272d",
    "text": "#1a1d21",
    "muted": "#57606a",
    "line": "#d8dce2",
    "raised": "#f6f7f9",
    "data": "#0b5cad",
    "was": "#b9bfc6",
}


def drift_png(report: DriftReport, *, reference: str, current: str, examples: Examples | None = None) -> bytes:
    """Return the picture, 2,400 pixels wide, light. Raises `MissingExtra` without Pillow.

    Words are in DejaVu Sans where the machine has it, else in Pillow's own font, which knows few scripts.
    """
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise MissingExtra("Pillow is not installed", hint="run `pip install visutility[vision]`") from None
    rows = _rows(report)
    verdict = textwrap.wrap(report.verdict, 110) or [""]
    top = 96 + 24 * len(verdict)
    strips = [] if examples is None else [("current", examples.current), ("reference", examples.reference)]
    strips = [(name, small(images[:PICTURES])) for name, images in strips if len(images)]
    cards = top + len(strips) * (_PICTURE + 36)
    height = cards + (-(-len(rows) // _COLUMNS)) * (_TALL + _GAP) + 8
    image = Image.new("RGB", (WIDTH * SCALE, height * SCALE), "#ffffff")
    pen = _Pen(image, ImageDraw.Draw(image))
    state, word = STATES[report.status]
    pen.write(24, 20, cut(f"{current} against {reference}", 80), 24, "text")
    pen.mark(24, 62, state)
    pen.write(44, 58, word, 16, state)
    for at, line in enumerate(verdict):
        pen.write(24, 86 + 24 * at, line, 16, "text")
    for at, (name, images) in enumerate(strips):
        _strip(pen, name, images, top + at * (_PICTURE + 36))
    across = (WIDTH - 48 - _GAP * (_COLUMNS - 1)) // _COLUMNS
    for at, row in enumerate(rows):
        _card(pen, row, 24 + (at % _COLUMNS) * (across + _GAP), cards + (at // _COLUMNS) * (_TALL + _GAP), across)
    kept = io.BytesIO()
    image.save(kept, "PNG")
    return kept.getvalue()


class _Pen:
    """Draws in the pixels of the drawing, whatever the file's."""

    def __init__(self, image: Any, draw: Any) -> None:
        self._image = image
        self._draw = draw
        self._fonts: dict[int, Any] = {}

    def write(self, x: float, y: float, words: str, size: int, colour: str, anchor: str = "la") -> None:
        if size not in self._fonts:
            self._fonts[size] = _font(size * SCALE)
        at = (x * SCALE, y * SCALE)
        self._draw.text(at, words, fill=_COLOURS[colour], font=self._fonts[size], anchor=anchor)

    def box(self, left: float, top: float, right: float, bottom: float, colour: str) -> None:
        if right > left and bottom > top:
            self._draw.rectangle([one * SCALE for one in (left, top, right, bottom)], fill=_COLOURS[colour])

    def line(self, points: list[tuple[float, float]], colour: str, width: float) -> None:
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        self._draw.line(scaled, fill=_COLOURS[colour], width=round(width * SCALE))

    def picture(self, x: int, y: int, pixels: NDArray[Any], side: int) -> None:
        """An image in a square, its pixels unblurred."""
        from PIL import Image

        shown = pixels if pixels.dtype == np.uint8 else np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
        made = Image.fromarray(shown[..., 0] if shown.ndim == 3 and shown.shape[2] == 1 else shown).convert("RGB")
        share = side * SCALE / max(made.size)
        size = (max(1, round(made.width * share)), max(1, round(made.height * share)))
        self._image.paste(made.resize(size, Image.Resampling.NEAREST), (x * SCALE, y * SCALE))

    def mark(self, x: float, y: float, state: str) -> None:
        """The mark of a state: a disc or a triangle, 12 pixels wide."""
        corners = [(x, y + 12), (x + 12, y + 12), (x + 6, y)]
        scaled = [(a * SCALE, b * SCALE) for a, b in corners]
        if state == "ok":
            self._draw.ellipse([x * SCALE, y * SCALE, (x + 12) * SCALE, (y + 12) * SCALE], fill=_COLOURS[state])
        else:
            self._draw.polygon(scaled, fill=_COLOURS[state])


def _font(size: int) -> Any:
    from PIL import ImageFont

    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)


def _rows(report: DriftReport) -> list[ColumnDrift]:
    drawn = drawn_rows(report)
    return [row for row in drawn if row.drifted][:MOST] or drawn[:_COLUMNS]


def _strip(pen: _Pen, name: str, images: NDArray[Any], top: int) -> None:
    what = {"current": "most shifted current images", "reference": "images of the reference"}
    pen.write(24, top, what[name], 12, "muted")
    for at, image in enumerate(images):
        pen.picture(24 + at * (_PICTURE + _GAP), top + 20, image, _PICTURE)


def _card(pen: _Pen, row: ColumnDrift, left: int, top: int, across: int) -> None:
    pen.box(left, top, left + across, top + _TALL, "raised")
    state = "alarm" if row.drifted else "ok"
    pen.mark(left + 12, top + 14, state)
    pen.write(left + 32, top + 10, cut(name_of(row), 34), 14, "text")
    said = f"{'drifted' if row.drifted else 'no drift'}, q {chance(row.q_value)}: {effect_of(row)}"
    pen.write(left + 12, top + 36, cut(said, 56), 12, "muted")
    chart = overlay_of(row)
    if chart is None:
        return
    if chart.labels:
        _bars(pen, chart, left + 12, top + 62, across - 24)
    else:
        _areas(pen, chart, left + 12, top + 62, across - 24)
    pen.box(left + 12, top + _TALL - 20, left + 28, top + _TALL - 10, "was")
    pen.write(left + 34, top + _TALL - 22, "reference", 12, "muted")
    pen.line([(left + 112, top + _TALL - 15), (left + 128, top + _TALL - 15)], "data", 2)
    pen.write(left + 134, top + _TALL - 22, "current", 12, "muted")


def _areas(pen: _Pen, chart: Overlay, left: int, top: int, across: int) -> None:
    drawn, tall = binned(chart), 126
    bottom = top + tall
    pen.line([(left, bottom), (left + across, bottom)], "muted", 1)
    if drawn.empty:
        pen.write(left + across / 2, top + tall / 2, "no data", 12, "muted", "mm")
        return
    highest = max(float(drawn.reference.max()), float(drawn.current.max()))
    x = left + (drawn.edges - drawn.low) / (drawn.high - drawn.low) * across
    for at, share in enumerate(drawn.reference):
        pen.box(x[at], bottom - share / highest * tall, x[at + 1], bottom, "was")
    points = [(float(x[0]), float(bottom))]
    for at, share in enumerate(drawn.current):
        y = float(bottom - share / highest * tall)
        points += [(float(x[at]), y), (float(x[at + 1]), y)]
    pen.line([*points, (float(x[-1]), float(bottom))], "data", 2)
    axis = scale((drawn.low, drawn.high), round_ends=False)
    for tick in axis.ticks if axis else ():
        place = left + (tick - drawn.low) / (drawn.high - drawn.low) * across
        pen.write(place, bottom + 4, axis.label(tick) if axis else "", 12, "muted", "ma")


def _bars(pen: _Pen, chart: Overlay, left: int, top: int, across: int) -> None:
    reference, current = np.asarray(chart.reference, np.float64), np.asarray(chart.current, np.float64)
    order = np.argsort(-np.abs(reference - current), kind="stable")[: LABELS // 2]
    for line, at in enumerate(order):
        y = top + 36 * line
        pen.write(left, y, cut(chart.labels[at], 30), 12, "text")
        pen.write(left + across, y, f"{reference[at]:.1%} → {current[at]:.1%}", 12, "muted", "ra")
        pen.box(left, y + 17, left + across * min(reference[at], 1.0), y + 23, "was")
        pen.box(left, y + 25, left + across * min(current[at], 1.0), y + 31, "data")
