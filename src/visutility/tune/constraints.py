"""Outcome constraints: what a measured metric must not exceed, or must reach, for a trial to count."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

from visutility.core.errors import InvalidSetting
from visutility.tune.values import number


@final
@dataclass(frozen=True, slots=True)
class AtMost:
    """The metric is at most `bound`."""

    bound: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "bound", _finite(self, self.bound))

    def excess(self, value: float) -> float:
        """Return by how much a value breaks the constraint: it holds at 0 and below."""
        return value - self.bound


@final
@dataclass(frozen=True, slots=True)
class AtLeast:
    """The metric is at least `bound`."""

    bound: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "bound", _finite(self, self.bound))

    def excess(self, value: float) -> float:
        """Return by how much a value breaks the constraint: it holds at 0 and below."""
        return self.bound - value


Constraint: TypeAlias = AtMost | AtLeast

_KINDS: Final[dict[str, type[AtMost] | type[AtLeast]]] = {"at_most": AtMost, "at_least": AtLeast}


def as_constraints(given: object) -> tuple[tuple[str, Constraint], ...]:
    """Return what a user gave as (metric, constraint) pairs; none for None. Raises `InvalidSetting`."""
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        raise InvalidSetting(f"constraints {given!r:.80} are not a mapping", hint="write {'latency_ms': AtMost(20.0)}")
    for name, one in given.items():
        if not isinstance(name, str) or not name:
            raise InvalidSetting(f"constraints name the metric {name!r}, not a text", hint="name the metric")
        if not isinstance(one, (AtMost, AtLeast)):
            raise InvalidSetting(
                f"the constraint on {name!r} is {one!r:.80}", hint="use AtMost(bound) or AtLeast(bound)"
            )
    return tuple(given.items())


def to_json(constraint: Constraint) -> list[Any]:
    """Return plain data that `from_json` reads."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(constraint, cls))
    return [kind, constraint.bound]


def from_json(data: Any) -> Constraint:
    """Return the constraint that `to_json` wrote."""
    kind, bound = data
    return _KINDS[kind](bound)


def _finite(owner: object, bound: object) -> float:
    found = number(bound)
    if found is None:
        raise InvalidSetting(
            f"the bound of {type(owner).__name__}({bound!r}) is no finite number", hint="write AtMost(20.0)"
        )
    return found
