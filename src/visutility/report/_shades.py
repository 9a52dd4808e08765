"""A value at every place of a plane, drawn as shades: seven bands, the strongest the best."""

from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visutility.core.errors import InvalidSetting
from visutility.report._draw import short
from visutility.report.axis import Axis
from visutility.report.html import number
from visutility.report.scale import GRID

BANDS: Final = 7
FINER: Final = 3  # cells between two numbers of an axis

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class Shades:
    """Values (b, a) at x (a,) and y (b,), in values of the axes; NaN is left open. `low`: the lowest is the best.

    `edges`: where the bands end, at most eight values; otherwise each band has as many places.
    """

    name: str
    x: ArrayLike
    y: ArrayLike
    values: Array
    low: bool = True
    edges: ArrayLike | None = None

    @property
    def bands(self) -> list[float]:
        """The values between which the bands lie, ascending; empty when there is no value."""
        known = self.values[np.isfinite(self.values)]
        if not len(known):
            return []
        found = np.quantile(known, np.linspace(0, 1, BANDS + 1)) if self.edges is None else self.edges
        return [float(edge) for edge in np.unique(np.asarray(found, np.float64))]


def shade_paths(shades: Shades, x: Axis, y: Axis) -> list[str]:
    """Return a path for each band on the grid of 1000 x 1000."""
    xs, ys = x.place(shades.x), y.place(shades.y)
    if shades.values.shape != (len(ys), len(xs)):
        raise InvalidSetting(
            f"shades {shades.name!r} have values {shades.values.shape}", hint=f"pass values ({len(ys)}, {len(xs)})"
        )
    values = shades.values
    if not x.named:
        xs, values = _finer(xs, values)
    if not y.named:
        ys, turned = _finer(ys, values.T)
        values = turned.T
    level = _levels(shades, values)
    across, up = _edges(xs), _edges(ys)
    runs: dict[int, list[str]] = {}
    for row in range(len(ys)):
        upper, lower = short(round(GRID - up[row + 1])), short(round(GRID - up[row]))
        for band, cells in groupby(range(len(xs)), key=lambda at, row=row: int(level[row, at])):  # type: ignore[misc]
            listed = list(cells)
            if band >= 0:
                left, right = round(across[listed[0]]), round(across[listed[-1] + 1])
                runs.setdefault(band, []).append(f"M{left} {lower}H{right}V{upper}H{left}Z")
    return [f'<path class="shade shade{band}" d="{"".join(runs[band])}"/>' for band in sorted(runs)]


def legend_of(shades: Shades) -> list[tuple[str, str]]:
    """Return a sample and the range of each band, the best first."""
    edges = shades.bands
    if len(edges) == 1:
        return [(_sample(BANDS - 1), f"{shades.name}: {number(edges[0])} everywhere")]
    ranges = list(pairwise(edges))
    ordered = ranges if shades.low else ranges[::-1]
    darkest = BANDS - 1
    return [
        (_sample(darkest - at), (f"{shades.name}: " if at == 0 else "") + f"{number(low)} to {number(high)}")
        for at, (low, high) in enumerate(ordered)
    ]


def _sample(band: int) -> str:
    return f'<rect class="shade shade{band}" width="28" height="14"/>'


def _levels(shades: Shades, values: Array) -> NDArray[np.intp]:
    """The band of each value, 6 the best; -1 where there is none."""
    edges = shades.bands
    if not edges:
        return np.full(values.shape, -1)
    found = np.searchsorted(edges[1:-1], np.nan_to_num(values), side="right")
    found = BANDS - 1 - found if shades.low else BANDS - 1 - (max(len(edges) - 2, 0) - found)
    return np.where(np.isfinite(values), found, -1)


def _finer(places: Array, values: Array) -> tuple[Array, Array]:
    """Columns in between, linearly: shades of a continuum without steps."""
    if len(places) < 3:
        return places, values
    between = np.linspace(0, len(places) - 1, (len(places) - 1) * FINER + 1)
    at = np.minimum(between.astype(np.intp), len(places) - 2)
    part = between - at
    return (
        places[at] * (1 - part) + places[at + 1] * part,
        np.where(part == 0, values[:, at], np.where(part == 1, values[:, at + 1], _mixed(values, at, part))),
    )


def _mixed(values: Array, at: NDArray[np.intp], part: Array) -> Array:
    return np.asarray(values[:, at] * (1 - part) + values[:, at + 1] * part)


def _edges(places: Array) -> Array:
    """Where the cells around places (n,) end, (n + 1,): half-way between them, and at the ends of the axis."""
    return np.concatenate([[0.0], (places[1:] + places[:-1]) / 2, [GRID]])
