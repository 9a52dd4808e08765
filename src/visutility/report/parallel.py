"""Parallel coordinates, lying: one level axis for each parameter, one line down through them for each row.

Names lie level and have the whole width, so that any number of axes fits on a phone.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visutility.core.errors import InvalidSetting
from visutility.report._draw import short
from visutility.report.axis import LABEL, Axis, below, cut, described
from visutility.report.html import Html, text
from visutility.report.plane import LINES

GAP: Final = 56  # pixels from one axis to the next
TOP: Final = 26


def parallel(axes: Sequence[Axis], groups: Sequence[tuple[str, ArrayLike, str]], *, title: str, note: str = "") -> Html:
    """Return a figure of rows over axes. `groups` are (name, rows (n, axes) in values of the axes, look of `Lines`).

    A line is broken where a row has a NaN: the parameter was not active. Raises `InvalidSetting`.
    """
    height = TOP + GAP * max(len(axes) - 1, 0)
    found = [(name, look, _lines(axes, name, rows, look)) for name, rows, look in groups]
    said = " ".join([*(described(axis) for axis in axes), *(f"{name}: {len(lines)}." for name, _, lines in found)])
    chart = [
        f'<svg class="chart" width="100%" height="{height + 24}" role="img" aria-label="{text(title)}">',
        f"<title>{text(title)}</title><desc>{text(said)}</desc>",
        f'<svg y="{TOP}" width="100%" height="{height - TOP}" viewBox="0 0 1000 {GAP * (len(axes) - 1) or 1}" '
        'preserveAspectRatio="none">',
        *(f'<path class="data {look}" d="{"".join(lines)}"/>' for _, look, lines in found if lines),
        "</svg>",
    ]
    for at, axis in enumerate(axes):
        y = TOP + GAP * at
        chart.append(f'<line class="axis" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
        name = f'<text x="-38" y="{y - 6}" class="label">{text(cut(axis.label, LABEL))}</text>'
        chart.append(f'<g class="over">{"".join(below(axis, y))}{name}</g>')
    legend = "".join(
        f'<li><svg width="28" height="14" aria-hidden="true"><path class="data {look}" d="M1 7H27"/></svg> '
        f"{text(name)}: {len(lines):,}</li>"
        for name, look, lines in found
    )
    told = f"<p>{text(note)}</p>" if note else ""
    figure = f"<figure><figcaption>{text(title)}</figcaption>{told}{''.join(chart)}</svg>"
    return Html(f'{figure}<ul class="legend">{legend}</ul></figure>')


def _lines(axes: Sequence[Axis], name: str, rows: ArrayLike, look: str) -> list[str]:
    if look not in LINES:
        raise InvalidSetting(f"group {name!r} looks {look!r}", hint=f"choose one of {', '.join(LINES)}")
    values = np.asarray(rows, np.float64).reshape(-1, len(axes)) if len(axes) else np.zeros((0, 0))
    places = np.stack([axis.place(values[:, at]) for at, axis in enumerate(axes)], axis=1) if len(axes) else values
    return [_line(row) for row in places]


def _line(places: NDArray[np.float64]) -> str:
    steps, before = [], False
    for at, place in enumerate(places):
        if np.isfinite(place):
            steps.append(f"{'L' if before else 'M'}{short(round(place))} {GAP * at}" + ("" if before else "h0"))
        before = bool(np.isfinite(place))
    return "".join(steps)
