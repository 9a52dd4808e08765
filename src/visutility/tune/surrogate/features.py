"""What the surrogate sees of a configuration: rows of a search space's unit cube as feature columns.

A number, and an ordered choice by its rank, is one column that its range fills from 0 to 1. An unordered choice of k
options is k columns, one-hot over √2, so that any two options are the same distance 1 apart (one column where k = 2).
A parameter with a single value has no column. An inactive parameter sits at the centre of its columns: two
configurations in which it is inactive do not differ there, and one in which it is active is at most ½ (numbers) or 1/√2
(choices) away. All columns of one parameter share one length scale.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from visutility.tune.space import Choice, Mask, Parameter, Space, Units

Indices = NDArray[np.intp]

ROOT_HALF: Final = 0.5**0.5
SMOOTH: Final = 8  # a grid of more cells than this is searched like a continuum, then rounded


@final
@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Which feature columns belong to which columns of the cube. Make one with `layout`."""

    space: Space
    groups: Indices  # (c,) which of the p parameters that have columns each column belongs to
    numeric: Indices  # (k,) columns of the cube that become one feature column each
    numeric_at: Indices  # (k,) those feature columns
    low: Units  # (k,) place in the cube of the least value
    span: Units  # (k,) from there to the greatest
    choices: tuple[tuple[int, int, int], ...]  # (column of the cube, options, first feature column), k > 2
    cell: Units  # (d,) width of a grid's cell, 0 for a continuum
    unordered: Mask  # (d,) whether the column is an unordered choice
    smooth: Indices  # (s,) columns of the cube along which a gradient is followed
    smooth_at: Indices  # (s,) their feature columns
    smooth_low: Units  # (s,) places in the cube of their least values
    smooth_span: Units  # (s,) and from there to the greatest

    @property
    def parameters(self) -> int:
        """How many parameters have feature columns: p, 0 for a space of one configuration."""
        return int(self.groups.max(initial=-1)) + 1

    def features(self, units: Units, mask: Mask) -> Units:
        """Return feature rows (n, c) for snapped rows (n, d) of the cube and what is active in them (n, d)."""
        out = np.empty((len(units), len(self.groups)))
        places = (units[:, self.numeric] - self.low) / self.span
        out[:, self.numeric_at] = np.where(mask[:, self.numeric], places, 0.5)
        for column, options, first in self.choices:
            chosen = np.floor(units[:, column] * options).astype(np.intp)
            one_hot = np.arange(options) == chosen[:, None]
            out[:, first : first + options] = ROOT_HALF * np.where(mask[:, column, None], one_hot, 1.0 / options)
        return out

    def neighbours(self, unit: Units, mask: Mask, fill: Units) -> Units:
        """Return the rows (m, d), not yet snapped, that differ from one row (d,) in one grid parameter.

        Every other option of an unordered choice, one cell up or down on a grid. `fill` (d,) gives the places of
        parameters that become active by the change.
        """
        row = np.where(mask, unit, fill)
        found: list[Units] = []
        for column, name in enumerate(self.space.names):
            parameter = self.space.parameters[name]
            if parameter.count is None or parameter.count == 1 or not mask[column]:
                continue
            for place in _other_places(parameter, float(unit[column])):
                changed = row.copy()
                changed[column] = place
                found.append(changed)
        return np.array(found).reshape(-1, self.space.dim)


def _other_places(parameter: Parameter, place: float) -> list[float]:
    count = parameter.count or 1
    if isinstance(parameter, Choice) and not parameter.ordered:
        return [(index + 0.5) / count for index in range(count) if index != int(place * count)]
    index = parameter.index(parameter.from_unit(place))
    return [parameter.to_unit(parameter.nth(i)) for i in (index - 1, index + 1) if 0 <= i < count]


@lru_cache(maxsize=64)
def layout(space: Space) -> Layout:
    """Return the layout of a space, kept for the spaces used last."""
    groups: list[int] = []
    numeric: list[tuple[int, int, float, float, bool]] = []
    choices: list[tuple[int, int, int]] = []
    group = 0
    for column, name in enumerate(space.names):
        parameter = space.parameters[name]
        count = parameter.count
        if count == 1:
            continue
        if isinstance(parameter, Choice) and not parameter.ordered and parameter.count > 2:
            choices.append((column, parameter.count, len(groups)))
            groups += [group] * parameter.count
        else:
            low, high = (0.0, 1.0) if count is None else (_place(parameter, 0), _place(parameter, count - 1))
            smooth = count is None or (count > SMOOTH and not isinstance(parameter, Choice))
            numeric.append((column, len(groups), low, high - low, smooth))
            groups.append(group)
        group += 1
    smooth_rows = [row for row in numeric if row[4]]
    return Layout(
        space=space,
        groups=np.array(groups, dtype=np.intp),
        numeric=np.array([row[0] for row in numeric], dtype=np.intp),
        numeric_at=np.array([row[1] for row in numeric], dtype=np.intp),
        low=np.array([row[2] for row in numeric]),
        span=np.array([row[3] for row in numeric]),
        choices=tuple(choices),
        cell=np.array([1.0 / p.count if p.count else 0.0 for p in space.parameters.values()]),
        unordered=np.array([isinstance(p, Choice) and not p.ordered for p in space.parameters.values()]),
        smooth=np.array([row[0] for row in smooth_rows], dtype=np.intp),
        smooth_at=np.array([row[1] for row in smooth_rows], dtype=np.intp),
        smooth_low=np.array([row[2] for row in smooth_rows]),
        smooth_span=np.array([row[3] for row in smooth_rows]),
    )


def _place(parameter: Parameter, index: int) -> float:
    return parameter.to_unit(parameter.nth(index))
