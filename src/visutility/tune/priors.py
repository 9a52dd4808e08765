"""What a user believes beforehand of where good values lie, one parameter at a time."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

from visutility.core.errors import InvalidParameter, InvalidSetting
from visutility.tune.space import Choice, Space, Value
from visutility.tune.values import plain


@final
@dataclass(frozen=True, slots=True)
class Near:
    """Good values of a number or an ordered choice lie near `value`.

    `spread` is the standard deviation of that belief, as a share of the parameter's range on its own scale: .15 of a
    learning rate from 1e-5 to 1e-1 on a log scale is .6 decades.
    """

    value: Value
    spread: float = 0.15

    def __post_init__(self) -> None:
        spread = plain(self.spread)
        object.__setattr__(self, "value", plain(self.value))
        if isinstance(spread, bool) or not isinstance(spread, (int, float)) or not 0.01 <= spread <= 1.0:
            raise InvalidSetting(f"the spread of a belief is {spread!r}", hint="give a share of the range, .01 to 1")
        object.__setattr__(self, "spread", float(spread))


@final
@dataclass(frozen=True, slots=True, init=False)
class Likely:
    """How probable it is that each of these options is the best; the others share what is left equally."""

    options: tuple[tuple[Value, float], ...]

    def __init__(self, options: Mapping[Value, float] | Iterable[tuple[Value, float]]) -> None:
        given = list(options.items() if isinstance(options, Mapping) else options)
        if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in given):
            raise InvalidSetting(f"{given!r:.80} gives no probabilities", hint="write Likely({'a': 0.7})")
        pairs = tuple((plain(value), plain(chance)) for value, chance in given)
        for value, chance in pairs:
            if isinstance(chance, bool) or not isinstance(chance, (int, float)) or not 0.0 < chance <= 1.0:
                raise InvalidSetting(f"option {value!r} has the probability {chance!r}", hint="give one in (0, 1]")
        total = math.fsum(chance for _, chance in pairs)
        if not pairs or total > 1.0 + 1e-9:
            raise InvalidSetting(f"the probabilities of {dict(pairs)!r:.80} add to {total:g}", hint="1 is the most")
        object.__setattr__(self, "options", tuple((value, float(chance)) for value, chance in pairs))


Belief: TypeAlias = Near | Likely
Beliefs: TypeAlias = tuple[tuple[str, Belief], ...]

LEAST: Final = 1e-3  # of an option: none is ruled out


def as_priors(given: object, space: Space | None) -> Beliefs:
    """Return what a user gave as (parameter, belief) pairs that fit the space; none for None.

    Raises `InvalidSetting` for a belief of the wrong kind, `InvalidParameter` for a parameter or value that the space
    does not have.
    """
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        raise InvalidSetting(f"priors {given!r:.80} are not a mapping", hint="write {'lr': Near(1e-3)}")
    if space is None:
        raise InvalidSetting(f"priors {given!r:.80} without the space they speak of", hint="pass the space too")
    return tuple((name, _fitting(name, one, space)) for name, one in given.items())


def shares(belief: Likely, options: Iterable[Value]) -> list[float]:
    """Return the probability of each option, at least .001 before they are made to add to 1."""
    listed = [(_typed(value), chance) for value, chance in belief.options]
    named, every = dict(listed), [_typed(value) for value in options]
    rest = len(every) - len(named)
    left = max(1.0 - math.fsum(named.values()), 0.0) / rest if rest else 0.0
    found = [max(named.get(value, left), LEAST) for value in every]
    total = math.fsum(found)
    return [chance / total for chance in found]


def to_json(belief: Belief) -> list[Any]:
    """Return plain data that `from_json` reads."""
    if isinstance(belief, Near):
        return ["near", belief.value, belief.spread]
    return ["likely", [list(pair) for pair in belief.options]]


def from_json(data: Any) -> Belief:
    """Return the belief that `to_json` wrote."""
    kind, *rest = data
    if kind == "near":
        return Near(*rest)
    return Likely((value, chance) for value, chance in rest[0])


def _fitting(name: object, belief: object, space: Space) -> Belief:
    if not isinstance(name, str) or name not in space.parameters:
        raise InvalidParameter(f"priors name the parameter {name!r}", hint=f"the space has {sorted(space.names)}")
    parameter = space.parameters[name]
    unordered = isinstance(parameter, Choice) and not parameter.ordered
    if not isinstance(belief, (Near, Likely)) or isinstance(belief, Near) == unordered:
        kind, use = ("a choice", "Likely({option: probability})") if unordered else ("a number", "Near(value)")
        raise InvalidSetting(f"the belief about {name!r}, {kind}, is {belief!r:.80}", hint=f"use {use}")
    if isinstance(belief, Near):
        return Near(parameter.check(name, belief.value), belief.spread)
    return Likely((parameter.check(name, value), chance) for value, chance in belief.options)


def _typed(value: Value) -> tuple[type, Value]:
    """What tells True from 1, and 1 from 1.0."""
    return type(value), value
