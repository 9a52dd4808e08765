"""Values of a declared range as numbers in [0, 1], larger is worse, and back."""

from typing import Any, TypeVar

from visutility.core.errors import InvalidSetting
from visutility.monitor.detector import AbstractDetector
from visutility.monitor.state import Floats

F = TypeVar("F", float, Floats)


def ends(detector: AbstractDetector[Any]) -> tuple[float, float]:
    """Return the range of a detector's values. Raises `InvalidSetting` where an end is open."""
    low, high = detector.low, detector.high
    if low is None or high is None:
        raise InvalidSetting(
            f"range [{low}, {high}] has an open end", hint=f"{detector.name} needs low and high, the ends of the values"
        )
    return float(low), float(high)


def scaled(detector: AbstractDetector[Any], values: F) -> F:
    """Return values of the stream in [0, 1], larger is worse."""
    low, high = ends(detector)
    return (values - low if detector.direction == "rise" else high - values) / (high - low)


def unscaled(detector: AbstractDetector[Any], values: F) -> F:
    """Return what `scaled` gave in the units of the stream again."""
    low, high = ends(detector)
    return low + (high - low) * values if detector.direction == "rise" else high - (high - low) * values
