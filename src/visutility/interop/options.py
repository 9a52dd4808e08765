"""Choices among values that a space cannot hold: None inside tuples, arrays, functions, estimators.

A space names every option by a text, a number or a boolean. What cannot be named so is listed here under a text.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from visutility.core.errors import InvalidSpace
from visutility.tune.choice import Choice
from visutility.tune.values import Equals, Params, Value, plain


@final
@dataclass(slots=True)
class Options:
    """What each parameter's values stand for. `choice` and `reading` fill it, `real` reads it."""

    _listed: dict[str, dict[Value, Any]] = field(default_factory=dict)
    _readings: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = field(default_factory=dict)

    def choice(self, name: str, values: Iterable[Any], when: Equals | None = None) -> Choice:
        """Return a choice among any values, equal ones once. Raises `InvalidSpace` when there are none."""
        kept: list[Any] = []
        for value in values:
            given = plain(value)
            if not any(_same(given, one) for one in kept):
                kept.append(given)
        if not kept:
            raise InvalidSpace(f"parameter {name!r} has no values", hint="give at least one")
        labels = [_label(value) for value in kept]
        if any(label is _NO_LABEL for label in labels) or len(set(labels)) < len(labels):
            labels = [f"{at}: {value!r:.60}" for at, value in enumerate(kept)]
        self._listed[name] = dict(zip(labels, kept, strict=True))
        return Choice(labels, when=when)

    def reading(self, name: str, read: Callable[[Any], Any], place: Callable[[Any], Any]) -> None:
        """Pass the values of a parameter through `read`; `place` finds what is read as a value."""
        self._readings[name] = (read, place)

    def real(self, params: Mapping[str, Value]) -> dict[str, Any]:
        """Return a configuration of the space as the values it stands for."""
        found: dict[str, Any] = {}
        for name, value in params.items():
            listed = self._listed.get(name)
            reading = self._readings.get(name)
            found[name] = reading[0](value) if reading is not None else value if listed is None else listed[value]
        return found

    def labels(self, params: Mapping[str, Any]) -> Params:
        """Return the configuration of the space that stands for these values; the reverse of `real`.

        Values that are listed nowhere stay as they are.
        """
        found: Params = {}
        for name, value in params.items():
            if name in self._readings:
                found[name] = self._readings[name][1](value)
                continue
            listed = self._listed.get(name, {})
            found[name] = next((label for label, one in listed.items() if _same(one, plain(value))), plain(value))
        return found

    def labels_of(self, name: str, values: Iterable[Any]) -> tuple[Value, ...]:
        """Return what a choice calls these values of its own."""
        return tuple(self.labels({name: value})[name] for value in values)


_NO_LABEL: Any = object()


def _label(value: Any) -> Any:
    """The value itself where a space can hold it: a boolean, a text, a finite number, None."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return value if isinstance(value, float) and abs(value) < float("inf") else _NO_LABEL


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    try:
        return bool(one == other)
    except (ValueError, TypeError):  # arrays, and what cannot be compared
        return False
