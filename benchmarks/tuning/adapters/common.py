"""What adapters share: the pair of functions, flat spaces, and losses for tuners that know no failure."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from visutility.tune import Choice, Float, Int, Params, Space

Ask = Callable[[], tuple[Any, Params]]  # what to tell with, and the configuration
Tell = Callable[[Any, float], object]
Start = Callable[[Space, int, int], tuple[Ask, Tell]]  # space, seed, trials there will be


def children(space: Space, name: str, value: Any) -> list[str]:
    """The parameters that are active because `name` has this value, in order."""
    found = []
    for other, parameter in space.parameters.items():
        when = parameter.when
        if when is not None and when.name == name and value in space.allowed(other):
            found.append(other)
    return found


def is_parent(space: Space, name: str) -> bool:
    """Whether a condition names it."""
    return any(p.when is not None and p.when.name == name for p in space.parameters.values())


def grid(parameter: Any) -> list[Any]:
    """The values of a choice or of a short range of integers."""
    if isinstance(parameter, Choice):
        return list(parameter.options)
    return list(range(int(parameter.low), int(parameter.high) + 1, int(parameter.step or 1)))


def numbers(parameter: Choice) -> bool:
    """Whether the options are numbers in a meaningful order."""
    return parameter.ordered and all(
        isinstance(option, (int, float)) and not isinstance(option, bool) for option in parameter.options
    )


def active(space: Space, values: Mapping[str, Any]) -> Params:
    """The configuration that a full assignment stands for: inactive values dropped, numbers into their range."""
    found: Params = {}
    for name in space.order:
        if not space.active(name, found):
            continue
        parameter, value = space.parameters[name], values[name]
        if isinstance(parameter, Float):
            found[name] = min(max(float(value), parameter.low), parameter.high)
        elif isinstance(parameter, Int):
            found[name] = min(max(round(float(value)), int(parameter.low)), int(parameter.high))
        else:
            found[name] = value
    return found


def unnested(space: Space, found: Mapping[str, Any]) -> Params:
    """The configuration in a tree of {"value": …, name: below, …}, numbers into their range."""
    flat: Params = {}
    stack: list[Mapping[str, Any]] = [found]
    while stack:
        for name, value in stack.pop().items():
            if isinstance(value, Mapping):
                flat[name] = value["value"]
                stack.append({n: v for n, v in value.items() if n != "value"})
            else:
                flat[name] = value
    return space.validate({name: _held(space.parameters[name], value) for name, value in flat.items()})


def _held(parameter: Any, value: Any) -> Any:
    if isinstance(parameter, Choice):
        return value
    held = min(max(value, parameter.low), parameter.high)
    return float(held) if isinstance(parameter, Float) else int(held)


class Worst:
    """Stands in for a failed trial where a tuner knows no failure: the worst loss so far."""

    def __init__(self) -> None:
        self._worst = -math.inf

    def of(self, loss: float) -> float | None:
        """The loss to tell; None while there is none to stand in."""
        if math.isfinite(loss):
            self._worst = max(self._worst, loss)
            return loss
        return self._worst if math.isfinite(self._worst) else None
