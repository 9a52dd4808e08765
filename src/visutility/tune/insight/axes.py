"""Where a parameter's values lie on its axis, and which of them to write there."""

import math
from typing import Final

from visutility.tune.space import Choice, Parameter

MOST: Final = 6  # ticks of a numeric axis

Ticks = list[tuple[float, str]]  # (place in [0, 1] of the cube, text)


def ticks(parameter: Parameter) -> Ticks:
    """Return the places and texts of an axis: every option of a choice, else a few round values on the grid."""
    if isinstance(parameter, Choice):
        return [(parameter.to_unit(option), str(option)) for option in parameter.options]
    if parameter.count is not None and parameter.count <= MOST:
        found: list[float] = [parameter.nth(index) for index in range(parameter.count)]
    else:
        values = _decades if parameter.log else _round
        found = [snapped for value in values(parameter.low, parameter.high) for snapped in [_snapped(parameter, value)]]
    return [(parameter.to_unit(value), written(value)) for value in dict.fromkeys(found)]


def written(value: float) -> str:
    """Return a number as short as it is exact enough on an axis."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _snapped(parameter: Parameter, value: float) -> float:
    """The value on the parameter's grid that is nearest."""
    found = parameter.adopt("tick", value)
    return float(found) if isinstance(found, float) else found  # type: ignore[return-value]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten in the range, at most six; where there are fewer than three, also twice and five times them."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    inside = [10.0**power for power in range(first, last + 1) if low * 0.999999 <= 10.0**power <= high * 1.000001]
    if len(inside) >= 3:
        return inside[:: math.ceil(len(inside) / MOST)]
    finer = [factor * 10.0**power for power in range(first, last + 1) for factor in (1.0, 2.0, 5.0)]
    finer = [value for value in finer if low * 0.999999 <= value <= high * 1.000001]
    return finer if len(finer) >= 2 else [low, high]


def _round(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten in the range."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / MOST))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= span / MOST * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [at * step for at in range(first, last + 1)]
