"""Numbers: `Float` and `Int`, each with its scale and its grid.

A parameter maps its values onto [0, 1] and back. Grids (Int, Float with a step, Choice) fill [0, 1] with one cell a
value and encode to the middle of the cell, or on a log scale to the value's place in it. A continuous Float is read
back to 12 significant digits of its range (of the value, on a log scale), so that what comes out of the cube goes in
and comes out again as the same number.
"""

import math
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from visutility.core.errors import InvalidSpace
from visutility.tune.values import (
    LARGEST,
    Equals,
    Units,
    bound,
    cells,
    check_flags,
    number,
    plain,
    refused,
    whole,
)

_DIGITS = 12


@final
@dataclass(frozen=True, slots=True)
class Float:
    """A real number in [low, high]; `log` spreads it by ratio, `step` puts it on the grid low, low + step, …

    Raises `InvalidSpace` for bounds that are not finite or not ordered, a log scale that reaches 0, a bad step.
    """

    low: float
    high: float
    log: bool = field(default=False, kw_only=True)
    step: float | None = field(default=None, kw_only=True)
    when: Equals | None = field(default=None, kw_only=True)
    count: int | None = field(init=False, repr=False, compare=False)  # values it can have; None: a continuum
    _span: float = field(init=False, repr=False, compare=False)
    _digits: int = field(init=False, repr=False, compare=False)  # significant on a log scale, else decimal places

    def __post_init__(self) -> None:
        low, high = bound(self, self.low), bound(self, self.high)
        if not low < high:
            raise InvalidSpace(f"{self}: low is not below high", hint="swap the bounds, or fix it with Choice([value])")
        if not math.isfinite(high - low) or (self.log and low > 0 and not math.isfinite(high / low)):
            raise InvalidSpace(f"{self}: the range is too wide for a float", hint="bring the bounds closer")
        check_flags(self, self.when, log=self.log)
        if self.log and low <= 0:
            raise InvalidSpace(f"{self}: a log scale needs low above 0", hint="raise low, or leave log out")
        if self.log and self.step is not None:
            raise InvalidSpace(f"{self}: a Float has a step or a log scale, not both", hint="leave one out")
        count = None
        if self.step is not None:
            step = bound(self, self.step)
            if not 0 < step <= high - low:
                raise InvalidSpace(f"{self}: step is not in (0, high - low]", hint="give a step that fits the range")
            count = math.floor((high - low) / step + 1e-9) + 1
            if count > LARGEST:
                raise InvalidSpace(f"{self}: the grid has {count} values", hint="leave step out")
            object.__setattr__(self, "step", step)
        span = math.log(high / low) if self.log else high - low
        narrow = min(2, max(0, math.ceil(-math.log10(span)))) if self.log else 0  # digits that all values share
        for name, value in (
            ("low", low),
            ("high", high),
            ("count", count),
            ("_span", span),
            ("_digits", _DIGITS + narrow if self.log else _DIGITS - math.floor(math.log10(span))),
        ):
            object.__setattr__(self, name, value)

    def to_unit(self, value: Any) -> float:
        """Return the place in [0, 1] of a checked value."""
        if self.count is not None:
            return (self.index(value) + 0.5) / self.count
        place = math.log(value / self.low) if self.log else value - self.low
        return min(place / self._span, 1.0)

    def from_unit(self, unit: float) -> float:
        """Return the value at a place in [0, 1]."""
        if self.count is not None:
            return self.nth(min(int(unit * self.count), self.count - 1))
        if unit <= 0.0 or unit >= 1.0:
            return self.low if unit <= 0.0 else self.high
        if self.log:
            value = float(f"{self.low * math.exp(unit * self._span):.{self._digits}g}")
        else:
            value = round(self.low + unit * self._span, self._digits) + 0.0
        return min(max(value, self.low), self.high)

    def snap(self, units: Units) -> Units:
        """Return places (n,) moved to those of the nearest grid values; a continuum keeps them."""
        return units if self.count is None else cells(units, self.count)

    def index(self, value: Any) -> int:
        """Return which value of the grid this is, from 0. Only where `count` is not None."""
        place: float = (value - self.low) / (self.step or 1.0)
        return round(place)

    def nth(self, index: int) -> float:
        """Return the value at a place on the grid. Only where `count` is not None."""
        value = round(self.low + index * (self.step or 1.0), self._digits) + 0.0
        return min(max(value, self.low), self.high)

    def check(self, name: str, value: object) -> float:
        """Return the value as a float on the grid, or raise `InvalidParameter`."""
        given = plain(value)
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not self.low <= given <= self.high:
            raise refused(name, value, f"is not a number in [{self.low:g}, {self.high:g}]")
        if self.step is None:
            return float(given)
        index = self.index(given)
        nearest = self.nth(index)
        if index >= (self.count or 0) or abs(given - nearest) > 1e-9 * self.step:
            raise refused(name, value, f"is not on the grid {self.low:g}, {self.low:g} + {self.step:g}, …")
        return nearest

    def adopt(self, name: str, value: object) -> float:
        """Return a number moved into the range and onto the grid; `InvalidParameter` for what is not a number."""
        given = number(value)
        if given is None:
            raise refused(name, value, "is not a finite number")
        inside = min(max(given, self.low), self.high)
        return inside if self.count is None else self.nth(min(self.index(inside), self.count - 1))


@final
@dataclass(frozen=True, slots=True)
class Int:
    """A whole number in [low, high], on the grid low, low + step, …; `log` spreads it by ratio.

    Raises `InvalidSpace` for bounds that are not whole or not ordered, a step that is wider than the range, or a log
    scale that reaches 0.
    """

    low: int
    high: int
    log: bool = field(default=False, kw_only=True)
    step: int = field(default=1, kw_only=True)
    when: Equals | None = field(default=None, kw_only=True)
    count: int = field(init=False, repr=False, compare=False)  # values it can have
    _from: float = field(init=False, repr=False, compare=False)
    _span: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        low, high, step = (whole(self, v) for v in (self.low, self.high, self.step))
        if low > high:
            raise InvalidSpace(f"{self}: low is above high", hint="swap the bounds")
        if max(abs(low), abs(high)) > LARGEST:
            raise InvalidSpace(f"{self}: bounds beyond 2**40 cannot be told apart", hint="use a Float, or a factor")
        check_flags(self, self.when, log=self.log)
        if step < 1:
            raise InvalidSpace(f"{self}: step is below 1", hint="give a whole step of at least 1")
        if low < high < low + step:
            raise InvalidSpace(
                f"{self}: the step leaves {low} alone",
                hint=f"give a step of at most {high - low}, or fix it with Choice([{low}])",
            )
        if self.log and low < 1:
            raise InvalidSpace(f"{self}: a log scale needs low of at least 1", hint="raise low, or leave log out")
        count = (high - low) // step + 1
        start = math.log(max(low - step / 2, low / 2)) if self.log else 0.0
        span = math.log(low + (count - 1) * step + step / 2) - start if self.log else 1.0
        for name, value in (
            ("low", low),
            ("high", high),
            ("step", step),
            ("count", count),
            ("_from", start),
            ("_span", span),
        ):
            object.__setattr__(self, name, value)

    def to_unit(self, value: Any) -> float:
        """Return the place in [0, 1] of a checked value."""
        if self.log:
            return (math.log(value) - self._from) / self._span
        return (self.index(value) + 0.5) / self.count

    def from_unit(self, unit: float) -> int:
        """Return the value at a place in [0, 1]."""
        if self.log:
            index = round((math.exp(self._from + unit * self._span) - self.low) / self.step)
            return self.nth(min(max(index, 0), self.count - 1))
        return self.nth(min(int(unit * self.count), self.count - 1))

    def snap(self, units: Units) -> Units:
        """Return places (n,) moved to those of the grid values they stand for."""
        if not self.log:
            return cells(units, self.count)
        index = np.rint((np.exp(self._from + units * self._span) - self.low) / self.step).clip(0, self.count - 1)
        return np.asarray((np.log(self.low + index * self.step) - self._from) / self._span)

    def index(self, value: Any) -> int:
        """Return which value of the grid this is, from 0."""
        return int(value - self.low) // self.step

    def nth(self, index: int) -> int:
        """Return the value at a place on the grid."""
        return self.low + index * self.step

    def check(self, name: str, value: object) -> int:
        """Return the value as an int, or raise `InvalidParameter`."""
        given = plain(value)
        fits = isinstance(given, int) or (isinstance(given, float) and given.is_integer())
        if isinstance(given, bool) or not fits or not self.low <= int(given) <= self.high:
            raise refused(name, value, f"is not a whole number in [{self.low}, {self.high}]")
        if (int(given) - self.low) % self.step:
            raise refused(name, value, f"is not on the grid {self.low}, {self.low + self.step}, …")
        return int(given)

    def adopt(self, name: str, value: object) -> int:
        """Return a number moved into the range and onto the grid; `InvalidParameter` for what is not a number."""
        given = number(value)
        if given is None:
            raise refused(name, value, "is not a finite number")
        inside = min(max(given, self.low), self.high)
        return self.nth(min(round((inside - self.low) / self.step), self.count - 1))


def stored_int(low: Any, high: Any, *, log: Any, step: Any, when: Equals | None) -> Int:
    """Return the `Int` that was stored with these fields, a step wider than its range included: `low` alone.

    Such a step was allowed once; what was stored then stays readable, with the digest it had.
    """
    if not low < high < low + step:
        return Int(low, high, log=log, step=step, when=when)
    whole_range, found = Int(low, high, log=log, when=when), Int(low, low, log=log, step=step, when=when)
    object.__setattr__(found, "high", whole_range.high)
    return found
