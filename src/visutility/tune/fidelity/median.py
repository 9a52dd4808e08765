"""The median rule: stop what is worse than the others were on average.

Golovin et al., "Google Vizier" (KDD 2017), section 3.2.1: a trial stops at a step when its best value so far is worse
than the median, over the complete trials, of their running averages up to that step.
"""

from bisect import bisect_right
from dataclasses import dataclass
from statistics import median
from typing import ClassVar, final

from visutility.core.errors import InvalidSetting
from visutility.tune.fidelity.contract import AbstractStopping, Curve, Seen


@final
@dataclass(frozen=True, slots=True)
class MedianStopping(AbstractStopping):
    """Nothing stops before `startup` complete trials have reported that far, nor at a step below `warmup`."""

    startup: int = 5
    warmup: int = 0
    kind: ClassVar[str] = "median"

    def __post_init__(self) -> None:
        for name, least in (("startup", 1), ("warmup", 0)):
            whole_number(name, getattr(self, name), least)

    def goes_on(self, seen: Seen, now: Curve) -> bool:
        """Return whether the trial's best value so far is no worse than the median. O(curves · log steps)."""
        step = now.steps[-1]
        if step < self.warmup:
            return True
        averages = []
        for steps, running in seen.kept("median", _running):
            reached = bisect_right(steps, step)
            if reached:
                averages.append(running[reached - 1])
        return len(averages) < self.startup or min(now.values) <= median(averages)


def _running(seen: Seen) -> list[tuple[tuple[int, ...], list[float]]]:
    found = zip(seen.curves, seen.each("averages", None, lambda curve, _: curve.averages), strict=True)
    return [(curve.steps, averages) for curve, averages in found if curve.state == "complete"]


def whole_number(name: str, value: object, least: int) -> None:
    """Raise `InvalidSetting` unless the value is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidSetting(f"{name} is {value!r}", hint=f"give a whole number of at least {least}")
