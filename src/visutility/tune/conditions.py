"""Conditions between the parameters of a space: each names at most one parent, so they form a forest."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from visutility.core.errors import InvalidParameter, InvalidSpace
from visutility.tune.choice import Choice
from visutility.tune.numeric import Float, Int
from visutility.tune.values import Equals, Value

Parameter: TypeAlias = Float | Int | Choice


def allowed_values(parameters: Mapping[str, Parameter], name: str, when: Equals) -> frozenset[Value]:
    """Return the values of the parent under which `name` is active; raise `InvalidSpace` when there can be none."""
    parent = parameters[when.name]
    if parent.count is None:
        raise InvalidSpace(
            f"parameter {name!r} depends on {when.name!r}, a continuum", hint="condition on a Choice, an Int or a step"
        )
    try:
        return frozenset(parent.check(when.name, value) for value in when.values)
    except InvalidParameter as error:
        raise InvalidSpace(
            f"parameter {name!r} has a condition on a value that cannot be: {error.problem}",
            hint="name values of that parameter, one by one: Equals('name', value, another)",
        ) from None


def parents_first(parameters: Mapping[str, Parameter]) -> tuple[str, ...]:
    """Return the names, parents before children; raise `InvalidSpace` when a parent is unknown or
    conditions go in a circle.
    """
    order: dict[str, None] = {}
    for start in parameters:
        path: list[str] = []
        name: str | None = start
        while name is not None and name not in order:
            if name in path:
                raise InvalidSpace(
                    f"conditions go in a circle: {' -> '.join([*path, name])}", hint="remove one of these conditions"
                )
            path.append(name)
            when = parameters[name].when
            if when is not None and when.name not in parameters:
                raise InvalidSpace(
                    f"parameter {name!r} depends on {when.name!r}, which is unknown",
                    hint=f"use one of {sorted(parameters)}",
                )
            name = None if when is None else when.name
        order.update(dict.fromkeys(reversed(path)))
    return tuple(order)


def count(
    parameters: Mapping[str, Parameter], order: Sequence[str], allowed: Mapping[str, frozenset[Value]]
) -> int | None:
    """Return how many configurations there are; None when a parameter is a continuum. `order` has parents first."""
    below: dict[str, list[str]] = {}
    for name, parameter in parameters.items():
        if parameter.when is not None:
            below.setdefault(parameter.when.name, []).append(name)
    counts: dict[str, int] = {}
    for name in reversed(order):
        values = parameters[name].count
        if values is None:
            return None
        children = below.get(name, [])
        named = frozenset[Value]().union(*(allowed[child] for child in children))
        branches = (math.prod(counts[child] for child in children if value in allowed[child]) for value in named)
        counts[name] = values - len(named) + sum(branches)
    return math.prod(counts[name] for name, parameter in parameters.items() if parameter.when is None)
