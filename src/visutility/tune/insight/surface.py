"""What the model expects along one or two parameters, averaged over the others as the trials had them.

Partial dependence: Friedman, "Greedy function approximation" (2001), section 8.2. Places where one of the parameters is
inactive have no value: NaN.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np

from visutility.tune.insight.evidence import Array
from visutility.tune.insight.model import Model
from visutility.tune.space import Parameter, Units

LEVELS: Final = 8
OTHERS: Final = 48  # trials whose other parameters are averaged over
CELLS: Final = 24  # of a continuum, or of a grid of more values


@final
@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """Expected values over two parameters: `values[i, j]` at `y[i]`, `x[j]`, places in [0, 1] of their ranges."""

    x: Array  # (a,)
    y: Array  # (b,)
    values: Array  # (b, a) in the study's own direction, NaN where one of them is inactive
    levels: Array  # (8,) values from the least to the greatest, evenly on the model's scale; empty without values


def places(parameter: Parameter) -> Array:
    """Return the places in the cube where a parameter is looked at: each value of a small grid, or 24 middles."""
    count = parameter.count
    if count is not None and count <= CELLS:
        return np.array([parameter.to_unit(parameter.nth(index)) for index in range(count)])
    return np.asarray((np.arange(CELLS) + 0.5) / CELLS)


def along(model: Model, name: str) -> tuple[Array, Array]:
    """Return places (a,) of one parameter and the values (a,) expected there."""
    column = model.seen.column(name)
    at = places(model.seen.space.parameters[name])
    return at, model.values(_averaged(model, [column], at[:, None]))


def surface(model: Model, x: str, y: str) -> Surface:
    """Return the values expected over two different parameters."""
    columns = [model.seen.column(x), model.seen.column(y)]
    xs, ys = (places(model.seen.space.parameters[name]) for name in (x, y))
    grid = np.array([(a, b) for b in ys for a in xs])
    bent = _averaged(model, columns, grid).reshape(len(ys), len(xs))
    known = bent[np.isfinite(bent)]
    levels = np.sort(model.values(np.linspace(known.min(), known.max(), LEVELS))) if len(known) else known
    return Surface(xs, ys, model.values(bent), levels)


def _averaged(model: Model, columns: list[int], at: Units) -> Array:
    """Return the mean bent loss (g,) over other trials with `columns` set to each of `at` (g, len(columns))."""
    seen = model.seen
    able = np.flatnonzero(seen.masks[:, columns].all(axis=1))
    if not len(able):
        return np.full(len(at), np.nan)
    rows = able[np.unique(np.linspace(0, len(able) - 1, OTHERS).round().astype(np.intp))]
    filled = np.where(seen.masks[rows], seen.units[rows], 0.5)  # what becomes active is taken at its middle
    units = np.repeat(filled[None, :, :], len(at), axis=0)
    units[:, :, columns] = at[:, None, :]
    flat = units.reshape(-1, seen.space.dim)
    active = seen.space.snap(flat)[1][:, columns].all(axis=1).reshape(len(at), len(rows))
    means = np.where(active, model.mean(flat).reshape(len(at), len(rows)), 0.0)
    count = active.sum(axis=1)
    return np.where(count > 0, means.sum(axis=1) / np.maximum(count, 1), np.nan)
