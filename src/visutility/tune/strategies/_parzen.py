"""Parzen densities over a search space: one kernel a trial, a product over its active parameters.

Densities are relative to that of random search, so that an inactive parameter, and one that a kernel knows nothing
of, multiplies by 1. A number is a normal kernel cut off at the ends of its range; a grid of few values, and an ordered
choice, the same integrated over each cell; an unordered choice the kernel of Aitchison and Aitken (1976). All kernels
of a mixture share one width a parameter, which makes the densities at c places under n kernels one matrix product.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from visutility.tune.space import Choice, Mask, Parameter, Space, Units

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

FEW: Final = 32  # a grid of no more values than this has a table; a larger one counts as a continuum
ROOT_2PI: Final = (2.0 * np.pi) ** 0.5


@final
@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A parameter with few values: k cells that share [0, 1]."""

    column: int
    edges: Array  # (k + 1,)
    places: Array  # (k,)
    ordered: bool

    @property
    def count(self) -> int:
        """How many values there are: k."""
        return len(self.places)

    def kernel(self, width: float, blur: float) -> Array:
        """Return log P(value j | kernel at value i) / P(value j | random search), (k, k)."""
        from scipy.special import ndtr

        sizes = np.diff(self.edges)
        if self.ordered:
            inside = ndtr((self.edges - self.places[:, None]) / max(width, 0.5 * float(sizes.min())))
            mass = np.diff(inside, axis=1)
            mass /= mass.sum(axis=1, keepdims=True)
        else:
            mass = np.eye(self.count)
        return np.asarray(np.log((1.0 - blur) * mass / sizes + blur))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How the columns of a space's cube are modelled. Make one with `plan`."""

    space: Space
    smooth: Indices  # (s,) columns with a normal kernel
    least: Array  # (s,) least kernel widths there: half a cell of a grid
    tables: tuple[Table, ...]
    groups: tuple[Indices, ...]  # columns that have the same condition


@lru_cache(maxsize=64)
def plan(space: Space) -> Plan:
    """Return the plan of a space, kept for the spaces used last."""
    smooth: list[int] = []
    least: list[float] = []
    tables: list[Table] = []
    groups: dict[object, list[int]] = {}
    for column, parameter in enumerate(space.parameters.values()):
        groups.setdefault(parameter.when, []).append(column)
        if parameter.count is not None and (parameter.count <= FEW or _unordered(parameter)):
            tables.append(_table(column, parameter))
        else:
            smooth.append(column)
            least.append(0.0 if parameter.count is None else 0.5 / parameter.count)
    return Plan(
        space,
        np.array(smooth, dtype=np.intp),
        np.array(least),
        tuple(tables),
        tuple(np.array(columns, dtype=np.intp) for columns in groups.values()),
    )


def _unordered(parameter: Parameter) -> bool:
    return isinstance(parameter, Choice) and not parameter.ordered


def _table(column: int, parameter: Parameter) -> Table:
    count = parameter.count or 1
    places = np.array([parameter.to_unit(parameter.nth(index)) for index in range(count)])
    edges = np.concatenate([[0.0], (places[1:] + places[:-1]) / 2.0, [1.0]])
    return Table(column, edges, places, not _unordered(parameter))


@final
class Mixture:
    """A weighted sum of kernels at rows (n, d) of the cube, and of random search.

    `weights` (n + 1,) sum to 1, the last is that of random search. `width` is the kernels' standard deviation, in
    widths of the cube; `blur` is the share of random search in the kernel of a parameter with a table.
    """

    def __init__(self, layout: Plan, units: Units, masks: Mask, weights: Array, width: Array, blur: float) -> None:
        from scipy.special import ndtr

        self._plan = layout
        self._weights = weights
        self._masks = masks
        self._at = units[:, layout.smooth]
        self._width = np.maximum(width[layout.smooth], layout.least)
        self._low, self._high = ndtr(-self._at / self._width), ndtr((1.0 - self._at) / self._width)
        self._which = [np.searchsorted(t.edges[1:-1], units[:, t.column], side="right") for t in layout.tables]
        self._kernels = [t.kernel(float(width[t.column]), blur) for t in layout.tables]
        known = masks[:, layout.smooth]
        scaled = self._at / self._width
        norm = np.log(self._width * ROOT_2PI * (self._high - self._low))
        rows = [np.where(known, -0.5, 0.0), np.where(known, scaled, 0.0), np.where(known, -0.5 * scaled**2 - norm, 0.0)]
        rows += [
            np.where(masks[:, t.column, None], kernel[which], 0.0)
            for t, kernel, which in zip(layout.tables, self._kernels, self._which, strict=True)
        ]
        self._rows = np.concatenate(rows, axis=1)

    def log_density(self, units: Units, masks: Mask) -> Array:
        """Return the log of the density (c,) at snapped rows (c, d) of the cube, relative to random search."""
        layout = self._plan
        active = masks[:, layout.smooth]
        scaled = units[:, layout.smooth] / self._width
        parts = [np.where(active, scaled**2, 0.0), np.where(active, scaled, 0.0), active.astype(np.float64)]
        for table in layout.tables:
            which = np.searchsorted(table.edges[1:-1], units[:, table.column], side="right")
            parts.append((which[:, None] == np.arange(table.count)) * masks[:, table.column, None])
        with np.errstate(divide="ignore"):
            logs = np.concatenate(parts, axis=1) @ self._rows.T + np.log(self._weights[:-1])
            rest = np.full((len(units), 1), np.log(self._weights[-1]))
        logs = np.concatenate([logs, rest], axis=1)
        top = logs.max(axis=1, keepdims=True)
        return np.asarray(top[:, 0] + np.log(np.exp(logs - top).sum(axis=1)))

    def sample(self, draw: np.random.Generator, count: int) -> Units:
        """Return places (count, d) drawn from the mixture, not yet snapped.

        Every column is filled: where the chosen kernel has a group of parameters inactive, the group comes from
        another kernel that has it, so that a branch that a changed choice opens is sampled from what is known of it.
        """
        from scipy.special import ndtri

        layout = self._plan
        found = draw.random((count, layout.space.dim))
        chosen = draw.choice(len(self._weights), size=count, p=self._weights)
        source = np.tile(chosen[:, None], (1, layout.space.dim))
        for group in layout.groups:
            having = np.append(self._masks[:, group[0]], True)
            lost = ~having[chosen]
            if lost.any():
                weights = self._weights * having
                source[np.ix_(lost, group)] = draw.choice(len(weights), size=lost.sum(), p=weights / weights.sum())[
                    :, None
                ]
        kernels = len(self._weights) - 1
        for at, column in enumerate(layout.smooth):
            rows = np.flatnonzero(source[:, column] < kernels)
            i = source[rows, column]
            low, high = self._low[i, at], self._high[i, at]
            steps = ndtri(low + found[rows, column] * (high - low))
            found[rows, column] = (self._at[i, at] + self._width[at] * steps).clip(0.0, 1.0)
        for table, kernel, which in zip(layout.tables, self._kernels, self._which, strict=True):
            rows = np.flatnonzero(source[:, table.column] < kernels)
            mass = (np.exp(kernel) * np.diff(table.edges)).cumsum(axis=1)[which[source[rows, table.column]]]
            cell = (found[rows, table.column, None] * mass[:, -1:] >= mass).sum(axis=1).clip(0, table.count - 1)
            found[rows, table.column] = table.places[cell]
        return found
