"""Assertions of the conformance suites: they hold under `python -O` too, and show what they found."""

from typing import Any


def expect(fact: object, otherwise: object) -> None:
    """Raise `AssertionError` saying `otherwise` unless the fact is true."""
    if not fact:
        raise AssertionError(str(otherwise))


def expect_equal(found: Any, wanted: Any, what: str = "") -> None:
    """Raise `AssertionError` showing both unless they are equal."""
    if found != wanted:
        raise AssertionError(f"{what or 'the value'} is {found!r:.500}, not {wanted!r:.500}")
