"""Two axes of any kind, and layers between them: dots, lines, spans, shades.

As in `svg.py` a chart fills its place, text keeps its size, colours come from the style sheet, and nothing is drawn
where there is no value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visutility.core.errors import InvalidSetting
from visutility.report._draw import short
from visutility.report._shades import Shades, legend_of, shade_paths
from visutility.report.axis import LABEL, Axis, below, beside, cut, described
from visutility.report.html import Html, text
from visutility.report.scale import GRID

DOTS: Final = ("dots", "faint", "ink", "rank0", "rank1", "rank2", "rank3", "ring", "lost", "cut")
LINES: Final = ("line", "dashed", "faint", "front")
SPANS: Final = ("complete", "failed", "pruned", "pending", "paused")


@final
@dataclass(frozen=True, slots=True)
class Dots:
    """Points at (x, y), in values of the axes. `look`: one of `DOTS`; "ink" is for dots over shades."""

    name: str
    x: ArrayLike
    y: ArrayLike
    look: str = "dots"


@final
@dataclass(frozen=True, slots=True)
class Lines:
    """Lines through (x, y), each broken at every NaN. `look`: one of `LINES`."""

    name: str
    lines: Sequence[tuple[ArrayLike, ArrayLike]]
    look: str = "line"


@final
@dataclass(frozen=True, slots=True)
class Spans:
    """Level bars from `start` to `end` at `y`. `look`: one of `SPANS`."""

    name: str
    start: ArrayLike
    end: ArrayLike
    y: ArrayLike
    look: str = "complete"


Layer: TypeAlias = Dots | Lines | Spans | Shades


def plane(
    layers: Sequence[Layer], *, x: Axis, y: Axis, title: str, note: str = "", height: int = 240, count: bool = True
) -> Html:
    """Return a figure: its title, a note on what was left out if anything, the chart, a legend with counts.

    Layers are drawn in order. Raises `InvalidSetting` for an unknown look, and for x and y that differ in length.
    """
    top, bottom = 26, 26 + height
    drawn = [_drawn(layer, x, y) for layer in layers]
    empty = not any(number for _, number in drawn)
    said = f"{described(y)} {described(x)} " + " ".join(
        _said(one, n) for one, (_, n) in zip(layers, drawn, strict=True)
    )
    chart = [
        f'<svg class="chart" width="100%" height="{bottom + 44}" role="img" aria-label="{text(title)}">'
        f"<title>{text(title)}</title><desc>{text(said)}</desc>",
        f'<text x="-42" y="12" class="tick">{text(cut(y.label, LABEL))}</text>',
        f'<svg y="{top}" width="100%" height="{height}" viewBox="0 0 1000 1000" preserveAspectRatio="none">',
        *(f'<path class="grid" d="M0 {short(GRID - float(y.place(at)))}H1000"/>' for at, _ in y.ticks if not y.named),
        *(markup for markup, _ in drawn),
        "</svg>",
        f'<line class="axis" x1="0" x2="100%" y1="{bottom}" y2="{bottom}"/>',
        *beside(y, top, height),
        *below(x, bottom),
        f'<text x="100%" y="{bottom + 34}" class="tick end">{text(cut(x.label, LABEL))}</text>',
        f'<text x="50%" y="{top + height // 2}" class="tick middle">no data</text>' if empty else "",
        "</svg>",
    ]
    told = f"<p>{text(note)}</p>" if note else ""
    legend = _legend(layers, [number for _, number in drawn], count)
    return Html(f"<figure><figcaption>{text(title)}</figcaption>{told}{''.join(chart)}{legend}</figure>")


def _drawn(layer: Layer, x: Axis, y: Axis) -> tuple[str, int]:
    """The markup of a layer, and how many things it shows."""
    if isinstance(layer, Shades):
        return "".join(shade_paths(layer, x, y)), int(np.isfinite(layer.values).sum())
    known = DOTS if isinstance(layer, Dots) else LINES if isinstance(layer, Lines) else SPANS
    if layer.look not in known:
        raise InvalidSetting(f"layer {layer.name!r} looks {layer.look!r}", hint=f"choose one of {', '.join(known)}")
    if isinstance(layer, Lines):
        found = [_line(x.place(xs), y.place(ys), layer.name) for xs, ys in layer.lines]
        return _path("data", layer.look, "".join(found)), sum(1 for one in found if one)
    if isinstance(layer, Dots):
        xs, ys = _good(layer.name, x.place(layer.x), y.place(layer.y))
        d = "".join(dict.fromkeys(f"M{a} {b}h0" for a, b in zip(_whole(xs), _whole(GRID - ys), strict=True)))
        return _dots(layer.look, d), len(xs)
    starts, ends, ys = _good(layer.name, x.place(layer.start), x.place(layer.end), y.place(layer.y))
    rows = zip(np.round(starts, 1), np.round(ends, 1), np.round(GRID - ys, 1), strict=True)
    d = "".join(f"M{short(a)} {short(c)}H{short(max(b, a + 0.5))}" for a, b, c in rows)
    return _path("bar" if len(ys) <= 60 else "hair", layer.look, d), len(ys)


def _line(xs: NDArray[np.float64], ys: NDArray[np.float64], name: str) -> str:
    if xs.shape != ys.shape or xs.ndim != 1:
        raise InvalidSetting(f"layer {name!r} has x {xs.shape} and y {ys.shape}", hint="pass one y per x")
    good = np.isfinite(xs) & np.isfinite(ys)
    steps, before = [], False
    for at in range(len(xs)):
        if good[at]:
            place = f"{short(round(xs[at], 1))} {short(round(GRID - ys[at], 1))}"
            alone = at + 1 == len(xs) or not good[at + 1]
            steps.append(f"L{place}" if before else f"M{place}" + "h0" * alone)
        before = bool(good[at])
    return "".join(steps)


def _good(name: str, *columns: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
        shapes = ", ".join(str(column.shape) for column in columns)
        raise InvalidSetting(f"layer {name!r} has columns {shapes}", hint="pass columns of equal length")
    kept = np.logical_and.reduce([np.isfinite(column) for column in columns])
    return [column[kept] for column in columns]


def _whole(places: NDArray[np.float64]) -> list[int]:
    return [int(place) for place in np.rint(places)]


def _path(kind: str, look: str, d: str) -> str:
    return f'<path class="{kind} {look}" d="{d}"/>' if d else ""


def _dots(look: str, d: str) -> str:
    """Dots; over shades with a rim below, rings with a hole above."""
    under = _path("halo", look, d) if look == "ink" else ""
    over = _path("hole", look, d) if look == "ring" else ""
    return under + _path("data points", look, d) + over


def _said(layer: Layer, shown: int) -> str:
    return f"{layer.name}: {shown}." if shown else f"{layer.name}: none."


def _legend(layers: Sequence[Layer], shown: Sequence[int], count: bool) -> str:
    items: list[tuple[str, str]] = []
    for layer, number in zip(layers, shown, strict=True):
        if isinstance(layer, Shades):
            items += legend_of(layer)
            continue
        if isinstance(layer, Dots):
            sample = _dots(layer.look, "M14 7h0")
        else:
            sample = _path("data" if isinstance(layer, Lines) else "bar", layer.look, "M1 7H27")
        items.append((sample, f"{layer.name}: {number:,}" if count else layer.name))
    listed = (
        f'<li><svg width="28" height="14" aria-hidden="true">{sample}</svg> {text(label)}</li>'
        for sample, label in items
    )
    return f'<ul class="legend">{"".join(listed)}</ul>' if items else ""
