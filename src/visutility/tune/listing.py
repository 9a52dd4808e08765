"""Every configuration of a space in a numbered list, without making the list."""

import math
from functools import lru_cache
from typing import final

from visutility.tune.space import Params, Space, Value


@final
class Listing:
    """The configurations of a space, numbered from 0 to `size` - 1; `nth` gives one in O(d).

    A grid parameter takes all its values, a continuum `levels` values evenly over its place in the cube, both bounds
    included. Under a condition, only the configurations that differ are counted.
    """

    def __init__(self, space: Space, levels: int) -> None:
        self._space = space
        self._levels = levels
        self._below: dict[str, list[str]] = {name: [] for name in space.names}
        self._named: dict[str, list[tuple[Value, int, list[str]]]] = {}  # (value, configurations below, children)
        self._total: dict[str, int] = {}
        self._roots = [name for name in space.names if space.parameters[name].when is None]
        for name, parameter in space.parameters.items():
            if parameter.when is not None:
                self._below[parameter.when.name].append(name)
        for name in reversed(space.order):
            self._count(name)
        self.size = math.prod(self._total[name] for name in self._roots)

    def nth(self, index: int) -> Params:
        """Return the configuration with this number, in [0, size)."""
        found: Params = {}
        self._spread(self._roots, index, found)
        return {name: found[name] for name in self._space.names if name in found}

    def _values(self, name: str) -> int:
        count = self._space.parameters[name].count
        return self._levels if count is None else count

    def _value(self, name: str, index: int) -> Value:
        parameter = self._space.parameters[name]
        if parameter.count is None:
            return parameter.from_unit(index / (self._levels - 1) if self._levels > 1 else 0.5)
        return parameter.nth(index)

    def _count(self, name: str) -> None:
        parameter, named = self._space.parameters[name], []
        if self._below[name]:
            values = {v for child in self._below[name] for v in self._space.allowed(child)}
            for value in sorted(values, key=parameter.index):
                children = [child for child in self._below[name] if value in self._space.allowed(child)]
                named.append((value, math.prod(self._total[child] for child in children), children))
        self._named[name] = named
        self._total[name] = self._values(name) - len(named) + sum(below for _, below, _ in named)

    def _spread(self, names: list[str], index: int, found: Params) -> None:
        for name in reversed(names):
            index, own = divmod(index, self._total[name])
            self._pick(name, own, found)

    def _pick(self, name: str, index: int, found: Params) -> None:
        for value, below, children in self._named[name]:
            if index < below:
                found[name] = value
                self._spread(children, index, found)
                return
            index -= below
        for value, _, _ in self._named[name]:  # the values that have children were counted: step over them
            index += self._space.parameters[name].index(value) <= index
        found[name] = self._value(name, index)


@lru_cache(maxsize=64)
def listing(space: Space, levels: int = 1) -> Listing:
    """Return the listing of a space, kept for the spaces used last."""
    return Listing(space, levels)
