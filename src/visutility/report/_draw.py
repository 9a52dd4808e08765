"""The inside of a chart: bands, grid, series and axes as SVG elements."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visutility.report.parts import Band, Drawn
from visutility.report.scale import GRID, Scale

COLUMNS = 600  # a longer line is drawn by the first, least, greatest and last value in each of so many columns
MOST_CROSSES = 100


def inside(
    drawn: Sequence[Drawn], bands: Sequence[Band], x_scale: Scale, y_scale: Scale, top: int, height: int
) -> list[str]:
    """Return the stretched inside: a drawing on a grid of 1000 x 1000 whose strokes keep their width."""
    parts = [
        f'<svg y="{top}" width="100%" height="{height}" viewBox="0 0 1000 1000" preserveAspectRatio="none">',
        *(_band(band, x_scale, y_scale) for band in bands),
        *(f'<path class="grid" d="M0 {short(GRID - y_scale.place(tick))}H1000"/>' for tick in y_scale.ticks),
    ]
    return [*parts, *(strokes(one, path(one, x_scale, y_scale)) for one in drawn), "</svg>"]


def axes(x_scale: Scale, y_scale: Scale, top: int, height: int) -> list[str]:
    """Return the ground line, and the labels of the ticks left of and below the inside."""
    bottom = top + height
    return [
        f'<line class="axis" x1="0" x2="100%" y1="{bottom}" y2="{bottom}"/>',
        *(
            f'<text x="-6" y="{short(bottom - height * y_scale.place(tick) / GRID + 4)}" class="tick end">'
            f"{y_scale.label(tick)}</text>"
            for tick in y_scale.ticks
        ),
        *(
            f'<text x="{percent(x_scale.place(tick))}" y="{bottom + 16}" class="tick middle">'
            f"{x_scale.label(tick)}</text>"
            for tick in x_scale.ticks
        ),
    ]


def crosses(drawn: Sequence[Drawn], x_scale: Scale, bottom: int) -> list[str]:
    """Return a cross on the ground for each point without a value, when they are few enough to tell apart."""
    places = [x_scale.place(x) for one in drawn if one.kind == "points" for x in one.x[~one.good & np.isfinite(one.x)]]
    if len(places) > MOST_CROSSES:
        return []
    return [f'<text x="{percent(place)}" y="{bottom - 4}" class="tick middle">×</text>' for place in places]


def strokes(one: Drawn, line: str) -> str:
    """Return a path in a series' look; the second set of points is drawn as rings."""
    hole = f'<path class="hole" d="{line}"/>' if one.kind == "points" and one.look == 1 else ""
    return f'<path class="data {one.kind} look{one.look}" d="{line}"/>{hole}'


def path(one: Drawn, x_scale: Scale, y_scale: Scale) -> str:
    """Return the path of a series: points as dots, other kinds broken at every value that is missing."""
    if one.kind == "points":
        dots = zip(one.x[one.good], one.y[one.good], strict=True)
        return "".join(dict.fromkeys(f"M{_place(x, y, x_scale, y_scale)}h0" for x, y in dots))
    x, y = _reduced(one.x, one.y)
    good = np.isfinite(x) & np.isfinite(y)
    steps, before = [], False
    for at, (here_x, here_y) in enumerate(zip(x, y, strict=True)):
        if good[at]:
            place = _place(here_x, here_y, x_scale, y_scale)
            if not before:
                alone = at + 1 == len(x) or not good[at + 1]
                steps.append(f"M{place}" + "h0" * alone)
            elif one.kind == "step":
                steps.append("H{}V{}".format(*place.split()))
            else:
                steps.append(f"L{place}")
        before = bool(good[at])
    return "".join(steps)


def short(value: float) -> str:
    """Return a coordinate to two decimals, as short as it goes."""
    return f"{round(float(value), 2) + 0.0:.9g}"


def percent(place: float) -> str:
    """Return a place on the grid as a share of the width."""
    return f"{short(place / 10)}%"


def _reduced(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return at most 4 values a column: first, least, greatest, last, so that the eye sees the same line.

    A column with a gap keeps all its values.
    """
    if len(x) <= 4 * COLUMNS:
        return x, y
    kept: list[NDArray[np.intp]] = []
    for column in np.array_split(np.arange(len(x)), COLUMNS):
        values = y[column]
        outline = np.unique([0, int(np.argmin(values)), int(np.argmax(values)), len(column) - 1])
        kept.append(column[outline] if np.isfinite(values).all() else column)
    rows = np.concatenate(kept)
    return x[rows], y[rows]


def _band(band: Band, x_scale: Scale, y_scale: Scale) -> str:
    left, right = (min(max(x_scale.place(x), 0.0), GRID) for x in (band.start, band.end))
    upper, lower = (GRID - min(max(y_scale.place(y), 0.0), GRID) for y in (band.high, band.low))
    size = f'width="{short(right - left)}" height="{short(lower - upper)}"'
    return f'<rect class="band" x="{short(left)}" y="{short(upper)}" {size}/>'


def _place(x: float, y: float, x_scale: Scale, y_scale: Scale) -> str:
    return f"{short(x_scale.place(x))} {short(GRID - y_scale.place(y))}"
