"""What parameters share: plain values, the condition `Equals`, grid cells, and the checks of bounds."""

import math
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidParameter, InvalidSpace

Value: TypeAlias = bool | int | float | str | None
Params: TypeAlias = dict[str, Value]
Units: TypeAlias = NDArray[np.float64]

LARGEST = 2**40  # whole numbers up to here keep their place on a log scale in 53 bits


@final
@dataclass(frozen=True, slots=True, init=False)
class Equals:
    """A condition: the parameter `name` is active and has one of these values."""

    name: str
    values: tuple[Value, ...]

    def __init__(self, name: str, value: Value, *more: Value) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "values", tuple(plain(v) for v in (value, *more)))


def plain(value: Any) -> Any:
    """Return a NumPy scalar as the Python value it holds, anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def cells(units: Units, count: int) -> Units:
    """Return places (n,) in [0, 1] moved to the middles of their cells, when there are `count` equal cells."""
    return np.asarray((np.floor(units * count).clip(0, count - 1) + 0.5) / count)


def number(value: object) -> float | None:
    """Return a finite number as a float; None for anything else, booleans and what no float holds included."""
    given = plain(value)
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        return None
    try:
        found = float(given)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def refused(name: str, value: object, rule: str) -> InvalidParameter:
    """Return the error for a value that breaks its parameter's rule."""
    return InvalidParameter(f"parameter {name!r}: {value!r} {rule}", hint="give a value that the space allows")


def bound(parameter: object, value: object) -> float:
    """Return a bound or step as a float; raise `InvalidSpace` when it is not a finite number."""
    found = number(value)
    if found is None:
        raise InvalidSpace(f"{parameter}: {value!r} is not a finite number", hint="give numbers")
    return found


def whole(parameter: object, value: object) -> int:
    """Return a bound or step as an int; raise `InvalidSpace` when it is not one."""
    given = plain(value)
    if isinstance(given, bool) or not isinstance(given, int):
        raise InvalidSpace(f"{parameter}: {value!r} is not a whole number", hint="give ints, or use Float")
    return given


def check_flags(parameter: object, when: object, **flags: object) -> None:
    """Raise `InvalidSpace` unless the flags are booleans and `when` is a condition or None."""
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise InvalidSpace(f"{parameter}: {name} is {flag!r}", hint="give True or False")
    if when is not None and not isinstance(when, Equals):
        raise InvalidSpace(f"{parameter}: when is {when!r}", hint="write when=Equals('name', value)")
