"""One of several options."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, final

from visutility.core.errors import InvalidSpace
from visutility.tune.values import Equals, Units, Value, cells, check_flags, plain, refused


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """One of several options: booleans, numbers, texts or None. `ordered` says that neighbours are alike.

    Raises `InvalidSpace` for no options, equal ones (1 and True are), or other types.
    """

    options: tuple[Value, ...]
    ordered: bool = field(default=False, kw_only=True)
    when: Equals | None = field(default=None, kw_only=True)
    count: int = field(init=False, repr=False, compare=False)  # values it can have

    def __init__(self, options: Iterable[Value], *, ordered: bool = False, when: Equals | None = None) -> None:
        listed: object = options
        if isinstance(listed, (str, bytes)) or not isinstance(listed, Iterable):
            raise InvalidSpace(f"Choice options {options!r} are not a list", hint="write Choice(['a', 'b'])")
        values: tuple[Any, ...] = tuple(plain(v) for v in options)
        for name, value in (("options", values), ("ordered", ordered), ("when", when), ("count", len(values))):
            object.__setattr__(self, name, value)
        check_flags(self, when, ordered=ordered)
        if not values:
            raise InvalidSpace("Choice has no options", hint="give at least one")
        for at, option in enumerate(values):
            if option is not None and not isinstance(option, (bool, int, float, str)):
                raise InvalidSpace(
                    f"Choice option {option!r} is a {type(option).__name__}",
                    hint="name it by a text, number or boolean",
                )
            if isinstance(option, float) and not math.isfinite(option):
                raise InvalidSpace(f"Choice option {option!r} is not finite", hint="name it by a text")
            if option in values[:at]:
                raise InvalidSpace(f"Choice option {option!r} equals an earlier one", hint="remove one of them")

    def to_unit(self, value: Any) -> float:
        """Return the place in [0, 1] of a checked value."""
        return (self.index(value) + 0.5) / self.count

    def from_unit(self, unit: float) -> Value:
        """Return the option at a place in [0, 1]."""
        return self.options[min(int(unit * self.count), self.count - 1)]

    def snap(self, units: Units) -> Units:
        """Return places (n,) moved to those of the options they stand for."""
        return cells(units, self.count)

    def index(self, value: Any) -> int:
        """Return which option this is, from 0."""
        return self.options.index(value)

    def nth(self, index: int) -> Value:
        """Return the option with this index."""
        return self.options[index]

    def check(self, name: str, value: object) -> Value:
        """Return the option that equals the value, or raise `InvalidParameter`."""
        given = plain(value)
        known = given is None or isinstance(given, (bool, int, float, str))
        for option in self.options if known else ():
            if option == given and isinstance(option, bool) == isinstance(given, bool):
                return option
        raise refused(name, value, f"is none of {list(self.options)}")

    def adopt(self, name: str, value: object) -> Value:
        """Return the option that equals the value; raise `InvalidParameter` when none does."""
        return self.check(name, value)
