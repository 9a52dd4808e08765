"""Two histograms of one thing on one scale: the reference as an area, the current window as a line."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visutility.core.errors import InvalidSetting
from visutility.report._draw import percent, short
from visutility.report.axis import cut
from visutility.report.bars import bar_chart
from visutility.report.html import Html, number, text
from visutility.report.scale import GRID, scale

BARS: Final = 40  # the least width of a bar is the chart's over this
BEYOND: Final = 0.005  # share at either end that may lie beyond the axis
LABELS: Final = 8  # labels that a chart shows
LETTERS: Final = 60  # that it shows of each
_NARROWEST, _LARGEST = 1e-290, 1e290  # of an axis: beyond these, differences and quotients overflow

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class Overlay:
    """Shares (b,) of the reference and of the current window between `edges` (b + 1,), or for each of `labels`.

    The two may be cut at different edges. All-zero or empty shares are a window without values.
    """

    name: str
    reference: ArrayLike
    current: ArrayLike
    edges: ArrayLike = ()
    current_edges: ArrayLike | None = None
    labels: Sequence[str] = ()


def overlay(chart: Overlay, *, title: str, note: str = "", height: int = 140) -> Html:
    """Return a figure of the two, with a legend; `note` says what else there is to know.

    The height of a bar is the share of values per unit of the axis, so that areas compare; narrow bars are joined
    until they can be seen. An axis leaves out at most .5 % of a window at either end, and the note says how much.
    Labels are shown as pairs of bars, the eight that differ most. Raises `InvalidSetting` for shares that do not fit.
    """
    _check(chart)
    if chart.labels:
        return _pairs(chart, title, note)
    drawn = binned(chart)
    beyond = " ".join(
        f"{share:.1%} of the {which} values lie beyond the axis."
        for which, share in (("reference", drawn.outside[0]), ("current", drawn.outside[1]))
        if share > 0
    )
    axis = None if drawn.empty else scale((drawn.low, drawn.high), round_ends=False)
    top, bottom = 24, 24 + height
    parts = [
        f'<svg class="chart" width="100%" height="{bottom + 24}" role="img" aria-label="{text(title)}">'
        f"<title>{text(title)}</title><desc>{text(_said(chart))}</desc>",
        '<text x="-42" y="12" class="tick">share of values per unit</text>',
        f'<svg y="{top}" width="100%" height="{height}" viewBox="0 0 1000 1000" preserveAspectRatio="none">',
        *_paths(drawn),
        "</svg>",
        f'<line class="axis" x1="0" x2="100%" y1="{bottom}" y2="{bottom}"/>',
    ]
    if axis is not None:
        places = [(tick, (tick - drawn.low) / (drawn.high - drawn.low) * GRID) for tick in axis.ticks]
        parts += [
            f'<text x="{percent(place)}" y="{bottom + 16}" class="tick middle">{axis.label(tick)}</text>'
            for tick, place in places
        ]
    else:
        parts.append(f'<text x="50%" y="{top + height // 2}" class="tick middle">no data</text>')
    told = " ".join(filter(None, (note, beyond)))
    below = f"<p>{text(told)}</p>" if told else ""
    return Html(f"<figure><figcaption>{text(title)}</figcaption>{below}{''.join(parts)}</svg>{LEGEND}</figure>")


def overlay_small(chart: Overlay) -> Html:
    """Return the two in 120 x 24 pixels, for a cell of a table."""
    _check(chart)
    said = text(f"{chart.name}, {_said(chart)}")
    if chart.labels:
        reference, current = _aligned(chart)
        n = max(len(reference), 1)
        drawn = Binned(np.arange(n + 1.0), reference, current, 0.0, float(n), (0.0, 0.0))
    else:
        drawn = binned(chart)
    inside = "".join(_paths(drawn))
    return Html(
        f'<svg class="spark" width="120" height="24" role="img" aria-label="{said}"><title>{said}</title>'
        f'<svg y="1" width="120" height="22" viewBox="0 0 1000 1000" preserveAspectRatio="none">{inside}</svg></svg>'
    )


def moved(chart: Overlay) -> float:
    """Return the share of values that would have to move for the two to be alike: total variation; NaN without values.

    Where the edges differ, values are taken to be spread evenly between two edges.
    """
    _check(chart)
    if chart.labels:
        reference, current = _aligned(chart)
    else:
        _, reference, current = _common(chart)
    if not reference.sum() or not current.sum():
        return math.nan
    return float(0.5 * np.abs(reference / reference.sum() - current / current.sum()).sum())


_SWATCH = '<svg width="28" height="14" aria-hidden="true">'
LEGEND = Html(
    f'<ul class="legend"><li>{_SWATCH}<path class="was" d="M1 13V3H27V13Z"/></svg> reference</li>'
    f'<li>{_SWATCH}<path class="data line" d="M1 12V3H27V12"/></svg> current</li></ul>'
)


@final
@dataclass(frozen=True, slots=True)
class Binned:
    """Bars that can be seen: shares per unit of the axis, (b,), between `edges` (b + 1,) from `low` to `high`.

    `outside`: the share of each window that lies beyond the axis.
    """

    edges: Array
    reference: Array
    current: Array
    low: float
    high: float
    outside: tuple[float, float]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not (self.reference.sum() or self.current.sum())


def _check(chart: Overlay) -> None:
    reference, current = np.asarray(chart.reference, np.float64), np.asarray(chart.current, np.float64)
    own = chart.edges if chart.current_edges is None else chart.current_edges
    wanted = (
        (len(chart.labels),) * 2 if chart.labels else tuple(max(len(np.asarray(e)) - 1, 0) for e in (chart.edges, own))
    )
    if (len(reference), len(current)) != wanted:
        raise InvalidSetting(
            f"{chart.name!r} has {len(reference)} and {len(current)} shares, not {wanted}",
            hint="pass one share a label, or one more edge than shares",
        )


def _common(chart: Overlay) -> tuple[Array, Array, Array]:
    """Return joined edges and the shares of both windows between them."""
    own = chart.edges if chart.current_edges is None else chart.current_edges
    sides = [
        (_rising(np.clip(np.asarray(edges, np.float64), -_LARGEST, _LARGEST)), np.asarray(shares, np.float64))
        for edges, shares in ((chart.edges, chart.reference), (own, chart.current))
    ]
    edges = np.unique(np.concatenate([side for side, _ in sides]))
    if len(edges) < 2:
        return edges, np.zeros(0), np.zeros(0)
    size = max(abs(edges[0]), abs(edges[-1]))
    if edges[-1] - edges[0] <= max(1e-12 * size, _NARROWEST):  # one value
        around = 0.05 * size if size > _NARROWEST else 0.5
        ends = np.array([edges[0] - around, edges[0] + around])
        return ends, sides[0][1].sum(keepdims=True), sides[1][1].sum(keepdims=True)
    found = []
    for side, shares in sides:
        if not len(shares):
            found.append(np.zeros(len(edges) - 1))
            continue
        whole = np.concatenate(([0.0], np.cumsum(shares)))
        found.append(np.diff(_risen(edges, side, whole)))
    return edges, found[0], found[1]


def _rising(edges: Array) -> Array:
    """Return edges that strictly rise: of two that coincide the second is the next number there is."""
    found = edges.copy()
    for at in np.flatnonzero(np.diff(edges) <= 0.0).tolist():
        found[at + 1] = np.nextafter(found[at], math.inf)
    return found


def _risen(at: Array, edges: Array, whole: Array) -> Array:
    """Return the share below each of `at`, `edges` strictly rising."""
    right = np.searchsorted(edges, at, side="right")
    below, above = np.clip(right - 1, 0, len(edges) - 1), np.clip(right, 0, len(edges) - 1)
    width = edges[above] - edges[below]
    part = np.where(width > 0, (at - edges[below]) / np.where(width > 0, width, 1.0), 0.0)
    risen = whole[below] + np.clip(part, 0.0, 1.0) * (whole[above] - whole[below])
    return np.where(at < edges[0], 0.0, risen)


def binned(chart: Overlay) -> Binned:
    """Return the bars of a chart of numbers."""
    edges, reference, current = _common(chart)
    if len(edges) < 2 or not (reference.sum() or current.sum()):
        return Binned(np.array([0.0, 1.0]), np.zeros(1), np.zeros(1), 0.0, 1.0, (0.0, 0.0))
    first, last = len(reference) - 1, 0
    for shares in (reference, current):
        if shares.sum():
            risen = np.cumsum(shares) / shares.sum()
            first = min(first, int(np.searchsorted(risen, BEYOND, side="right")))
            last = max(last, int(np.searchsorted(risen, 1.0 - BEYOND - 1e-12)))
    outside = tuple(float(s[:first].sum() + s[last + 1 :].sum()) / (s.sum() or 1.0) for s in (reference, current))
    edges, reference, current = edges[first : last + 2], reference[first : last + 1], current[first : last + 1]
    starts = _joined(edges)
    widths = np.diff(edges[[*starts, len(edges) - 1]])
    heights = [np.add.reduceat(shares, starts) / widths for shares in (reference, current)]
    kept = edges[[*starts, len(edges) - 1]]
    return Binned(kept, heights[0], heights[1], float(kept[0]), float(kept[-1]), (outside[0], outside[1]))


def _joined(edges: Array) -> list[int]:
    """Return where bars start when neighbours are joined until each is as wide as can be seen."""
    least = (edges[-1] - edges[0]) / BARS * (1.0 - 1e-9)
    starts = [0]
    for at in range(1, len(edges) - 1):
        if edges[at] - edges[starts[-1]] >= least:
            starts.append(at)
    if len(starts) > 1 and edges[-1] - edges[starts[-1]] < least:
        starts.pop()
    return starts


def _paths(drawn: Binned) -> list[str]:
    highest = max(float(drawn.reference.max(initial=0.0)), float(drawn.current.max(initial=0.0)))
    if not highest:
        return []
    x = (drawn.edges - drawn.low) / (drawn.high - drawn.low) * GRID
    found = []
    for shares, look, closed in ((drawn.reference, "was", "Z"), (drawn.current, "data line", "")):
        if shares.sum():
            y = GRID - shares / highest * GRID
            steps = "".join(f"V{short(round(v, 1))}H{short(round(h, 1))}" for v, h in zip(y, x[1:], strict=True))
            found.append(f'<path class="{look}" d="M{short(round(x[0], 1))} 1000{steps}V1000{closed}"/>')
    return found


def _aligned(chart: Overlay) -> tuple[Array, Array]:
    return np.asarray(chart.reference, np.float64), np.asarray(chart.current, np.float64)


def _pairs(chart: Overlay, title: str, note: str) -> Html:
    reference, current = _aligned(chart)
    order = np.argsort(-np.abs(reference - current), kind="stable")
    shown = order[:LABELS]
    left = f"The {LABELS} of {len(order)} labels whose shares differ most." if len(order) > LABELS else ""
    rows = [
        (cut(chart.labels[at], LETTERS), (float(min(reference[at], 1.0)), float(min(current[at], 1.0)))) for at in shown
    ]
    told = " ".join(filter(None, (note, left)))
    return bar_chart(rows, ("reference", "current"), title=title, note=told, looks=(2, 0))


def _said(chart: Overlay) -> str:
    """Return in words what the chart shows, for those who do not see it."""
    share = moved(chart)
    if chart.labels:
        pairs = zip(chart.labels, *_aligned(chart), strict=True)
        most = sorted(pairs, key=lambda one: -abs(one[1] - one[2]))[:3]
        listed = ", ".join(f"{cut(name, LETTERS)} {a:.0%} to {b:.0%}" for name, a, b in most)
        return f"from reference to current: {listed}."
    edges = [float(end) for end in np.asarray(chart.edges)[[0, -1]]] if len(np.asarray(chart.edges)) else []
    ends = f"reference from {number(edges[0])} to {number(edges[1])}; " if edges else ""
    return f"{ends}{'no values' if math.isnan(share) else f'{share:.0%} of the values would have to move'}."
