"""Stopping a trial early, as a pure function of reported values.

The median rule of Golovin et al., "Google Vizier" (KDD 2017), section 3.2.1: a trial stops at a step when its best
value so far is worse than the median, over the complete trials, of their running averages up to that step. All values
here are lower-is-better.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import final

from visutility.core.errors import InvalidObservation, InvalidSetting
from visutility.tune.trial import as_number


@final
@dataclass(frozen=True, slots=True)
class MedianStopping:
    """Nothing stops before `startup` complete trials have reported that far, nor at a step below `warmup`."""

    startup: int = 5
    warmup: int = 0

    def __post_init__(self) -> None:
        for name, least in (("startup", 1), ("warmup", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InvalidSetting(f"{name} is {value!r}", hint=f"give a whole number of at least {least}")


@final
@dataclass(frozen=True, slots=True)
class Curve:
    """The steps a complete trial reported, rising, and the average of its values up to each."""

    steps: tuple[int, ...]
    averages: tuple[float, ...]


def curve(reports: Sequence[tuple[int, float]]) -> Curve:
    """Return the curve of (step, value) reports in order of step."""
    averages, total = [], 0.0
    for count, (_, value) in enumerate(reports, start=1):
        total += value
        averages.append(total / count)
    return Curve(tuple(step for step, _ in reports), tuple(averages))


def keep_going(best: float, step: int, curves: Sequence[Curve], rule: MedianStopping) -> bool:
    """Return whether a trial whose best value up to `step` is `best` should go on. O(len(curves) log steps)."""
    if step < rule.warmup:
        return True
    reached = [(c, bisect_right(c.steps, step)) for c in curves]
    averages = [c.averages[count - 1] for c, count in reached if count]
    return len(averages) < rule.startup or best <= median(averages)


def check_report(step: object, value: object, kept: Mapping[int, float]) -> bool:
    """Return whether a report is new and finite; `kept` has those of the trial so far, by step, rising.

    Raises `InvalidObservation` for a step that is no whole number, negative, or new and below the last.
    """
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        raise InvalidObservation(f"step {step!r} is not a whole number of at least 0", hint="count steps from 0")
    number = as_number(value, "reported value")
    if step in kept:
        return False
    if kept and step < max(kept):
        raise InvalidObservation(f"step {step} is below the last one reported", hint="report steps in order")
    return math.isfinite(number)
