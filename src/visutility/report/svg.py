"""Charts, drawn here as SVG: lines, points and steps over one axis, with bands, events and lanes.

A chart fills its place: the inside is stretched to the width at hand, while text keeps its size and dots stay round, so
the same picture serves 320 and 1,200 pixels. Colours, and with them light and dark, come from the page's style sheet.
Nothing is drawn where there is no value: a NaN is a gap, never a zero, and nothing is smoothed.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from visutility.core.errors import InvalidSetting
from visutility.report import _draw, _events
from visutility.report.html import Html, checked_state, number, text
from visutility.report.parts import Band, Drawn, Lane, Mark, Series, checked
from visutility.report.scale import Scale, scale

_NOTHING = Scale(0.0, 1.0, (), 1.0)


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    bands: Sequence[Band] = (),
    marks: Sequence[Mark] = (),
    lanes: Sequence[Lane] = (),
    y_range: tuple[float, float] | None = None,
    height: int = 240,
) -> Html:
    """Return a figure: its title, the chart, a legend. Axis labels carry the unit: "stream position (images)".

    `height` is that of the inside, in pixels. The y axis shows every value, every finite band end, and `y_range`.
    Raises `InvalidSetting` for a series whose x and y differ in length, and for an event without a place.
    """
    drawn = checked(series)
    events = _places(marks, lanes)
    ys = [y for one in drawn for y in one.y[one.good]] + [end for band in bands for end in (band.low, band.high)]
    x_scale, empty = _x_scale(drawn, events), not any(one.good.any() for one in drawn)
    y_scale = (None if empty else scale([*ys, *(y_range or ())])) or _NOTHING
    rows = _events.mark_rows(marks, x_scale)
    top = 26 + _events.LINE * (max(rows, default=-1) + 1)
    bottom = top + height
    below = bottom + 2 * _events.LINE + 8
    chart = [
        f'<svg class="chart" width="100%" height="{below + _events.LANE * len(lanes)}" role="img" '
        f'aria-label="{text(title)}"><title>{text(title)}</title>',
        f"<desc>{text(_described(drawn, bands, marks, lanes, x_label, y_label))}</desc>",
        f'<text x="-42" y="12" class="tick">{text(y_label)}</text>',
        *_draw.inside(drawn, bands, x_scale, y_scale, top, height),
        *_draw.axes(x_scale, y_scale, top, height),
        *_draw.crosses(drawn, x_scale, bottom),
        f'<text x="100%" y="{bottom + 16 + _events.LINE}" class="tick end">{text(x_label)}</text>',
        _events.draw_marks(marks, rows, x_scale, 34, bottom),
        *(_events.draw_lane(lane, x_scale, below + _events.LANE * at) for at, lane in enumerate(lanes)),
        f'<text x="50%" y="{top + height // 2}" class="tick middle">no data</text>' if empty else "",
        "</svg>",
    ]
    return Html(f"<figure><figcaption>{text(title)}</figcaption>{''.join(chart)}{_legend(drawn, bands)}</figure>")


def trials_chart(
    studies: Sequence[tuple[str, ArrayLike]],
    *,
    title: str,
    y_label: str,
    direction: Literal["minimize", "maximize"] = "minimize",
    x_label: str = "trial (number)",
    height: int = 200,
) -> Html:
    """Return a figure of studies: each trial's value by its number as a dot, and the best so far as steps.

    `studies` are (name, values in the order of the trials); NaN is no value, drawn as a cross on the ground.
    """
    series = []
    for name, values in studies:
        y = np.asarray(values, np.float64)
        series.append(Series(f"{name}: trials", np.arange(len(y)), y, "points"))
    for name, values in studies:
        best = best_so_far(values, direction)
        series.append(Series(f"{name}: best so far", np.arange(len(best)), best, "step"))
    return line_chart(series, title=title, x_label=x_label, y_label=y_label, height=height)


def best_so_far(values: ArrayLike, direction: str = "minimize") -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the best value up to each trial, shape (n,); NaN until the first trial that has one."""
    if direction not in ("minimize", "maximize"):
        raise InvalidSetting(f"direction is {direction!r}", hint="choose minimize or maximize")
    best = np.fmin if direction == "minimize" else np.fmax
    return np.asarray(best.accumulate(np.asarray(values, np.float64).reshape(-1)))


def _places(marks: Sequence[Mark], lanes: Sequence[Lane]) -> list[float]:
    places = [(mark.label, mark.state, mark.x) for mark in marks]
    for span in (span for lane in lanes for span in lane.spans):
        places.append((span.label, span.state, span.start))
        if span.end is not None and span.end != math.inf:  # infinite: it still goes on
            places.append((span.label, span.state, span.end))
    for label, state, x in places:
        checked_state(state)
        if not math.isfinite(x):
            raise InvalidSetting(f"event {label!r} is at {x}", hint="an event has a place on the x axis")
    return [x for _, _, x in places]


def _x_scale(drawn: Sequence[Drawn], events: Sequence[float]) -> Scale:
    xs = [x for one in drawn for x in one.x[np.isfinite(one.x)]]
    found = scale([*xs, *events], round_ends=False, whole=all(x == int(x) for x in xs))
    return found or _NOTHING


def _legend(drawn: Sequence[Drawn], bands: Sequence[Band]) -> str:
    items = []
    for one in drawn:
        missing = int((~one.good).sum())
        note = f" ({missing} without a value)" if missing else ""
        items.append((_draw.strokes(one, "M14 7h0" if one.kind == "points" else "M1 7H27"), one.name + note))
    items += [('<rect class="band" width="28" height="14"/>', band.label) for band in bands]
    listed = (
        f'<li><svg width="28" height="14" aria-hidden="true">{sample}</svg> {text(label)}</li>'
        for sample, label in items
    )
    return f'<ul class="legend">{"".join(listed)}</ul>' if items else ""


def _described(
    drawn: Sequence[Drawn],
    bands: Sequence[Band],
    marks: Sequence[Mark],
    lanes: Sequence[Lane],
    x_label: str,
    y_label: str,
) -> str:
    """Return in words what the chart shows, for those who do not see it."""
    said = [f"{y_label} over {x_label}."]
    for one in drawn:
        values = one.y[one.good]
        of = f"{one.name}: {len(values)} of {len(one.y)} values"
        said.append(
            f"{of}, {number(float(values.min()))} to {number(float(values.max()))}." if len(values) else f"{of}."
        )
    said += [f"Band {number(band.low)} to {number(band.high)}: {band.label}." for band in bands]
    said += [f"{mark.label} at {number(mark.x)}." for mark in marks]
    said += [f"{lane.name}: {span.label} at {number(span.start)}." for lane in lanes for span in lane.spans]
    return " ".join(said)
