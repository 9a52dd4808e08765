"""From values to places on a chart: round ends, round ticks, and what to do with nothing or with one value."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np

GRID = 1000.0  # a chart's inside is drawn on a grid of 1000 x 1000, whatever its size on the screen


@final
@dataclass(frozen=True, slots=True)
class Scale:
    """A linear axis from `low` to `high` with ticks in between, the ends included."""

    low: float
    high: float
    ticks: tuple[float, ...]
    step: float  # from one tick to the next

    def place(self, value: float) -> float:
        """Return where a value lies, 0 at `low` to 1000 at `high`."""
        return (value - self.low) / (self.high - self.low) * GRID

    def label(self, tick: float) -> str:
        """Return a tick's text."""
        finest = math.floor(math.log10(self.step) + 1e-9)
        if tick and not (abs(tick) < 1e7 and finest >= -5):
            digits = max(0, math.floor(math.log10(abs(tick)) + 1e-9) - finest)
            mantissa, exponent = f"{tick:.{digits}e}".split("e")
            return f"{mantissa}e{int(exponent)}".replace("-", "−")
        return f"{tick + 0.0:,.{max(0, -finest)}f}".replace("-", "−")


def scale(values: Iterable[float], *, most: int = 6, round_ends: bool = True, whole: bool = False) -> Scale | None:
    """Return an axis that shows every finite value, or None when there is none.

    Ticks are multiples of 1, 2 or 5 times a power of ten, at most `most` steps, whole numbers when `whole`. Ends are
    rounded out to a tick, or left at the least and greatest value. One value alone lies in the middle.
    """
    finite = np.array([value for value in values if math.isfinite(value)], np.float64)
    if not len(finite):
        return None
    low, high = float(finite.min()), float(finite.max())
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        around = abs(low) * 0.05 or 0.5
        around = max(1.0, around) if whole else around
        low, high = low - around, high + around
    step = _step((high - low) / most, whole)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if round_ends:
        low, high = first * step, last * step
    ticks = [at * step for at in range(first, last + 1) if low - 1e-9 * step <= at * step <= high + 1e-9 * step]
    return Scale(low, high, tuple(ticks), step)


def _step(least: float, whole: bool) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
    return max(1.0, round(step)) if whole else step
