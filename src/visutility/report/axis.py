"""Axes of charts whose values are numbers, numbers on a log scale, or names."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visutility.report._draw import percent, short
from visutility.report.html import number, text
from visutility.report.scale import GRID, scale

CHARACTER = 6.9  # pixels, the mean width at 12 pixels
LEGIBLE = 6  # characters of a name that are worth showing
LABEL = 36  # characters of an axis' label that fit on a phone
BESIDE = 6  # characters that have room left of a chart
LAYOUTS = {"narrow": 222, "wide": 560}  # the class of a text, and the least width of the chart's inside where it shows


@final
@dataclass(frozen=True, slots=True)
class Axis:
    """An axis from `low` to `high`; `ticks` are (value, text). What lies between two ticks is linear.

    A log scale is a linear one of logarithms. `named`: the ticks are names, one in the middle of each equal cell.
    """

    label: str
    ticks: Sequence[tuple[float, str]]
    low: float = 0.0
    high: float = 1.0
    named: bool = False

    def place(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return where values (n,) lie: 0 at `low`, 1000 at `high`; NaN stays."""
        return np.asarray((np.asarray(values, np.float64) - self.low) / (self.high - self.low) * GRID)


def number_axis(values: Iterable[float], label: str, *, round_ends: bool = True, whole: bool = False) -> Axis:
    """Return an axis that shows every finite value, with round ticks; from 0 to 1 without ticks where there is none."""
    found = scale(values, round_ends=round_ends, whole=whole)
    if found is None:
        return Axis(label, ())
    return Axis(label, tuple((tick, found.label(tick)) for tick in found.ticks), found.low, found.high)


def cut(said: str, most: int) -> str:
    """Return a text of at most so many characters, an ellipsis the last of them where it was longer."""
    return said if len(said) <= most else said[: most - 1].rstrip() + "…"


def below(axis: Axis, bottom: float) -> list[str]:
    """Return the labels of an axis that lies along `bottom`."""
    if not axis.named:
        return [
            f'<text x="{percent(place)}" y="{short(bottom + 16)}" class="tick middle">{text(said)}</text>'
            for place, said in _placed(axis)
        ]
    shown = {layout: _named(axis, width) for layout, width in LAYOUTS.items()}
    if shown["narrow"] == shown["wide"]:
        shown = {"": shown["wide"]}
    return [
        f'<text x="{percent(place)}" y="{short(bottom + 16)}" class="tick middle {layout}"><title>{text(said)}</title>'
        f"{text(short_name)}</text>"
        for layout, names in shown.items()
        for place, said, short_name in names
    ]


def beside(axis: Axis, top: float, height: float) -> list[str]:
    """Return the labels of an upright axis: left of it, or inside where they are too long for that."""
    found = []
    inside = axis.named and any(len(said) > BESIDE for _, said in axis.ticks)
    for place, said in _placed(axis):
        y = short(top + height * (1 - place / GRID) + 4)
        where = 'x="6" class="label"' if inside else 'x="-6" class="tick end"'
        found.append(f'<text y="{y}" {where}>{text(said)}</text>')
    return found


def described(axis: Axis) -> str:
    """Return an axis in words, for those who do not see it."""
    if axis.named:
        return f"{axis.label}: {', '.join(said for _, said in axis.ticks)}."
    if axis.ticks:
        return f"{axis.label}, {axis.ticks[0][1]} to {axis.ticks[-1][1]}."
    return f"{axis.label}, {number(axis.low)} to {number(axis.high)}."


def _placed(axis: Axis) -> list[tuple[float, str]]:
    return [(float(axis.place(value)), said) for value, said in axis.ticks]


def _named(axis: Axis, width: int) -> list[tuple[float, str, str]]:
    """The names that can be read in so many pixels, every so many of them: place, whole name, name cut to its room."""
    room = width / CHARACTER / max(len(axis.ticks), 1)
    needed = min(max((len(said) for _, said in axis.ticks), default=0), LEGIBLE)
    every = max(1, math.ceil(needed / room))
    return [(place, said, cut(said, max(1, int(room * every)))) for place, said in _placed(axis)[::every]]
